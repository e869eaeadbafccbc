"""The contract of a stream: the columns of its records.

The check of each record, the Parquet schema and the BigQuery schema all come from this one declaration. A field that is
not in the contract is kept in ``_extra``; a field that does not match the contract makes the answer unreadable,
with the reason.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from windrow.model import exact_json
from windrow.model.errors import Unreadable

if TYPE_CHECKING:
    import pyarrow as pa


EPOCHS = {"epoch": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
"""Units a second, of each format that is a number since 1970."""


class Kind(Enum):
    """The type of a column, with its names in BigQuery and in Athena."""

    STRING = ("STRING", "string")
    INTEGER = ("INTEGER", "bigint")
    FLOAT = ("FLOAT", "double")
    NUMERIC = ("NUMERIC", "decimal(38,9)")
    BIGNUMERIC = ("BIGNUMERIC", "decimal(38,18)")
    """38 digits, 18 of them after the point: what both warehouses hold exactly."""
    BOOLEAN = ("BOOLEAN", "boolean")
    TIMESTAMP = ("TIMESTAMP", "timestamp")
    DATETIME = ("DATETIME", "timestamp")
    """Date and time of day without a time zone."""
    DATE = ("DATE", "date")
    JSON = ("JSON", "string")
    """Any JSON value, as compact text."""
    RECORD = ("RECORD", "struct")
    """An object with columns of its own."""

    @property
    def bigquery(self) -> str:
        """The type's name in a BigQuery schema."""
        return str(self.value[0])

    @property
    def athena(self) -> str:
        """The type's name in a table of Athena."""
        return self.value[1]

    @property
    def arrow(self) -> "pa.DataType":
        """The type in Parquet. That of a RECORD is `Column.arrow`."""
        import pyarrow as pa  # noqa: PLC0415 - 140 MB that a function which lands nothing need not carry

        match self:
            case Kind.STRING | Kind.JSON:
                return pa.string()
            case Kind.INTEGER:
                return pa.int64()
            case Kind.FLOAT:
                return pa.float64()
            case Kind.NUMERIC:
                return pa.decimal128(38, 9)
            case Kind.BIGNUMERIC:
                return pa.decimal128(38, 18)
            case Kind.BOOLEAN:
                return pa.bool_()
            case Kind.TIMESTAMP:
                return pa.timestamp("us", tz="UTC")
            case Kind.DATETIME:
                return pa.timestamp("us")
            case Kind.DATE:
                return pa.date32()
            case Kind.RECORD:
                raise TypeError("a RECORD has the type of its column")


_INT64 = range(-(2**63), 2**63)
_PLAIN: Mapping[Kind, Mapping[type, Callable[[Any], bool]]] = {
    Kind.STRING: {str: str.isascii},
    Kind.INTEGER: {int: _INT64.__contains__},
    Kind.FLOAT: {float: math.isfinite},
    Kind.BOOLEAN: {bool: lambda value: True},
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the field of the API that it comes from.

    ``format`` says how the API writes a TIMESTAMP, DATETIME or DATE: empty for RFC 3339, ``epoch``, ``epoch_ms``,
    ``epoch_us`` or ``epoch_ns`` for a number since 1970 (TIMESTAMP only), or a format of `datetime.strptime` like
    ``%d/%m/%Y %H:%M``. ``zone`` is the time zone of timestamps without one, like ``Europe/Berlin``; without it they do
    not match the contract.

    A ``repeated`` column holds an array, which is empty where the field is null or missing. ``columns`` are those of
    the object, or of each object, of a RECORD.

    :raises ValueError: the column cannot have one of these settings.
    """

    name: str
    field: str
    kind: Kind
    description: str
    required: bool = False
    format: str = ""
    zone: str = ""
    repeated: bool = False
    columns: tuple["Column", ...] = ()
    plain: Mapping[type, Callable[[Any], bool]] = dataclasses.field(init=False, repr=False, compare=False)
    """By type: which values are in the type of the column as they are, and need no conversion."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", {} if self.repeated else _PLAIN.get(self.kind, {}))
        if (self.zone or self.format) and self.kind not in {Kind.TIMESTAMP, Kind.DATETIME, Kind.DATE}:
            raise ValueError(f"column {self.name!r}: only a TIMESTAMP, a DATETIME or a DATE has a format or a zone")
        if self.zone and self.kind is Kind.DATETIME:
            raise ValueError(f"column {self.name!r}: a DATETIME has no zone; use a TIMESTAMP")
        if self.format in EPOCHS and self.kind is not Kind.TIMESTAMP:
            raise ValueError(f"column {self.name!r}: only a TIMESTAMP has the format {self.format!r}")
        if self.zone and self.zone not in available_timezones():
            raise ValueError(f"column {self.name!r}: {self.zone!r} is not a time zone like Europe/Berlin")
        if bool(self.columns) is not (self.kind is Kind.RECORD):
            raise ValueError(f"column {self.name!r}: a RECORD has columns, and no other kind has")
        if any(column.kind is Kind.JSON for column in self.columns):
            raise ValueError(f"column {self.name!r}: JSON cannot be within a RECORD; make all of it JSON")
        names = [column.name for column in self.columns]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"column {self.name!r}: it has the column {twice[0]!r} twice")

    @property
    def arrow(self) -> "pa.DataType":
        """The type in Parquet."""
        import pyarrow as pa  # noqa: PLC0415 - see Kind.arrow

        one = pa.struct(list(map(_arrow_field, self.columns))) if self.columns else self.kind.arrow
        return pa.list_(pa.field("element", one, nullable=False)) if self.repeated else one

    @property
    def bigquery(self) -> str:
        """The type in the SQL of BigQuery, like ``ARRAY<STRUCT<`city` STRING>>``."""
        fields = ", ".join(f"`{column.name}` {column.bigquery}" for column in self.columns)
        one = f"STRUCT<{fields}>" if self.columns else _BIGQUERY_SQL.get(self.kind, self.kind.bigquery)
        return f"ARRAY<{one}>" if self.repeated else one

    @property
    def athena(self) -> str:
        """The type in the SQL of Athena, like ``array<struct<city:string>>``."""
        fields = ",".join(f"{column.name}:{column.athena}" for column in self.columns)
        one = f"struct<{fields}>" if self.columns else self.kind.athena
        return f"array<{one}>" if self.repeated else one

    @property
    def bigquery_field(self) -> dict[str, Any]:
        """The column in the format of BigQuery's API, for loading Parquet.

        BigQuery loads no JSON from Parquet: such a column is a STRING of the landing table, for ``PARSE_JSON``.
        """
        found: dict[str, Any] = {
            "name": self.name,
            "type": Kind.STRING.bigquery if self.kind is Kind.JSON else self.kind.bigquery,
            "mode": "REPEATED" if self.repeated else "REQUIRED" if self.required else "NULLABLE",
            "description": self.description,
        }
        return found | {"fields": [column.bigquery_field for column in self.columns]} if self.columns else found


def _arrow_field(column: Column) -> "pa.Field":
    import pyarrow as pa  # noqa: PLC0415 - see Kind.arrow

    return pa.field(column.name, column.arrow, nullable=not (column.required or column.repeated))


_BIGQUERY_SQL = {Kind.INTEGER: "INT64", Kind.FLOAT: "FLOAT64", Kind.BOOLEAN: "BOOL"}
"""Names in SQL that differ from those in the API."""

LINEAGE = (
    Column("_extra", "", Kind.STRING, "Fields of the answer that are not in the contract, as JSON."),
    Column("_key", "", Kind.STRING, "Key of the query that returned this record.", required=True),
    Column("_fetched_at", "", Kind.TIMESTAMP, "When the answer arrived.", required=True),
    Column("_run_id", "", Kind.STRING, "Airflow run that fetched it.", required=True),
)
"""Columns that are added to every record."""

_EXACT = 2**53
"""Below this a float represents whole numbers exactly."""
_DECIMALS = {
    Kind.NUMERIC: (Decimal("1e-9"), Context(prec=38, Emin=-9, Emax=37, traps=[InvalidOperation])),
    Kind.BIGNUMERIC: (Decimal("1e-18"), Context(prec=38, Emin=-18, Emax=37, traps=[InvalidOperation])),
}
"""38 digits, 9 or 18 of them after the point."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):60(?:\.\d+)?(.*)")
_INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT_TEXT = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300})([eE][+-]?[0-9]{1,2})?")
_SHOWN = 60
"""Maximum characters of an invalid value in a reason."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a stream, without the lineage columns."""

    columns: tuple[Column, ...]
    _flat: frozenset[str] = dataclasses.field(init=False, repr=False, compare=False)
    """The fields that columns read as a whole: an object without others has nothing unknown."""

    def __post_init__(self) -> None:
        flat = frozenset(column.field for column in self.columns if not column.columns)
        object.__setattr__(self, "_flat", flat)

    def record(self, fields: object) -> dict[str, object]:
        """Check one record of the API and return its values by column.

        Only lossless conversions are made: an integer for a float column, ``3.0`` for an integer column, a number or a
        string like ``"12.50"`` for a NUMERIC column, an RFC 3339 string for a timestamp, ``2026-11-20`` for a date. Any
        other difference is an error.

        Timestamps have microseconds here; the staged answer keeps them as the API sent them.

        :raises Unreadable: a field does not match the contract; the message has the first one.
        """
        if not isinstance(fields, (dict, Mapping)):  # whether it is a dict takes a tenth of the time
            raise Unreadable(f"a record must be a JSON object, not {_shown(fields)}")
        record = _read(fields, self.columns)
        extra = None if fields.keys() <= self._flat else unknown(fields, self.columns)
        record["_extra"] = as_json(extra) if extra else None
        return record

    def text_record(self, fields: object) -> dict[str, object]:
        """Check one record whose values are texts, as those of CSV and XML are.

        Integers, decimals and ``true`` or ``false`` in any case are read for columns of these kinds. Then it is checked
        like any `record`.

        :raises Unreadable: a field does not match the contract; the message has the first one.
        """
        if not isinstance(fields, Mapping):
            return self.record(fields)
        typed = {
            column.field: _from_text(value, column.kind)
            for column in self.columns
            if isinstance(value := fields.get(column.field), str)
        }
        return self.record({**fields, **typed})

    @property
    def known_fields(self) -> dict[str, Any]:
        """The fields of a record, as a tree: only a RECORD has branches."""
        return fields_of(self.columns)

    @property
    def arrow_schema(self) -> "pa.Schema":
        """The Parquet schema, lineage included."""
        import pyarrow as pa  # noqa: PLC0415 - see Kind.arrow

        return pa.schema(list(map(_arrow_field, (*self.columns, *LINEAGE))))

    @property
    def bigquery_fields(self) -> list[dict[str, Any]]:
        """The schema in the format of BigQuery's API for loading Parquet, lineage included."""
        return [column.bigquery_field for column in (*self.columns, *LINEAGE)]


def fields_of(columns: Sequence[Column]) -> dict[str, Any]:
    """Return the fields of an object, as a tree: only a RECORD has branches."""
    return {column.field: fields_of(column.columns) for column in columns}


def _read(fields: Mapping[str, object], columns: Sequence[Column], path: str = "") -> dict[str, object]:
    """Return the values of an object by column.

    :raises Unreadable: a field does not match its column.
    """
    record: dict[str, object] = {}
    for column in columns:
        value = fields.get(column.field)
        if (is_plain := column.plain.get(type(value))) and is_plain(value):
            record[column.name] = value
        elif value is None:
            if column.required:
                state = "null" if column.field in fields else "missing"
                raise Unreadable(f"field {path + column.field!r} is {state}")
            record[column.name] = [] if column.repeated else None
        else:
            record[column.name] = convert(value, column, path)
    return record


def unknown(fields: Mapping[str, object], columns: Sequence[Column]) -> dict[str, object]:
    """Return the fields of an object that are not in the contract, also those within its RECORDs."""
    known = {column.field for column in columns}
    found = {field: value for field, value in fields.items() if field not in known}
    for column in columns:
        if column.columns and (rest := unknown_within(fields.get(column.field), column)):
            found[column.field] = rest
    return found


def unknown_within(value: object, column: Column) -> object:
    """Return what the contract does not know within the value of a RECORD, which matches the contract."""
    if isinstance(value, Mapping):
        return unknown(value, column.columns)
    each = [unknown(one, column.columns) or None for one in value] if isinstance(value, list) else []
    return each if any(each) else None


def convert(value: object, column: Column, path: str = "") -> object:
    """Return a value that is not null in the type of its column.

    :param path: where the field is, like ``address.``.
    :raises Unreadable: the conversion would lose information.
    """
    if not column.repeated:
        return _one(value, column, path + column.field)
    if not isinstance(value, list):
        raise Unreadable(f"field {path + column.field!r} must be an array of {column.kind.name}, not {_shown(value)}")
    return [_one(one, column, f"{path}{column.field}[{place}]") for place, one in enumerate(value)]


def _one(value: object, column: Column, field: str) -> object:
    if column.columns:
        if isinstance(value, Mapping):
            return _read(value, column.columns, f"{field}.")
    elif (read := _READERS[column.kind](value, column)) is not None:
        return read
    expected = f"{column.kind.name} in the format {column.format!r}" if column.format else column.kind.name
    raise Unreadable(f"field {field!r} must be {expected}, not {_shown(value)}")


def typed(values: Sequence[Any], kind: Kind) -> Sequence[Any]:
    """Return the values of a column, those of texts as `Contract.text_record` reads them."""
    if kind not in {Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN}:
        return values
    return [_from_text(value, kind) if isinstance(value, str) else value for value in values]


def _from_text(text: str, kind: Kind) -> object:
    """Return the value of a text, or the text if it is not one of this kind."""
    if kind is Kind.INTEGER and _INTEGER_TEXT.fullmatch(text):
        return int(text)
    if kind is Kind.FLOAT and _FLOAT_TEXT.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text) if kind is Kind.BOOLEAN else text


def _string(value: object, column: Column) -> str | None:
    """Read a text; None if it has half of a surrogate pair, which no file can hold."""
    if isinstance(value, str) and (value.isascii() or value.encode("utf-8", "ignore").decode() == value):
        return value
    return None


def _boolean(value: object, column: Column) -> bool | None:
    return value if isinstance(value, bool) else None


def _float(value: object, column: Column) -> float | None:
    match value:
        case bool():
            return None
        case float():
            return value
        case int() if _is_exact(value):
            return float(value)
        case Decimal():  # more digits than a float has
            return float(value)
    return None


def _integer(value: object, column: Column) -> int | None:
    match value:
        case bool():
            return None
        case int() if value in _INT64:
            return value
        case float() if value.is_integer() and abs(value) < _EXACT:
            return int(value)
    return None


def _is_exact(number: int) -> bool:
    """Return whether a float can represent this integer exactly."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _numeric(value: object, column: Column) -> Decimal | None:
    """Read a number; None if it is not one, or has more digits than the column."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    step, context = _DECIMALS[column.kind]
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
        return number if number == number.quantize(step, context=context) else None
    except InvalidOperation:  # not a number, infinite, or too many digits
        return None


def _timestamp(value: object, column: Column) -> datetime | None:
    """Read a timestamp; None if it does not have the declared format, or has no time zone."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        if column.format in EPOCHS:
            microseconds = Decimal(str(value)) * 1_000_000 / EPOCHS[column.format]
            return _EPOCH + timedelta(microseconds=int(microseconds.to_integral_value(ROUND_FLOOR)))
        if not isinstance(value, str):
            return None
        moment = datetime.strptime(value, column.format) if column.format else _rfc3339(value)  # noqa: DTZ007 - below
        if moment.tzinfo is None and column.zone:
            moment = moment.replace(tzinfo=ZoneInfo(column.zone))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, ArithmeticError):
        return None


def _datetime(value: object, column: Column) -> datetime | None:
    """Read date and time of day; None if they do not have the declared format, or have a time zone."""
    if not isinstance(value, str) or (not column.format and value[10:11] not in {"T", "t", " "}):
        return None
    try:
        moment = datetime.strptime(value, column.format) if column.format else _rfc3339(value)  # noqa: DTZ007 - it has none
    except ValueError:
        return None
    return None if moment.tzinfo else moment


def _rfc3339(text: str) -> datetime:
    """Read a timestamp of RFC 3339, or of another format of ISO 8601. A leap second is the second after it.

    :raises ValueError: it is neither.
    """
    text = text.upper()
    if leap := _LEAP.fullmatch(text):
        return datetime.fromisoformat(f"{leap[1]}:59{leap[2]}") + timedelta(seconds=1)
    return datetime.fromisoformat(text)


def _date(value: object, column: Column) -> date | None:
    """Read a date like 2026-11-20; None if it is invalid. Other ISO 8601 formats, such as weeks, are not accepted."""
    if not isinstance(value, str):
        return None
    try:
        if column.format:
            return datetime.strptime(value, column.format).date()  # noqa: DTZ007 - a date has no zone
        day = date.fromisoformat(value)
    except ValueError:
        return None
    return day if day.isoformat() == value else None


def _json(value: object, column: Column) -> str | None:
    try:
        return exact_json.dumps(value)
    except (Unreadable, TypeError):
        return None


_READERS: Mapping[Kind, Callable[[object, Column], object]] = {
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.NUMERIC: _numeric,
    Kind.BIGNUMERIC: _numeric,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATETIME: _datetime,
    Kind.DATE: _date,
    Kind.JSON: _json,
}
"""Each returns the value in the type of the column, or None if that would lose information."""


def as_json(fields: Mapping[str, object]) -> str:
    """Write fields as JSON, sorted by name.

    :raises Unreadable: they are nested too deeply to be written.
    """
    try:
        return exact_json.dumps(fields, sort=True)
    except Unreadable:
        raise Unreadable(f"unknown fields cannot be stored as JSON: {_shown(sorted(fields))}") from None


def _shown(value: object) -> str:
    """Show a value, in one short line."""
    try:
        text = exact_json.dumps(value)
    except (Unreadable, TypeError):
        text = f"a {type(value).__name__} that JSON cannot represent"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
