"""Faults of the API, of its token endpoint and of MongoDB, each proved to have happened by the server's counts."""

import asyncio
import dataclasses
import gc
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from local_cloud import airflow_env, probes
from local_cloud.apis.testing import FakeApi
from local_cloud.ports import find_free
from local_cloud.testing import free_settings
from tests.faults.harvest_process import (
    CONNECTIONS,
    DATASET,
    QUICK,
    ROOT,
    STREAM,
    WINDOW,
    Harvested,
    after,
    answers,
    asking,
    bodies,
    connect,
    harvest,
    harvesting,
    served,
    totals,
    until,
)
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.harvest.replay import replay
from windrow.http.loop import run_async
from windrow.model.answer import Outcome
from windrow.model.errors import (
    ApiUnreachable,
    CredentialsRejected,
    QueryRefused,
    RateLimited,
    StagingUnavailable,
    Unanswered,
    Unreadable,
    WindrowError,
)
from windrow.model.logs import JsonLines
from windrow.model.plan import Plan, Run
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.store.staging import Staging

RUN = Run(DATASET, "scheduled__2026-01-01T00:00:00+00:00")
ONCE = Backoff(base_s=0.01, cap_s=0.1, attempts=1)
"""Gives up at the first failure."""
LASTING = Backoff(base_s=0.05, cap_s=0.3, attempts=40)
"""Outlasts a restart."""
PLANNED = 300
HOPELESS = 25
"""Failures in a row after which the engine stops."""


@pytest.fixture(scope="module")
def passengers(api_server: FakeApi) -> Mapping[str, str]:
    """The plan's names, and the body that the API serves for each."""
    return dict(islice(served(api_server).items(), PLANNED))


@pytest.fixture
def plan(staging: Staging, passengers: Mapping[str, str]) -> Plan:
    return staging.save_plan(RUN, asking(passengers))


@pytest.fixture
def few(staging: Staging, passengers: Mapping[str, str]) -> Plan:
    """A plan of 40."""
    return staging.save_plan(RUN, asking(list(passengers)[:40]))


def assert_complete(done: Harvested, staging: Staging, plan: Plan, passengers: Mapping[str, str]) -> None:
    """Nothing is lost, nothing is double, and nothing is left to complain about."""
    assert done.error is None
    assert bodies(staging, plan) == passengers
    assert len(answers(staging, plan)) == plan.planned == done.tally.settled
    assert staging.quarantined(plan.run) == []


async def eventually(api: FakeApi, calls: int) -> None:
    """Wait, without stopping the loop, until the server has answered so many."""
    await asyncio.to_thread(until, lambda: api.counters()["totals"]["ok"] >= calls, f"{calls} answers")


# --- each fault alone, and all together --------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "count"),
    [
        ({"error_share": 0.05, "error_status": 503}, "503"),
        ({"error_share": 0.05, "error_status": 522}, "522"),
        ({"throttle_share": 0.05, "retry_after": 0.01}, "429"),
        ({"unauthorized_share": 0.05}, "401"),
        ({"cut_share": 0.05}, "cut"),
        ({"malformed_share": 0.05}, "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_is_overcome(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], faults: dict[str, Any], count: str
) -> None:
    api.faults(**faults)

    done = harvest(api.url, staging, plan)

    assert_complete(done, staging, plan, passengers)
    counts = totals(api)
    assert counts["by_status"].get(count, counts.get(count, 0)) >= 5  # the fault did happen
    assert (counts["unique"], counts["ok"], counts["repeated_ok"]) == (PLANNED, PLANNED, 0)
    assert done.events["sent"] == counts["requests"]
    assert done.events["retried"] == counts["repeated"]


def test_all_faults_together_are_overcome(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(
        error_share=0.05,
        error_status=503,
        cut_share=0.05,
        malformed_share=0.05,
        unauthorized_share=0.03,
        throttle_share=0.03,
        retry_after=0.02,
        token_lifetime_s=2,
        token_error_share=0.2,
        unknown_fields=True,
        latency_ms=120,
    )

    done = harvest(api.url, staging, plan)

    assert done.error is None
    assert len(answers(staging, plan)) == done.tally.answered == PLANNED
    assert bodies(staging, plan).keys() == passengers.keys()
    assert staging.quarantined(RUN) == []
    assert all('"_added_later"' in body for body in bodies(staging, plan).values())  # kept word for word
    counts = totals(api)
    assert min(counts["by_status"][status] for status in ("401", "429", "503")) > 0
    assert min(counts[fault] for fault in ("cut", "malformed")) > 0
    assert (counts["ok"], counts["repeated_ok"], counts["max_in_flight"]) == (PLANNED, 0, CONNECTIONS)
    assert done.events["sent"] == counts["requests"]
    assert api.counters()["tokens_issued"] == done.tokens >= 2


@pytest.mark.parametrize("status", [404, 410])
def test_what_the_api_does_not_have_is_a_gap_that_is_not_asked_again(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], status: int
) -> None:
    gone = list(passengers)[::50]
    api.faults(sticky=dict.fromkeys(gone, status))

    done = harvest(api.url, staging, plan)

    assert (done.error, done.tally.gaps, done.tally.answered) == (None, 6, 294)
    assert totals(api)["requests"] == PLANNED
    gaps = [one for one in answers(staging, plan) if one.outcome is Outcome.MISSING]
    assert [one.query for one in gaps] == asking(gone)
    assert {one.status for one in gaps} == {status}

    api.heal()
    assert harvest(api.url, staging, plan).tally.done_before == PLANNED
    assert totals(api)["requests"] == PLANNED


def test_a_query_that_is_refused_goes_to_the_quarantine_at_once(
    api: FakeApi, staging: Staging, few: Plan, passengers: Mapping[str, str]
) -> None:
    name = next(iter(passengers))
    api.faults(sticky={name: 403})

    done = harvest(api.url, staging, few)

    assert (done.error, done.tally.rejected, done.tally.answered) == (None, 1, 39)
    assert totals(api)["requests"] == 40
    ((_, rejected),) = staging.quarantined(RUN)
    assert (rejected.query.key, rejected.status) == (asking([name])[0].key, 403)
    assert "rejected the query: HTTP 403" in rejected.reason


def test_what_is_no_json_goes_to_the_quarantine_and_leaves_it_once_the_api_is_well(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    bad = list(passengers)[::60]
    api.faults(sticky=dict.fromkeys(bad, "malformed"))

    done = harvest(api.url, staging, plan)

    assert (done.error, done.tally.rejected, done.tally.answered) == (None, 5, 295)
    asked = api.counters(detail=True)["routes"]["GET /get_user_by_name"]["asked"]
    assert {asked[name] for name in bad} == {QUICK.attempts}
    assert totals(api)["ok"] == 295
    quarantine = [one for _, one in staging.quarantined(RUN)]
    assert {one.query.key for one in quarantine} == {query.key for query in asking(bad)}
    for one in quarantine:
        assert (one.reason[:14], one.status) == ("invalid JSON: ", 200)
        whole = passengers[dict(one.query.params)["name"]]
        assert one.body.startswith("<html>") or (whole.startswith(one.body) and one.body != whole)

    api.heal()
    api.reset()
    again = harvest(api.url, staging, plan)

    assert_complete(again, staging, plan, passengers)
    assert (again.tally.done_before, again.tally.answered) == (295, 5)
    assert totals(api)["requests"] == 5


def test_an_answer_that_lacks_a_required_field_goes_to_the_quarantine(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    """The fault leaves out any one field. Without one that may be null, the answer can be read."""
    api.faults(missing_field_share=0.1)
    required = {column.field for column in STREAM.contract.columns if column.required}

    done = harvest(api.url, staging, plan, backoff=ONCE)

    quarantine = [one for _, one in staging.quarantined(RUN)]
    assert len(quarantine) == done.tally.rejected >= 5
    for one in quarantine:
        (lacking,) = json.loads(passengers[dict(one.query.params)["name"]]).keys() - json.loads(one.body).keys()
        assert lacking in required
        assert one.reason == f"field '{lacking}' is missing"
    assert totals(api)["ok"] <= done.tally.answered == PLANNED - done.tally.rejected

    api.heal()
    again = harvest(api.url, staging, plan)
    assert (again.error, again.tally.settled) == (None, PLANNED)
    assert staging.quarantined(RUN) == []


def test_a_reader_that_is_mended_reads_the_quarantine_without_a_call(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    def too_strict(query: Query, answer: object) -> None:
        (record,) = STREAM.records(query, answer)
        if record["class"] == 2:
            raise Unreadable("second class")

    done = harvest(api.url, staging, plan, read=too_strict, backoff=ONCE)
    assert done.tally.rejected > 30
    api.reset()

    assert replay(staging, RUN, STREAM) == done.tally.rejected

    assert staging.quarantined(RUN) == []
    assert totals(api)["requests"] == 0
    assert_complete(harvest(api.url, staging, plan), staging, plan, passengers)
    assert totals(api)["requests"] == 0


# --- the API as a whole is in trouble ----------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"malformed_share": 1.0}, QueryRefused),
        ({"error_share": 1.0, "error_status": 503}, Unanswered),
        ({"cut_share": 1.0}, ApiUnreachable),
        ({"error_share": 1.0, "error_status": 501}, QueryRefused),
    ],
    ids=["malformed", "503", "cut", "501"],
)
def test_when_nothing_works_the_harvest_stops_early(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], faults: dict[str, Any], kind: type[Any]
) -> None:
    api.faults(**faults)

    done = harvest(api.url, staging, plan)

    assert type(done.error) is kind
    assert "25 queries in a row failed" in str(done.error)
    counts = totals(api)
    assert counts["unique"] < HOPELESS + CONNECTIONS
    assert counts["requests"] <= counts["unique"] * QUICK.attempts
    assert counts["ok"] == len(answers(staging, plan)) == 0
    assert len(staging.quarantined(RUN)) == done.tally.rejected

    api.heal()
    assert_complete(harvest(api.url, staging, plan), staging, plan, passengers)


def test_queries_without_an_answer_do_not_stop_the_others_and_are_asked_next_time(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    silent = list(passengers)[::50]
    api.faults(sticky=dict.fromkeys(silent, 503))
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("windrow.harvest.engine")
    logger.addHandler(handler)

    done = harvest(api.url, staging, plan)

    logger.removeHandler(handler)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {line.get("key") for line in lines if line["severity"] == "WARNING"} == {one.key for one in asking(silent)}
    assert type(done.error) is Unanswered
    assert "6 of 300 queries got no answer" in str(done.error)
    assert (done.tally.unanswered, done.tally.answered) == (6, 294)
    assert totals(api)["requests"] == 294 + 6 * QUICK.attempts

    api.heal()
    api.reset()
    assert_complete(harvest(api.url, staging, plan), staging, plan, passengers)
    assert totals(api)["requests"] == 6


def test_slow_answers_time_out_and_are_asked_again_once_the_api_is_quick(
    api: FakeApi, staging: Staging, few: Plan
) -> None:
    api.faults(latency_ms=400)

    done = harvest(api.url, staging, few, timeout_s=0.1, backoff=ONCE)

    assert type(done.error) is ApiUnreachable
    assert "TimeoutError" in str(done.error)
    assert totals(api)["abandoned"] >= HOPELESS

    api.heal()
    assert harvest(api.url, staging, few, timeout_s=5).tally.settled == 40


def test_where_nothing_listens_the_harvest_ends_soon(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    harvest_a_part(api, staging, plan, 100)
    (port,) = find_free(1)
    began = time.monotonic()

    done = harvest(f"http://127.0.0.1:{port}", staging, plan)

    assert time.monotonic() - began < 5
    assert type(done.error) is ApiUnreachable
    assert f"127.0.0.1:{port}" in str(done.error)
    assert len(answers(staging, plan)) == done.tally.done_before >= 100
    assert_complete(harvest(api.url, staging, plan), staging, plan, passengers)
    assert totals(api)["repeated"] == 0


def test_no_pause_follows_the_last_attempt(staging: Staging, plan: Plan) -> None:
    (port,) = find_free(1)
    began = time.monotonic()

    done = harvest(f"http://127.0.0.1:{port}", staging, plan, backoff=Backoff(base_s=10, cap_s=10, attempts=1))

    assert time.monotonic() - began < 2
    assert type(done.error) is ApiUnreachable


def harvest_a_part(api: FakeApi, staging: Staging, plan: Plan, reads: int) -> None:
    """Harvest until so many answers were read, then stop."""

    async def stopped() -> None:
        def stop() -> None:
            harvester.stop()

        async with connect(api.url) as client:
            harvester = Harvester(client, staging, PlanFeed(staging, plan), after(reads, stop))
            with suppress(WindrowError):
                await harvester.run()

    run_async(stopped())


@contextmanager
def api_on(port: int) -> Iterator[FakeApi]:
    """Run the fake APIs on this port, and kill them at the end."""
    command = [sys.executable, "-m", "local_cloud.apis", "--port", str(port), "--die-with-parent"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().endswith(f":{port}\n")
            yield FakeApi(f"http://127.0.0.1:{port}", process)
        finally:
            process.kill()


def test_an_api_that_dies_costs_nothing_that_was_answered(
    staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    (port,) = find_free(1)

    async def dying() -> Harvested:
        with api_on(port) as api:
            api.faults(latency_ms=30)
            going = asyncio.create_task(harvesting(api.url, staging, plan))
            await eventually(api, 100)
        return await going

    done = run_async(dying())

    assert type(done.error) is ApiUnreachable
    assert 100 - CONNECTIONS <= len(answers(staging, plan)) == done.tally.answered < PLANNED
    with api_on(port) as api:
        again = harvest(api.url, staging, plan)
        assert totals(api)["requests"] == totals(api)["ok"] == PLANNED - done.tally.answered
    assert_complete(again, staging, plan, passengers)


def test_a_restart_of_the_api_is_outlasted(staging: Staging, plan: Plan, passengers: Mapping[str, str]) -> None:
    (port,) = find_free(1)

    async def restarted() -> Harvested:
        with api_on(port) as api:
            api.faults(latency_ms=30)
            going = asyncio.create_task(harvesting(api.url, staging, plan, backoff=LASTING))
            await eventually(api, 100)
        with api_on(port) as api:
            return await going

    done = run_async(restarted())

    assert_complete(done, staging, plan, passengers)
    assert done.tally.unanswered == 0
    assert done.tokens == 2  # the second server did not know the token of the first
    assert done.events["no_answer"] > 0


# --- tokens ------------------------------------------------------------------------------------


def test_tokens_that_live_2_s_are_renewed_before_they_die(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(token_lifetime_s=2, latency_ms=120)

    done = harvest(api.url, staging, plan)

    assert_complete(done, staging, plan, passengers)
    assert api.counters()["tokens_issued"] == done.tokens >= 2
    counts = totals(api)
    assert (counts["requests"], counts["refused_401"]) == (PLANNED, 0)


def test_a_401_storm_makes_one_refresh(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=30, token_latency_ms=50)

    async def storm() -> Harvested:
        going = asyncio.create_task(harvesting(api.url, staging, plan))
        await eventually(api, 100)
        await asyncio.to_thread(api.revoke_tokens)
        return await going

    done = run_async(storm())

    assert_complete(done, staging, plan, passengers)
    assert api.counters()["tokens_issued"] == done.tokens == 2
    counts = totals(api)
    assert 0 < counts["refused_401"] <= 2 * CONNECTIONS  # those in flight, and those that left meanwhile
    assert counts["requests"] == PLANNED + counts["refused_401"]


def test_where_a_new_token_ends_the_older_ones_no_refresh_chases_another(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(single_token=True, token_lifetime_s=0.5, latency_ms=50, token_latency_ms=30)
    began = time.monotonic()

    done = harvest(api.url, staging, plan)

    elapsed_s = time.monotonic() - began
    assert_complete(done, staging, plan, passengers)
    counts, issued = totals(api), api.counters()["tokens_issued"]
    assert 2 <= issued <= elapsed_s / 0.375 + 1  # one at the start, then one for each 0.375 s
    assert 0 < counts["refused_401"] <= (issued - 1) * 2 * CONNECTIONS
    assert counts["requests"] == PLANNED + counts["refused_401"]


def test_when_every_token_is_refused_the_harvest_stops(api: FakeApi, staging: Staging, plan: Plan) -> None:
    api.faults(unauthorized_share=1.0)

    done = harvest(api.url, staging, plan)

    assert type(done.error) is CredentialsRejected
    assert f"rejected {QUICK.attempts} new tokens in a row" in str(done.error)
    assert api.counters()["tokens_issued"] <= 2 * QUICK.attempts, "by all calls together, and not by each"
    assert totals(api)["requests"] <= CONNECTIONS * QUICK.attempts
    assert answers(staging, plan) == []


def test_a_token_endpoint_that_is_down_for_a_while_is_outlasted(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(token_lifetime_s=0.6, latency_ms=50)

    async def outage() -> Harvested:
        going = asyncio.create_task(harvesting(api.url, staging, plan, backoff=LASTING))
        await eventually(api, 50)
        await asyncio.to_thread(api.faults, token_error_share=1.0)
        await asyncio.to_thread(
            until, lambda: api.counters()["routes"]["POST /oauth/token"]["by_status"].get("500", 0) >= 8, "8 refusals"
        )
        await asyncio.to_thread(api.faults, token_error_share=0.0)
        return await going

    done = run_async(outage())

    assert_complete(done, staging, plan, passengers)
    assert done.tally.unanswered == 0
    assert totals(api)["repeated_ok"] == 0


def test_when_the_token_endpoint_stays_down_all_that_was_answered_is_staged(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(token_lifetime_s=0.4, latency_ms=50)

    async def outage() -> Harvested:
        going = asyncio.create_task(harvesting(api.url, staging, plan))
        await eventually(api, 50)
        await asyncio.to_thread(api.faults, token_error_share=1.0)
        return await going

    done = run_async(outage())

    assert type(done.error) is ApiUnreachable
    assert "The token endpoint of 'titanic'" in str(done.error)
    assert "windrow-demo-secret" not in str(done.error)
    assert 50 <= len(answers(staging, plan)) == totals(api)["ok"] < PLANNED
    api.heal()
    assert_complete(harvest(api.url, staging, plan), staging, plan, passengers)
    assert totals(api)["repeated_ok"] == 0


# --- rate limits -------------------------------------------------------------------------------


@pytest.mark.parametrize(("retry_after", "least_s"), [(1, 1.0), ("http-date:2", 0.9)], ids=["seconds", "date"])
def test_a_short_pause_is_waited_for_in_place_by_all_calls_and_burns_none(
    api: FakeApi, staging: Staging, few: Plan, retry_after: float | str, least_s: float
) -> None:
    """A date has whole seconds, so a pause of 2 s is one of 1 to 2 s."""
    api.faults(throttle_share=1.0, retry_after=retry_after, latency_ms=100)  # all are sent before one is answered

    async def paused() -> tuple[Harvested, float]:
        going = asyncio.create_task(harvesting(api.url, staging, few, backoff=ONCE))  # a failure would show
        began = time.monotonic()
        await asyncio.to_thread(until, lambda: throttled_by(api) == CONNECTIONS, "all are turned away")
        await asyncio.to_thread(api.heal)
        await eventually(api, 1)
        waited_s = time.monotonic() - began
        return await going, waited_s

    done, waited_s = run_async(paused())

    assert waited_s >= least_s
    assert (done.error, done.tally.answered) == (None, 40)
    assert done.events["throttled"] == throttled_by(api) == CONNECTIONS  # while one waits, all do
    assert totals(api)["requests"] == 40 + CONNECTIONS


def throttled_by(api: FakeApi) -> int:
    return int(api.counters()["totals"]["by_status"].get("429", 0))


def test_a_limit_of_the_api_is_kept_to(api: FakeApi, staging: Staging, passengers: Mapping[str, str]) -> None:
    plan = staging.save_plan(RUN, asking(list(passengers)[:150]))
    api.faults(requests_per_second=100)

    done = harvest(api.url, staging, plan, backoff=ONCE)

    assert (done.error, done.tally.answered) == (None, 150)
    counts = totals(api)
    assert 0 < counts["by_status"]["429"] <= 3 * CONNECTIONS
    assert (counts["ok"], counts["repeated_ok"]) == (150, 0)


def test_without_retry_after_the_pauses_grow(api: FakeApi, staging: Staging, few: Plan) -> None:
    api.faults(throttle_share=1.0)
    backoff = Backoff(base_s=0.01)  # pauses of 0 to 10 ms, 20 ms, 40 ms ... : 8 fill a second, and more

    done = harvest(api.url, staging, few, connections=2, backoff=backoff, patience_s=1.0)

    assert type(done.error) is RateLimited
    assert totals(api)["requests"] <= 2 * 20


@pytest.mark.parametrize("retry_after", [120, "http-date:120"], ids=["seconds", "date"])
def test_a_long_pause_ends_the_harvest_which_says_when_to_come_back(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str], retry_after: float | str
) -> None:
    api.faults(latency_ms=30)

    async def limited() -> Harvested:
        going = asyncio.create_task(harvesting(api.url, staging, plan, patience_s=5))
        await eventually(api, 100)
        await asyncio.to_thread(api.faults, throttle_share=1.0, retry_after=retry_after)
        return await going

    began = datetime.now(UTC)
    done = run_async(limited())
    ended = datetime.now(UTC)

    assert isinstance(done.error, RateLimited)
    rounding = timedelta(seconds=1)
    assert began + timedelta(seconds=120) - rounding <= done.error.retry_at <= ended + timedelta(seconds=120)
    counts = totals(api)
    assert 100 <= len(answers(staging, plan)) == done.tally.answered == counts["ok"] < PLANNED
    assert 1 <= counts["by_status"]["429"] <= CONNECTIONS

    api.heal()
    api.reset()
    again = harvest(api.url, staging, plan)
    assert_complete(again, staging, plan, passengers)
    assert totals(api)["requests"] == PLANNED - done.tally.answered


def test_a_pause_of_our_own_backoff_is_no_rate_limit(api: FakeApi, staging: Staging, few: Plan) -> None:
    api.faults(error_share=0.3, error_status=503)
    backoff = Backoff(base_s=0.1, cap_s=0.3)

    done = harvest(api.url, staging, few, backoff=backoff, patience_s=0.01)

    assert totals(api)["by_status"]["503"] > 5
    assert (done.error, done.tally.answered) == (None, 40)


# --- MongoDB -----------------------------------------------------------------------------------


@dataclasses.dataclass
class MongoServer:
    """A MongoDB server of our own, to be killed."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self._settings = free_settings(self.folder)
        self.url = airflow_env.mongo_url(self._settings)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        module = [str(self._settings.cloud_python), "-m", "local_cloud.emulators.mongo", "--host", "127.0.0.1"]
        options = ["--port", str(self._settings.mongo_port), "--data-dir", str(self.folder / "mongo")]
        login = {"MONGO_USER": airflow_env.MONGO_USER, "MONGO_PASSWORD": airflow_env.mongo_password(self._settings)}
        self.process = subprocess.Popen(module + options, cwd=ROOT, env={**os.environ, **login})
        answers = probes.mongo_answers(self.url)
        until(lambda: answers(datetime.now(UTC)), "MongoDB answers")

    def kill(self) -> None:
        """Kill it as nothing can be prepared for."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mongo_server(tmp_path: Path) -> Iterator[MongoServer]:
    server = MongoServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_a_mongodb_that_is_killed_and_comes_back_is_waited_for(
    api: FakeApi, mongo_server: MongoServer, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=40)

    async def killed(staging: Staging, plan: Plan) -> Harvested:
        going = asyncio.create_task(harvesting(api.url, staging, plan))
        await eventually(api, 100)
        mongo_server.kill()
        await asyncio.to_thread(mongo_server.start)
        return await going

    with MongoClient[dict[str, Any]](mongo_server.url, serverSelectionTimeoutMS=20_000) as client:
        staging = Staging(client, "windrow")
        staging.prepare(DATASET)
        plan = staging.save_plan(RUN, asking(passengers))
        done = run_async(killed(staging, plan))

        assert_complete(done, staging, plan, passengers)
    counts = totals(api)
    assert (counts["requests"], counts["repeated"]) == (PLANNED, 0)


def test_a_mongodb_that_stays_away_ends_the_harvest_and_no_more_than_the_window_is_asked_again(
    api: FakeApi, mongo_server: MongoServer, passengers: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    api.faults(latency_ms=40)

    async def killed(staging: Staging, plan: Plan) -> Harvested:
        going = asyncio.create_task(harvesting(api.url, staging, plan))
        await eventually(api, 100)
        mongo_server.kill()
        return await going

    with MongoClient[dict[str, Any]](mongo_server.url, serverSelectionTimeoutMS=500) as client:
        staging = Staging(client, "windrow")
        plan = staging.save_plan(RUN, asking(passengers))
        began = time.monotonic()
        done = run_async(killed(staging, plan))
        assert time.monotonic() - began < 10
        assert type(done.error) is StagingUnavailable
        assert "Data staged earlier is safe" in str(done.error)
        del done  # its traceback holds the tasks; asyncio complains, when it deletes one, that nobody saw its end
        gc.collect()
        assert [record for record in caplog.records if record.name == "asyncio"] == []

        mongo_server.start()
        assert len(answers(staging, plan)) >= 100 - WINDOW
        assert_complete(harvest(api.url, staging, plan), staging, plan, passengers)
    assert totals(api)["repeated"] <= WINDOW


# --- any faults, in any order ------------------------------------------------------------------

shares = st.sampled_from([0.0, 0.0, 0.05, 0.3])
mixes = st.fixed_dictionaries({
    "seed": st.integers(0, 2**31),
    "error_share": shares,
    "error_status": st.sampled_from([500, 502, 503, 504]),
    "cut_share": shares,
    "malformed_share": shares,
    "missing_field_share": shares,
    "unauthorized_share": shares,
    "throttle_share": shares,
    "retry_after": st.sampled_from([None, 0.01, 60]),
    "token_lifetime_s": st.sampled_from([0.2, 3600]),
    "token_error_share": shares,
    "single_token": st.booleans(),
    "latency_ms": st.sampled_from([0, 5]),
    "unknown_fields": st.booleans(),
})
ends = st.sampled_from(["runs", "is stopped", "is cancelled"])
rounds = st.lists(st.tuples(mixes, ends, st.integers(1, 40), st.integers(1, 6)), min_size=1, max_size=3)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rounds=rounds)
def test_whatever_happens_in_whatever_order_all_is_settled_once_and_the_counts_agree(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str], rounds: list[tuple[dict[str, Any], str, int, int]]
) -> None:
    names = list(passengers)[:40]
    plan = staging.save_plan(Run(DATASET, uuid4().hex), asking(names))
    api.heal()
    api.reset()
    answered = 0
    window = 0

    async def one(end: str, reads: int, connections: int) -> int:
        """Make a harvest that is stopped or cancelled after so many answers; return how many it staged."""
        task: asyncio.Task[Any]

        def interrupt() -> None:
            if end == "is stopped":
                harvester.stop()
            elif end == "is cancelled":
                task.cancel()

        async with connect(api.url, connections=connections, patience_s=1) as client:
            harvester = Harvester(client, staging, PlanFeed(staging, plan), after(reads, interrupt))
            task = asyncio.create_task(harvester.run())
            with suppress(WindrowError, asyncio.CancelledError):
                await task
        return harvester.tally.answered

    for faults, end, reads, connections in rounds:
        api.faults(**faults)
        answered += run_async(one(end, reads, connections))
        window += connections
        counts = totals(api)
        assert len(answers(staging, plan)) == answered  # what was counted is there
        assert counts["ok"] - answered <= window  # and what was served was counted
    api.heal()
    last = harvest(api.url, staging, plan)

    assert last.error is None
    assert answered + last.tally.answered == last.tally.settled == 40
    assert last.tally.done_before == answered
    assert bodies(staging, plan).keys() == set(names)
    assert len(answers(staging, plan)) == 40
    assert staging.quarantined(plan.run) == []
    assert totals(api)["repeated_ok"] <= window
