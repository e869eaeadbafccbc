"""titanic_passengers in this process, from the fake API to the table: what needs no scheduler to be seen."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.apis.testing import FakeApi
from local_cloud.settings import PROJECT_ID, Settings
from tests.dag_run import DagRun, load
from tests.integration.conftest import rows
from windrow.model.errors import CountsDisagree

DAG = Path(__file__).resolve().parents[2] / "dags" / "titanic_passengers.py"
NAMES = 891
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSENGERS = "SELECT * EXCEPT (_fetched_at, _run_id) FROM titanic.passengers ORDER BY passenger_id"
OF_THE_QUEUE = {"dispatch", "enqueue", "drain"}


@pytest.fixture
def titanic(cloud: Settings, connections: None, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> bigquery.Client:
    """The warehouse without passengers, and the connection to the fake API."""
    connection = {
        "conn_type": "http", "host": api.url, "login": api.client.client_id, "password": api.client.client_secret,
        "extra": {"token_path": "/oauth/token"},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_TITANIC", json.dumps(connection))
    client = bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options={"api_endpoint": cloud.bigquery_url})
    client.delete_table("titanic.passengers", not_found_ok=True)
    return client


def run(run_id: str, at: datetime = NOON, **params: Any) -> dict[str, Any]:
    """Run the DAG without its queue; return the receipt."""
    dag = load(DAG).titanic_passengers()
    tasks = [task.task_id for task in dag.topological_sort() if task.task_id not in OF_THE_QUEUE]
    receipt: dict[str, Any] = DagRun(dag, run_id, at=at, **params).run(*tasks)["prove"]
    return receipt


def test_faults_lose_nothing_and_a_second_run_replaces_the_rows_by_the_same(titanic: bigquery.Client, api: FakeApi):
    receipt = run("quiet")
    before = rows(titanic, PASSENGERS)
    assert len(before) == NAMES
    assert {receipt[name] for name in ("planned", "staged", "exported", "loaded", "merged", "table")} == {NAMES}

    api.reset()
    api.faults(
        error_share=0.05, error_status=503, token_lifetime_s=1, cut_share=0.02, malformed_share=0.02, latency_ms=10
    )
    receipt = run("faulty", NOON + timedelta(days=1))
    asked = api.counters()["routes"]["GET /get_user_by_name"]

    assert min(asked["by_status"]["503"], asked["cut"], asked["malformed"]) > 0, f"a fault did not fire: {asked}"
    assert receipt["agrees"]
    calls = sum(route["requests"] for name, route in api.counters()["routes"].items() if not name.endswith("token"))
    assert receipt["sent"] == calls > asked["requests"], "every call on the wire is counted"
    assert rows(titanic, PASSENGERS) == before
    assert rows(titanic, "SELECT DISTINCT _run_id FROM titanic.passengers") == [{"_run_id": "faulty"}]


def test_a_name_the_api_does_not_know_is_told_and_the_rest_is_loaded(titanic: bigquery.Client, api: FakeApi):
    names = [api.get("/get_user_list", api.token()).json()["users"][0], "Nobody, Mr. X"]
    with pytest.raises(CountsDisagree, match=re.escape(names[1])):
        run("strict", names=names)
    assert run("lenient", names=names, max_gaps=1)["agrees"]
    assert [row["name"] for row in rows(titanic, PASSENGERS)] == names[:1]
