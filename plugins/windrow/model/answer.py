"""An answer: what the API said to a query, word for word."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from windrow.model import exact_json
from windrow.model.formats import JSON, Format
from windrow.model.query import Query

LARGEST = 15_000_000
"""Maximum bytes of an answer in one document: MongoDB takes documents of 16 MB."""


class Outcome(StrEnum):
    """How a query was settled. A settled query is not called again in its run."""

    ANSWERED = "answered"
    MISSING = "gap"
    """The API answered that there is no such thing."""
    PARTIAL = "partial"
    """The first pages are there, and a later one is not. The harvest asks again if it is run again."""
    ERASED = "erased"
    """It was about a person, and `windrow erase` took it out; see `windrow.model.person`."""


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
    is_paged: bool = False
    """The body is a JSON array of pages. Those of another format than JSON are in it as strings."""
    resolve: Callable[[str], str] = field(default=str, compare=False, repr=False)
    """Turns a link in the body into one for `Query.following`. Raises `Unreadable` if it leads to another origin than
    the allowed ones. Only while it is harvested."""
    headers: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """The headers of the answer. Only while it is harvested."""

    @property
    def parsed(self) -> Any:
        """The body as values, of several pages a list of them; None for an empty body, as a 204 has.

        :raises Unreadable: the body is not in the format of the query.
        """
        return self.parsed_as(self.query.format)

    def parsed_as(self, format: Format) -> Any:
        """Return what `parsed` returns, in another format."""
        if format is JSON:
            return exact_json.reread([self.body])[0] if self.body else None
        if self.is_paged and format.media_type != JSON.media_type:
            return [format.parse(page) for page in orjson.loads(self.body)]
        return format.parse(self.body) if self.body or format.reads_empty else None


def parse_all(answers: Sequence[Answer], format: Format) -> list[Any]:
    """Return what `Answer.parsed_as` returns of each answer. JSON is parsed in a third less time than one by one.

    :raises Unreadable: one of them is not in this format.
    """
    bodies = [answer.body for answer in answers]
    if format is JSON and all(bodies):
        return exact_json.reread(bodies)
    return [answer.parsed_as(format) for answer in answers]


def kept(body: str) -> str:
    """Cut a body to what one document can hold."""
    if len(body) * 4 <= LARGEST:  # whatever its characters
        return body
    return body.encode()[:LARGEST].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that cannot be read: for the quarantine."""

    query: Query
    status: int
    body: str
    reason: str
    fetched_at: datetime
    incomplete: bool = False
    """Part of the answer is missing here, such as its last pages: only a new call can complete it."""
    raw: bytes = field(default=b"", repr=False)
    """The bytes that arrived, of the last page if there are several; empty if they are the body in UTF-8."""
    content_type: str = ""
    """How the server declared ``raw``."""
    headers: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """The headers of the answer. Only while it is harvested."""

    def text_as(self, format: Format) -> str:
        """Return the text of the answer, decoded again if it could not be.

        :raises Unreadable: it still cannot be.
        """
        return format.text(self.raw, self.content_type) if self.raw else self.body
