"""The work that every contender does: ask for each name once, and leave each answer in MongoDB."""

from collections.abc import Iterator
from dataclasses import dataclass

TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address, not a token
PATH = "/get_user_by_name"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "benchmark", "client_secret": "benchmark"}
TIMEOUT_S = 30.0
BATCH = 1_000
"""Documents in one write, for contenders that gather answers before they write them."""


@dataclass(frozen=True, slots=True)
class Job:
    """One measured piece of work."""

    api_url: str
    mongo_url: str
    database: str
    collection: str
    calls: int
    connections: int
    """Of all workers together."""
    worker: int = 0
    workers: int = 1

    def names(self) -> Iterator[str]:
        """Make the names to ask for, all different, each with the characters that real names have."""
        return (f'O\'Dwyer, Mrs. {number:06d} (Ellen "Nellie")' for number in range(self.calls))
