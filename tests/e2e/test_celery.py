"""github_users where Celery runs the tasks, as docker compose and most clusters have it.

The scheduler hands every task of this run to Celery, through the Redis that also holds the users. What comes after the
users is the same as in any other run, and skipped: tests/integration/test_github_dag.py has it.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.apis.github.world import make_world
from tests.e2e.celery_policy.celery_policy import CELERY_RUN
from tests.e2e.system import Dag, System, celery_worker

PROCESSES = 3
"""Of the worker: one for `discover`, and one for each `fetch`."""
REPOSITORY = "globex/sluice"


@pytest.fixture(scope="module")
def github(system: System) -> Iterator[Dag]:
    dag = Dag(system.of("github"), "github_users")
    dag.system.reset()
    with celery_worker(system.settings, "worker", concurrency=PROCESSES):
        yield dag
    dag.system.reset()


def test_processes_share_the_users_and_nobody_is_asked_for_twice(github: Dag) -> None:
    world = make_world()
    ids = world.member_ids([REPOSITORY])
    github.system.faults(latency_ms=250)  # one alone takes half a minute: long enough for both to be at it

    run_id = f"{CELERY_RUN}{uuid.uuid4().hex}"
    github.trigger_as(run_id, repositories=[REPOSITORY], workers=2, connections=4)
    path = f"/dags/{github.dag_id}/dagRuns/{run_id}/taskInstances/list_members"
    github.system.airflow.call("PATCH", path, {"new_state": "skipped", "include_downstream": True})
    state = github.wait(run_id)

    assert {task["executor"] for task in github.tasks(run_id).values()} == {"CeleryExecutor"}
    assert (state, github.failed(run_id)) == ("success", [])
    with MongoClient(airflow_env.mongo_url(github.system.settings)) as mongo:
        found = list(mongo["windrow"]["windrow_figures"].find({"run": f"github_users|{run_id}"}))
    parts = [note["figures"] for note in found if note["figures"].get("answered")]
    begun = [datetime.fromisoformat(figures["started_at"]) for figures in parts]
    ended = [start + timedelta(seconds=figures["seconds"]) for start, figures in zip(begun, parts, strict=True)]
    assert len(parts) == 2, "each had a part in it"
    assert max(begun) < min(ended), "at the same time, so in two processes"
    assert sum(figures["answered"] + figures["gaps"] for figures in parts) == len(ids)
    users = github.system.asked("GET /github/user/{id}")
    assert (users["requests"], users["unique"]) == (len(ids), len(ids))
