"""A record as a message of a queue: a flat JSON object with the column names of the table.

So a BigQuery subscription of Pub/Sub with "use table schema" can write the same messages without this code.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from windrow.model import exact_json
from windrow.model.contract import LINEAGE, Column, Contract, Kind
from windrow.model.errors import Unreadable


def to_message(record: Mapping[str, object]) -> bytes:
    """Write a record with its lineage; null columns are omitted."""
    return exact_json.dumps({name: value for name, value in record.items() if value is not None}).encode()


def from_message(data: bytes, contract: Contract) -> dict[str, object]:
    """Read a record with its lineage from a message.

    :raises Unreadable: the message is not a record, or has fields that are not columns of the table.
    """
    fields = exact_json.loads(data)
    if not isinstance(fields, Mapping):
        raise Unreadable("a message must be a JSON object")
    columns = _by_column(contract)
    unknown = sorted(fields.keys() - {column.name for column in columns.columns})
    if unknown:
        raise Unreadable(f"the message has fields that are not columns of the table: {unknown}")
    record = columns.record(fields)
    # what a contract calls extra are fields that it does not know; here the column itself is one that is known
    extra = fields.get("_extra")
    if not isinstance(extra, str | None):
        raise Unreadable("field '_extra' must be a string")
    return record | {"_extra": extra}


@lru_cache
def _by_column(contract: Contract) -> Contract:
    """Return the contract of messages: fields have the names of the columns, and values those of a record."""
    return Contract(tuple(map(_of_message, (*contract.columns, *LINEAGE))))


def _of_message(column: Column) -> Column:
    kind = Kind.STRING if column.kind is Kind.JSON else column.kind
    columns = tuple(map(_of_message, column.columns))
    return replace(column, field=column.name, kind=kind, format="", zone="", columns=columns)
