"""One run of github_users, for tests; and, run as a program, one of its workers in a process that a test may kill.

``python -m tests.faults.github_process RUN_ID WORKER WORKERS`` drains the run's stream to its end. The connections
are in the environment.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

import windrow
from local_cloud.run_service import die_with_parent
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.discover import DiscoverOperator
from windrow.airflow.operators.fetch import FetchOperator
from windrow.model.answer import Answer, Outcome
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.sources.github.streams import Memberships, Users

ROOT = Path(__file__).resolve().parents[2]
USERS, MEMBERSHIPS = Users.dataset, Memberships.dataset
SMALL = ["globex/sluice", "tiny/one", "tiny/exact.hundred"]
"""Lists of several pages, of one row, and of one full page."""
TINY = ["tiny/one", "tiny/exact.hundred"]
"""Where it does not matter who the users are."""


class Job:
    """One DAG run: its tasks, executed here, one after the other; of a hundred users, if the params name no others."""

    def __init__(self, **params: Any) -> None:
        small = {"repositories": TINY, "lists": ["stargazers"], "api": "rest", "connections": None}
        self.params = small | params
        self.run_id = f"test__{uuid.uuid4().hex}"
        self.discovery = "running"

    @property
    def context(self) -> dict[str, Any]:
        states = {self.run_id: {"discover": self.discovery}}
        return {
            "run_id": self.run_id,
            "params": self.params,
            "dag_run": SimpleNamespace(conf={}, logical_date=None, run_after=datetime.now(UTC), dag_id="github"),
            "ti": SimpleNamespace(get_task_states=lambda **_: states),
        }

    def execute(self, operator: type, dataset: str = USERS, **arguments: Any) -> Any:
        with DAG("github", schedule=None, params=self.params):
            task = operator(task_id="task", dataset=dataset, conn_id="github", **arguments)
        return task.execute(self.context)

    def fetch(self, worker: int = 0, workers: int = 1, **arguments: Any) -> Any:
        quick = {"idle_s": 0.2, "pause_s": 1, "claim_after_s": 60} | arguments
        return self.execute(FetchOperator, worker=worker, workers=workers, **quick)

    def run_through(self) -> "Job":
        self.execute(DiscoverOperator)
        self.fetch()
        return self

    def queries(self) -> list[Query]:
        with staging("mongo_default", USERS) as state:
            plan = self.plan()
            return [query for number in range(plan.chunks) for query in state.chunk(plan.run, number).queries]

    def answers(self, dataset: str = USERS) -> list[Answer]:
        with staging("mongo_default", dataset) as state:
            plan = self.plan(dataset)
            return [answer for number in range(plan.chunks) for answer in state.answers(state.chunk(plan.run, number))]

    def plan(self, dataset: str = USERS) -> Plan:
        with staging("mongo_default", dataset) as state:
            return state.plan(Run(dataset, self.run_id))

    def users(self) -> dict[int, Mapping[str, Any]]:
        """Read the users that are staged, by number."""
        stream = Users()
        records = [
            record
            for answer in self.answers()
            if answer.outcome is Outcome.ANSWERED
            for record in stream.records(answer.query, answer.parsed)
        ]
        return {record["user_id"]: record for record in records}

    def members(self) -> list[dict[str, object]]:
        stream = Memberships()
        answers = [answer for answer in self.answers(MEMBERSHIPS) if answer.outcome is Outcome.ANSWERED]
        return [record for answer in answers for record in stream.records(answer.query, answer.parsed)]

    def start_worker(self, worker: int, workers: int) -> subprocess.Popen[str]:
        """Fetch in a process of its own, which ends with ours."""
        plugins = str(Path(windrow.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), plugins]))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.github_process", self.run_id, str(worker), str(workers)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )


def resumed(deferred: TaskDeferred) -> None:
    """Wait as the triggerer would."""
    time.sleep(max(0.0, (deferred.trigger.moment - datetime.now(UTC)).total_seconds()))


def _main(run_id: str, worker: int, workers: int) -> None:
    job = Job()
    job.run_id = run_id
    while True:
        try:
            job.fetch(worker, workers, claim_after_s=2)
            return
        except TaskDeferred as deferred:
            resumed(deferred)


if __name__ == "__main__":
    die_with_parent(os.getppid())
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
