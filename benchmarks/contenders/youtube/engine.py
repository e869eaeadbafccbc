"""Windrow itself, as the two tasks of the DAG use it: one process plans, another harvests."""

from pymongo import MongoClient

from benchmarks.youtube.job import DATASET, TOKEN_PATH, Job
from windrow.harvest.discovery import Discovery
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.http.client import Client, Limits
from windrow.http.consent import Consent
from windrow.http.ledger import Ledger
from windrow.http.loop import run_async
from windrow.http.oauth import RefreshToken
from windrow.model import registry
from windrow.model.plan import Run
from windrow.model.stream import Request
from windrow.store.staging import Staging

RUN = Run(DATASET, "benchmark")
_STREAM = registry.stream(DATASET)


def plan(job: Job) -> None:
    """Ask which videos there are, and write one query a video and day."""
    run_async(_plan(job))


def harvest(job: Job) -> None:
    """Settle every query that is not settled yet."""
    run_async(_harvest(job))


async def _plan(job: Job) -> None:
    staging = _staging(job)
    staging.prepare(DATASET)
    span = {"start_date": job.first.isoformat(), "end_date": job.last.isoformat()}
    async with _client(job, staging) as client:
        await Discovery(client, staging, RUN, _STREAM).plan(Request({"granularity": "day", **span}, job.at))


async def _harvest(job: Job) -> None:
    staging = _staging(job)
    async with _client(job, staging) as client:
        feed = PlanFeed(staging, staging.plan(RUN))
        await Harvester(client, staging, feed, _STREAM.records, next_page=_STREAM.next_page).run()


class _Unsealed:
    """No encryption: the tokens of the fake API are no secret."""

    def seal(self, text: str) -> str:
        return text

    def unseal(self, sealed: str) -> str:
        return sealed


def _client(job: Job, staging: Staging) -> Client:
    consent = Consent(staging, _Unsealed(), job.client_id, job.refresh_token)
    return Client(
        job.api_url,
        RefreshToken(TOKEN_PATH, job.client_id, job.client_secret, consent),
        limits=Limits(connections=job.connections),
        policy=_STREAM.policy,
        ledger=Ledger(staging, _STREAM.quotas, account=job.client_id),
        headers=_STREAM.headers,
    )


def _staging(job: Job) -> Staging:
    return Staging(MongoClient(job.mongo_url), job.database)
