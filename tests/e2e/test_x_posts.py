"""x_posts on the local cloud with a real Airflow: from the stream to the marts, woken by the queue."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud import airflow_env
from local_cloud.airflow_api import AirflowApi
from local_cloud.apis import testing as fake_api
from local_cloud.settings import PROJECT_ID, Settings
from local_cloud.testing import running
from tests.apis.x.bench import X
from tests.local_cloud.conftest import eventually, pid_of

DAG_ID = "x_posts"
SERVICES = frozenset({
    *("mongo", "gcs", "bigquery", "apis", "pubsub", "x-publisher"),
    *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
})
SUBSCRIPTION = "projects/windrow/subscriptions/x-posts"


@dataclass
class System:
    settings: Settings
    airflow: AirflowApi
    warehouse: bigquery.Client
    x: X

    def ids(self) -> list[str]:
        sql = "SELECT post_id FROM x.posts ORDER BY post_id"
        return [row["post_id"] for row in self.warehouse.query_and_wait(sql)]

    def waiting(self) -> int:
        report = requests.get(f"{self.settings.pubsub_url}/subscriptions", timeout=10).json()[SUBSCRIPTION]
        return int(report["waiting"]) + int(report["leased"])

    def run(self) -> tuple[str, str]:
        """Trigger a run and wait for its end: its id and state."""
        run_id = self.airflow.trigger(DAG_ID, {"max_seconds": 10})
        return run_id, self.airflow.wait(DAG_ID, run_id, limit_s=240)

    def runs(self) -> list[dict[str, Any]]:
        return list(self.airflow.call("GET", f"/dags/{DAG_ID}/dagRuns?limit=50")["dag_runs"])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(SERVICES, tmp_path_factory.mktemp("x") / "var") as settings:
        options = {"api_endpoint": settings.bigquery_url}
        api = fake_api.FakeApi(settings.api_url, None)  # type: ignore[arg-type]  # its process is supervised
        yield System(
            settings,
            AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password),
            bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options),
            X(api),
        )


def test_a_switched_on_dag_is_woken_by_the_queue_and_merges_what_came(system: System) -> None:
    eventually(lambda: system.x.admin("GET")["connected"], "the publisher reads the stream", 60)
    system.x.scene(rate_per_s=0)
    system.x.make(300)
    system.airflow.call("PATCH", f"/dags/{DAG_ID}", {"is_paused": False})

    eventually(
        lambda: any(run["run_type"] == "asset_triggered" and run["state"] == "success" for run in system.runs()),
        "a run that the queue woke has succeeded",
        240,
    )
    eventually(lambda: system.waiting() == 0, "all is acknowledged", 60)

    sent = system.x.api.request("GET", "/_admin/x/posts?sent=1").json()["ids"]
    assert len(sent) >= 250
    assert system.ids() == sent
    (row,) = system.warehouse.query_and_wait("SELECT SUM(posts) AS posts FROM x.by_minute")
    assert 0 < row["posts"] <= len(sent)  # less the replaced versions


def test_a_run_without_messages_is_skipped(system: System) -> None:
    eventually(lambda: all(run["state"] in {"success", "failed"} for run in system.runs()), "all runs have ended", 120)
    run_id, state = system.run()

    tasks = system.airflow.tasks(DAG_ID, run_id)
    assert state == "success"
    assert {task["state"] for task in tasks.values()} == {"skipped"}


def test_a_worker_that_is_killed_in_the_middle_loses_and_doubles_nothing(system: System) -> None:
    before = set(system.ids())
    system.x.make(300)
    sent = system.x.api.request("GET", "/_admin/x/posts?sent=1").json()["ids"]
    eventually(lambda: system.waiting() >= len(sent) - len(before), "all is published", 60)
    run_id = system.airflow.trigger(DAG_ID, {"max_seconds": 10})
    eventually(lambda: system.airflow.tasks(DAG_ID, run_id)["load"]["state"] == "running", "it loads", 120)

    os.kill(pid_of(system.settings.var, "airflow scheduler"), signal.SIGKILL)

    assert system.airflow.wait(DAG_ID, run_id, limit_s=300) == "success"
    eventually(lambda: system.waiting() == 0, "all is acknowledged", 60)
    assert system.ids() == sent
