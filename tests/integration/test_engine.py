"""The engine against the fake API, which is healthy here, and MongoDB. tests/faults has what goes wrong."""

import asyncio
import gc
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi
from tests.faults.harvest_process import (
    CONNECTIONS,
    DATASET,
    WINDOW,
    after,
    answers,
    asking,
    bodies,
    connect,
    harvest,
    harvesting,
    name_of,
    served,
    totals,
    until,
)
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.http.loop import run_async
from windrow.http.results import Reader
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import Interrupted, PlanMissing
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging

RUN = Run(DATASET, "scheduled__2026-01-01T00:00:00+00:00")
PLANNED = 300
NOBODY = "Nobody, Mr. No One"


@pytest.fixture(scope="module")
def everybody(api_server: FakeApi) -> Mapping[str, str]:
    """What the API serves: a body for each name."""
    return served(api_server)


@pytest.fixture(scope="module")
def passengers(everybody: Mapping[str, str]) -> Mapping[str, str]:
    """The plan's names, with their bodies."""
    return dict(islice(everybody.items(), PLANNED))


@pytest.fixture
def plan(staging: Staging, passengers: Mapping[str, str]) -> Plan:
    return staging.save_plan(RUN, asking(passengers))


@pytest.fixture
def chunks_of_40(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.store.plans.CHUNK", 40)


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# --- a harvest ---------------------------------------------------------------------------------


def test_every_query_is_asked_once_and_staged_as_served(
    api: FakeApi, staging: Staging, everybody: Mapping[str, str]
) -> None:
    plan = staging.save_plan(RUN, asking([*everybody, *everybody]))  # the API's list holds each name twice
    collected_after = gc.get_threshold()

    done = harvest(api.url, staging, plan)

    assert done.error is None
    assert gc.get_threshold() == collected_after  # a harvest changes it for itself alone
    assert bodies(staging, plan) == everybody
    tally = done.tally
    assert (tally.answered, tally.settled, tally.planned) == (891, 891, 891)
    assert (tally.done_before, tally.gaps, tally.rejected, tally.unanswered) == (0, 0, 0, 0)
    counts = totals(api)
    assert (counts["requests"], counts["unique"], counts["ok"]) == (891, 891, 891)
    assert done.events == {"sent": 891, "http_200": 891}
    assert api.counters()["tokens_issued"] == done.tokens == 1


def test_answers_carry_query_status_and_moment(api: FakeApi, staging: Staging, passengers: Mapping[str, str]) -> None:
    query = asking(passengers)[0]
    plan = staging.save_plan(RUN, [query])
    began = time.time()

    harvest(api.url, staging, plan)

    (one,) = answers(staging, plan)
    assert (one.query, one.outcome, one.status) == (query, Outcome.ANSWERED, 200)
    assert began <= one.fetched_at.timestamp() <= time.time()


def test_a_second_harvest_asks_nothing(api: FakeApi, staging: Staging, plan: Plan) -> None:
    harvest(api.url, staging, plan)
    api.reset()

    again = harvest(api.url, staging, plan)

    assert again.error is None
    assert (again.tally.done_before, again.tally.answered, again.tally.settled) == (PLANNED, 0, PLANNED)
    assert totals(api)["requests"] == 0
    assert api.counters()["tokens_issued"] == 0


def test_another_run_asks_anew(api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]) -> None:
    harvest(api.url, staging, plan)
    other = staging.save_plan(Run(DATASET, "another"), asking(list(passengers)[:50]))

    done = harvest(api.url, staging, other)

    assert done.tally.answered == 50
    assert totals(api)["repeated"] == 50


def test_an_empty_plan_needs_no_call(api: FakeApi, staging: Staging) -> None:
    done = harvest(api.url, staging, staging.save_plan(RUN, []))

    assert done.error is None
    assert done.tally.settled == 0
    assert totals(api)["requests"] == 0


def test_a_name_that_the_api_does_not_know_is_a_gap_and_not_asked_again(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    plan = staging.save_plan(RUN, asking([*list(passengers)[:5], NOBODY]))

    first, second = harvest(api.url, staging, plan), harvest(api.url, staging, plan)

    assert first.error is second.error is None
    assert (first.tally.answered, first.tally.gaps, first.tally.settled) == (5, 1, 6)
    assert second.tally.done_before == 6
    assert totals(api)["requests"] == 6
    gap = answers(staging, plan)[-1]
    assert (name_of(gap.query), gap.outcome, gap.status) == (NOBODY, Outcome.MISSING, 404)
    assert NOBODY in gap.body  # what the API said about it


# --- how hard it presses -----------------------------------------------------------------------


def test_as_many_calls_are_in_flight_as_there_are_connections(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=40)
    plan = staging.save_plan(RUN, asking(list(passengers)[:80]))

    harvest(api.url, staging, plan, connections=8)

    assert totals(api)["max_in_flight"] == 8


def test_no_more_calls_are_in_flight_than_the_window_has_room_for(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=10)
    plan = staging.save_plan(RUN, asking(list(passengers)[:30]))

    done = harvest(api.url, staging, plan, connections=8, in_flight=3)

    assert done.tally.answered == 30
    assert totals(api)["max_in_flight"] == 3


def test_a_rate_is_kept(api: FakeApi, staging: Staging, passengers: Mapping[str, str]) -> None:
    plan = staging.save_plan(RUN, asking(list(passengers)[:41]))
    began = time.monotonic()

    done = harvest(api.url, staging, plan, rate_per_s=100)

    assert time.monotonic() - began >= 0.4  # 40 spaces between 41 calls
    assert done.tally.answered == 41


# --- chunks ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("chunks_of_40")
def test_all_chunks_are_settled(api: FakeApi, staging: Staging, passengers: Mapping[str, str]) -> None:
    plan = staging.save_plan(RUN, asking(passengers))

    done = harvest(api.url, staging, plan)

    assert plan.chunks == 8
    assert (done.error, done.tally.settled) == (None, PLANNED)
    assert bodies(staging, plan) == passengers
    assert [len(staging.settled(RUN, number)) for number in range(8)] == [40] * 7 + [20]
    assert totals(api)["repeated"] == 0


@pytest.mark.usefixtures("chunks_of_40")
def test_a_harvest_goes_on_from_chunks_that_are_settled_in_part(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    plan = staging.save_plan(RUN, asking(passengers))
    first, second, third = (staging.chunk(RUN, number).queries for number in range(3))
    there = [(0, query) for query in first] + [(1, query) for query in second[::2]] + [(2, third[0])]
    staging.stage(
        RUN,
        [
            (number, Answer(query, Outcome.ANSWERED, 200, passengers[name_of(query)], datetime.now(UTC)))
            for number, query in there
        ],
    )

    done = harvest(api.url, staging, plan)

    assert (done.tally.done_before, done.tally.answered) == (61, 239)
    assert bodies(staging, plan) == passengers
    assert totals(api)["requests"] == 239
    asked = api.counters(detail=True)["routes"]["GET /get_user_by_name"]["asked"]
    assert asked.keys().isdisjoint(name_of(query) for _, query in there)


def test_a_plan_of_several_full_chunks(api: FakeApi, staging: Staging, everybody: Mapping[str, str]) -> None:
    # the API ignores parameters it does not know, and each makes a query of its own
    copies = [{"name": name, "copy": copy} for copy in "abc" for name in everybody]
    queries = [Query.of("/get_user_by_name", params) for params in copies[:2_100]]
    plan = staging.save_plan(RUN, queries)

    done = harvest(api.url, staging, plan)

    assert (plan.chunks, done.error, done.tally.answered) == (3, None, 2_100)
    staged = [(one.query, one.body) for one in answers(staging, plan)]
    assert staged == [(query, everybody[name_of(query)]) for query in queries]
    assert totals(api)["ok"] == 2_100


# --- interruptions -----------------------------------------------------------------------------


def test_after_a_stop_all_that_the_api_served_is_staged(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=5)

    async def stopped() -> Harvester:
        def stop() -> None:
            harvester.stop()

        async with connect(api.url) as client:
            harvester = Harvester(client, staging, PlanFeed(staging, plan), after(100, stop))
            with pytest.raises(Interrupted, match="of 300 queries"):
                await harvester.run()
            return harvester

    harvester = run_async(stopped())

    served_until_then = totals(api)["ok"]
    assert 100 <= served_until_then < 100 + WINDOW
    assert harvester.tally.answered == len(bodies(staging, plan)) == served_until_then
    (figures,) = staging.notes(RUN).values()
    assert (figures["state"], figures["stopped_by"], figures["answered"]) == (
        "ended",
        "Interrupted",
        served_until_then,
    )

    harvest(api.url, staging, plan)
    assert bodies(staging, plan) == passengers
    assert totals(api)["repeated"] == 0


def test_after_a_cancellation_all_that_was_received_is_staged(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=5)
    received = 0

    def read(query: Query, answer: object) -> None:
        nonlocal received
        received += 1
        if received == 100:
            task.cancel()

    async def cancelled() -> int:
        nonlocal task
        async with connect(api.url) as client:
            task = asyncio.create_task(Harvester(client, staging, PlanFeed(staging, plan), read).run())
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(other_tasks())

    task: asyncio.Task[Any]
    left = run_async(cancelled())

    assert left == 0
    assert len(bodies(staging, plan)) == received >= 100
    assert totals(api)["ok"] - received <= CONNECTIONS  # served, and on their way to us

    harvest(api.url, staging, plan)
    assert bodies(staging, plan) == passengers
    assert totals(api)["repeated"] <= CONNECTIONS


def test_answers_are_durable_long_before_the_harvest_ends(
    api: FakeApi, staging: Staging, plan: Plan, passengers: Mapping[str, str]
) -> None:
    api.faults(latency_ms=60)

    async def watched() -> None:
        harvesting_all = asyncio.create_task(harvesting(api.url, staging, plan))
        await asyncio.to_thread(until, lambda: len(staging.settled(RUN, 0)) >= 50, "50 answers are staged")
        assert not harvesting_all.done()
        served_by_now = api.counters()["totals"]["ok"]
        await asyncio.to_thread(
            until, lambda: len(staging.settled(RUN, 0)) >= served_by_now, "they are staged", seconds=0.5
        )
        assert not harvesting_all.done()
        await harvesting_all

    run_async(watched())
    assert bodies(staging, plan) == passengers


@pytest.mark.usefixtures("chunks_of_40")
def test_two_harvests_of_one_run_at_once_leave_the_same_rows(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    plan = staging.save_plan(RUN, asking(passengers))
    api.faults(latency_ms=2)

    async def both() -> list[Any]:
        return await asyncio.gather(*(harvesting(api.url, staging, plan) for _ in range(2)))

    first, second = run_async(both())

    assert first.error is second.error is None
    assert first.tally.settled == second.tally.settled == PLANNED
    assert bodies(staging, plan) == passengers
    assert len(answers(staging, plan)) == PLANNED
    assert totals(api)["ok"] == first.tally.answered + second.tally.answered
    assert len(staging.notes(RUN)) == 2  # each keeps its own figures


# --- trouble of our own ------------------------------------------------------------------------


async def raising(kind: type[Exception], match: str, url: str, staging: Staging, plan: Plan, read: Reader) -> int:
    """Make a harvest that raises; return how many of its tasks are left behind."""
    async with connect(url) as client:
        with pytest.raises(kind, match=match):
            await Harvester(client, staging, PlanFeed(staging, plan), read).run()
        return len(other_tasks())


def test_without_a_chunk_the_harvest_says_so_and_what_was_answered_is_staged(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    saved = staging.save_plan(RUN, asking(passengers))
    plan = Plan(RUN, listed=600, planned=600, chunks=2)  # as if its second chunk were lost
    api.faults(latency_ms=20)
    received = 0

    def read(query: Query, answer: object) -> None:
        nonlocal received
        received += 1

    left = run_async(raising(PlanMissing, "Chunk 1", api.url, staging, plan, read))

    assert left == 0
    assert len(bodies(staging, saved)) == received
    assert PLANNED - received <= CONNECTIONS  # those may be given up, and are asked again


def test_a_reader_with_a_bug_ends_the_harvest_and_what_was_answered_is_staged(
    api: FakeApi, staging: Staging, plan: Plan
) -> None:
    api.faults(latency_ms=20)
    accepted = bugs = 0

    def read(query: Query, answer: object) -> None:
        nonlocal accepted, bugs
        if accepted == 100 and not bugs:
            bugs = 1
            raise KeyError("a bug")
        accepted += 1

    left = run_async(raising(KeyError, "a bug", api.url, staging, plan, read))

    assert left == 0
    assert len(bodies(staging, plan)) == accepted


# --- figures -----------------------------------------------------------------------------------


def test_the_figures_in_mongodb_are_those_of_the_server(
    api: FakeApi, staging: Staging, passengers: Mapping[str, str]
) -> None:
    plan = staging.save_plan(RUN, asking([*passengers, NOBODY]))

    harvest(api.url, staging, plan)

    ((step, figures),) = staging.notes(RUN).items()
    assert step.startswith("harvest ")
    assert figures.pop("seconds") > 0
    assert figures.pop("recent_seconds") > 0
    assert figures.pop("recent_done") == PLANNED + 1
    assert figures.pop("started_at") in step
    assert figures == {
        "state": "ended",
        "planned": PLANNED + 1,
        "settled_before": 0,
        "answered": PLANNED,
        "gaps": 1,
        "rejected": 0,
        "unanswered": 0,
        "sent": totals(api)["requests"],
        "retried": 0,
        "throttled": 0,
        "unchanged": 0,
        "tokens": 1,
        "stopped_by": None,
    }


def test_the_progress_line_tells_how_far_it_is(
    api: FakeApi, staging: Staging, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="windrow.harvest.engine")

    harvest(api.url, staging, plan)

    assert "harvest titanic_passengers: 300 of 300 settled" in caplog.text
    assert "300 calls sent, 0 of them repeated, 0 gaps, 0 in quarantine, 0 unanswered, 1 tokens" in caplog.text
