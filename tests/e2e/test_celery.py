"""github_users where several Celery workers run the tasks, as docker compose and most clusters have it.

A local cloud of its own: its scheduler hands every task to Celery, through the Redis that also holds the users.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pymongo import MongoClient

from local_cloud import airflow_env, ports
from local_cloud.apis.github.world import LISTS, make_world
from local_cloud.settings import Settings
from local_cloud.testing import running
from tests.e2e.system import Dag, System

SERVICES = frozenset({
    *("postgres", "mongo", "redis", "gcs", "bigquery", "apis"),
    *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
})
WORKERS = 3
"""One for `discover`, and one for each `fetch`: none runs two tasks at a time."""
REPOSITORY = "globex/sluice"


@contextmanager
def worker(settings: Settings, number: int) -> Iterator[None]:
    """Run a Celery worker until the block ends; it takes one task at a time."""
    command = [sys.executable, "-m", "airflow", "celery", "worker", "--concurrency", "1", "--skip-serve-logs"]
    with (settings.var / "log" / f"celery-{number}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--celery-hostname", f"worker-{number}@%h"],
            env=airflow_env.airflow_environment(settings, os.environ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dag]:
    folder = tmp_path_factory.mktemp("celery")
    (redis_port,) = ports.find_free(1)
    celery = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis_port}/1",
        "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
    }
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(airflow_env, "SMALL_MACHINE", airflow_env.SMALL_MACHINE | celery)
        settings = stack.enter_context(running(SERVICES, Path(folder) / "var", redis_port=redis_port))
        for number in range(WORKERS):
            stack.enter_context(worker(settings, number))
        yield Dag(System.on(settings).of("github"), "github_users")


def test_workers_share_the_users_and_nobody_is_asked_for_twice(github: Dag) -> None:
    world = make_world()
    ids = world.member_ids([REPOSITORY])
    github.system.faults(latency_ms=400)  # long enough for both to be at it

    run_id, state = github.run(repositories=[REPOSITORY], workers=2, connections=4)

    assert (state, github.failed(run_id)) == ("success", [])
    with MongoClient(github.system.settings.mongo_url) as mongo:
        found = list(mongo["windrow"]["windrow_figures"].find({"run": f"github_users|{run_id}"}))
    parts = [note["figures"] for note in found if note["figures"].get("answered")]
    begun = [datetime.fromisoformat(figures["started_at"]) for figures in parts]
    ended = [start + timedelta(seconds=figures["seconds"]) for start, figures in zip(begun, parts, strict=True)]
    assert len(parts) == 2, "each had a part in it"
    assert max(begun) < min(ended), "at the same time, so in two workers"
    receipt = github.receipt(run_id, "users.prove")
    assert receipt["agrees"]
    assert receipt["planned"] == receipt["sent"] == len(ids)
    assert receipt["table"] == len(world.details(ids))
    listed = sum(len(world.repository(REPOSITORY).member_ids(listing)) for listing in LISTS)
    assert github.receipt(run_id, "members.prove")["table"] == listed
