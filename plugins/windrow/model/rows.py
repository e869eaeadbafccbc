"""The rows of an answer as the API returns them, before a contract checks them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from windrow.model.errors import Unreadable

_NONE: Mapping[str, Any] = {}
Read = tuple[Mapping[str, Sequence[Any]], list[dict[str, object]] | None]
"""Values by field, and the unknown fields of each row, or None if there are none."""


class RawRows:
    """Rows that a contract has not checked yet: JSON objects, or columns of values by field.

    Landing reads such rows column by column, which is ten times as fast as `Contract.record`.

    :param objects: the rows.
    :param constants: values of fields that are the same in each row, such as what the query is about. A row that has
        the field itself overrides it.
    :param read: reads objects of any number of answers: it returns values by field, and the unknown fields of each
        object, with those within RECORDs, or None if there are none. Without it the names of an object are its fields.
    """

    __slots__ = ("columns", "constants", "count", "objects", "read")

    def __init__(
        self,
        objects: Sequence[Any],
        constants: Mapping[str, object] | None = None,
        read: Callable[[Sequence[Any]], Read] | None = None,
    ) -> None:
        self.objects: Sequence[Any] | None = objects
        self.columns: Mapping[str, Sequence[Any]] = _NONE
        self.count = len(objects)
        self.constants: Mapping[str, object] = constants or _NONE
        self.read = read

    @classmethod
    def of_columns(cls, columns: Mapping[str, object], constants: Mapping[str, object] | None = None) -> "RawRows":
        """Make rows of arrays by field, like ``{"time": ["2026-01-01", ...], "rain": [0.5, ...]}``.

        :raises Unreadable: a column is not an array, or is longer than another.
        """
        for field, values in columns.items():
            if not isinstance(values, list | tuple):
                raise Unreadable(f"the column {field!r:.60} must be an array, not a {type(values).__name__}")
        lengths = {field: len(values) for field, values in columns.items()}  # type: ignore[arg-type]
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{length:,} of {field!r:.60}" for field, length in list(lengths.items())[:5])
            raise Unreadable(f"all columns must have the same number of values; there are {shown}")
        rows = cls((), constants)
        rows.objects, rows.columns = None, columns  # type: ignore[assignment]
        rows.count = next(iter(lengths.values()), 0)
        return rows

    @classmethod
    def of_lists(
        cls, names: Sequence[str], lists: Sequence[Any], constants: Mapping[str, object] | None = None
    ) -> "RawRows":
        """Make rows of lists of values, and the names of these values.

        :raises Unreadable: a row is not a list, or not as long as the names.
        """
        if not set(map(type, lists)) <= {list, tuple} or not set(map(len, lists)) <= {len(names)}:
            raise Unreadable(f"each row must be an array of {len(names):,} values, as many as there are columns")
        columns = zip(*lists, strict=True) if lists else repeat(())
        return cls.of_columns(dict(zip(names, columns, strict=False)), constants)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: slice) -> "RawRows":
        """Return some of the rows of objects."""
        return RawRows((self.objects or ())[place], self.constants, self.read)

    def __iter__(self) -> Iterator[Any]:
        """Yield each row as `Contract.record` takes it."""
        if self.objects is None:
            for values in zip(*self.columns.values(), strict=True):
                yield {**self.constants, **dict(zip(self.columns, values, strict=True))}
        elif not self.constants:
            yield from self.objects
        else:
            for row in self.objects:
                yield {**self.constants, **row} if isinstance(row, Mapping) else row
