"""Boards: charts of marts, defined in include/dashboards, each with an SQL file and a Vega-Lite specification."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.sdk import Variable
from google.api_core.retry import Retry, if_exception_type
from google.cloud import bigquery

from windrow.declare.include import include_folder

INCLUDE = include_folder()
BOARDS = INCLUDE / "dashboards"
SQL = INCLUDE / "sql"
PATIENCE_S = 20.0
"""Timeout of a query."""
ONCE = Retry(predicate=if_exception_type())
"""No retries: by default the client retries for ten minutes, and the page retries itself."""

Rows = list[dict[str, Any]]


def boards() -> list[str]:
    """Return the names of all boards."""
    return sorted(path.stem for path in BOARDS.glob("*.json"))


def declared(name: str) -> dict[str, Any]:
    """Return the definition of a board. Raises KeyError if it does not exist."""
    if name not in boards():
        raise KeyError(name)
    board: dict[str, Any] = json.loads((BOARDS / f"{name}.json").read_text(encoding="utf-8"))
    return board


def rows(name: str, gcp_conn_id: str = "google_cloud_default") -> dict[str, Rows]:
    """Run the queries of a board, and return the rows of each.

    :raises KeyError: the board does not exist.
    :raises Exception: an error of Airflow about the connection, or of BigQuery about the queries.
    """
    queries: dict[str, str] = declared(name)["queries"]
    prefix = str(Variable.get("windrow_prefix", default=""))  # as in the SQL of the DAGs
    hook = BigQueryHook(gcp_conn_id=gcp_conn_id, use_legacy_sql=False)
    client = hook.get_client(project_id=hook.project_id, location=hook.location)
    with ThreadPoolExecutor(len(queries)) as pool:
        asked = {key: pool.submit(_rows, client, file, prefix) for key, file in queries.items()}
        return {key: future.result() for key, future in asked.items()}


def _rows(client: bigquery.Client, file: str, prefix: str) -> Rows:
    """Run an SQL file once, and return its rows with JSON values."""
    sql = (SQL / file).read_text(encoding="utf-8").replace("{{ prefix() }}", prefix)
    found = client.query_and_wait(sql, api_timeout=PATIENCE_S, wait_timeout=PATIENCE_S, retry=ONCE, job_retry=ONCE)
    return [{name: _plain(value) for name, value in row.items()} for row in found]


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def is_empty(found: Mapping[str, Sequence[object]]) -> bool:
    """Return whether all queries of a board have no rows."""
    return not any(found.values())
