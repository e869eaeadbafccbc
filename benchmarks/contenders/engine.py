"""Windrow itself, as a task uses it: the plan is written, then harvested by the engine."""

import asyncio

from pymongo import MongoClient

from benchmarks.job import CREDENTIALS, PATH, TOKEN_PATH, Job
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.http.client import Client, Limits
from windrow.http.oauth import ClientCredentials
from windrow.model import registry
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging

_RUN_ID = "benchmark"


def run(job: Job) -> None:
    """Plan and harvest."""
    plan(job)
    harvest(job)


def plan(job: Job) -> Plan:
    """Write the plan: one query a name."""
    staging = _staging(job)
    staging.prepare(job.collection)
    return staging.save_plan(_run(job), (Query.of(PATH, {"name": name}) for name in job.names()))


def harvest(job: Job) -> None:
    """Settle every query of the plan."""
    asyncio.run(_harvest(job))


async def _harvest(job: Job) -> None:
    staging = _staging(job)
    auth = ClientCredentials(TOKEN_PATH, CREDENTIALS["client_id"], CREDENTIALS["client_secret"])
    async with Client(job.api_url, auth, limits=Limits(connections=job.connections)) as client:
        read = registry.stream("titanic_passengers").records
        await Harvester(client, staging, PlanFeed(staging, staging.plan(_run(job))), read).run()


def _run(job: Job) -> Run:
    return Run(job.collection, _RUN_ID)


def _staging(job: Job) -> Staging:
    return Staging(MongoClient(job.mongo_url), job.database)
