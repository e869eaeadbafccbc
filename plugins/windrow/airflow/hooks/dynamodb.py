"""Items of DynamoDB, each written on a condition: a write never replaces a newer item, whoever else writes."""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import islice
from typing import Any

from airflow.providers.amazon.aws.hooks.dynamodb import DynamoDBHook
from botocore.exceptions import ClientError

from windrow.airflow.cloud_errors import rule_of
from windrow.model.dynamo_item import Item, put_of
from windrow.model.errors import Unwritten

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Concurrent writes. Batches of DynamoDB do not support conditions."""
_PART = 100
"""Number of items that are taken from the caller at a time."""


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

    def delete(self, item: Item) -> None:
        """Delete an item; it may already be deleted."""
        described = self._client.describe_table(TableName=self._table)["Table"]["KeySchema"]
        names = [one["AttributeName"] for one in described]
        self._client.delete_item(TableName=self._table, Key={name: item[name] for name in names})

    def put(self, items: Iterable[Item]) -> int:
        """Write items. Each replaces the item of its key unless that is newer. Return how many were written.

        An item that is too large is cut to fit, see `windrow.model.dynamo_item`. An item that DynamoDB refuses does not
        stop the others.

        :raises Unwritten: DynamoDB had a temporary error in every attempt; other items may be written.
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
        try:
            self._client.put_item(TableName=self._table, **put_of(item, key=self._key, version=self._version))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        except ClientError as error:
            rule = rule_of(error)
            if rule and rule.transient:
                raise Unwritten(
                    f"DynamoDB did not write the item {item[self._key]!r:.80} of the table {self._table!r}: {error} "
                    f"({rule})",
                    advice=f"{rule.do} It is safe to write items again.",
                ) from error
            log.warning("DynamoDB refused the item %.80r of the table %r: %s", item[self._key], self._table, error)
            return error
        return True
