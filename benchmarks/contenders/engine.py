"""Windrow itself, as a task uses it: the plan is written, then harvested by the engine."""

import time
from contextlib import suppress
from itertools import count

from pymongo import MongoClient

from benchmarks.job import CREDENTIALS, PATH, TOKEN_PATH, Job
from windrow.declare.stream import Declared
from windrow.harvest.discovery import Discovery
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.harvest.shares import SharedFeed
from windrow.http.client import Client, Limits
from windrow.http.loop import run_async
from windrow.http.oauth import ClientCredentials
from windrow.model import registry
from windrow.model.contract import Column, Kind
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.stream import PlanFlow, Planned, Request
from windrow.store.staging import Staging

with suppress(ImportError):  # where there is none, harvests run without it
    import uvloop  # noqa: F401 - the first harvest of a process imports it, and the times leave imports out

_RUN_ID = "benchmark"
_STREAM = registry.stream("titanic_passengers")


def run(job: Job) -> float:
    """Plan and harvest; return the seconds of the plan, which the others do not have."""
    began = time.perf_counter()
    plan(job)
    plan_s = time.perf_counter() - began
    harvest(job)
    return plan_s


def plan(job: Job) -> Plan:
    """Write the plan: one query a name."""
    staging = _staging(job)
    staging.prepare(job.collection)
    return staging.save_plan(_run(job), (Query.of(PATH, {"name": name}) for name in job.names()))


class Listed(Declared):
    """Names that the API lists, 100 a page: what discovery finds out."""

    dataset = "bench_listed"
    get = PATH
    columns = (Column("name", "Name", Kind.STRING, "Name.", required=True),)

    def plan(self, request: Request) -> PlanFlow:
        """Plan a query for each name of each page."""
        for page in count():
            listing = yield Query.of("/names", {"page": str(page), "of": str(request.params["of"])})
            if not (names := listing.parsed):
                return
            yield Planned(Query.of(PATH, {"name": name}) for name in names)


def discover(job: Job) -> None:
    """Write the same plan from the pages of a list."""
    run_async(_discover(job))


async def _discover(job: Job) -> None:
    staging = _staging(job)
    staging.prepare(job.collection)
    async with _client(job) as client:
        discovery = Discovery(client, staging, _run(job), Listed())
        plan = await discovery.plan(Request({"of": job.calls}))
    assert plan.planned == job.calls, plan  # noqa: S101 - otherwise its memory says nothing


def harvest(job: Job) -> None:
    """Settle every query of the plan."""
    run_async(_harvest(job))


async def _harvest(job: Job) -> None:
    staging = _staging(job)
    plan = staging.plan(_run(job))
    feed = SharedFeed(staging, plan, job.worker, job.workers) if job.workers > 1 else PlanFeed(staging, plan)
    async with _client(job) as client:
        await Harvester(client, staging, feed, _STREAM.records).run()


def _client(job: Job) -> Client:
    auth = ClientCredentials(TOKEN_PATH, CREDENTIALS["client_id"], CREDENTIALS["client_secret"])
    return Client(job.api_url, auth, limits=Limits(connections=job.connections // job.workers))


def _run(job: Job) -> Run:
    return Run(job.collection, _RUN_ID)


def _staging(job: Job) -> Staging:
    return Staging(MongoClient(job.mongo_url), job.database)
