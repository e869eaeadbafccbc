"""titanic_passengers in this process, from the fake API to the table: what needs no scheduler to be seen."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.apis.testing import FakeApi
from local_cloud.settings import PROJECT_ID, Settings
from tests.dag_run import DagRun, load
from tests.integration.conftest import rows
from windrow.airflow.hooks.stores import GcsStore
from windrow.airflow.operators.failure import story
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.model.errors import CheckFailed, CountsDisagree

DAG = Path(__file__).resolve().parents[2] / "dags" / "titanic_passengers.py"
NAMES = 891
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSENGERS = "SELECT * EXCEPT (_fetched_at, _run_id) FROM titanic.passengers ORDER BY passenger_id"
EVERYTHING = "SELECT * FROM titanic.passengers ORDER BY passenger_id"
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
    receipt: dict[str, Any] = run_tasks(made(run_id, at, **params))["prove"]
    return receipt


def made(run_id: str, at: datetime = NOON, **params: Any) -> DagRun:
    return DagRun(load(DAG).titanic_passengers(), run_id, at=at, **params)


def run_tasks(dag_run: DagRun, first: str = "plan", last: str = "prove") -> dict[str, Any]:
    """Run the tasks from one to another, as if the first was cleared with all downstream."""
    tasks = [task.task_id for task in dag_run.dag.topological_sort() if task.task_id not in OF_THE_QUEUE]
    return dag_run.run(*tasks[tasks.index(first) : tasks.index(last) + 1])


def test_faults_lose_nothing_and_a_second_run_replaces_the_rows_by_the_same(titanic: bigquery.Client, api: FakeApi):
    receipt = run("quiet")
    asked = api.counters()["routes"]["GET /get_user_by_name"]
    assert (asked["unique"], asked["repeated"], asked["ok"]) == (NAMES, 0, NAMES), "each name is asked for once"
    assert receipt["listed"] == 2 * NAMES, "the list names everybody twice"
    before = rows(titanic, PASSENGERS)
    assert len({row["passenger_id"] for row in before}) == len(before) == NAMES
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

    before = rows(titanic, EVERYTHING)
    api.reset()
    assert run("quiet")["agrees"], "cleared, and older than what is in the table"
    assert api.counters()["totals"]["requests"] == 0
    assert rows(titanic, EVERYTHING) == before


def test_two_people_and_a_clear_at_once_leave_the_same_rows(titanic: bigquery.Client, api: FakeApi):
    """Airflow runs one statement of a kind at a time, so the tables are made one after the other."""
    names = sorted(set(api.get("/get_user_list", api.token()).json()["users"]))[:40]
    api.faults(latency_ms=5)
    at_once = [made(run_id, names=names) for run_id in ("ada", "grace", "ada")]  # one of ada's tasks was cleared
    with ThreadPoolExecutor(len(at_once)) as threads:
        list(threads.map(lambda one: run_tasks(one, last="land"), at_once))

    receipts = [run_tasks(one, "load")["prove"] for one in at_once[:2]]

    assert all(receipt["agrees"] for receipt in receipts)
    assert [receipt["merged"] for receipt in receipts] == [len(names)] * 2
    assert sorted(row["name"] for row in rows(titanic, PASSENGERS)) == names


def test_a_name_the_api_does_not_know_is_told_and_the_rest_is_loaded(titanic: bigquery.Client, api: FakeApi):
    names = [api.get("/get_user_list", api.token()).json()["users"][0], "Nobody, Mr. X"]
    with pytest.raises(CountsDisagree, match=re.escape(names[1])):
        run("strict", names=names)
    assert run("lenient", names=names, max_gaps=1)["agrees"]
    assert [row["name"] for row in rows(titanic, PASSENGERS)] == names[:1]


def test_a_refused_load_is_told_and_mended_by_clearing_land(titanic: bigquery.Client, api: FakeApi, store: GcsStore):
    names = api.get("/get_user_list", api.token()).json()["users"][:1]
    one = made("refused", names=names)
    (landed,) = run_tasks(one, last="land")["land"]["objects"]
    store.put(landed, b"this is no Parquet")
    with pytest.raises(GoogleAPICallError) as refused:
        run_tasks(one, "load", "load")
    context = one.context | {"task_instance": one.context["ti"], "exception": refused.value}
    assert "The landed files are kept" in story(context)
    decision = ErrorPolicy().evaluate(refused.value, 1, 3)
    assert decision.action is RetryAction.FAIL, "a retry would not help"
    assert run_tasks(one, "land")["prove"]["loaded"] == 1


def test_a_load_that_was_deferred_is_checked_when_it_continues(titanic: bigquery.Client):
    load_task = made("deferred").dag.get_task("load")
    load_task.audit = "SELECT FALSE AS has_rows"
    ended = {"status": "success", "message": "done", "job_id": "one"}
    with pytest.raises(CheckFailed, match=r"do not pass these checks: has_rows\."):
        load_task.execute_complete({"run_id": "deferred"}, ended)
