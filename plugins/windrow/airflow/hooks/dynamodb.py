"""Items of DynamoDB, each written on a condition: a write never replaces a newer item, whoever else writes."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from decimal import Decimal
from itertools import islice
from typing import Any

from airflow.providers.amazon.aws.hooks.dynamodb import DynamoDBHook
from botocore.exceptions import ClientError

from windrow.model.errors import Unwritten

log = logging.getLogger(__name__)

Item = Mapping[str, Any]
"""Plain values by attribute; numbers are int or Decimal."""

AT_ONCE = 8
"""Concurrent writes. Batches of DynamoDB do not support conditions."""
_PART = 100
"""Number of items that are taken from the caller at a time."""
LARGEST = 400_000
"""Maximum size of an item, in bytes; DynamoDB refuses more than 409,600."""
CUT = "is_cut"
"""Attribute of an item that was too large: true."""
_THROTTLED = {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"}
_NUMBER_BYTES = 21


class DynamoTable:
    """A table of DynamoDB.

    :param key: its partition key; the table must not have a sort key.
    :param version: the attribute that shows which of two items is newer: an ISO 8601 timestamp in UTC.
    """

    def __init__(self, aws_conn_id: str, table: str, *, key: str, version: str = "fetched_at") -> None:
        self._client = DynamoDBHook(aws_conn_id=aws_conn_id).get_conn().meta.client
        self._table = table
        self._key = key
        self._version = version

    def beside(self, table: str, *, key: str, version: str = "fetched_at") -> "DynamoTable":
        """Return another table that uses the same client: a new client costs up to 0.25 s of CPU."""
        other = copy(self)
        other._table, other._key, other._version = table, key, version
        return other

    def all(self) -> Iterator[dict[str, Any]]:
        """Return all items."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True):
            yield from page["Items"]

    def get(self, key: str) -> dict[str, Any] | None:
        """Return one item, or None if it does not exist."""
        answer: dict[str, Any] = self._client.get_item(TableName=self._table, Key={self._key: key}, ConsistentRead=True)
        return answer.get("Item")

    def put(self, items: Iterable[Item]) -> int:
        """Write items. Each replaces the item of its key unless that is newer. Return how many were written.

        An item that is too large is cut to fit, and marked with `CUT`. An item that DynamoDB refuses stops no other.

        :raises Unwritten: DynamoDB had no capacity in any attempt; other items may be written.
        :raises ClientError: DynamoDB refused an item; all others are written.
        """
        written, refused = 0, []
        rest = iter(items)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while part := list(islice(rest, _PART)):
                for outcome in pool.map(self._write, part):
                    if isinstance(outcome, ClientError):
                        refused.append(outcome)
                    else:
                        written += outcome
        if refused:
            raise refused[0]
        return written

    def _write(self, item: Item) -> bool | ClientError:
        """Write an item unless there is a newer one; return whether it was written, or why DynamoDB refused it."""
        names = {"#key": self._key, "#version": self._version}
        try:
            self._client.put_item(
                TableName=self._table,
                Item=fitted(item, keep=(self._key, self._version)),
                ConditionExpression="attribute_not_exists(#key) OR attribute_not_exists(#version) OR #version <= :own",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={":own": item[self._version]},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        except ClientError as error:
            if error.response["Error"]["Code"] in _THROTTLED:
                raise Unwritten(
                    f"DynamoDB did not write the item {item[self._key]!r:.80} of the table {self._table!r}: {error}",
                    advice="The next try writes all items again. If this happens again, increase the capacity of the "
                    "table.",
                ) from error
            log.warning("DynamoDB refused the item %.80r of the table %r: %s", item[self._key], self._table, error)
            return error
        return True


def fitted(item: Item, *, keep: Sequence[str]) -> dict[str, Any]:
    """Return an item that DynamoDB accepts. Its largest attributes are cut at their end until it fits.

    :param keep: attributes that are not cut.
    """
    made = dict(item)
    while (excess := _size(made) - LARGEST) > 0:
        name = max(made.keys() - set(keep), key=lambda name: _size(made[name]), default=None)
        if name is None:
            break
        log.warning("The attribute %r of the item %.80r is cut: it is too large", name, made[keep[0]])
        made[name] = _shortened(made[name], excess)
        made[CUT] = True
    return made


def _shortened(value: Any, excess: int) -> Any:
    """Return a value without so many bytes at its end, or more; None if it cannot be cut."""
    if isinstance(value, str) and value:
        return value.encode()[: -excess or None].decode(errors="ignore") if excess < len(value.encode()) else ""
    if isinstance(value, list) and value:
        shorter = list(value)
        while shorter and excess > 0:
            excess -= _size(shorter.pop()) + 1
        return shorter
    return None


def _size(value: Any) -> int:
    """Return the size of a value in DynamoDB, in bytes, or a little more."""
    match value:
        case str():
            return len(value.encode())
        case bool() | None:
            return 1
        case int() | Decimal():
            return _NUMBER_BYTES
        case Mapping():
            return 3 + sum(1 + len(str(name).encode()) + _size(one) for name, one in value.items())
        case _:
            return 3 + sum(1 + _size(one) for one in value)
