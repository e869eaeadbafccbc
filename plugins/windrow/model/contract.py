"""The contract of a stream: the columns of its records.

The check of each record, the Parquet schema and the BigQuery schema all come from this one declaration. A field that is
not in the contract is kept in ``_extra``; a field that does not match the contract makes the answer unreadable,
with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING

import orjson

from windrow.model.errors import Unreadable

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(Enum):
    """The type of a column, with its names in BigQuery and in Athena."""

    STRING = ("STRING", "string")
    INTEGER = ("INTEGER", "bigint")
    FLOAT = ("FLOAT", "double")
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
            case Kind.BOOLEAN:
                return pa.bool_()
            case Kind.TIMESTAMP:
                return pa.timestamp("us", tz="UTC")
            case Kind.DATE:
                return pa.date32()


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the field of the API that it comes from."""

    name: str
    field: str
    kind: Kind
    description: str
    required: bool = False


LINEAGE = (
    Column("_extra", "", Kind.STRING, "Fields of the answer that are not in the contract, as JSON."),
    Column("_key", "", Kind.STRING, "Key of the query that returned this record.", required=True),
    Column("_fetched_at", "", Kind.TIMESTAMP, "When the answer arrived.", required=True),
    Column("_run_id", "", Kind.STRING, "Airflow run that fetched it.", required=True),
)
"""Columns that are added to every record."""

_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53
"""Below this a float represents whole numbers exactly. Parsers turn integers beyond 64 bits into floats."""
_SHOWN = 60
"""Maximum characters of an invalid value in a reason."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a stream, without the lineage columns."""

    columns: tuple[Column, ...]

    def record(self, fields: object) -> dict[str, object]:
        """Check one record of the API and return its values by column.

        Only lossless conversions are made: an integer for a float column, ``3.0`` for an integer column, an
        ISO 8601 string with a time zone for a timestamp, ``2026-11-20`` for a date. Any other difference is an error.

        JSON parsers turn integers beyond 64 bits into floats, and timestamps have microseconds here; the staged
        answer keeps both as the API sent them.

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
    match column.kind, value:
        case Kind.STRING, str():
            return value
        case Kind.BOOLEAN, bool():
            return value
        case ((Kind.INTEGER | Kind.FLOAT), bool()):
            pass
        case Kind.FLOAT, float():
            return value
        case Kind.FLOAT, int() if _is_exact(value):
            return float(value)
        case Kind.INTEGER, int() if value in _INT64:
            return value
        case Kind.INTEGER, float() if value.is_integer() and abs(value) < _EXACT:
            return int(value)
        case Kind.TIMESTAMP, str():
            moment = _moment(value)
            if moment is not None:
                return moment
        case Kind.DATE, str():
            day = _day(value)
            if day is not None:
                return day
        case _:
            pass
    raise Unreadable(f"field {column.field!r} must be {column.kind.name}, not {_shown(value)}")


def _is_exact(number: int) -> bool:
    """Return whether a float can represent this integer exactly."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _moment(text: str) -> datetime | None:
    """Read an ISO 8601 timestamp; None if it is invalid or has no time zone."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _day(text: str) -> date | None:
    """Read a date like 2026-11-20; None if it is invalid. Other ISO 8601 formats, such as weeks, are not accepted."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def _as_json(fields: Mapping[str, object]) -> str:
    """Write fields as JSON, sorted by name.

    :raises Unreadable: they are nested too deeply to be written.
    """
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        raise Unreadable(f"unknown fields cannot be stored as JSON: {_shown(sorted(fields))}") from None


def _shown(value: object) -> str:
    """Show a value, in one short line."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = f"a {type(value).__name__} that JSON cannot represent"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
