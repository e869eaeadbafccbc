"""Infer the types of fields from rows, as a proposal for columns."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from windrow.model.contract import Kind

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?")
_DECIMAL = re.compile(r"-?\d+\.\d+")
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Inferred:
    """The type that fits all values of a field."""

    kind: Kind
    values: int
    note: str = ""
    """What the type does not say, such as that values have several types."""
    repeated: bool = False
    """Whether the values are lists of this type."""

    def __str__(self) -> str:
        return f"{self.kind.name}{' repeated' if self.repeated else ''}"


def infer(rows: Iterable[object]) -> dict[str, Inferred]:
    """Return the type of each field by its path, like ``requester.id``, in the order of the first rows."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        if isinstance(row, Mapping):
            for path, value in _leaves(row):
                values.setdefault(path, []).append(value)
    return {path: _of([value for value in found if value is not None]) for path, found in values.items()}


def _leaves(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping) and value and depth < _DEPTH:
            yield from _leaves(value, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", value


def _of(values: list[Any]) -> Inferred:
    kinds = {_kind(value) for value in values}
    count = len(values)
    if not kinds:
        return Inferred(Kind.STRING, 0, "always null in these rows")
    if all(isinstance(value, list) for value in values):
        inner = _of([each for value in values for each in value if each is not None])
        if inner.values and not inner.note and inner.kind is not Kind.JSON:
            return Inferred(inner.kind, count, repeated=True)
    if len(kinds) == 1:
        return Inferred(kinds.pop(), count)
    if kinds <= {Kind.INTEGER, Kind.FLOAT}:
        return Inferred(Kind.FLOAT, count)
    if Kind.JSON in kinds:
        return Inferred(Kind.JSON, count)
    if kinds <= {Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC}:
        return Inferred(Kind.NUMERIC, count)
    return Inferred(Kind.STRING, count, f"mixed: {', '.join(sorted(kind.name for kind in kinds))}")


def _kind(value: object) -> Kind:
    match value:
        case bool():
            return Kind.BOOLEAN
        case int():
            return Kind.INTEGER
        case float():
            return Kind.FLOAT
        case Decimal():
            return Kind.NUMERIC
        case str() if _DATE.fullmatch(value) and _reads(date.fromisoformat, value):
            return Kind.DATE
        case str() if _TIMESTAMP.fullmatch(value) and _reads(datetime.fromisoformat, value):
            return Kind.TIMESTAMP
        case str() if _DATETIME.fullmatch(value) and _reads(datetime.fromisoformat, value):
            return Kind.DATETIME
        case list() | dict():
            return Kind.JSON
        case str() if _DECIMAL.fullmatch(value):
            return Kind.NUMERIC
    return Kind.STRING


def _reads(read: Any, text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
