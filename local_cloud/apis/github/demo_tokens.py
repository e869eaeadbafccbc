"""The tokens that the fake GitHub knows. They open nothing else."""

from collections.abc import Mapping


def _classic(name: str) -> str:
    """Make a text of the form of a classic token."""
    return f"ghp_demo{name:0<32}"


DEMO_TOKENS: Mapping[str, str] = {
    _classic(name): f"octo-{name[:3]}" for name in ("ada", "ben", "cyd", "dee", "eve1", "eve2")
}
"""Known tokens, and whose they are: four owners with one each, and one with two."""
POOL = tuple(DEMO_TOKENS)[:4]
"""Four tokens of four owners."""
SAME_OWNER = tuple(DEMO_TOKENS)[4:]
"""Two tokens of one owner, which share its limits."""
BAD_TOKEN = _classic("bad")
"""A token that is not known."""
NO_SCOPE_TOKEN = "github_pat_demo_noscope"  # noqa: S105 - opens nothing
"""A fine-grained token that was given no permission."""
