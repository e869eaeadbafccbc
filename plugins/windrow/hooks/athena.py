"""Rows of Athena, as mappings of text by column."""

from collections.abc import Iterator
from typing import Any

from airflow.providers.amazon.aws.hooks.athena import AthenaHook

from windrow.errors import CheckFailed

POLL_S = 1
"""Seconds between two looks at a query that a task waits for in place."""

Row = dict[str, str | None]


class Athena:
    """Queries with one place for their results.

    :param output: a location like ``s3://bucket/folder/``.
    """

    def __init__(self, aws_conn_id: str, output: str) -> None:
        self._hook = AthenaHook(aws_conn_id=aws_conn_id, log_query=False)
        self._output = output

    def ask(self, sql: str) -> Iterator[Row]:
        """Run a short query and return its rows.

        :raises CheckFailed: it failed, with Athena's reason.
        """
        query_id = self._hook.run_query(sql, {"Catalog": "AwsDataCatalog"}, {"OutputLocation": self._output})
        state = self._hook.poll_query_status(query_id, sleep_time=POLL_S)
        if state != "SUCCEEDED":
            raise CheckFailed(
                f"The query {query_id} ended as {state}: {self._hook.get_state_change_reason(query_id)}",
                advice="Mend the SQL file, or the table that it names.",
            )
        return rows(self._hook, query_id)


def rows(hook: Any, query_id: str) -> Iterator[Row]:
    """Return the rows of a query that has succeeded, page by page."""
    names: list[str] = []
    for page in hook.get_conn().get_paginator("get_query_results").paginate(QueryExecutionId=query_id):
        for row in page["ResultSet"]["Rows"]:
            values = [value.get("VarCharValue") for value in row["Data"]]
            if names:
                yield dict(zip(names, values, strict=True))
            else:  # the first row of the first page holds the names
                names = values
