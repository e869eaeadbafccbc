"""Rows of Athena queries, as mappings from column to string."""

import time
from collections.abc import Iterator
from typing import Any

from airflow.providers.amazon.aws.hooks.athena import AthenaHook
from airflow.sdk.exceptions import AirflowException

from windrow.model.cloud_policy import ATHENA_POLICY, find
from windrow.model.errors import StatementFailed, WarehouseBusy

POLL_S = 1
"""Seconds between two status checks of a query while a task waits for it."""
SHORT_S = 3.0
"""Seconds within which most DDL statements and small queries end."""
LONGEST_S = 3600
"""Longest duration of a query, in seconds. Athena's own limit for a query that reads is 30 minutes by default."""
LOOK_S = 0.25
"""Seconds between two status checks of a query during its first `SHORT_S`."""

Row = dict[str, str | None]


class Athena:
    """Runs queries and stores their results in one place.

    :param output: where Athena writes results, like ``s3://bucket/folder/``.
    """

    def __init__(self, aws_conn_id: str, output: str) -> None:
        self._hook = AthenaHook(aws_conn_id=aws_conn_id, log_query=False)
        self._output = output

    def ask(self, sql: str) -> Iterator[Row]:
        """Run a short query and return its rows.

        :raises StatementFailed: the query failed; the message has Athena's reason.
        :raises WarehouseBusy: the query failed for a temporary reason.
        """
        where = {"OutputLocation": self._output}
        query_id = self._hook.run_query(sql, {"Catalog": "AwsDataCatalog"}, where, workgroup=workgroup(self._hook))
        state = end_of_short(self._hook, query_id) or self._hook.poll_query_status(
            query_id, max_polling_attempts=LONGEST_S // POLL_S, sleep_time=POLL_S
        )
        if state != "SUCCEEDED":
            raise failed(self._hook, query_id)
        return rows(self._hook, query_id)


def workgroup(hook: AthenaHook) -> str:
    """Return the workgroup that the extra of the connection names; Athena's ``primary`` without it."""
    return str(hook.conn_config.extra_config.get("workgroup") or "primary")


def end_of_short(hook: Any, query_id: str) -> str | None:
    """Return the final state of a query that ends within `SHORT_S` seconds; None for one that takes longer."""
    deadline = time.monotonic() + SHORT_S
    while (state := hook.check_query_status(query_id)) in AthenaHook.INTERMEDIATE_STATES:
        if time.monotonic() >= deadline:
            return None
        time.sleep(LOOK_S)
    return str(state)


def failed(hook: Any, query_id: str, path: str = "") -> Exception:
    """Make the error for a query that failed: `WarehouseBusy` if the reason is temporary, otherwise `StatementFailed`.

    :param path: the SQL file, for the message.
    """
    status = hook.get_query_info(query_id)["QueryExecution"]["Status"]
    reason = status.get("StateChangeReason", "Athena gives no reason.")
    query = f"The Athena query {query_id}{f' of {path}' if path else ''}"
    if status["State"] in AthenaHook.INTERMEDIATE_STATES:
        return AirflowException(f"{query} did not end in time: its state is still {status['State']}.")
    what = f"{query} ended with state {status['State']}: {reason}"
    retryable = ["Retryable"] if status.get("AthenaError", {}).get("Retryable") else []
    rule = find(ATHENA_POLICY, retryable, reason)
    if rule:
        return WarehouseBusy(f"{what} ({rule})", advice=f"{rule.do} Then clear this task with all tasks downstream.")
    return StatementFailed(what, advice="Fix the SQL file or the table that it uses, then clear this task.")


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
