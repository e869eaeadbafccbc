"""Measure the rows of a landing: how many, nulls by column, rows by day, and fields that the contract does not know."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from windrow.model.contract import Kind
from windrow.model.plausible import DAYS
from windrow.model.stream import Stream

_MOST_FIELDS = 500
_OTHERS = "(others)"
"""Where fields beyond this number are counted: an API may use ids as names."""
_LONGEST = 100
"""Characters of the name of a field."""


class ProfileCount:
    """Counts batches of a stream. `figures` are what `windrow.model.plausible` compares."""

    def __init__(self, stream: Stream) -> None:
        columns = stream.contract.columns
        self._known = stream.known_fields
        self._ignored = frozenset(stream.ignored)
        self._nullable = [
            one.name
            for one in columns
            if stream.plausible and not (one.required or one.repeated or one.name in stream.plausible.not_compared)
        ]
        named = {stream.table.watermark, stream.table.partition} if stream.plausible and stream.table else set()
        days = (one.name for one in columns if one.name in named and one.kind in {Kind.DATE, Kind.TIMESTAMP})
        self._day = next(days, "")
        self._rows = 0
        self._nulls: Counter[str] = Counter()
        self._days: Counter[str] = Counter()
        self._fields: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch."""
        self._rows += batch.num_rows
        for name in self._nullable:
            self._nulls[name] += batch.column(name).null_count
        if self._day:
            for pair in pc.value_counts(batch.column(self._day).cast(pa.date32()).drop_null()).to_pylist():
                self._days[pair["values"].isoformat()] += pair["counts"]
        for text in batch.column("_extra").drop_null().to_pylist():
            for path in set(_paths(orjson.loads(text), self._known)) - self._ignored:
                name = path[:_LONGEST]
                has_room = name in self._fields or len(self._fields) < _MOST_FIELDS
                self._fields[name if has_room else _OTHERS] += 1

    def figures(self) -> dict[str, Any]:
        """Return the profile. Names are values: MongoDB has no fields with a point in their name."""
        return {
            "rows": self._rows,
            "nulls": [[name, self._nulls[name]] for name in self._nullable],
            "days": [[day, rows] for day, rows in sorted(self._days.items())[-DAYS:]],
            "unknown_fields": [
                [name, rows] for name, rows in sorted(self._fields.items(), key=lambda one: (-one[1], one[0]))
            ],
        }


def _paths(extra: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of unknown fields. Within an object that the contract knows they are like ``customer.name``."""
    for name, value in extra.items():
        inner = known.get(name)
        if inner and isinstance(value, Mapping):
            yield from (f"{name}.{path}" for path in _paths(value, inner))
        elif inner and isinstance(value, list):
            yield from (f"{name}[].{path}" for one in value if isinstance(one, Mapping) for path in _paths(one, inner))
        else:
            yield name
