"""An answer: what the API said to a query, word for word."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson

from windrow.query import Query


class Outcome(StrEnum):
    """How a query was settled. A settled query is not asked again in its run."""

    ANSWERED = "answered"
    GAP = "gap"
    """The API answered that there is no such thing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One settled query.

    The body is kept as text, not as parsed values: so nothing is lost in a conversion (numbers beyond 64 bits,
    the difference between 1 and 1.0, unknown fields), and a reader that is mended later can read it again.
    """

    query: Query
    outcome: Outcome
    status: int
    body: str
    fetched_at: datetime
    next_link: str = ""
    """Path of the next page, where the API names one in a Link header (RFC 8288)."""

    @property
    def parsed(self) -> object:
        """The body as JSON values; None for an empty one, as a 204 has."""
        return orjson.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that arrived whole, on every attempt, and cannot be read: for the quarantine."""

    query: Query
    status: int
    body: str
    reason: str
    fetched_at: datetime
