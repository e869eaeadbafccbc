"""Three ways to make the same calls, in one run: a serial loop, the engine, and Cloud Tasks with a function.

``python -m benchmarks.dispatch [--names 1782] [--latency-ms 100] [--error-share 0.01] [--only "Cloud Tasks"]``, with
the environment of Airflow (``make bench-dispatch``): the queue is reached through Airflow's hook. All calls go to the
project's fake API; MongoDB, queue and function are those of the local cloud.
"""

import argparse
import csv
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.testing import ROOT, running
from windrow.http.loop import run_async

SERVICES = {"mongo", "apis", "cloud-tasks", "fetch-passenger"}
DATASET = "titanic_passengers"


def main() -> None:
    """Start the services, measure in a process with Airflow's environment, and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        passengers = _passengers(Path(folder) / "passengers.csv", options.names)
        with running(SERVICES, Path(folder) / "var", passengers_csv=passengers) as settings:
            faults = {"latency_ms": options.latency_ms, "error_share": options.error_share, "error_status": 503}
            requests.put(f"{settings.api_url}/_admin/faults", json=faults, timeout=10).raise_for_status()
            environment = airflow_env.airflow_environment(settings, os.environ)
            path = [str(ROOT), str(ROOT / "plugins"), environment["PYTHONPATH"]]
            environment |= {"PYTHONPATH": os.pathsep.join(path), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
            told = {"api": settings.api_url, "mongo": airflow_env.mongo_url(settings)}
            told |= {"names": options.names, "only": options.only}
            command = [sys.executable, "-c", "from benchmarks import dispatch; dispatch.measure()"]
            subprocess.run([*command, json.dumps(told)], env=environment, check=True)


def measure() -> None:
    """Make the calls in each way. Every way has to end with each name staged once."""
    told = json.loads(sys.argv[1])
    print(f"{told['names']:,} names")
    print(f"{'way':<28} {'seconds':>8} {'calls/s':>8} {'asked':>7} {'repeated':>8}")
    for name, way in (
        ("serial loop", _loop),
        ("engine, 16 in flight", functools.partial(_engine, connections=16)),
        ("engine, 50 in flight", functools.partial(_engine, connections=50)),
        ("Cloud Tasks, 50 in flight", _queue),
    ):
        if not name.startswith(told["only"]):
            continue
        requests.post(f"{told['api']}/_admin/reset", timeout=10).raise_for_status()
        began = time.monotonic()
        staged = way(told)
        seconds = time.monotonic() - began
        asked = requests.get(f"{told['api']}/_admin/counters", timeout=10).json()
        calls = asked["routes"]["GET /get_user_by_name"]
        if staged != told["names"] or calls["unique"] != told["names"]:
            sys.exit(f"{name}: {staged} names are staged and {calls['unique']} asked for, of {told['names']}")
        row = f"{seconds:>8.1f} {told['names'] / seconds:>8.0f} {calls['requests']:>7,} {calls['repeated']:>8,}"
        print(f"{name:<28} {row}", flush=True)


def _loop(told: dict[str, Any]) -> int:
    """What is run on a laptop, kept alive: one call after the other, and each again until it is answered."""
    session = requests.Session()
    form = {"grant_type": "client_credentials", "client_id": "windrow-demo", "client_secret": "windrow-demo-secret"}
    token = session.post(f"{told['api']}/oauth/token", data=form, timeout=10).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    collection = MongoClient(told["mongo"])["benchmark"]["loop"]
    names = session.get(f"{told['api']}/get_user_list", timeout=10)
    while not names.ok:
        names = session.get(f"{told['api']}/get_user_list", timeout=10)
    for name in dict.fromkeys(names.json()["users"]):
        answer = session.get(f"{told['api']}/get_user_by_name", params={"name": name}, timeout=10)
        while not answer.ok:
            answer = session.get(f"{told['api']}/get_user_by_name", params={"name": name}, timeout=10)
        collection.replace_one({"_id": name}, {"_id": name, "body": answer.text}, upsert=True)
    return len(list(collection.find({}, {"_id": 1})))


def _engine(_: dict[str, Any], connections: int) -> int:
    return _harvested(f"engine-{connections}", functools.partial(_harvest, connections))


def _queue(_: dict[str, Any]) -> int:
    return _harvested("queue", _enqueue_and_drain)


def _harvested(run_id: str, settle: Callable[..., None]) -> int:
    """Plan a run, have it settled, and count what is staged."""
    from windrow.airflow.hooks.api import ApiHook  # noqa: PLC0415
    from windrow.airflow.hooks.staging import staging  # noqa: PLC0415
    from windrow.harvest.discovery import Discovery  # noqa: PLC0415
    from windrow.harvest.progress import Progress  # noqa: PLC0415
    from windrow.model import registry  # noqa: PLC0415
    from windrow.model.plan import Run  # noqa: PLC0415
    from windrow.model.stream import Request  # noqa: PLC0415

    stream = registry.stream(DATASET)

    async def planned(client: Any) -> Any:
        async with client:
            return await Discovery(client, state, Run(DATASET, run_id), stream).plan(Request())

    with staging("mongo_default", DATASET) as state:
        plan = run_async(planned(ApiHook("titanic").client(stream, state)))
        settle(state, plan, stream)
        return Progress.count(state, plan).settled


def _harvest(connections: int, state: Any, plan: Any, stream: Any) -> None:
    from windrow.airflow.hooks.api import ApiHook  # noqa: PLC0415  imports Airflow, which only this process may
    from windrow.harvest.engine import Harvester  # noqa: PLC0415
    from windrow.harvest.feeds import PlanFeed  # noqa: PLC0415

    async def harvest() -> None:
        async with ApiHook("titanic").client(stream, state, connections=connections) as client:
            await Harvester(client, state, PlanFeed(state, plan), stream.records).run()

    run_async(harvest())


def _enqueue_and_drain(state: Any, plan: Any, stream: Any) -> None:
    from windrow.airflow.hooks.cloud_tasks import Endpoint, Rates, TaskQueue  # noqa: PLC0415
    from windrow.harvest.progress import Progress  # noqa: PLC0415
    from windrow.model.queue_task import Call  # noqa: PLC0415

    queue = TaskQueue("google_cloud_default", "us-central1", "benchmark")
    queue.prepare(Rates(min_backoff_s=0.1))
    for number in range(plan.chunks):
        calls = [Call(plan.run, number, query) for query in state.chunk(plan.run, number).queries]
        queue.enqueue(calls, Endpoint.of("fetch_passenger"))
    while not queue.is_empty() and Progress.count(state, plan).left:
        time.sleep(0.25)


def _passengers(path: Path, number: int) -> Path:
    """Write made-up passengers of the well-known shape."""
    columns = [
        "PassengerId",
        "Survived",
        "Pclass",
        "Name",
        "Sex",
        "Age",
        "SibSp",
        "Parch",
        "Ticket",
        "Fare",
        "Cabin",
        "Embarked",
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for place in range(1, number + 1):
            row = [place, place % 2, place % 3 + 1, f"Passenger, Mr. {place}", "male", 30, 0, 0, place, 7.5, "", "S"]
            writer.writerow(row)
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dispatch", description=__doc__)
    parser.add_argument("--names", type=int, default=1782, help="distinct names to ask for (1782)")
    parser.add_argument("--latency-ms", type=int, default=100, help="time the API takes for an answer (100)")
    parser.add_argument("--error-share", type=float, default=0.01, help="share of calls that get a 503 (0.01)")
    parser.add_argument("--only", default="", help="the ways whose names begin so (all)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
