"""An answer: what the API said to a query, word for word."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson

from windrow.model.query import Query

LARGEST = 15_000_000
"""Bytes of an answer that can be kept: MongoDB takes documents of 16 MB."""


class Outcome(StrEnum):
    """How a query was settled. A settled query is not asked again in its run."""

    ANSWERED = "answered"
    MISSING = "gap"
    """The API answered that there is no such thing."""
    PARTIAL = "partial"
    """The first pages are there, and a later one is not. The harvest asks again if it is run again."""


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


def kept(body: str) -> str:
    """Cut a body to what can be kept."""
    if len(body) * 4 <= LARGEST:  # however many bytes its signs have
        return body
    return body.encode()[:LARGEST].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that arrived, on every attempt, and cannot be read: for the quarantine."""

    query: Query
    status: int
    body: str
    reason: str
    fetched_at: datetime
    incomplete: bool = False
    """Part of the answer is missing here, such as its last pages: no reader can make it good, only asking again."""
