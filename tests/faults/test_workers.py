"""Several workers harvest one plan: the same rows, each call made once, whatever happens to a worker."""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.apis.testing import FakeApi
from local_cloud.settings import Settings
from tests.faults.harvest_process import (
    DATASET,
    Harvested,
    Job,
    answers,
    asking,
    bodies,
    harvesting,
    served,
    totals,
    until,
)
from windrow.harvest.shares import SharedFeed
from windrow.http.ledger import Ledger
from windrow.http.loop import run_async
from windrow.http.pacing import Pace
from windrow.model.errors import RateLimited, Unanswered
from windrow.model.plan import Plan, Run
from windrow.model.quota import Period, Quota
from windrow.store.leases import Held
from windrow.store.staging import Staging
from windrow.store.status import StatusStore

RUN = Run(DATASET, "scheduled__2026-01-01T00:00:00+00:00")
PLANNED = 120
LEASE_S = 3.0
WINDOW = 8
PARTS = 12
"""Of three chunks for three workers: four for each of them."""


@pytest.fixture(scope="module")
def passengers(api_server: FakeApi) -> Mapping[str, str]:
    """The plan's names, and the body that the API serves for each."""
    return dict(islice(served(api_server).items(), PLANNED))


@pytest.fixture
def job(api: FakeApi, mongo: MongoClient[dict[str, Any]], cloud: Settings) -> Iterator[Job]:
    url = os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud)
    made = Job(url, f"test_{uuid.uuid4().hex}", RUN.run_id, api.url, connections=4, in_flight=WINDOW, lease_s=LEASE_S)
    yield made
    mongo.drop_database(made.database)


@pytest.fixture
def staging(mongo: MongoClient[dict[str, Any]], job: Job) -> Staging:
    return Staging(mongo, job.database)


@pytest.fixture
def plan(staging: Staging, passengers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of three chunks."""
    monkeypatch.setattr("windrow.store.plans.CHUNK", PLANNED // 3)
    staging.prepare(DATASET)
    return staging.save_plan(RUN, asking(passengers))


def together(url: str, staging: Staging, plan: Plan, workers: int, *only: int, **options: Any) -> list[Harvested]:
    """Harvest with all workers at once, or with these."""

    async def harvest() -> list[Harvested]:
        feeds = [SharedFeed(staging, plan, worker, workers, lease_s=LEASE_S) for worker in only or range(workers)]
        return await asyncio.gather(
            *(harvesting(url, staging, plan, feed=feed, connections=2, **options) for feed in feeds)
        )

    return run_async(harvest())


@pytest.mark.parametrize("workers", [1, 2, 3, 40])
def test_any_number_of_workers_makes_each_call_once(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], workers: int
) -> None:
    found = together(api.url, staging, plan, workers)

    assert [one.error for one in found] == [None] * workers
    assert bodies(staging, plan) == passengers
    assert totals(api)["requests"] == PLANNED
    assert sum(one.tally.answered for one in found) == PLANNED
    with_work = [one for one in found if one.tally.answered]
    assert len(with_work) >= min(workers, 3)


def test_a_worker_that_runs_again_makes_the_calls_that_failed_and_counts_what_it_had_done(
    api: FakeApi, staging: Staging, mongo: MongoClient[dict[str, Any]], plan: Plan, passengers: Mapping[str, str]
) -> None:
    """As after a person has cleared one mapped task."""
    lost = list(passengers)[:2]
    api.faults(sticky=dict.fromkeys(lost, 503))
    first = together(api.url, staging, plan, 2)
    assert {type(one.error) for one in first} <= {Unanswered, type(None)}
    assert sum(one.tally.unanswered for one in first) == len(lost)
    status = StatusStore(mongo, staging._database.name)
    assert (summary := status.summary(RUN))
    assert summary.done == PLANNED - len(lost)
    assert "did not answer" in summary.trouble["error"]
    api.reset()
    together(api.url, staging, plan, 2, 1)
    assert totals(api)["unique"] == len(lost), "a new round: only the calls that failed"
    assert (summary := status.summary(RUN))
    assert summary.done == PLANNED - len(lost), "what the other worker had counted is not counted twice"
    api.faults(sticky={})
    api.reset()

    again = together(api.url, staging, plan, 2, 1)

    assert again[0].error is None
    assert totals(api)["requests"] == len(lost)
    assert bodies(staging, plan) == passengers
    assert (summary := status.summary(RUN))
    assert (summary.done, summary.steps["harvest"]["state"], summary.trouble) == (PLANNED, "ended", {})


def test_a_dead_worker_and_a_frozen_one_cost_their_calls_in_flight(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], job: Job
) -> None:
    """Worker 0 is killed, worker 1 is frozen for longer than its lease and wakes up, worker 2 does the rest."""
    api.faults(latency_ms=2_000)  # so that no worker has done everything before the others have started
    with ExitStack() as stack:
        processes = []
        for worker in range(3):
            process = dataclasses.replace(job, worker=worker, workers=3).start()
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        dead, frozen, alive = processes

        def held() -> set[int]:
            leases = staging.leases(RUN, PARTS).values()
            return {one.worker for one in leases if one.state is Held.HELD}

        until(lambda: held() == {0, 1, 2} or any(map(subprocess.Popen.poll, processes)), "all have a part", 90)
        assert [one.communicate()[1] for one in processes if one.poll() is not None] == []
        dead.kill()
        frozen.send_signal(signal.SIGSTOP)
        api.faults(latency_ms=0)
        finish(alive)
        assert bodies(staging, plan) == passengers, "the worker that is left does what the others had"
        before, made = staging.leases(RUN, PARTS), totals(api)["requests"]
        api.faults(latency_ms=1_000)  # so that it has found out before it has called everything once more
        frozen.send_signal(signal.SIGCONT)
        finish(frozen)

    assert staging.leases(RUN, PARTS) == before, "the frozen worker has lost its parts"
    assert {one.state for one in before.values()} == {Held.DONE}
    counts = totals(api)
    assert counts["requests"] - made <= 2 * job.connections, "it leaves the rest of its parts to the others"
    print(f"{counts['repeated']} calls of {PLANNED} were made twice")
    assert bodies(staging, plan) == passengers
    assert len(answers(staging, plan)) == PLANNED
    assert counts["repeated"] <= 2 * WINDOW + 2 * job.connections
    assert [one.error for one in together(api.url, staging, plan, 3, 0)] == [None]
    assert totals(api)["requests"] == counts["requests"], "nothing is left for the dead one"


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end of a worker, and return its figures."""
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return dict(json.loads(printed))


def test_workers_never_use_more_units_than_a_quota_has(api: FakeApi, staging: Staging, plan: Plan) -> None:
    now, units = datetime.now(UTC), 70

    async def harvest() -> list[Harvested]:
        quotas = [Quota("calls", Period.PACIFIC_DAY, units, ("/",))]
        return await asyncio.gather(
            *(
                harvesting(
                    api.url, staging, plan,
                    feed=SharedFeed(staging, plan, worker, 3, lease_s=LEASE_S),
                    ledger=Ledger(staging, quotas, account="me", clock=lambda: now),
                )
                for worker in range(3)
            )
        )  # fmt: skip

    found = run_async(harvest())

    assert {type(one.error) for one in found} == {RateLimited}
    made = totals(api)["requests"]
    assert units - 10 <= made <= units
    assert len(answers(staging, plan)) == made
    leases = staging.leases(RUN, PARTS).values()
    assert {one.state for one in leases} <= {Held.DONE, Held.LEFT}, "others may continue at once"


@pytest.mark.parametrize("rate_per_s", [40, 400])
def test_no_second_has_more_turns_than_the_rate_however_many_share_it(staging: Staging, rate_per_s: int) -> None:
    async def take(pace: Pace, turns: int, connections: int) -> list[float]:
        async def one() -> list[float]:
            return [await pace.turn() for _ in range(turns // connections)]

        return [at for each in await asyncio.gather(*(one() for _ in range(connections))) for at in each]

    async def share() -> list[float]:
        paces = [Pace(rate_per_s, name="shop", turns=staging) for _ in range(3)]
        many = await asyncio.gather(*map(take, paces, (rate_per_s, rate_per_s // 2, rate_per_s // 5), (10, 4, 1)))
        return sorted(at for each in many for at in each)

    at = run_async(share())

    clocks_s = 0.01
    """How far the clock of the store may be off, as each pace sees it."""
    assert len(at) > 1.5 * rate_per_s
    assert min(later - earlier for earlier, later in zip(at, at[rate_per_s:], strict=False)) >= 1.03 - clocks_s


def test_a_wrong_time_in_the_store_does_not_stop_the_calls(staging: Staging) -> None:
    now = staging.turns_clock()
    assert staging.claim_turns("shop", 0.5, now, 0.1) == pytest.approx(now + 0.1, abs=1e-5)
    assert staging.claim_turns("shop", 0.5, now, 0.1) == pytest.approx(now + 0.6, abs=1e-5)
    later = now + timedelta(days=2).total_seconds()
    assert staging.claim_turns("shop", 0.5, later, 0) == pytest.approx(later, abs=1e-5)
    assert staging.claim_turns("shop", 0.5, now, 0) == pytest.approx(now, abs=1e-5), "a clock was two days ahead"
