"""How tests harvest; and, run as a program, a harvest in a process of its own, which a test may kill.

``python -m tests.faults.harvest_process JOB``, where JOB is a `Job` as JSON. SIGTERM stops it as Airflow stops a
task. It prints the figures of the harvest at its end, and ends with code 1 and a traceback when it was stopped.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from pymongo import MongoClient

import windrow
from local_cloud.apis.testing import FakeApi
from local_cloud.run_service import die_with_parent
from windrow.harvest.engine import Harvester, Tally
from windrow.harvest.feeds import PlanFeed
from windrow.harvest.shares import SharedFeed
from windrow.http.client import Client, Limits
from windrow.http.ledger import Ledger
from windrow.http.loop import run_async
from windrow.http.oauth import ClientCredentials
from windrow.http.results import Reader
from windrow.model import registry
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import WindrowError
from windrow.model.plan import Plan, Run
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.store.staging import Staging

ROOT = Path(__file__).resolve().parents[2]
DATASET = "titanic_passengers"
STREAM = registry.stream(DATASET)
QUICK = Backoff(base_s=0.01, cap_s=0.05)
"""As the real backoff, with pauses of milliseconds."""
CONNECTIONS = 16
WINDOW = 2 * CONNECTIONS
"""Calls that may be under way or answered and not yet durable, with so many connections."""


@dataclasses.dataclass(frozen=True)
class Harvested:
    """What one harvest came to. ``error`` is what it raised."""

    tally: Tally
    events: Counter[str]
    tokens: int
    error: WindrowError | None


@dataclasses.dataclass(frozen=True)
class Job:
    """What a harvest in a process of its own needs to know; the plan is in MongoDB."""

    mongo_url: str
    database: str
    run_id: str
    api_url: str
    connections: int = CONNECTIONS
    in_flight: int = WINDOW
    worker: int = 0
    workers: int = 1
    lease_s: float = 60.0

    def start(self) -> subprocess.Popen[str]:
        """Start the process. It ends with ours."""
        plugins = str(Path(windrow.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), plugins]))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.harvest_process", json.dumps(dataclasses.asdict(self))],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


# --- plans -------------------------------------------------------------------------------------


def asking(names: Iterable[str]) -> list[Query]:
    """Make the calls for passengers of these names."""
    return [Query.of("/get_user_by_name", {"name": name}) for name in names]


def name_of(query: Query) -> str:
    """Return whom a call asks for."""
    return dict(query.params)["name"]


@cache
def served(api: FakeApi) -> Mapping[str, str]:
    """Ask a healthy API for every passenger, one by one: the bodies by name. Leaves its counters at zero."""
    api.heal()
    headers = {"Authorization": f"Bearer {api.token()}"}
    with closing(HTTPConnection(*api.address, timeout=10)) as connection:

        def get(path: str) -> str:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read().decode()

        names = dict.fromkeys(json.loads(get("/get_user_list"))["users"])
        bodies = {name: get(f"/get_user_by_name?{urlencode({'name': name})}") for name in names}
    api.reset()
    return MappingProxyType(bodies)  # all tests share it


# --- harvests ----------------------------------------------------------------------------------


def connect(
    url: str,
    *,
    backoff: Backoff = QUICK,
    connections: int = CONNECTIONS,
    ledger: Ledger | None = None,
    **limits: Any,
) -> Client:
    """Make a client of the fake API; it is quick to try again."""
    auth = ClientCredentials("/oauth/token", "windrow-demo", "windrow-demo-secret", name="titanic", backoff=backoff)
    return Client(
        url, auth, name="titanic", limits=Limits(connections=connections, backoff=backoff, **limits), ledger=ledger
    )


async def harvesting(
    url: str,
    staging: Staging,
    plan: Plan,
    *,
    read: Reader = STREAM.records,
    in_flight: int | None = None,
    feed: PlanFeed | None = None,
    **limits: Any,
) -> Harvested:
    """Harvest to the end, or until something stops it."""
    error = None
    async with connect(url, **limits) as client:
        harvester = Harvester(client, staging, feed or PlanFeed(staging, plan), read, in_flight=in_flight)
        try:
            await harvester.run()
        except WindrowError as raised:
            error = raised
    return Harvested(harvester.tally, client.events, client.refreshes, error)


def harvest(url: str, staging: Staging, plan: Plan, **options: Any) -> Harvested:
    """As `harvesting`, for a test without a loop of its own."""
    return run_async(harvesting(url, staging, plan, **options))


def after(reads: int, then: Callable[[], object]) -> Reader:
    """Make a reader of passengers that calls ``then`` once, after so many answers."""
    left = reads

    def read(query: Query, answer: object) -> object:
        nonlocal left
        records = STREAM.records(query, answer)
        left -= 1
        if left == 0:
            then()
        return records

    return read


# --- what came of it ---------------------------------------------------------------------------


def answers(staging: Staging, plan: Plan) -> list[Answer]:
    """Return all that is settled of a plan, chunk by chunk."""
    return [one for number in range(plan.chunks) for one in staging.answers(staging.chunk(plan.run, number))]


def bodies(staging: Staging, plan: Plan) -> dict[str, str]:
    """Return the staged bodies by name, gaps left out; fails when a name is staged twice."""
    staged = [one for one in answers(staging, plan) if one.outcome is Outcome.ANSWERED]
    found = {name_of(one.query): one.body for one in staged}
    assert len(found) == len(staged), "a name is staged twice"
    return found


def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Poll until the condition holds; fail with ``what`` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} s: {what}"
        time.sleep(0.02)


def totals(api: FakeApi) -> dict[str, Any]:
    """Return the server's counts of API calls, once no call is under way any more."""
    until(lambda: api.counters()["totals"]["in_flight"] == 0, "the API's last call ends")
    return dict(api.counters()["totals"])


# --- the program -------------------------------------------------------------------------------


async def _main(job: Job) -> None:
    with MongoClient[dict[str, Any]](job.mongo_url) as mongo:
        staging = Staging(mongo, job.database)
        plan = staging.plan(Run(DATASET, job.run_id))
        async with connect(job.api_url, connections=job.connections) as client:
            feed = PlanFeed(staging, plan)
            if job.workers > 1:
                feed = SharedFeed(staging, plan, job.worker, job.workers, lease_s=job.lease_s)
            harvester = Harvester(client, staging, feed, STREAM.records, in_flight=job.in_flight)
            signal.signal(signal.SIGTERM, lambda *_: harvester.stop())
            try:
                await harvester.run()
            finally:
                print(json.dumps(harvester.figures("ended")), flush=True)


if __name__ == "__main__":
    die_with_parent(os.getppid())
    run_async(_main(Job(**json.loads(sys.argv[1]))))
