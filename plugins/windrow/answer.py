"""An answer: what the API said to a query, word for word."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that arrived whole, on every attempt, and cannot be read: for the quarantine."""

    query: Query
    status: int
    body: str
    reason: str
    fetched_at: datetime
