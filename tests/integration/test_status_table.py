"""The table `harvest_status` says what the page and the terminal say."""

import json
import os
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.dag_run import DagRun, load
from tests.integration.tables import Tables
from windrow.airflow.dags import harvest_dag
from windrow.airflow.operators.status import StageStatusOperator, rows
from windrow.cli.main import main
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.interval import State
from windrow.harvest.status.snapshot import take
from windrow.model.plan import Run
from windrow.model.table import Warehouse
from windrow.store.staging import Staging
from windrow.store.status import StatusStore

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
COUNTS = ("planned", "done", "missing", "quarantined")


@pytest.fixture(autouse=True)
def own_database(tables: Tables, cloud: Settings, staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    given = airflow_env.mongo_connection(cloud, staging._database.name)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(given))
    monkeypatch.setenv("WINDROW_MONGO_URL", airflow_env.mongo_url(cloud, staging._database.name))
    monkeypatch.delenv("AIRFLOW_CONN_WINDROW_AIRFLOW")  # the local cloud's; here is no Airflow
    staging.prepare("shop_orders")


def harvested(staging: Staging, run_id: str, planned: int, staged: int, name: str = "shop_orders") -> None:
    run = Run(name, run_id, name)
    staging.save_plan(run, [])
    staging._summarize(run, {"$set": {"planned": planned}})
    lost = planned - staged
    figures = {"agrees": not lost, "planned": planned, "staged": staged, "gaps": 0, "merged": staged}
    staging.note(run, "harvest x", {"state": "ended", "planned": planned, "answered": staged, "gaps": 0})
    staging.note(run, "receipt", figures | {"watermark": "2026-11-26"})


@pytest.mark.parametrize("tables", [Warehouse.BIGQUERY, Warehouse.ATHENA], indirect=True)
def test_the_table_agrees_with_the_terminal(tables: Tables, staging: Staging) -> None:
    module = load(ROOT / "dags/harvest_status.py")
    stage = lambda: StageStatusOperator(task_id="stage", dataset="harvest_status")  # noqa: E731
    dag = harvest_dag(module.HarvestStatus, conn_id="windrow_airflow", into=tables.kind, stage=stage)
    tables.drop("harvest.status")
    harvested(staging, "scheduled__2026-11-26T00:00:00+00:00", 1_204, 1_204)
    harvested(staging, "scheduled__2026-11-27T00:00:00+00:00", 1_204, 1_200)
    harvested(staging, "scheduled__2026-11-27T00:00:00+00:00", 7, 7, name="shop_items")

    first = DagRun(dag, "one", at=NOON).run()
    before = {(row["stream"], str(row["due_at"])[:10]): row for row in tables.rows("SELECT * FROM harvest.status")}
    harvested(staging, "scheduled__2026-11-27T00:00:00+00:00", 1_204, 1_204)  # it was cleared, and is complete now
    second = DagRun(dag, "two", at=NOON + timedelta(hours=1)).run()
    after = tables.rows("SELECT * FROM harvest.status")

    assert (first["stage"], second["stage"]) == (3, 3)
    assert (first["prove"]["agrees"], second["prove"]["table"]) == (True, 3)
    assert before["shop_orders", "2026-11-27"]["state"] == "incomplete"
    assert int(before["shop_orders", "2026-11-27"]["missing"]) == 4
    assert {row["state"] for row in after} == {"complete"}
    out = StringIO()
    main(["status", "--json"], os.environ, out)
    told = {one["dataset"]: one for one in json.loads(out.getvalue())["streams"]}
    for row in after:
        stream: dict[str, Any] = told[row["stream"]]
        assert row["state"] in stream["strip"]
        if row["run_id"] == stream["last"]["run_id"]:
            assert {name: int(row[name]) for name in COUNTS} == {
                name: stream["last"]["counts"][name] for name in COUNTS
            }
            assert row["watermark"] == stream["newest"] == "2026-11-26"
    assert sum(row["run_id"] == told[row["stream"]]["last"]["run_id"] for row in after) == 2


def test_of_several_runs_of_an_interval_the_newest_is_the_row(staging: Staging) -> None:
    staging_of = StatusStore(staging._client, staging._database.name)
    harvested(staging, "scheduled__2026-11-27T00:00:00+00:00", 10, 9)
    harvested(staging, "manual__2026-11-27T00:00:00+00:00", 10, 10)

    (row,) = rows(take(staging_of, Facts()))

    assert (row["run_id"], row["state"]) == ("manual__2026-11-27T00:00:00+00:00", State.COMPLETE.value)
