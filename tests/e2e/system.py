"""The whole local cloud with a real Airflow, driven as a user drives it: over its API.

Only what is looked at again and again while a test waits comes from Airflow's database.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg2
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from local_cloud import airflow_env
from local_cloud.airflow_api import DONE, AirflowApi
from local_cloud.settings import BUCKET, PROJECT_ID, Settings

LIMIT_S = 400


def executors(settings: Settings) -> dict[str, str]:
    """Have Celery beside the local executor; tests/e2e/celery_policy says which runs it gets."""
    return {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor,CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": f"{airflow_env.redis_url(settings)}/1",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
    }


def bundles() -> dict[str, str]:
    """Have the DAGs of the tests, in tests/e2e/dags, beside those of the project."""
    folders: dict[str, dict[str, str]] = {"dags-folder": {}, "tests": {"path": str(Path(__file__).parent / "dags")}}
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    made = [{"name": name, "classpath": local, "kwargs": options} for name, options in folders.items()]
    return {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(made)}


@contextmanager
def celery_worker(
    settings: Settings, name: str, *, concurrency: int = 1, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a Celery worker until the block ends. `environ` is added to what every process of Airflow has."""
    command = [sys.executable, "-m", "airflow", "celery", "worker", "--concurrency", str(concurrency)]
    with (settings.var / "log" / f"celery-{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--skip-serve-logs", "--celery-hostname", f"{name}@%h"],
            env=airflow_env.airflow_environment(settings, os.environ) | executors(settings) | dict(environ or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


PATIENCE_S = 5
"""What the tests' connections wait in place. Asked for more, a task defers: nobody wants to wait a minute for that."""


def impatient(connection: str, settings: Settings) -> str:
    """Return a connection of the local cloud with `PATIENCE_S`."""
    fields = json.loads(airflow_env.airflow_environment(settings, {})[connection])
    return json.dumps(fields | {"extra": fields.get("extra", {}) | {"patience_s": PATIENCE_S}})


@dataclass
class System:
    """A running local cloud, and the ways to look into it. Faults and counters are those of one API, ``api``."""

    settings: Settings
    airflow: AirflowApi
    warehouse: bigquery.Client
    bucket: storage.Bucket
    database: Any
    """A connection to Airflow's database."""
    api: str = ""

    @classmethod
    def on(cls, settings: Settings) -> Self:
        """Look into the local cloud that runs with these settings."""
        anonymous = AnonymousCredentials()
        database = psycopg2.connect(airflow_env.database_url(settings))
        database.autocommit = True  # else it would see what was there at its first look
        return cls(
            settings,
            AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password),
            bigquery.Client(PROJECT_ID, anonymous, client_options={"api_endpoint": settings.bigquery_url}),
            storage.Client(PROJECT_ID, anonymous, client_options={"api_endpoint": settings.gcs_url}).bucket(BUCKET),
            database,
        )

    def of(self, api: str) -> Self:
        """Look at another API."""
        return dataclasses.replace(self, api=api)

    def faults(self, **changes: Any) -> None:
        """Have these faults of the API and no others."""
        self.admin("DELETE", f"faults?api={self.api}")
        self.admin("PUT", f"faults?api={self.api}", changes)

    def reset(self) -> None:
        """Count from zero, without faults."""
        self.faults()
        self.admin("POST", f"reset?api={self.api}")

    def asked(self, route: str) -> dict[str, Any]:
        """What a route of the API was asked since the last `reset`."""
        return dict(self.admin("GET", f"counters?api={self.api}")["routes"].get(route) or {"requests": 0})

    def calls(self) -> int:
        """How many calls the API had since the last `reset`, but for tokens and for what is left of a limit."""
        routes = self.admin("GET", f"counters?api={self.api}")["routes"]
        return sum(one["requests"] for name, one in routes.items() if not name.endswith(("token", "rate_limit")))

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call an admin route of the fake APIs."""
        answer = requests.request(method, f"{self.settings.api_url}/_admin/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Ask BigQuery."""
        return [dict(row) for row in self.warehouse.query_and_wait(sql)]


@dataclass
class Dag:
    """One DAG of the system."""

    system: System
    dag_id: str

    def run(self, **conf: Any) -> tuple[str, str]:
        """Trigger a run and wait for its end: its id and state."""
        run_id = self.trigger(**conf)
        return run_id, self.wait(run_id)

    def trigger(self, **conf: Any) -> str:
        return self.system.airflow.trigger(self.dag_id, conf)

    def trigger_as(self, run_id: str, **conf: Any) -> None:
        """Trigger a run of this id."""
        new = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.system.airflow.call("POST", f"/dags/{self.dag_id}/dagRuns", new)

    def wait(self, run_id: str) -> str:
        """Wait until a run has ended, and return its state."""
        until(lambda: self.state(run_id) in DONE, LIMIT_S)
        return self.state(run_id)

    def state(self, run_id: str) -> str:
        """The state of a run."""
        return str(self._select("state FROM dag_run", run_id)[0][0])

    def states(self, run_id: str) -> dict[str, str]:
        """The states of the tasks of a run: a look at the API takes 60 ms of CPU, and this 0.1 ms."""
        return dict(self._select("task_id, state FROM task_instance", run_id, "ORDER BY start_date"))

    def _select(self, what: str, run_id: str, order: str = "") -> list[Any]:
        with self.system.database.cursor() as cursor:
            query = f"SELECT {what} WHERE dag_id = %s AND run_id = %s {order}"
            cursor.execute(query, (self.dag_id, run_id))
            return list(cursor.fetchall())

    def runs(self) -> list[dict[str, Any]]:
        return list(self.system.airflow.call("GET", f"/dags/{self.dag_id}/dagRuns?limit=50")["dag_runs"])

    def is_resting(self) -> bool:
        return all(run["state"] in {"success", "failed"} for run in self.runs())

    def rest(self) -> None:
        """Wait until no run is under way."""
        until(self.is_resting, LIMIT_S)

    def clear(self, run_id: str, *task_ids: str) -> str:
        """Clear tasks with all downstream, wait for the end of the run, and return its state."""
        self.system.airflow.clear(self.dag_id, run_id, *task_ids)
        return self.wait(run_id)

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        return self.system.airflow.tasks(self.dag_id, run_id)

    def failed(self, run_id: str) -> list[str]:
        return [name for name, task in self.tasks(run_id).items() if task["state"] == "failed"]

    def receipt(self, run_id: str, task_id: str = "prove") -> dict[str, Any]:
        return dict(self.returned(run_id, task_id))

    def returned(self, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task returned, or an XCom of another name."""
        path = f"/dags/{self.dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true"
        return self.system.airflow.call("GET", path)["value"]

    def lines(self, run_id: str, task_id: str) -> list[str]:
        """The log of the last try of a task."""
        attempt = self.tasks(run_id)[task_id]["try_number"]
        return [str(line.get("event")) for line in self.system.airflow.log(self.dag_id, run_id, task_id, attempt)]

    def said(self, run_id: str, task_id: str) -> str:
        """The line that explains why a task failed; empty if there is none."""
        return next((line for line in self.lines(run_id, task_id) if line.startswith("FAILED: ")), "")


def until(condition: Callable[[], Any], limit_s: float = 120) -> Any:
    """Wait for a condition to hold, and return what it gave."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)  # each look costs the API server 10 ms and more
    raise TimeoutError(f"not within {limit_s} s: {condition}")
