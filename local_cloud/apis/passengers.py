"""What a passenger of the titanic API is, and how passengers are read from a CSV file."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _csv import Reader  # the type of csv.reader has no public name

Value: TypeAlias = int | float | str | None
Passenger: TypeAlias = Mapping[str, Value]
"""One passenger: the columns of COLUMNS, typed, in their order."""


class BadPassengers(ValueError):
    """A file of passengers cannot be served; the message names file, line and column."""


def _text(cell: str) -> str:
    if not cell:
        raise ValueError("is empty")
    return cell


def _whole(cell: str) -> int:
    if not (cell.isascii() and cell.isdecimal()):
        raise ValueError(f"must be a whole number, not {cell!r}")
    return int(cell)


def _number(cell: str) -> float | None:
    if not cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"must be a number, 0 or more, not {cell!r}")
    return number


def _one_of(*allowed: int) -> Callable[[str], int]:
    def parse(cell: str) -> int:
        if cell not in map(str, allowed):
            raise ValueError(f"must be one of {', '.join(map(str, allowed))}, not {cell!r}")
        return int(cell)

    return parse


def _optional(cell: str) -> str | None:
    return cell or None


COLUMNS: Mapping[str, Callable[[str], Value]] = {
    "PassengerId": _whole,
    "Survived": _one_of(0, 1),
    "Pclass": _one_of(1, 2, 3),
    "Name": _text,
    "Sex": _text,
    "Age": _number,
    "SibSp": _whole,
    "Parch": _whole,
    "Ticket": _text,
    "Fare": _number,
    "Cabin": _optional,
    "Embarked": _optional,
}
"""The columns of the well-known file, and how a cell is read. Names are kept to the last blank."""


def read_passengers(path: Path) -> list[Passenger]:
    """Read the passengers of a CSV file in UTF-8; columns beyond COLUMNS are ignored.

    Raises BadPassengers for a file that is missing, empty or not CSV in UTF-8, and for a column that is
    missing, a cell that cannot be read, and a name or PassengerId that comes twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            passengers = list(_rows(path, csv.reader(file, strict=True)))
    except OSError as error:
        raise BadPassengers(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadPassengers(f"{path} is not CSV in UTF-8: {error}") from error
    if not passengers:
        raise BadPassengers(f"{path} has no passengers")
    return passengers


def _rows(path: Path, reader: "Reader") -> Iterator[Passenger]:
    header = next(reader, [])
    for column in COLUMNS:
        if column not in header:
            raise BadPassengers(f"{path}, line 1: the column {column} is missing")
    seen: dict[tuple[str, Value], int] = {}
    line = reader.line_num + 1  # a record can span lines: name the one it starts on
    for cells in reader:
        if cells:  # blank lines are no records
            yield _passenger(f"{path}, line {line}", line, header, cells, seen)
        line = reader.line_num + 1


def _passenger(
    where: str, line: int, header: list[str], cells: list[str], seen: dict[tuple[str, Value], int]
) -> Passenger:
    if len(cells) != len(header):
        raise BadPassengers(f"{where}: {len(cells)} cells, but the header has {len(header)} columns")
    row = dict(zip(header, cells, strict=True))
    passenger: dict[str, Value] = {}
    for column, parse in COLUMNS.items():
        try:
            passenger[column] = parse(row[column])
        except ValueError as error:
            raise BadPassengers(f"{where}, column {column}: {error}") from None
    for column in ("PassengerId", "Name"):
        value = passenger[column]
        first = seen.setdefault((column, value), line)
        if first != line:
            raise BadPassengers(f"{where}, column {column}: {value!r} is on line {first} already")
    return passenger
