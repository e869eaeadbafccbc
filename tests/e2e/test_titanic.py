"""titanic_passengers on the whole local cloud with a real Airflow, driven as a user drives it: over its API.

The tests run in the order of this file and share one cloud: each leaves a healthy API behind.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from local_cloud import airflow_env
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import BUCKET, PROJECT_ID, Settings
from local_cloud.testing import running

DAG_ID = "titanic_passengers"
NAMES = 891
LIMIT_S = 240
EVERYTHING = frozenset({
    "mongo",
    "redis",
    "gcs",
    "bigquery",
    "apis",
    "cloud-tasks",
    "fetch-passenger",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
})


@dataclass
class System:
    """A running local cloud, and the ways to look into it."""

    settings: Settings
    airflow: AirflowApi
    warehouse: bigquery.Client
    bucket: storage.Bucket

    def faults(self, **changes: Any) -> None:
        """Have these faults and no others."""
        requests.delete(f"{self.settings.api_url}/_admin/faults", timeout=10).raise_for_status()
        requests.put(f"{self.settings.api_url}/_admin/faults", json=changes, timeout=10).raise_for_status()

    def reset(self) -> None:
        """Count from zero, without faults."""
        self.faults()
        requests.post(f"{self.settings.api_url}/_admin/reset", timeout=10).raise_for_status()

    def asked(self) -> dict[str, Any]:
        """What the API was asked for single passengers since the last `reset`."""
        counters = requests.get(f"{self.settings.api_url}/_admin/counters", timeout=10).json()
        return dict(counters["routes"].get("GET /get_user_by_name") or {"requests": 0})

    def run(self, **conf: Any) -> tuple[str, str]:
        """Trigger a run and wait for its end: its id and state."""
        run_id = self.airflow.trigger(DAG_ID, conf)
        return run_id, self.airflow.wait(DAG_ID, run_id, limit_s=LIMIT_S)

    def clear(self, run_id: str, task_id: str) -> str:
        """Clear a task with all downstream, wait for the end of the run, and return its state."""
        self.airflow.clear(DAG_ID, run_id, task_id)
        return self.airflow.wait(DAG_ID, run_id, limit_s=LIMIT_S)

    def receipt(self, run_id: str) -> dict[str, Any]:
        path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/prove/xcomEntries/return_value?deserialize=true"
        return dict(self.airflow.call("GET", path)["value"])

    def said(self, run_id: str, task_id: str) -> str:
        """The line that explains why a task failed; empty if there is none."""
        attempt = self.airflow.tasks(DAG_ID, run_id)[task_id]["try_number"]
        lines = [str(line.get("event")) for line in self.airflow.log(DAG_ID, run_id, task_id, attempt)]
        return next((line for line in lines if line.startswith("FAILED: ")), "")

    def failed(self, run_id: str) -> list[str]:
        return [name for name, task in self.airflow.tasks(DAG_ID, run_id).items() if task["state"] == "failed"]

    def passengers(self) -> list[dict[str, Any]]:
        """The final table, without the lineage that differs from run to run."""
        sql = "SELECT * EXCEPT (_fetched_at, _run_id) FROM titanic.passengers ORDER BY passenger_id"
        return [dict(row) for row in self.warehouse.query_and_wait(sql)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("e2e")
    refusals = folder / "beyond_loopback.log"
    os.environ["BEYOND_LOOPBACK_LOG"] = str(refusals)
    with running(EVERYTHING, folder / "var") as settings:
        del os.environ["BEYOND_LOOPBACK_LOG"]
        anonymous = AnonymousCredentials()
        yield System(
            settings,
            AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password),
            bigquery.Client(PROJECT_ID, anonymous, client_options={"api_endpoint": settings.bigquery_url}),
            storage.Client(PROJECT_ID, anonymous, client_options={"api_endpoint": settings.gcs_url}).bucket(BUCKET),
        )
    assert not refusals.exists(), f"something reached beyond this machine:\n{refusals.read_text()}"


def until(condition: Callable[[], Any], limit_s: float = 60) -> Any:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not within {limit_s} s: {condition}")


@pytest.fixture(scope="module")
def first(system: System) -> str:
    """The first run, made by the demo's own second half; its output is checked here, its rows by the tests."""
    settings = system.settings
    environment = airflow_env.airflow_environment(settings, os.environ)
    environment |= {f"WINDROW_{name.upper()}": str(value) for name, value in vars_of(settings).items()}
    root = Path(__file__).resolve().parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "plugins"), environment["PYTHONPATH"]])
    system.reset()
    shown = subprocess.run(
        [sys.executable, "-m", "local_cloud.demo"], env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for name in ("planned", "staged", "exported", "loaded", "merged"):
        assert re.search(rf"^  {name} +{NAMES}$", shown.stdout, re.MULTILINE), shown.stdout
    assert re.search(r"1 +female +90 +87 +0.9667", shown.stdout), shown.stdout
    assert settings.airflow_url in shown.stdout
    assert "password admin" in shown.stdout
    return re.search(r"run (manual__\S+)", shown.stdout).group(1)


def vars_of(settings: Settings) -> dict[str, Any]:
    queue = ("cloud_tasks_port", "cloud_tasks_http_port", "function_port")
    ports = ("airflow_port", "api_port", "gcs_port", "bigquery_port", "bigquery_grpc_port", "mongo_port", "redis_port")
    return {"var": settings.var} | {name: getattr(settings, name) for name in ports + queue}


def test_each_name_is_asked_once_and_becomes_one_row(system, first):
    receipt = system.receipt(first)
    counts = {name: receipt[name] for name in ("planned", "staged", "exported", "loaded", "merged", "table")}
    assert counts == dict.fromkeys(counts, NAMES)
    assert receipt["listed"] == 2 * NAMES, "the list names everybody twice"
    asked = system.asked()
    assert (asked["unique"], asked["repeated"], asked["ok"]) == (NAMES, 0, NAMES)
    rows = system.passengers()
    assert len({row["passenger_id"] for row in rows}) == len(rows) == NAMES
    manifests = [blob.name for blob in system.bucket.list_blobs() if blob.name.endswith("_manifest.json")]
    assert len(manifests) == 1


def test_a_second_run_gives_the_same_rows(system, first):
    before = system.passengers()
    run_id, state = system.run()
    assert state == "success"
    assert system.passengers() == before
    fresh = "SELECT COUNT(*) AS fresh FROM titanic.passengers WHERE _run_id = @run"
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ScalarQueryParameter("run", "STRING", run_id)])
    (row,) = system.warehouse.query_and_wait(fresh, job_config=config)
    assert row["fresh"] == NAMES, "the newer answers replaced the older ones"


@pytest.mark.parametrize("task_id", ["plan", "harvest", "merge"])
def test_clearing_a_task_makes_no_call_and_gives_the_same_rows(system, first, task_id):
    """Also for a run that is older than the one in the table: it must not turn the table back."""
    before = [dict(row) for row in system.warehouse.query_and_wait("SELECT * FROM titanic.passengers ORDER BY 1")]
    system.reset()
    assert system.clear(first, task_id) == "success"
    assert system.asked()["requests"] == 0
    after = [dict(row) for row in system.warehouse.query_and_wait("SELECT * FROM titanic.passengers ORDER BY 1")]
    assert after == before


def test_a_harvest_through_faults_loses_nothing(system, first):
    before = system.passengers()
    system.reset()
    system.faults(
        error_share=0.05, error_status=503, token_lifetime_s=2, cut_share=0.02, malformed_share=0.02, latency_ms=30
    )
    run_id, state = system.run()
    asked = system.asked()
    system.faults()
    assert state == "success"
    assert min(asked["by_status"]["503"], asked["cut"], asked["malformed"]) > 0, f"a fault did not fire: {asked}"
    assert system.passengers() == before
    receipt = system.receipt(run_id)
    assert receipt["agrees"]
    assert receipt["sent"] == asked["requests"], "every call on the wire is counted"


def test_a_killed_harvest_goes_on_where_it_stopped(system, first):
    before = system.passengers()
    system.reset()
    system.faults(latency_ms=200)
    run_id = system.airflow.trigger(DAG_ID)
    until(lambda: system.asked().get("ok", 0) > 200)
    victims = [process for process in psutil.process_iter() if calls(process, system.settings.api_port)]
    assert victims, "nothing is connected to the API"
    for process in victims:
        process.send_signal(signal.SIGKILL)
    until(lambda: system.airflow.tasks(DAG_ID, run_id)["harvest"]["state"] == "up_for_retry")
    known = system.asked()["ok"]
    assert known < NAMES, "the harvest was over before it was killed"
    system.faults()
    system.airflow.clear(DAG_ID, run_id, "harvest")  # a person need not wait for the retry
    assert system.airflow.wait(DAG_ID, run_id, limit_s=LIMIT_S) == "success"
    asked = system.asked()
    system.faults()
    assert asked["unique"] == NAMES
    assert asked["repeated"] <= 2 * 16, "no more is asked again than was in flight: twice the 16 connections"
    assert system.passengers() == before
    assert system.receipt(run_id)["agrees"]


def calls(process: psutil.Process, port: int) -> bool:
    """Say whether a process, other than this one and the server, is connected to a port."""
    if process.pid == os.getpid():
        return False
    try:
        return any(link.raddr and link.raddr.port == port for link in process.net_connections("tcp"))
    except psutil.Error:
        return False


def test_a_queue_makes_the_calls_and_the_rows_are_the_same(system, first):
    before = system.passengers()
    system.reset()
    system.faults(error_share=0.02, error_status=503)
    run_id, state = system.run(dispatch="cloud_tasks")
    asked = system.asked()
    assert state == "success", system.said(run_id, "enqueue") + system.said(run_id, "drain")
    assert (asked["unique"], asked["ok"]) == (NAMES, NAMES)
    assert asked["by_status"]["503"] > 0, "no fault fired"
    assert system.passengers() == before
    receipt = system.receipt(run_id)
    assert (receipt["agrees"], receipt["enqueued"], receipt["given_up"]) == (True, NAMES, 0)
    assert system.airflow.tasks(DAG_ID, run_id)["harvest"]["state"] == "skipped"

    system.reset()
    assert system.clear(run_id, "enqueue") == "success"
    assert system.asked()["requests"] == 0, "what is settled is not enqueued again"
    assert system.passengers() == before


def test_an_unknown_param_fails_before_the_first_call(system, first):
    system.reset()
    run_id, state = system.run(nmaes=["x"])
    assert (state, system.failed(run_id)) == ("failed", ["plan"])
    assert "'nmaes' is unknown. Was 'names' meant?" in system.said(run_id, "plan")
    assert system.asked()["requests"] == 0


def test_an_empty_list_fails_at_once_and_keeps_the_table(system, first):
    before = system.passengers()
    system.faults(empty_list=True)
    run_id, state = system.run()
    system.faults()
    assert (state, system.failed(run_id)) == ("failed", ["plan"])
    assert "lists nothing" in system.said(run_id, "plan")
    assert system.airflow.tasks(DAG_ID, run_id)["plan"]["try_number"] == 1, "a retry would not help"
    assert system.passengers() == before


def test_a_name_the_api_does_not_know_is_told_and_the_rest_is_loaded(system, first):
    name = system.passengers()[0]["name"]
    system.reset()
    run_id, state = system.run(names=[name, "Nobody, Mr. X"])
    assert (state, system.failed(run_id)) == ("failed", ["prove"])
    assert "Nobody, Mr. X" in system.said(run_id, "prove")
    assert system.run(names=[name, "Nobody, Mr. X"], max_gaps=1)[1] == "success"


def test_a_refused_load_is_told_and_mended_by_clearing_land(system, first):
    name = system.passengers()[0]["name"]
    system.reset()
    run_id, state = system.run(names=[name])
    assert state == "success"
    (part,) = [blob for blob in newest_landing(system) if blob.name.endswith(".parquet")]
    part.upload_from_string(b"this is no Parquet")
    system.airflow.clear(DAG_ID, run_id, "load")
    assert system.airflow.wait(DAG_ID, run_id, limit_s=LIMIT_S) == "failed"
    assert system.failed(run_id) == ["load"]
    assert system.airflow.tasks(DAG_ID, run_id)["load"]["try_number"] == 2, "a retry would not help"
    assert "The landed files stay" in system.said(run_id, "load")
    assert system.clear(run_id, "land") == "success"
    assert system.receipt(run_id)["loaded"] == 1


def newest_landing(system: System) -> list[storage.Blob]:
    blobs = sorted(system.bucket.list_blobs(), key=lambda blob: blob.updated)
    folder = blobs[-1].name.rpartition("/")[0]
    return [blob for blob in blobs if blob.name.startswith(folder)]
