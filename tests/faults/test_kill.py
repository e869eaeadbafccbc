"""`kill -9` of a harvesting process, and a resume: nothing lost, nothing double, hardly anything asked again."""

import dataclasses
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.apis.testing import FakeApi
from local_cloud.settings import Settings
from tests.faults.harvest_process import (
    DATASET,
    WINDOW,
    Job,
    answers,
    asking,
    bodies,
    harvest,
    served,
    totals,
    until,
)
from windrow.model.answer import Outcome
from windrow.model.plan import Plan, Run
from windrow.store.staging import Staging

RUN = Run(DATASET, "scheduled__2026-01-01T00:00:00+00:00")
PLANNED = 500
SLOW = {"latency_ms": 25}
"""So that a harvest takes a second, and can be caught in the middle."""
FAULTY = SLOW | {"error_share": 0.05, "error_status": 503, "cut_share": 0.03, "malformed_share": 0.03}
FAULTY |= {"token_lifetime_s": 2}


@pytest.fixture(scope="module")
def passengers(api_server: FakeApi) -> Mapping[str, str]:
    """The plan's names, and the body that the API serves for each."""
    return dict(islice(served(api_server).items(), PLANNED))


@pytest.fixture
def job(api: FakeApi, mongo: MongoClient[dict[str, Any]], cloud: Settings) -> Job:
    url = os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud)
    return Job(url, f"test_{uuid.uuid4().hex}", RUN.run_id, api.url)


@pytest.fixture
def staging(mongo: MongoClient[dict[str, Any]], job: Job) -> Staging:
    """The staging that the process uses."""
    return Staging(mongo, job.database)


@pytest.fixture
def plan(staging: Staging, passengers: Mapping[str, str]) -> Plan:
    staging.prepare(DATASET)
    return staging.save_plan(RUN, asking(passengers))


@contextmanager
def harvesting_until(job: Job, api: FakeApi, answered: int) -> Iterator[subprocess.Popen[str]]:
    """Harvest in a process, and give it once the server has answered so many calls."""
    with job.start() as process:
        try:
            until(
                lambda: api.counters()["totals"]["ok"] >= answered or process.poll() is not None,
                f"{answered} answers",
            )
            assert process.poll() is None, process.communicate()[1]
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("faults", "moment"),
    [(SLOW, 1), (SLOW, 200), (SLOW, 350), (FAULTY, 250)],
    ids=["at the start", "in the middle", "near the end", "with faults"],
)
def test_after_kill_9_another_process_asks_for_the_rest(
    api: FakeApi,
    staging: Staging,
    plan: Plan,
    passengers: Mapping[str, str],
    job: Job,
    faults: Mapping[str, Any],
    moment: int,
) -> None:
    api.faults(**faults)

    with harvesting_until(job, api, moment) as process:
        process.kill()
    killed = totals(api)
    resumed = harvest(api.url, staging, plan)
    assert resumed.error is None
    staged = resumed.tally.done_before

    counts = totals(api)
    print(f"{killed['ok']} answered and {staged} staged at the kill, {counts['repeated_ok']} answered twice")
    assert moment <= killed["ok"] < PLANNED
    assert bodies(staging, plan) == passengers  # none lost, none double, each as served
    assert len(answers(staging, plan)) == PLANNED
    assert staging.quarantined(RUN) == []
    assert counts["repeated_ok"] == killed["ok"] - staged <= WINDOW
    if faults is SLOW:
        assert counts["repeated"] == counts["requests"] - PLANNED <= WINDOW


def test_killed_again_and_again_it_still_gets_there(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], job: Job
) -> None:
    unknown = list(passengers)[:5]
    api.faults(**SLOW, sticky=dict.fromkeys(unknown, 404))
    kills = 2

    for _ in range(kills):
        with harvesting_until(job, api, totals(api)["ok"] + 150) as process:
            process.kill()
        api.faults(sticky={})  # asked again, they would be answered now: but a gap is settled
    assert harvest(api.url, staging, plan).error is None

    counts = totals(api)
    print(f"{counts['repeated_ok']} answered twice after {kills} kills")
    gaps = [one.query for one in answers(staging, plan) if one.outcome is Outcome.MISSING]
    assert gaps == asking(unknown)
    assert bodies(staging, plan) == {name: body for name, body in passengers.items() if name not in unknown}
    assert counts["ok"] == PLANNED - 5 + counts["repeated_ok"]
    assert counts["repeated"] <= kills * WINDOW


def test_the_window_bounds_what_is_asked_again(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], job: Job
) -> None:
    api.faults(latency_ms=2)
    window = 4
    narrow = dataclasses.replace(job, in_flight=window)

    with harvesting_until(narrow, api, 150) as process:
        process.kill()
    killed = totals(api)
    assert harvest(api.url, staging, plan).error is None

    counts = totals(api)
    print(f"{counts['repeated']} asked twice with a window of {window}")
    assert killed["max_in_flight"] == window
    assert 150 <= killed["ok"] < PLANNED
    assert bodies(staging, plan) == passengers
    assert counts["repeated"] <= window


def test_sigterm_ends_a_harvest_with_all_that_was_answered_staged(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], job: Job
) -> None:
    api.faults(**SLOW)

    with harvesting_until(job, api, 200) as process:
        process.send_signal(signal.SIGTERM)
        printed, errors = process.communicate(timeout=10)

    assert process.returncode == 1
    assert "windrow.model.errors.Interrupted" in errors
    counts = totals(api)
    assert 200 <= counts["ok"] == len(answers(staging, plan)) < PLANNED
    figures = json.loads(printed)
    assert (figures["state"], figures["answered"], figures["stopped_by"]) == ("ended", counts["ok"], "Interrupted")

    assert harvest(api.url, staging, plan).error is None
    assert bodies(staging, plan) == passengers
    assert totals(api)["repeated"] == 0
