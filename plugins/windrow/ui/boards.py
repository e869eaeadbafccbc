"""Boards: charts over marts, declared in include/dashboards, each with an SQL file and a Vega-Lite specification."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from google.cloud import bigquery

INCLUDE = Path(__file__).parents[3] / "include"
BOARDS = INCLUDE / "dashboards"
SQL = INCLUDE / "sql"
FRESH_S = 5.0
"""For so long rows are shown again, however many people look: each look would be a job in BigQuery."""

Rows = list[dict[str, Any]]


def boards() -> list[str]:
    """Name the boards that there are."""
    return sorted(path.stem for path in BOARDS.glob("*.json"))


def declared(name: str) -> dict[str, Any]:
    """Return a board as it is declared. Raises KeyError when there is none."""
    if name not in boards():
        raise KeyError(name)
    board: dict[str, Any] = json.loads((BOARDS / f"{name}.json").read_text(encoding="utf-8"))
    return board


class Warehouse:
    """Runs the queries of boards, and keeps their rows for a moment."""

    def __init__(self, gcp_conn_id: str = "google_cloud_default") -> None:
        self._gcp_conn_id = gcp_conn_id
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def data(self, name: str) -> dict[str, Any]:
        """Return the rows of each query of a board, and when they were asked for.

        :raises KeyError: there is no such board.
        :raises Exception: what Airflow says of the connection, or BigQuery of the queries.
        """
        queries = declared(name)["queries"]
        with self._lock:  # of many who look at once, one asks
            asked_at, kept = self._kept.get(name, (0.0, {}))
            if time.monotonic() - asked_at > FRESH_S or not kept:
                kept = {"asked_at": datetime.now(UTC).isoformat(), "rows": self._ask(queries)}
                self._kept[name] = time.monotonic(), kept
            return kept

    def _ask(self, queries: Mapping[str, str]) -> dict[str, Rows]:
        hook = BigQueryHook(gcp_conn_id=self._gcp_conn_id, use_legacy_sql=False)
        client = hook.get_client(project_id=hook.project_id, location=hook.location)
        with ThreadPoolExecutor(len(queries)) as pool:
            asked = {key: pool.submit(_rows, client, file) for key, file in queries.items()}
            return {key: future.result() for key, future in asked.items()}


def _rows(client: bigquery.Client, file: str) -> Rows:
    """Run an SQL file, and return its rows as JSON has them."""
    found = client.query_and_wait((SQL / file).read_text(encoding="utf-8"))
    return [{name: _plain(value) for name, value in row.items()} for row in found]


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def is_empty(rows: Mapping[str, Sequence[object]]) -> bool:
    """Say whether no query of a board has a row."""
    return not any(rows.values())
