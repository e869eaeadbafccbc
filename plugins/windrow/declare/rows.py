"""Where the rows of an answer are, as data. Paths of fields have dots, like ``data.items``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from windrow.model.errors import Unreadable
from windrow.model.paging import at


@dataclass(frozen=True, slots=True)
class Rows:
    """A list of objects at a path; empty if the answer is the list. ``orders[].lines`` are the lists in a list."""

    path: str = ""

    def of(self, page: object) -> Sequence[object]:
        """Return the rows of a page.

        :raises Unreadable: there is no list at the path.
        """
        found: list[object] = [page]
        for part in self.path.split("[]."):
            found = [row for each in found for row in self._list(each, part)]
        return found

    def _list(self, value: object, path: str) -> Iterable[object]:
        rows = at(value, path.removesuffix("[]"))
        if not isinstance(rows, list):
            where = f"at {self.path!r}" if self.path else "in the answer"
            raise Unreadable(f"there must be a list of rows {where}, not {rows!r:.60}")
        return rows


@dataclass(frozen=True, slots=True)
class OneRow:
    """The answer, or the object at a path, is the only row."""

    path: str = ""

    def of(self, page: object) -> Sequence[object]:
        """Return the one row of a page.

        :raises Unreadable: there is no object at the path.
        """
        row = at(page, self.path)
        if not isinstance(row, (dict, Mapping)):
            where = f"at {self.path!r}" if self.path else "as the answer"
            raise Unreadable(f"there must be an object {where}, not {row!r:.60}")
        return [row]


@dataclass(frozen=True, slots=True)
class Arrays:
    """The object at a path has an array for each field; the first values of all arrays are the first row."""

    path: str = ""

    def of(self, page: object) -> Sequence[object]:
        """Return the rows of a page.

        :raises Unreadable: there are no arrays, or they have different lengths.
        """
        arrays = at(page, self.path)
        if not isinstance(arrays, Mapping) or not all(isinstance(array, list) for array in arrays.values()):
            raise Unreadable(f"there must be an object of arrays at {self.path!r}, not {arrays!r:.60}")
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise Unreadable(f"the arrays at {self.path!r} must have one length, not {lengths!r:.100}")
        return [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]
