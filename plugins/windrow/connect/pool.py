"""Make a pool of credentials from the lists in the extra of a connection."""

from collections.abc import Iterable
from typing import Any

from windrow.connect.given import Given
from windrow.http.auth import StaticToken, can_be_sent
from windrow.http.pool import Credential, TokenPool, by_owner
from windrow.model.rate_limits import RateLimits, stated
from windrow.model.stream import CredentialKind


def pool(given: Given) -> TokenPool:
    """Make the pool of a worker.

    :raises ConnectionUnusable: it is empty, or an entry is invalid.
    """
    found = credentials(given)
    if not found:
        raise given.refuse("has auth 'pool' but no tokens", "Set tokens, a list.")
    worker, workers = given.share
    owners = by_owner(found)
    mine = [credential for owned in owners[worker::workers] for credential in owned]
    others = [credential for place, owned in enumerate(owners) if place % workers != worker for credential in owned]
    return TokenPool(mine, stand_by=others, rate_limits=_rate_limits(given), reserved=given.reserved, **given.settings)


def credentials(given: Given) -> list[Credential]:
    """Return the credentials of a pool.

    :raises ConnectionUnusable: an entry is invalid.
    """
    lists = {name: given.get(name, []) for name in ("tokens", *given.stream.credentials)}
    if not isinstance(lists["tokens"], list):
        raise given.refuse_field("tokens", 'It must be a list: {"tokens": [...]}.')
    found = list(_tokens(given, lists["tokens"]))
    for name, kind in given.stream.credentials.items():
        found += (_credential(given, f"{name}[{place}]", kind, entry) for place, entry in enumerate(lists[name]))
    return found


def _tokens(given: Given, tokens: list[Any]) -> Iterable[Credential]:
    """Read the tokens of the pool. Of two entries for one token the one with an owner is used.

    No message may show a token.
    """
    found: dict[str, Credential] = {}
    for number, token in enumerate(tokens, 1):
        place = f"token {number} of {len(tokens)}"
        entry = token if isinstance(token, dict) else {"token": token}
        text, owner = entry.get("token"), entry.get("owner", "")
        if (
            not isinstance(text, str)
            or not can_be_sent(text.strip())
            or not isinstance(owner, str)
            or entry.keys() - {"token", "owner"}
        ):
            raise given.refuse(
                f"has an invalid {place} in 'tokens'", 'It must be a string, or {"token": "...", "owner": "..."}.'
            )
        if owner or text.strip() not in found:
            label = f"{place} ({owner})" if owner else place
            found[text.strip()] = Credential(StaticToken(text.strip()), label, owner)
    return found.values()


def _credential(given: Given, place: str, kind: CredentialKind, entry: object) -> Credential:
    """Make a credential of a kind that only this API has. No message may show its values."""
    try:
        if not isinstance(entry, dict):
            raise TypeError("it must be a JSON object")
        made: Credential = kind.load()(entry, **given.settings)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:80]
        raise given.refuse(
            f"has an invalid entry {place}: {reason}", f"Required fields: {', '.join(kind.fields)}."
        ) from None
    return made


def _rate_limits(given: Given) -> RateLimits:
    limits = given.get("rate_limits", {})
    try:
        if not isinstance(limits, dict):
            raise ValueError("it must be a JSON object")
        if "points_per_minute" in given.fields:
            limits = {"per_minute": given["points_per_minute"]} | limits
        return stated(given.stream.rate_limits, limits)
    except ValueError as error:
        raise given.refuse(
            f"has an invalid 'rate_limits': {error}", 'Fix it in the extra. Example: {"per_minute": 900}.'
        ) from None
