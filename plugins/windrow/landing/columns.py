"""Answers to Arrow tables, column by column.

`windrow.model.contract.Contract.record` defines what a record is. A column in which all values are clearly of its kind
is converted at once by Arrow; the other values are converted one by one by the contract. If that fails anywhere, the
answers are halved until the one that is not clear is alone, and `Stream.read` decides about it. So the records, and
the reasons in the quarantine, are the same as those of the slow way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, compress, repeat
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from windrow.landing.files import moments
from windrow.model.answer import Answer, parse_all
from windrow.model.contract import EPOCHS, Column, Kind, as_json, convert, unknown_within
from windrow.model.errors import Unreadable
from windrow.model.plan import Run
from windrow.model.rows import RawRows, Read
from windrow.model.stream import Stream

_NULL = type(None)
_COUNT, _CONSTANTS, _OBJECTS, _QUERY, _KEY = map(attrgetter, ("count", "constants", "objects", "query", "query.key"))
_Rows = RawRows | Sequence[RawRows | None]
"""The rows of answers: of all, which have one each, or of each; None if `Stream.read` has to decide about one."""
_NUMBERS = {
    Kind.NUMERIC: r"\A-?\d{1,20}(\.\d{1,9})?\z",
    Kind.BIGNUMERIC: r"\A-?\d{1,20}(\.\d{1,18})?\z",
}
_TIMESTAMP = r"\A[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)\z"
_DATETIME = r"\A[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?\z"
_DATE = r"\A[12]\d{3}-\d\d-\d\d\z"
_YEARS_US = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""The years 1 to 9999, in microseconds since 1970."""


class NotClear(Exception):
    """A value has to be read by `Contract.record`."""


_UNCLEAR = (
    NotClear,
    Unreadable,
    TypeError,
    LookupError,
    ValueError,
    ArithmeticError,
    AttributeError,
    pa.ArrowException,
)
"""What a value of an unexpected type can raise. Arrow raises OverflowError for large integers."""


class Converted(NamedTuple):
    """Answers with their records, or one with why it is unreadable, and those of which records are left out."""

    answers: Sequence[Answer]
    records: pa.RecordBatch | Unreadable
    left_out: Sequence[tuple[Answer, Sequence[Unreadable]]] = ()


class Converter:
    """Converts answers of a stream."""

    def __init__(self, stream: Stream, run: Run) -> None:
        self._stream = stream
        self._has_rows = type(stream).raw_rows is not Stream.raw_rows
        self._columns = stream.contract.columns
        self._known = frozenset(column.field for column in self._columns)
        self._schema = stream.contract.arrow_schema
        self._run_id = pa.scalar(run.run_id)

    def convert(self, answers: Sequence[Answer]) -> Iterator[Converted]:
        """Convert answers, in their order."""
        if self._has_rows:
            yield from self._convert(answers, self._rows(answers))
        else:
            yield from self._one_by_one(answers)

    def _rows(self, answers: Sequence[Answer]) -> _Rows:
        try:
            parsed = parse_all(answers, self._stream.format)
            queries = list(map(_QUERY, answers))
            if (rows := self._stream.one_row_each(queries, parsed)) is not None:
                return rows
            return list(map(self._stream.raw_rows, queries, parsed))
        except _UNCLEAR:
            return [self._rows_of(answer) for answer in answers]

    def _rows_of(self, answer: Answer) -> RawRows | None:
        try:
            return self._stream.raw_rows(answer.query, answer.parsed_as(self._stream.format))
        except _UNCLEAR:
            return None

    def _convert(self, answers: Sequence[Answer], rows: _Rows) -> Iterator[Converted]:
        try:
            yield Converted(answers, self._batch(answers, rows))
        except _UNCLEAR:
            if len(answers) == 1 or all(one is None for one in rows):
                yield from self._one_by_one(answers)
                return
            middle = len(answers) // 2
            yield from self._convert(answers[:middle], rows[:middle])
            yield from self._convert(answers[middle:], rows[middle:])

    def _one_by_one(self, answers: Sequence[Answer]) -> Iterator[Converted]:
        """Convert answers record by record."""
        some: list[Answer] = []
        records: list[dict[str, object]] = []
        left_out: list[tuple[Answer, Sequence[Unreadable]]] = []
        for answer in answers:
            try:
                read, errors = self._stream.read(answer.query, answer.parsed_as(self._stream.format))
            except Unreadable as error:
                if some:
                    yield Converted(some, pa.RecordBatch.from_pylist(records, self._schema), left_out)
                some, records, left_out = [], [], []
                yield Converted([answer], error)
                continue
            lineage = {"_key": answer.query.key, "_fetched_at": answer.fetched_at, "_run_id": self._run_id.as_py()}
            some.append(answer)
            if errors:
                left_out.append((answer, errors))
            records += [{**record, **lineage} for record in read]
        if some:
            yield Converted(some, pa.RecordBatch.from_pylist(records, self._schema), left_out)

    def _batch(self, answers: Sequence[Answer], rows: _Rows) -> pa.RecordBatch:
        """Convert answers column by column.

        :raises NotClear: or another exception of `_UNCLEAR`; some value has to be read by the contract.
        """
        every: Sequence[RawRows] = [rows] if isinstance(rows, RawRows) else rows  # type: ignore[assignment]
        # None has no count, and is not clear
        counts = [1] * len(answers) if isinstance(rows, RawRows) else list(map(_COUNT, every))
        if 0 in counts:
            every, answers = list(compress(every, counts)), list(compress(answers, counts))
            counts = list(filter(None, counts))
        if not every:
            return pa.RecordBatch.from_pylist([], self._schema)
        total = sum(counts)
        owners = None
        if total > len(answers):
            owners = pa.array(chain.from_iterable(map(repeat, range(len(every)), counts)), pa.int32(), size=total)

        def spread(values: pa.Array) -> pa.Array:
            """Repeat a value of each answer for each of its rows."""
            return values if owners is None else values.take(owners)

        columns, extra = _joined(every, self._known)
        constants: dict[str, Sequence[Any]] = {}
        if any(map(_CONSTANTS, every)):
            constants = {field: [rows.constants[field] for rows in every] for field in every[0].constants}
            if any(rows.constants.keys() != constants.keys() for rows in every) or constants.keys() - self._known:
                raise NotClear
        nested = [column for column in self._columns if column.columns]
        if any(column.field in constants for column in nested):
            raise NotClear
        if nested and every[0].read is None:
            extra = _with_nested(extra, columns, nested)
        arrays = []
        for column in self._columns:
            if column.field in columns:
                arrays.append(array(columns[column.field], column))
            elif column.field in constants:
                arrays.append(spread(array(constants[column.field], column)))
            else:
                arrays.append(array([None] * total, column))
        arrays += [
            pa.nulls(total, pa.string()) if extra is None else pa.array(map(_extra, extra), pa.string(), size=total),
            spread(pa.array(list(map(_KEY, answers)), pa.string())),
            spread(moments(answer.fetched_at for answer in answers)),
            pa.repeat(self._run_id, total),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _extra(fields: dict[str, object]) -> str | None:
    return as_json(fields) if fields else None


def _joined(every: Sequence[RawRows], known: frozenset[str]) -> Read:
    """Join the rows of several answers: values by field, and the unknown fields of each row, or None if there are none.

    :raises NotClear: they have columns of different names, or a row overrides a constant.
    """
    joined: dict[str, Sequence[Any]]
    if every[0].objects is None:
        names = every[0].columns.keys()
        if any(rows.objects is not None or rows.columns.keys() != names for rows in every):
            raise NotClear
        joined = (
            dict(every[0].columns)
            if len(every) == 1
            else {name: list(chain.from_iterable(rows.columns[name] for rows in every)) for name in names}
        )
    else:
        objects = list(chain.from_iterable(map(_OBJECTS, every)))  # None is unclear
        if (read := every[0].read) is not None:
            return read(objects)
        uniform = _uniform(objects)
        if uniform is None:
            shapes = set(map(tuple, objects))
            if any(not rows.constants.keys().isdisjoint(shape) for rows in every for shape in shapes):
                raise NotClear
            fields = set(chain.from_iterable(shapes))
            joined = {field: [row.get(field) for row in objects] for field in fields & known}
            if fields <= known:
                return joined, None
            return joined, [{name: row[name] for name in row if name not in known} for row in objects]
        joined = uniform
    if joined.keys() <= known:
        return joined, None
    others = [name for name in joined if name not in known]
    values = zip(*(joined[name] for name in others), strict=True)
    return joined, [dict(zip(others, row, strict=True)) for row in values]


def _uniform(objects: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]] | None:
    """Return the values of objects by field, or None if not all have the same fields."""
    names = tuple(objects[0])
    if len(names) < 2 or set(map(len, objects)) != {len(names)}:
        return None
    try:
        return dict(zip(names, zip(*map(itemgetter(*names), objects), strict=True), strict=True))
    except KeyError:
        return None


def _with_nested(
    extra: list[dict[str, object]] | None, columns: Mapping[str, Sequence[Any]], nested: Sequence[Column]
) -> list[dict[str, object]] | None:
    """Add what is unknown within the RECORDs of each row to its unknown fields."""
    for column in nested:
        rests = [unknown_within(value, column) for value in columns.get(column.field, ())]
        if any(rests):
            extra = extra or [{} for _ in rests]
            for fields, rest in zip(extra, rests, strict=True):
                if rest:
                    fields.setdefault(column.field, rest)
    return extra


def array(values: Sequence[Any], column: Column) -> pa.Array:
    """Convert the values of a column, of which None is a null or missing field.

    :raises Unreadable: a value does not match the contract. Arrow raises others, see `_UNCLEAR`.
    """
    if column.kind in _INFERRED and not column.repeated:
        try:
            # Arrow itself refuses what is no text; of numbers and booleans it finds the type that all of them have
            found = pa.array(values, _INFERRED[column.kind])
        except (ValueError, TypeError, ArithmeticError, pa.ArrowException):
            found = None
        if found is not None and found.type == column.arrow:
            if column.required and found.null_count:
                raise NotClear
            return found
    kinds = set(map(type, values))
    if column.required and _NULL in kinds:
        raise NotClear
    kinds.discard(_NULL)
    if not kinds and not column.repeated:
        return pa.nulls(len(values), column.arrow)
    if column.kind in _AT_ONCE and not column.repeated:
        try:
            found = _AT_ONCE[column.kind](values, kinds, column)
        except (ValueError, ArithmeticError, pa.ArrowException):
            found = None
        if found is not None:
            return found
    empty: object = [] if column.repeated else None
    return pa.array([empty if value is None else convert(value, column) for value in values], column.arrow)


def _floats(values: Sequence[Any], kinds: set[type], column: Column) -> pa.Array | None:
    """Convert integers too, up to 2**53. Arrow refuses larger ones."""
    return pa.array(values, pa.float64()) if kinds <= {int, float} else None


def _texts(values: Sequence[Any], pattern: str) -> pa.Array | None:
    """Return texts that all match a pattern."""
    texts = pa.array(values, pa.string())
    return texts if pc.all(pc.match_substring_regex(texts, pattern)).as_py() else None


def _dates(values: Sequence[Any], kinds: set[type], column: Column) -> pa.Array | None:
    return _cast(values, kinds, column, _DATE)


def _decimals(values: Sequence[Any], kinds: set[type], column: Column) -> pa.Array | None:
    if kinds == {int}:
        return pa.array(values, pa.int64()).cast(column.kind.arrow)
    return _cast(values, kinds, column, _NUMBERS[column.kind])


def _datetimes(values: Sequence[Any], kinds: set[type], column: Column) -> pa.Array | None:
    return _cast(values, kinds, column, _DATETIME)


def _timestamps(values: Sequence[Any], kinds: set[type], column: Column) -> pa.Array | None:
    if column.format not in EPOCHS:
        return _cast(values, kinds, column, _TIMESTAMP)
    if kinds != {int}:
        return None
    units = EPOCHS[column.format]
    moments = [None if value is None else value * 1_000_000 // units for value in values]
    clear = all(moment is None or moment in _YEARS_US for moment in moments)
    return pa.array(moments, column.kind.arrow) if clear else None


def _cast(values: Sequence[Any], kinds: set[type], column: Column, pattern: str) -> pa.Array | None:
    if column.format or kinds != {str}:
        return None
    texts = _texts(values, pattern)
    return None if texts is None else texts.cast(column.kind.arrow)


_INFERRED: dict[Kind, pa.DataType | None] = {
    Kind.STRING: pa.string(),
    Kind.INTEGER: None,
    Kind.BOOLEAN: None,
}
"""The type to ask Arrow for, or None if it infers it. It would take a boolean behind a float for a float."""
_AT_ONCE: dict[Kind, Callable[[Sequence[Any], set[type], Column], pa.Array | None]] = {
    Kind.FLOAT: _floats,
    Kind.NUMERIC: _decimals,
    Kind.BIGNUMERIC: _decimals,
    Kind.DATE: _dates,
    Kind.DATETIME: _datetimes,
    Kind.TIMESTAMP: _timestamps,
}
"""Each converts a column, or returns None if its values have to be converted one by one."""
