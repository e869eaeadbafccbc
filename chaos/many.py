"""`make chaos-many`: many at once, with two schedulers, one of which is killed in the middle.

    python -m chaos.many

It starts a local cloud of its own with a second scheduler. At once begin: two runs of titanic_passengers by two users,
one of which is cleared while it harvests; many_passengers with 50 workers on the same credential and table, every three
minutes and by hand; github_users beside many_github on one pool of tokens; a backfill of youtube_analytics beside its
schedule and a run by hand; 50 loads and merges into one table. The APIs refuse calls beyond their limits. When the
second scheduler has tasks that run, it is killed with all its tasks, as if its machine were gone.

At the end every run has to have succeeded, tables have to equal the APIs by key and value, no API may have refused a
call for its limits, nothing may have logged a deadlock, and only tasks that were killed or cleared may have been tried
again. Exit code 1 otherwise.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from chaos import findings, truth
from chaos.cloud import Cloud, insisting, new_folder
from chaos.findings import Finding, Key
from chaos.shared import MAPPED, OWN, SECOND_HOST, SHARED, UNTIL, second_host
from local_cloud import airflow_env, processes, signals
from local_cloud.airflow_api import AirflowApi
from local_cloud.services import AIRFLOW, AIRFLOW_API, Service
from local_cloud.settings import PROJECT_ID, Settings
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import ROOT, free_settings

SECOND = "airflow-scheduler-2"
SECOND_USER = "second"
WORKERS = 50
PER_S = 40
"""Calls a second that the passengers' API takes; the connection has it as its rate."""
PER_HOUR, HOUR_S = 200, 60.0
"""Calls that GitHub takes of an owner in an hour, and the seconds that its hour lasts."""
BACKFILL_DAYS = 4
SCHEDULED = timedelta(minutes=12)
"""How long many_passengers is scheduled, the start of the local cloud among it."""
KILL_AFTER_S, KILLED = 60.0, 3
"""The second scheduler is killed when it has so many running tasks, not before so many seconds."""
START_S = 900
"""A component of Airflow may take so long to start: there is one more of them, and the machine may be busy."""
LIMIT_S = 60 * 60
CHANGED = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{airflow_env.USER}:admin,{SECOND_USER}:op",
    "AIRFLOW__CORE__PARALLELISM": "4",  # of each scheduler
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    # On a busy machine a heartbeat may be 20 s late. With the 15 s of the local cloud, one scheduler took the other for
    # dead, and its running tasks were started again.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "90",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
}
"""Settings of Airflow in which this differs from the local cloud."""
ENDED = frozenset({"success", "failed"})
DAGS = ("titanic_passengers", "many_passengers", "github_users", "many_github", "youtube_analytics", "many_merges")


class TwoSchedulers(LocalCloud):
    """The local cloud without what these DAGs do not need, with a second scheduler and a second user."""

    @property
    def services(self) -> tuple[Service, ...]:
        """The services this object runs, in start order."""
        services = tuple(
            replace(one, environment={**one.environment, **CHANGED}, start_seconds=START_S)
            if one.stage in {AIRFLOW, AIRFLOW_API}
            else one
            for one in super().services
        )
        first = next(one for one in services if one.name == "airflow-scheduler")
        host = {"AIRFLOW__CORE__HOSTNAME_CALLABLE": f"{second_host.__module__}.{second_host.__name__}"}
        return (*services, replace(first, name=SECOND, environment={**first.environment, **host}))


SERVICES = (
    *("postgres", "mongo", "redis", "gcs", "bigquery", "apis"),
    *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
)


@dataclass
class Many:
    """What happens, and what it led to."""

    settings: Settings
    environment: dict[str, str]
    cloud: Cloud
    warehouse: bigquery.Client
    found: list[Finding] = field(default_factory=list)
    killed: set[Key] = field(default_factory=set)
    cleared: set[Key] = field(default_factory=set)

    def run(self) -> bool:
        """Let everything happen, and return whether all is as it has to be."""
        self._limit_apis()
        self._begin()
        self._watch()
        self.found += map(self._runs, DAGS)
        self.found += map(findings.of_table, [*truth.check_harvested(self.warehouse), self._merged()])
        self.found += [
            findings.of_passengers(PER_S, self.cloud.api("GET", "counters?api=titanic")["totals"]),
            findings.of_github(PER_HOUR, self.cloud.api("GET", "github")),
            findings.of_youtube(self.cloud.api("GET", "youtube")["units"]),
            self._deadlocks(),
            self._tries(),
            self._schedulers(),
        ]
        return all(one.is_good for one in self.found)

    # --- what happens --------------------------------------------------------------------------

    def _limit_apis(self) -> None:
        self.cloud.api("PUT", "faults?api=titanic", {"requests_per_second": PER_S, "latency_ms": 200})
        self.cloud.api("PUT", "github", {"hour_s": HOUR_S, "limit": PER_HOUR})
        self.cloud.api("PUT", "youtube", {"playlist_cap": len(truth.VIDEOS), "promised": len(truth.VIDEOS)})

    def _begin(self) -> None:
        airflow, second = self.cloud.airflow, self._second_user()
        repositories = {"repositories": truth.REPOSITORIES}
        for dag in DAGS:
            airflow.call("PATCH", f"/dags/{dag}", {"is_paused": False})
        command = self._backfill()
        backfill = subprocess.Popen(  # noqa: S603 - no shell, and only our own words
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for user, dag, conf in (
            (airflow, "titanic_passengers", {"workers": 4}),
            (second, "titanic_passengers", {}),
            (second, "many_passengers", {"workers": WORKERS, "connections": 64}),
            (airflow, "github_users", repositories),
            (second, "many_github", repositories),
            (airflow, "youtube_analytics", {"start_date": truth.first_day().isoformat()}),
            (airflow, "many_merges", {}),
        ):
            user.call("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        told, _ = backfill.communicate(timeout=600)
        if backfill.returncode:
            self.found.append(Finding("airflow backfill create", told.decode(errors="replace")[-500:], is_good=False))

    def _backfill(self) -> list[str]:
        today = datetime.now(UTC).date()
        first, last = (today - timedelta(days=days) for days in (BACKFILL_DAYS, 1))
        words = ["backfill", "create", "--dag-id", "youtube_analytics", "--from-date", f"{first}"]
        words += ["--to-date", f"{last}T23:59", "--max-active-runs", "2"]
        return [str(self.settings.airflow_python), "-m", "airflow", *words]

    def _second_user(self) -> AirflowApi:
        password = json.loads(airflow_env.passwords_file(self.settings).read_text())[SECOND_USER]
        return AirflowApi(self.settings.airflow_url, SECOND_USER, password)

    def _watch(self) -> None:
        """Clear a run and kill a scheduler at their moments, and wait until all runs have ended."""
        began = time.monotonic()
        for _ in insisting(LIMIT_S):
            at_s = time.monotonic() - began
            if not self.cleared:
                self._clear_while_it_harvests(at_s)
            if not self.killed and at_s > KILL_AFTER_S:
                self._kill_second(at_s)
            states = self._rows("SELECT state FROM dag_run WHERE dag_id IN %s", DAGS)
            is_scheduled = datetime.now(UTC).isoformat() < self.environment[UNTIL]
            if self.killed and self.cleared and not is_scheduled and all(state in ENDED for (state,) in states):
                break
        else:
            self.found.append(Finding("not ended", f"after {LIMIT_S} s", is_good=False))
        self.found.append(Finding("all of it", f"{time.monotonic() - began:.0f} s"))

    def _clear_while_it_harvests(self, at_s: float) -> None:
        running = self._rows(
            "SELECT run_id FROM task_instance WHERE dag_id = 'titanic_passengers' AND task_id = 'harvest'"
            " AND state = 'running' AND start_date < now() - interval '3 seconds'"
        )
        for (run,) in running[:1]:
            self.cloud.airflow.clear("titanic_passengers", run, "harvest")
            self.cleared |= self._tasks("dag_id = 'titanic_passengers' AND run_id = %s", run)
            say(f"  {at_s:5.0f} s  cleared titanic_passengers.harvest with all downstream, while it ran")

    def _kill_second(self, at_s: float) -> None:
        """Kill the second scheduler with its workers and their tasks, and note what it had."""
        (job,) = self._rows(
            "SELECT max(id) FROM job WHERE job_type = 'SchedulerJob' AND hostname = %s AND state = 'running'",
            SECOND_HOST,
        )
        running = "queued_by_job_id = %s AND state IN ('queued', 'running', 'restarting')"
        if len(self._tasks(running.replace("'queued', ", ""), *job)) < KILLED:
            return
        scheduler = psutil.Process(self.cloud.pid(SECOND))
        for process in [scheduler, *scheduler.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.killed = self._tasks(running, *job)
        names = Counter(f"{dag}.{task}" for dag, _, task, _ in self.killed)
        say(f"  {at_s:5.0f} s  killed the second scheduler with {', '.join(map(str, names))}")

    # --- what it led to ------------------------------------------------------------------------

    def _runs(self, dag: str) -> Finding:
        return findings.of_runs(dag, self._rows("SELECT run_type, state FROM dag_run WHERE dag_id = %s", dag))

    def _merged(self) -> truth.Difference:
        must: truth.Rows = dict.fromkeys(range(SHARED), (MAPPED - 1,))
        must |= {SHARED + number: (number // OWN,) for number in range(MAPPED * OWN)}
        rows = self.warehouse.query_and_wait("SELECT id, version FROM many.versions")
        return truth.compare("many.versions", ((row["id"], (row["version"],)) for row in rows), must)

    def _deadlocks(self) -> Finding:
        ((counted,),) = self._rows("SELECT sum(deadlocks)::int FROM pg_stat_database")
        logs = [*self.settings.log.glob("*.log*"), *(self.settings.var / "airflow" / "logs").rglob("*.log")]
        return findings.of_deadlocks(counted, {str(log): log.read_bytes() for log in logs})

    def _tries(self) -> Finding:
        columns = "dag_id, run_id, task_id, map_index, try_number"
        rows = self._rows(f"SELECT {columns} FROM task_instance WHERE dag_id IN %s", DAGS)
        return findings.of_tries({tuple(key): tries for *key, tries in rows}, self.killed, self.cleared)

    def _schedulers(self) -> Finding:
        columns = "hostname, count(*)"
        return findings.of_schedulers(
            self._rows(f"SELECT {columns} FROM task_instance WHERE dag_id IN %s AND hostname <> '' GROUP BY 1", DAGS)
        )

    # --- Airflow's database --------------------------------------------------------------------

    def _tasks(self, condition: str, *values: Any) -> set[Key]:
        columns = "dag_id, run_id, task_id, map_index"
        return set(self._rows(f"SELECT {columns} FROM task_instance WHERE {condition}", *values))

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with contextlib.closing(psycopg2.connect(airflow_env.database_url(self.settings))) as connection:
            cursor = connection.cursor()
            cursor.execute(sql, values)
            return cursor.fetchall()


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def environ_of(settings: Settings) -> dict[str, str]:
    """Return the user's environment, with the DAGs of this program and the rate of the passengers' API."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    folders = {"dags-folder": {}, "many": {"path": str(Path(__file__).with_name("dags"))}}
    titanic = json.loads(airflow_env.airflow_environment(settings, {})["AIRFLOW_CONN_TITANIC"])
    titanic["extra"]["rate_per_s"] = PER_S
    return {
        **os.environ,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([
            {"name": name, "classpath": local, "kwargs": kwargs} for name, kwargs in folders.items()
        ]),
        "AIRFLOW_CONN_TITANIC": json.dumps(titanic),
        UNTIL: (datetime.now(UTC) + SCHEDULED).isoformat(),
    }


def main() -> int:
    """Run it, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.many", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--var", type=new_folder, default=str(ROOT / "build" / "many"), help="a new or empty folder (%(default)s)"
    )
    options = parser.parse_args()
    signals.end_in_order()
    settings = free_settings(options.var)
    environ = environ_of(settings)
    local = TwoSchedulers(settings, environ, SERVICES, owner=os.getpid())
    say(f"{datetime.now(UTC):%Y-%m-%d %H:%M}, starting the local cloud with two schedulers")
    try:
        local.up(say)
        cloud = Cloud(settings, {service.name: service for service in local.services})
        endpoint = {"api_endpoint": settings.bigquery_url}
        warehouse = bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=endpoint)
        environment = {**airflow_env.airflow_environment(settings, environ), processes.MARK: str(settings.var)}
        many = Many(settings, environment, cloud, warehouse)
        good = many.run()
    finally:
        local.down()
    say("\n| what | result |\n|---|---|")
    for finding in sorted(many.found, key=lambda one: one.is_good, reverse=True):  # problems last
        say(str(finding))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
