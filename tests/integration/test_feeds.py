"""A plan as a feed: every query that is not settled, once, in its order, for many workers."""

import asyncio
import gc
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from windrow.harvest.feeds import Item, PlanFeed
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import PlanMissing
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging

RUN = Run("ships", "daily")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUERIES = [Query.of("/ship", {"number": str(number)}) for number in range(10)]
ORDER = [Item(query, place // 3) for place, query in enumerate(QUERIES)]
"""The plan in chunks of 3."""


@pytest.fixture
def plan(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr("windrow.store.plans.CHUNK", 3)
    return staging.save_plan(RUN, QUERIES)


def settle(staging: Staging, *places: int, outcome: Outcome = Outcome.ANSWERED) -> None:
    staging.stage(RUN, [(place // 3, Answer(QUERIES[place], outcome, 200, "{}", NOON)) for place in places])


def within(seconds: float, scenario: Coroutine[Any, Any, Any]) -> Any:
    async def watched() -> Any:
        async with asyncio.timeout(seconds):
            return await scenario

    return asyncio.run(watched())


async def fed(feed: PlanFeed) -> list[Item]:
    items = []
    while (item := await feed.next()) is not None:
        items.append(item)
    return items


def all_of(feed: PlanFeed) -> list[Item]:
    async def scenario() -> list[Item]:
        feed.start()
        return await fed(feed)

    return list(within(10, scenario()))


def test_queries_come_in_the_order_of_the_plan_with_their_chunks(staging: Staging, plan: Plan):
    feed = PlanFeed(staging, plan)
    assert (feed.run, feed.planned) == (RUN, 10)
    assert all_of(feed) == ORDER
    assert feed.done_before == 0


def test_what_is_settled_is_left_out_and_counted(staging: Staging, plan: Plan):
    settle(staging, 0, 7)
    settle(staging, 3, 4, 5, outcome=Outcome.MISSING)  # a whole chunk
    feed = PlanFeed(staging, plan)
    assert all_of(feed) == [ORDER[place] for place in (1, 2, 6, 8, 9)]
    assert feed.done_before == 5


def test_of_a_plan_that_is_settled_nothing_is_left(staging: Staging, plan: Plan):
    settle(staging, *range(10))
    feed = PlanFeed(staging, plan)
    assert all_of(feed) == []
    assert feed.done_before == 10


def test_an_empty_plan_ends_at_once(staging: Staging):
    assert all_of(PlanFeed(staging, staging.save_plan(RUN, []))) == []


def test_what_was_settled_in_another_run_is_asked(staging: Staging, plan: Plan):
    other = Run("ships", "another")
    staging.stage(other, [(0, Answer(query, Outcome.ANSWERED, 200, "{}", NOON)) for query in QUERIES])
    assert all_of(PlanFeed(staging, plan)) == ORDER


@pytest.mark.parametrize("workers", [2, 16, 40])
def test_many_workers_get_each_query_once_and_all_hear_the_end(staging: Staging, plan: Plan, workers: int):
    settle(staging, 2, 3)

    async def scenario() -> tuple[list[list[Item]], Item | None]:
        feed = PlanFeed(staging, plan)
        feed.start()
        return await asyncio.gather(*(fed(feed) for _ in range(workers))), await feed.next()

    shares, after_the_end = within(10, scenario())
    taken = [item for share in shares for item in share]
    assert sorted(taken, key=ORDER.index) == [item for place, item in enumerate(ORDER) if place not in {2, 3}]
    assert after_the_end is None


class Slow(Staging):
    """A staging that tells which chunks were loaded."""

    loaded: list[int]

    def chunk(self, run: Run, number: int) -> Any:
        self.loaded.append(number)
        return super().chunk(run, number)


@pytest.mark.parametrize(
    ("ahead_at", "chunks"), [(500, [2, 2, 2, 3, 3, 3, 4, 4, 4, 4]), (1, [1, 2, 2, 2, 3, 3, 3, 4, 4, 4])]
)
def test_the_next_chunk_is_loaded_when_few_queries_are_left_and_no_further_one(
    staging: Staging, plan: Plan, ahead_at: int, chunks: list[int]
):
    slow = Slow(staging._client, staging._database.name)
    slow.loaded = []

    async def scenario() -> list[list[int]]:
        feed = PlanFeed(slow, plan)
        feed._ahead_at = ahead_at
        feed.start()
        seen = []
        for _ in QUERIES:
            await feed.next()
            if feed._ahead is not None:
                await asyncio.wait({feed._ahead})
            seen.append(list(slow.loaded))
        return seen

    assert within(10, scenario()) == [list(range(loaded)) for loaded in chunks]


def test_a_chunk_that_is_missing_is_told_to_every_worker(staging: Staging, plan: Plan):
    longer = Plan(RUN, listed=13, planned=13, chunks=5)

    async def scenario() -> list[Any]:
        feed = PlanFeed(staging, longer)
        feed.start()
        return await asyncio.gather(*(fed(feed) for _ in range(4)), return_exceptions=True)

    assert [type(end) for end in within(10, scenario())] == [PlanMissing] * 4


def test_a_stopped_feed_gives_what_it_has_and_then_ends(staging: Staging, plan: Plan):
    async def scenario() -> list[Item]:
        feed = PlanFeed(staging, plan)
        feed.start()
        first = await feed.next()
        assert first is not None
        feed.stop()
        feed.stop()
        return [first, *await fed(feed)]

    assert within(10, scenario()) == ORDER[:3]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_feed_that_is_stopped_leaves_nothing_behind(staging: Staging, plan: Plan, loaded: bool):
    """Its next chunk is missing, and nobody asks for it any more."""
    unheard: list[str] = []

    async def scenario() -> set[asyncio.Task[Any]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context["message"]))
        feed = PlanFeed(staging, Plan(RUN, listed=13, planned=13, chunks=5))
        feed._next_chunk = 3
        feed.start()
        await feed.next()
        if loaded:
            await asyncio.wait({feed._ahead})
        feed.stop()
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    left = within(10, scenario())
    gc.collect()
    assert (left, unheard) == (set(), [])


def test_a_feed_may_be_stopped_before_it_started(staging: Staging, plan: Plan):
    feed = PlanFeed(staging, plan)
    feed.stop()
    assert within(10, feed.next()) is None


def test_what_is_settled_leaves_the_quarantine_and_what_is_not_stays_and_is_asked(staging: Staging, plan: Plan):
    """Killed between staging an answer and taking it out of the quarantine."""
    staging.reject(RUN, [(place // 3, Rejected(QUERIES[place], 200, "<", "invalid JSON", NOON)) for place in (1, 8)])
    settle(staging, 1)
    assert ORDER[8] in all_of(PlanFeed(staging, plan))
    assert staging.quarantined_keys(RUN) == {QUERIES[8].key}


def test_what_is_durable_is_no_news(staging: Staging, plan: Plan):
    feed = PlanFeed(staging, plan)
    feed.durable(ORDER)
    assert all_of(feed) == ORDER
