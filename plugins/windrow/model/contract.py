"""The contract of a stream: the columns of its records.

The check of each record, the Parquet schema and the BigQuery schema all come from this one declaration. A field that is
not in the contract is kept in ``_extra``; a field that does not match the contract makes the answer unreadable,
with the reason.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from windrow.model import exact_json
from windrow.model.errors import Unreadable

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(Enum):
    """The type of a column, with its names in BigQuery and in Athena."""

    STRING = ("STRING", "string")
    INTEGER = ("INTEGER", "bigint")
    FLOAT = ("FLOAT", "double")
    NUMERIC = ("NUMERIC", "decimal(38,9)")
    BOOLEAN = ("BOOLEAN", "boolean")
    TIMESTAMP = ("TIMESTAMP", "timestamp")
    DATE = ("DATE", "date")

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
        """The type in Parquet."""
        import pyarrow as pa  # noqa: PLC0415 - 140 MB that a function which lands nothing need not carry

        match self:
            case Kind.STRING:
                return pa.string()
            case Kind.INTEGER:
                return pa.int64()
            case Kind.FLOAT:
                return pa.float64()
            case Kind.NUMERIC:
                return pa.decimal128(38, 9)
            case Kind.BOOLEAN:
                return pa.bool_()
            case Kind.TIMESTAMP:
                return pa.timestamp("us", tz="UTC")
            case Kind.DATE:
                return pa.date32()


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the field of the API that it comes from.

    ``format`` says how the API writes a TIMESTAMP or a DATE: empty for RFC 3339, ``epoch``, ``epoch_ms``, ``epoch_us``
    or ``epoch_ns`` for a number since 1970, or a format of `datetime.strptime` like ``%d/%m/%Y %H:%M``. ``zone`` is the
    time zone of timestamps without one, like ``Europe/Berlin``; without it they do not match the contract.
    """

    name: str
    field: str
    kind: Kind
    description: str
    required: bool = False
    format: str = ""
    zone: str = ""

    def __post_init__(self) -> None:
        if (self.zone or self.format) and self.kind not in {Kind.TIMESTAMP, Kind.DATE}:
            raise ValueError(f"column {self.name!r}: only a TIMESTAMP or a DATE has a format or a zone")
        if self.zone and self.zone not in available_timezones():
            raise ValueError(f"column {self.name!r}: {self.zone!r} is not a time zone like Europe/Berlin")


LINEAGE = (
    Column("_extra", "", Kind.STRING, "Fields of the answer that are not in the contract, as JSON."),
    Column("_key", "", Kind.STRING, "Key of the query that returned this record.", required=True),
    Column("_fetched_at", "", Kind.TIMESTAMP, "When the answer arrived.", required=True),
    Column("_run_id", "", Kind.STRING, "Airflow run that fetched it.", required=True),
)
"""Columns that are added to every record."""

_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53
"""Below this a float represents whole numbers exactly."""
_NUMERIC_STEP = Decimal("1e-9")
_NUMERIC = Context(prec=38, Emin=-9, Emax=37, traps=[InvalidOperation])
"""BigQuery's NUMERIC: 38 digits, 9 of them after the point. Athena has the same as decimal(38,9)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCHS = {"epoch": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
"""Units a second."""
_LEAP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):60(?:\.\d+)?(.*)")
_INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT_TEXT = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300})([eE][+-]?[0-9]{1,2})?")
_SHOWN = 60
"""Maximum characters of an invalid value in a reason."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a stream, without the lineage columns."""

    columns: tuple[Column, ...]

    def record(self, fields: object) -> dict[str, object]:
        """Check one record of the API and return its values by column.

        Only lossless conversions are made: an integer for a float column, ``3.0`` for an integer column, a number or a
        string like ``"12.50"`` for a NUMERIC column, an RFC 3339 string for a timestamp, ``2026-11-20`` for a date. Any
        other difference is an error.

        Timestamps have microseconds here; the staged answer keeps them as the API sent them.

        :raises Unreadable: a field does not match the contract; the message has the first one.
        """
        if not isinstance(fields, Mapping):
            raise Unreadable(f"a record must be a JSON object, not {_shown(fields)}")
        record: dict[str, object] = {}
        for column in self.columns:
            value = fields.get(column.field)
            if value is None:
                if column.required:
                    state = "null" if column.field in fields else "missing"
                    raise Unreadable(f"field {column.field!r} is {state}")
                record[column.name] = None
            else:
                record[column.name] = _converted(value, column)
        known = {column.field for column in self.columns}
        extra = {field: value for field, value in fields.items() if field not in known}
        record["_extra"] = _as_json(extra) if extra else None
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
    def arrow_schema(self) -> "pa.Schema":
        """The Parquet schema, lineage included."""
        import pyarrow as pa  # noqa: PLC0415 - see Kind.arrow

        return pa.schema([
            pa.field(column.name, column.kind.arrow, nullable=not column.required)
            for column in (*self.columns, *LINEAGE)
        ])

    @property
    def bigquery_fields(self) -> list[dict[str, str]]:
        """The schema in the format of BigQuery's API, lineage included."""
        return [
            {
                "name": column.name,
                "type": column.kind.bigquery,
                "mode": "REQUIRED" if column.required else "NULLABLE",
                "description": column.description,
            }
            for column in (*self.columns, *LINEAGE)
        ]


def _converted(value: object, column: Column) -> object:
    """Return the value in the type of its column.

    :raises Unreadable: the conversion would lose information.
    """
    read = _READERS[column.kind](value, column)
    if read is None:
        expected = f"{column.kind.name} in the format {column.format!r}" if column.format else column.kind.name
        raise Unreadable(f"field {column.field!r} must be {expected}, not {_shown(value)}")
    return read


def _from_text(text: str, kind: Kind) -> object:
    """Return the value of a text, or the text if it is not one of this kind."""
    if kind is Kind.INTEGER and _INTEGER_TEXT.fullmatch(text):
        return int(text)
    if kind is Kind.FLOAT and _FLOAT_TEXT.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text) if kind is Kind.BOOLEAN else text


def _string(value: object, column: Column) -> str | None:
    return value if isinstance(value, str) else None


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
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
        return number if number == number.quantize(_NUMERIC_STEP, context=_NUMERIC) else None
    except InvalidOperation:  # not a number, infinite, or too many digits
        return None


def _timestamp(value: object, column: Column) -> datetime | None:
    """Read a timestamp; None if it does not have the declared format, or has no time zone."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        if column.format in _EPOCHS:
            microseconds = Decimal(str(value)) * 1_000_000 / _EPOCHS[column.format]
            return _EPOCH + timedelta(microseconds=int(microseconds.to_integral_value(ROUND_FLOOR)))
        if not isinstance(value, str):
            return None
        moment = datetime.strptime(value, column.format) if column.format else _rfc3339(value)  # noqa: DTZ007 - below
        if moment.tzinfo is None and column.zone:
            moment = moment.replace(tzinfo=ZoneInfo(column.zone))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, ArithmeticError):
        return None


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


_READERS: Mapping[Kind, Callable[[object, Column], object]] = {
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.NUMERIC: _numeric,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATE: _date,
}
"""Each returns the value in the type of the column, or None if that would lose information."""


def _as_json(fields: Mapping[str, object]) -> str:
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
