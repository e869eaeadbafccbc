"""A record as a message of a queue: a flat JSON object with the column names of the table.

So a BigQuery subscription of Pub/Sub with "use table schema" can write the same messages without this code.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from windrow.model import exact_json
from windrow.model.contract import LINEAGE, Column, Contract, Kind, as_json, unknown
from windrow.model.errors import Unreadable


def to_message(record: Mapping[str, object]) -> bytes:
    """Write a record with its lineage; null columns are omitted."""
    return exact_json.dumps({name: value for name, value in record.items() if value is not None}).encode()


def from_message(data: bytes, contract: Contract) -> dict[str, object]:
    """Read a record with its lineage from a message.

    Fields that are not columns of the table are kept in ``_extra``, beside those that the message has there itself.

    :raises Unreadable: the message is not a record.
    """
    fields = exact_json.loads(data)
    if not isinstance(fields, Mapping):
        raise Unreadable("a message must be a JSON object")
    columns = _by_column(contract)
    record = columns.record(fields)
    text = fields.get("_extra")
    extra = exact_json.loads(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else {}
    if not isinstance(text, str | None) or not isinstance(extra, dict):
        raise Unreadable("field '_extra' must be a JSON object as text")
    # `_extra` is a column here, so the contract's own `_extra` has only the other fields
    rest = unknown(fields, columns.columns)
    return record | {"_extra": as_json({**extra, **rest}) if rest else text}


@lru_cache
def _by_column(contract: Contract) -> Contract:
    """Return the contract of messages: fields have the names of the columns, and values those of a record."""
    return Contract(tuple(map(_of_message, (*contract.columns, *LINEAGE))))


def _of_message(column: Column) -> Column:
    kind = Kind.STRING if column.kind is Kind.JSON else column.kind
    columns = tuple(map(_of_message, column.columns))
    return replace(column, field=column.name, kind=kind, format="", zone="", columns=columns)
