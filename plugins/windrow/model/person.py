"""A person whose data is erased: how they are found in records, answers and queries. Pure.

`Stream.person` says which columns identify a person. Values are compared exactly, as texts.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from windrow.model import exact_json
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.formats import JSON
from windrow.model.query import Query
from windrow.model.stream import Stream

_SHORT = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Person:
    """What identifies a person.

    :param columns: values by column of a record.
    :param fields: the same values by field of the API's answers.
    """

    columns: Mapping[str, frozenset[str]]
    fields: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, streams: Sequence[Stream], given: Mapping[str, Collection[str]]) -> "Person":
        """Make the person of these values by column, as far as the streams have these columns.

        :raises BadParameter: no stream has a column that identifies a person by this name, or a value is empty.
        """
        columns: dict[str, frozenset[str]] = {}
        fields: dict[str, set[str]] = {}
        for stream in streams:
            for column, names in stream.person.items():
                if column in given:
                    columns[column] = frozenset(given[column])
                    for name in names:
                        fields.setdefault(name, set()).update(given[column])
        known = sorted({column for stream in streams for column in stream.person})
        for column, values in given.items():
            if column not in known:
                what = f"No column {column!r:.60} identifies a person."
                raise BadParameter(what, advice=f"Use one of: {', '.join(known) or 'none'}.")
            if not all(map(str.strip, values)):
                raise BadParameter(f"The value of {column!r} is empty.", advice="Give the value that the table has.")
        return cls(columns, {name: frozenset(values) for name, values in fields.items()})

    def has(self, record: Mapping[str, object]) -> bool:
        """Whether a record is about the person."""
        return any(_text(record.get(column)) in values for column, values in self.columns.items())

    def is_asked_by(self, query: Query) -> bool:
        """Whether a query is about the person: a part of its path, or the value of a parameter, identifies them."""
        values = [value for _, value in (*query.params, *query.about)]
        return (
            any(value in known for value in (*values, *query.path.split("/")) for known in self.columns.values())
            or self.is_in_key(query.key)
            or bool(query.body and self.is_in_text(query.body))
        )

    def is_in_key(self, key: str) -> bool:
        """Whether the key of a query is about the person."""
        parts = [*map(unquote, re.split(r"[/?&=]", key))]
        return any(part in known for part in parts for known in self.columns.values())

    def is_in(self, value: object, field: str = "") -> bool:
        """Whether a parsed value has the person anywhere in it."""
        match value:
            case Mapping():
                return any(self.is_in(each, name) for name, each in value.items())
            case list():
                return any(self.is_in(each, field) for each in value)
        return _text(value) in self.fields.get(field, ())

    def is_in_text(self, text: str) -> bool:
        """Whether a text has the person in it.

        What is not JSON is searched for the values as words, without short numbers, which are in any text.
        """
        try:
            return self.is_in(exact_json.loads(text.encode("utf-8", "surrogatepass")))
        except Unreadable:
            values = {value for known in self.columns.values() for value in known}
            words = [re.escape(value) for value in values if not (value.isdecimal() and len(value) < _SHORT)]
            return bool(words) and re.search(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", text) is not None

    def without(self, value: Any, field: str = "") -> Any:
        """Return a parsed value without the elements of lists that have the person; of nested lists, the innermost."""
        match value:
            case Mapping():
                return {name: self.without(each, name) for name, each in value.items()}
            case list():
                left = [self.without(each, field) for each in value]
                return [each for each in left if not self.is_in(each, field)]
        return value


def erase_from(answer: Answer, stream: Stream, person: Person) -> tuple[Answer | None, int]:
    """Return an answer without a person, and how many of its records were theirs.

    :returns: the answer itself if it has nothing of the person; another one without their elements; or None if it is
        about them as a whole, or only a whole can be erased: in another format than JSON, or where the rest would not
        be readable.
    """
    is_asked = person.is_asked_by(answer.query)
    whole = (None, 0)
    if answer.outcome is Outcome.MISSING:
        return whole if is_asked or person.is_in_text(answer.body) else (answer, 0)
    try:
        parsed = answer.parsed_as(stream.format)
        records = stream.read(answer.query, parsed)[0]
    except Unreadable:
        return whole if is_asked or person.is_in_text(answer.body) else (answer, 0)
    theirs = sum(map(person.has, records))
    if not theirs and not person.is_in(parsed):
        return whole if is_asked and not records else (answer, 0)
    if stream.format is JSON and (len(records) > theirs or not is_asked):
        left = _cut(answer, parsed, len(records) - theirs, stream, person)
        if left is not None:
            return replace(answer, body=exact_json.dumps(left)), theirs
    return (None, theirs) if theirs or is_asked else (answer, 0)


def _cut(answer: Answer, parsed: object, records: int, stream: Stream, person: Person) -> object | None:
    """Return a parsed answer without the person; None if it still has them, or has not so many records."""
    left: object = person.without(parsed)
    try:
        rest = stream.read(answer.query, left)[0]
    except Unreadable:
        return None
    return None if len(rest) != records or any(map(person.has, rest)) or person.is_in(left) else left


def erased(chunk: int, place: int) -> Answer:
    """Return what takes the place of a query that was about a person, at this place in a chunk of a plan."""
    query = Query(f"erased/{chunk:05d}-{place:05d}", "/erased", cost=0)
    return Answer(query, Outcome.ERASED, 0, "", _EPOCH)


def _text(value: object) -> str | None:
    """Return a value as a text; None for what identifies nobody."""
    return str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
