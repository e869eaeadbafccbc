"""A record as a message of a queue: a flat JSON object with the names of the table's columns.

So a BigQuery subscription of Pub/Sub, with "use table schema", writes the same messages without us.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import orjson

from windrow.model.contract import LINEAGE, Contract
from windrow.model.errors import Unreadable


def to_message(record: Mapping[str, object]) -> bytes:
    """Write a record with its lineage; empty columns are left out."""
    return orjson.dumps({name: value for name, value in record.items() if value is not None})


def from_message(data: bytes, contract: Contract) -> dict[str, object]:
    """Read a record with its lineage out of a message.

    :raises Unreadable: it is none, or has fields that the table does not have.
    """
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"no JSON: {error}") from None
    if not isinstance(fields, Mapping):
        raise Unreadable("a message should be a JSON object")
    columns = _by_column(contract)
    unknown = sorted(fields.keys() - {column.name for column in columns.columns})
    if unknown:
        raise Unreadable(f"the message has fields that the table has not: {unknown}")
    record = columns.record(fields)
    # what a contract calls extra are fields that it does not know; here the column itself is one that is known
    extra = fields.get("_extra")
    if not isinstance(extra, str | None):
        raise Unreadable("field '_extra' should be a text")
    return record | {"_extra": extra}


@lru_cache
def _by_column(contract: Contract) -> Contract:
    """Return a contract, lineage included, whose fields have the names of the columns."""
    return Contract(tuple(replace(column, field=column.name) for column in (*contract.columns, *LINEAGE)))
