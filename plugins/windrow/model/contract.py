"""The declared shape of a stream's records: what is checked, what is kept, what the warehouse is told.

One declaration gives the check of each record, the Parquet schema and the BigQuery schema, so they cannot
drift apart. A field that the contract does not know is kept in ``_extra``; a field that breaks its promise
makes the answer unreadable, with the reason.
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
    """A column's type: its names in BigQuery and in Athena."""

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
    """A column, and the field of the API that fills it."""

    name: str
    field: str
    kind: Kind
    description: str
    required: bool = False


LINEAGE = (
    Column("_extra", "", Kind.STRING, "Fields of the answer that the contract does not know, as JSON."),
    Column("_key", "", Kind.STRING, "Key of the query whose answer this record came from.", required=True),
    Column("_fetched_at", "", Kind.TIMESTAMP, "When the answer arrived.", required=True),
    Column("_run_id", "", Kind.STRING, "Airflow run that fetched it.", required=True),
)
"""Columns that every record carries behind its own."""

_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53
"""Below this a float is one whole number for sure. Parsers turn integers beyond 64 bits into floats."""
_SHOWN = 60
"""Characters of a wrong value that go into a reason."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The columns of a stream, without the lineage columns."""

    columns: tuple[Column, ...]

    def record(self, fields: object) -> dict[str, object]:
        """Check one record of the API and name its values by column.

        Parsers of JSON turn integers beyond 64 bits into floats, and instants have microseconds here; the staged
        answer keeps both as they were written.

        Conversions that lose nothing are made (an integer for a float column, ``3.0`` for an integer one, an
        ISO 8601 text with a zone for a timestamp, ``2026-11-20`` for a date); all else that differs from the
        declaration is refused.

        :raises Unreadable: naming the first field that breaks its promise.
        """
        if not isinstance(fields, Mapping):
            raise Unreadable(f"an object was promised, not {_shown(fields)}")
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
        """The schema as BigQuery's API takes it, lineage included."""
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
    """Return the value in its column's type.

    :raises Unreadable: it cannot be had without loss.
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
    raise Unreadable(f"field {column.field!r} should be {column.kind.name}, and is {_shown(value)}")


def _is_exact(number: int) -> bool:
    """Say whether a float can hold this integer."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _moment(text: str) -> datetime | None:
    """Read an ISO 8601 instant; None where it is none, or has no zone."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _day(text: str) -> date | None:
    """Read a day as in 2026-11-20; None where it is none. ISO 8601's other notations, such as weeks, are not taken."""
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
        raise Unreadable(f"unknown fields cannot be kept: {_shown(sorted(fields))}") from None


def _shown(value: object) -> str:
    """Show a value, in one short line."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = f"a {type(value).__name__} that JSON cannot hold"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
