"""titanic_passengers on the whole local cloud with a real Airflow.

The tests run in the order of this file and share one cloud: each leaves a healthy API behind.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.cloud import storage

from local_cloud import airflow_env
from local_cloud.settings import PORT_DEFAULTS, Settings
from tests.e2e.system import Dag, System, until
from tests.local_cloud.conftest import pid_of

DAG_ID = "titanic_passengers"
NAMES = 891


class Titanic(Dag):
    """The DAG, and what is asked of its API and stands in its table."""

    def asked(self) -> dict[str, Any]:
        """What the API was asked for single passengers since the last `reset`."""
        return self.system.asked("GET /get_user_by_name")

    def passengers(self) -> list[dict[str, Any]]:
        """The final table, without the lineage that differs from run to run."""
        return self.system.rows("SELECT * EXCEPT (_fetched_at, _run_id) FROM titanic.passengers ORDER BY passenger_id")


@pytest.fixture(scope="module")
def titanic(system: System) -> Titanic:
    return Titanic(system, DAG_ID)


@pytest.fixture(scope="module")
def system(system: System) -> System:
    return system.of("titanic")


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
        [sys.executable, "-m", "local_cloud.demo", DAG_ID], env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for name in ("planned", "staged", "exported", "loaded", "merged"):
        assert re.search(rf"^  {name} +{NAMES}$", shown.stdout, re.MULTILINE), shown.stdout
    assert re.search(r"1 +female +90 +87 +0.9667", shown.stdout), shown.stdout
    assert settings.airflow_url in shown.stdout
    assert "password admin" in shown.stdout
    return re.search(r"run (manual__\S+)", shown.stdout).group(1)


def vars_of(settings: Settings) -> dict[str, Any]:
    ports = [variable.removeprefix("WINDROW_").lower() for variable in PORT_DEFAULTS]
    return {"var": settings.var} | {name: getattr(settings, name) for name in ports}


def test_each_name_is_asked_once_and_becomes_one_row(system, titanic, first):
    receipt = titanic.receipt(first)
    counts = {name: receipt[name] for name in ("planned", "staged", "exported", "loaded", "merged", "table")}
    assert counts == dict.fromkeys(counts, NAMES)
    assert receipt["listed"] == 2 * NAMES, "the list names everybody twice"
    asked = titanic.asked()
    assert (asked["unique"], asked["repeated"], asked["ok"]) == (NAMES, 0, NAMES)
    rows = titanic.passengers()
    assert len({row["passenger_id"] for row in rows}) == len(rows) == NAMES
    manifests = [blob.name for blob in system.bucket.list_blobs(prefix="titanic/") if "_manifest" in blob.name]
    assert len(manifests) == 1


def test_a_killed_harvest_goes_on_where_it_stopped(system, titanic, first):
    before = titanic.passengers()
    system.reset()
    system.faults(latency_ms=200)
    run_id = titanic.trigger()
    until(lambda: titanic.asked().get("ok", 0) > 200)
    # not whoever is connected: the publisher of x is, and to kill it is another test
    scheduler = psutil.Process(pid_of(system.settings.var, "airflow scheduler"))
    victims = [task for task in scheduler.children(recursive=True) if calls(task, system.settings.api_port)]
    assert victims, "nothing is connected to the API"
    for process in victims:
        process.send_signal(signal.SIGKILL)
    until(lambda: titanic.tasks(run_id)["harvest"]["state"] == "up_for_retry")
    known = titanic.asked()["ok"]
    assert known < NAMES, "the harvest was over before it was killed"
    system.faults()
    system.airflow.clear(DAG_ID, run_id, "harvest")  # a person need not wait for the retry
    assert titanic.wait(run_id) == "success"
    asked = titanic.asked()
    system.faults()
    assert asked["unique"] == NAMES
    assert asked["repeated"] <= 2 * 16, "no more is asked again than was in flight: twice the 16 connections"
    assert titanic.passengers() == before
    assert titanic.receipt(run_id)["agrees"]


def calls(process: psutil.Process, port: int) -> bool:
    """Say whether a process is connected to a port."""
    try:
        return any(link.raddr and link.raddr.port == port for link in process.net_connections("tcp"))
    except psutil.Error:
        return False


@pytest.mark.parametrize("task_id", ["plan", "merge"])
def test_clearing_a_task_makes_no_call_and_gives_the_same_rows(system, titanic, first, task_id):
    """Also for a run that is older than the one in the table: it must not turn the table back."""
    before = [dict(row) for row in system.warehouse.query_and_wait("SELECT * FROM titanic.passengers ORDER BY 1")]
    system.reset()
    assert titanic.clear(first, task_id) == "success"
    assert titanic.asked()["requests"] == 0
    after = [dict(row) for row in system.warehouse.query_and_wait("SELECT * FROM titanic.passengers ORDER BY 1")]
    assert after == before


def test_a_queue_makes_the_calls_and_the_rows_are_the_same(system, titanic, first):
    before = titanic.passengers()
    system.reset()
    system.faults(error_share=0.02, error_status=503)
    run_id, state = titanic.run(dispatch="cloud_tasks")
    asked = titanic.asked()
    assert state == "success", titanic.said(run_id, "enqueue") + titanic.said(run_id, "drain")
    assert (asked["unique"], asked["ok"]) == (NAMES, NAMES)
    assert asked["by_status"]["503"] > 0, "no fault fired"
    assert titanic.passengers() == before
    receipt = titanic.receipt(run_id)
    assert (receipt["agrees"], receipt["enqueued"], receipt["given_up"]) == (True, NAMES, 0)
    assert titanic.tasks(run_id)["harvest"]["state"] == "skipped"

    system.reset()
    assert titanic.clear(run_id, "enqueue") == "success"
    assert titanic.asked()["requests"] == 0, "what is settled is not enqueued again"
    assert titanic.passengers() == before


def test_an_unknown_param_fails_before_the_first_call(system, titanic, first):
    system.reset()
    run_id, state = titanic.run(nmaes=["x"])
    assert (state, titanic.failed(run_id)) == ("failed", ["plan"])
    assert "'nmaes' is unknown. Was 'names' meant?" in titanic.said(run_id, "plan")
    assert titanic.asked()["requests"] == 0


def test_a_refused_load_is_told_and_mended_by_clearing_land(system, titanic, first):
    run_id, state = titanic.run(names=[titanic.passengers()[0]["name"]])
    assert state == "success"
    (part,) = [blob for blob in newest_landing(system) if "/part-" in blob.name]
    part.upload_from_string(b"this is no Parquet")
    system.airflow.clear(DAG_ID, run_id, "load")
    assert titanic.wait(run_id) == "failed"
    assert titanic.failed(run_id) == ["load"]
    assert titanic.tasks(run_id)["load"]["try_number"] == 2, "a retry would not help"
    assert "The landed files are kept" in titanic.said(run_id, "load")
    assert titanic.clear(run_id, "land") == "success"
    assert titanic.receipt(run_id)["loaded"] == 1


def newest_landing(system: System) -> list[storage.Blob]:
    blobs = sorted(system.bucket.list_blobs(prefix="titanic/"), key=lambda blob: blob.updated)
    folder = blobs[-1].name.rpartition("/")[0]
    return [blob for blob in blobs if blob.name.startswith(folder)]
