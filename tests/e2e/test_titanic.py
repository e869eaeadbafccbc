"""titanic_passengers on the whole local cloud with a real Airflow: a kill, and a queue that makes the calls.

Each test leaves a healthy API behind. What the rows are, and what a cleared task does, is in
tests/integration/test_titanic_dag.py.
"""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud import airflow_env
from local_cloud.settings import PORT_DEFAULTS, Settings
from tests.e2e.system import LIMIT_S, Dag, System, until

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


def demo(settings: Settings) -> subprocess.Popen[str]:
    """Start the demo's own second half."""
    environment = airflow_env.airflow_environment(settings, os.environ)
    environment |= {f"WINDROW_{name.upper()}": str(value) for name, value in vars_of(settings).items()}
    root = Path(__file__).resolve().parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "plugins"), environment["PYTHONPATH"]])
    return subprocess.Popen(
        [sys.executable, "-m", "local_cloud.demo", DAG_ID],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def vars_of(settings: Settings) -> dict[str, Any]:
    ports = [variable.removeprefix("WINDROW_").lower() for variable in PORT_DEFAULTS]
    return {"var": settings.var} | {name: getattr(settings, name) for name in ports}


@dataclass(frozen=True)
class Killed:
    """A run of the demo whose harvest was killed, as it was at its end."""

    run_id: str
    output: str
    asked: dict[str, Any]
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def killed(system: System, titanic: Titanic) -> Killed:
    """The first run: the demo shows it, its harvest is killed in the middle, and goes on."""
    system.reset()
    system.faults(latency_ms=200)
    with demo(system.settings) as shown:
        until(lambda: titanic.asked().get("ok", 0) > 200)
        (run,) = titanic.runs()
        run_id = run["dag_run_id"]
        os.kill(titanic.tasks(run_id)["harvest"]["pid"], signal.SIGKILL)
        until(lambda: titanic.states(run_id)["harvest"] == "up_for_retry")
        known = titanic.asked()["ok"]
        assert known < NAMES, "the harvest was over before it was killed"
        system.faults()
        system.airflow.clear(DAG_ID, run_id, "harvest")  # a person need not wait for the retry
        output, _ = shown.communicate(timeout=LIMIT_S)
    assert shown.returncode == 0, output
    return Killed(run_id, output, titanic.asked(), titanic.passengers())


def test_a_killed_harvest_goes_on_where_it_stopped_and_the_demo_shows_what_it_gave(system, titanic, killed):
    assert killed.asked["unique"] == NAMES
    assert killed.asked["repeated"] <= 2 * 16, "no more is asked again than was in flight: twice the 16 connections"
    assert len({row["passenger_id"] for row in killed.rows}) == len(killed.rows) == NAMES
    assert titanic.receipt(killed.run_id)["agrees"]
    output = killed.output
    counts = rf"{NAMES} +{NAMES} +0 +0 +{NAMES} +{NAMES} +{NAMES}"  # planned and staged, gaps, quarantined, then rows
    assert re.search(rf"^ *titanic_passengers +yes +{counts}$", output, re.MULTILINE), output
    assert re.search(r"1 +female +90 +87 +0.9667", output), output
    assert system.settings.airflow_url in output
    assert "password admin" in output


def test_lines_of_a_task_log_have_fields_on_disk_and_in_the_ui(system, titanic, killed):
    attempt = titanic.tasks(killed.run_id)["harvest"]["try_number"]
    task = f"dag_id={DAG_ID}/run_id={killed.run_id}/task_id=harvest"
    file = system.settings.var / "airflow" / "logs" / task / f"attempt={attempt}.log"
    written = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for lines in (written, system.airflow.log(DAG_ID, killed.run_id, "harvest", attempt)):
        fields = {(line["stream"], line["run"]) for line in lines if "stream" in line}
        assert fields == {(DAG_ID, killed.run_id)}


def test_a_queue_makes_the_calls_and_the_rows_are_the_same(system, titanic, killed):
    system.reset()
    system.faults(error_share=0.02, error_status=503)
    run_id, state = titanic.run(dispatch="cloud_tasks")
    asked = titanic.asked()
    assert state == "success", titanic.said(run_id, "enqueue") + titanic.said(run_id, "drain")
    assert (asked["unique"], asked["ok"]) == (NAMES, NAMES)
    assert asked["by_status"]["503"] > 0, "no fault fired"
    assert titanic.passengers() == killed.rows
    receipt = titanic.receipt(run_id)
    assert (receipt["agrees"], receipt["enqueued"], receipt["given_up"]) == (True, NAMES, 0)
    assert titanic.tasks(run_id)["harvest"]["state"] == "skipped"
    system.reset()
