"""Which worker gets which part of a plan, and how the counts of workers add up. With processes: tests/faults."""

from collections.abc import Iterator
from typing import Any

import pytest

from windrow.harvest.shares import Leases
from windrow.model.plan import Plan, Run
from windrow.store.leases import Held
from windrow.store.local import LocalStaging, opened
from windrow.store.status import Summary

RUN = Run("ships", "daily")
PLAN = Plan(RUN, listed=2_000, planned=2_000, chunks=2)
PARTS = 4
"""Two chunks for one worker of whom there may be more: each is cut into two pieces."""


@pytest.fixture
def staging() -> Iterator[LocalStaging]:
    with opened() as made:
        yield made


def worker(staging: LocalStaging, number: int = 0, *, lease_s: float = 60.0) -> Leases:
    leases = Leases(staging, PLAN, number, 1, lease_s)
    leases.begin()
    return leases


def taken(leases: Leases) -> list[int]:
    found = []
    while (lease := leases.take()) is not None:
        found.append(lease.part)
    return found


def lost(leases: Leases) -> list[int]:
    return [lease.part for lease in leases.beat()]


def test_each_part_has_one_worker_while_it_lives(staging: LocalStaging) -> None:
    first, second = worker(staging), worker(staging, 1)
    assert [one.take().part for one in (first, second, first)] == [0, 1, 2]
    assert (taken(second), second.others_work) == ([3], True)
    assert (lost(first), taken(first)) == ([], [])
    second.end(Held.DONE)
    assert (taken(first), first.others_work) == ([], False), "nothing is left to wait for"


@pytest.mark.parametrize(
    ("state", "again"),
    [(Held.DONE, []), (Held.TRIED, [0]), (Held.LEFT, [0]), (Held.HELD, [0])],
)
def test_a_worker_that_begins_while_others_work_takes_what_its_last_try_has_not_finished(
    staging: LocalStaging, state: Held, again: list[int]
) -> None:
    last, other = worker(staging), worker(staging, 1)
    lease = last.take()
    assert taken(other) == [1, 2, 3]
    if state is not Held.HELD:
        last.close(lease, state)
    seen = taken(other)
    assert seen == ([0] if state is Held.LEFT else []), "calls that failed are not made again by those who saw it"
    if not seen:
        assert taken(worker(staging)) == again
        assert lost(last) == ([0] if state is Held.HELD else []), "the last try was frozen"
        last.close(lease, Held.DONE)
        assert (staging.leases(RUN, PARTS)[0].turn, last.take()) == (len(again), None), "it disturbs no other"


@pytest.mark.parametrize(("lease_s", "free"), [(60.0, []), (0.0, [0, 1, 2, 3])])
def test_parts_are_free_when_no_beat_came_for_long_enough(
    staging: LocalStaging, lease_s: float, free: list[int]
) -> None:
    silent = worker(staging)
    assert len(taken(silent)) == PARTS
    assert taken(worker(staging, 1, lease_s=lease_s)) == free
    assert lost(silent) == free


def test_when_all_is_finished_each_part_is_looked_at_once_more_by_one_worker(staging: LocalStaging) -> None:
    first = worker(staging)
    assert len(taken(first)) == PARTS
    first.end(Held.DONE)
    again, beside = worker(staging), worker(staging, 1)
    assert [one.take().part for one in (again, beside)] == [0, 1]
    late = worker(staging, 1)
    assert (first.round, again.round, beside.round, late.round) == (0, 1, 1, 1)
    assert sorted([*taken(again), *taken(beside)]) == [2, 3]


def test_a_worker_that_has_ended_takes_nothing_and_leaves_its_parts_to_others(staging: LocalStaging) -> None:
    first, second = worker(staging), worker(staging, 1)
    first.take()
    first.end(Held.LEFT)
    assert first.take() is None
    assert taken(second) == [0, 1, 2, 3]


def figures(at: int, done: int, *, state: str = "ended", **more: Any) -> dict[str, Any]:
    return {"at": f"2026-11-28T12:{at:02d}:00+00:00", "planned": 10, "answered": done, "state": state, **more}


LIMIT = {"error": "the quota is used up", "waits_until": "2026-11-29T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("workers", "done", "state", "trouble"),
    [
        ([figures(0, 4), figures(1, 5, gaps=1)], 10, "ended", {}),
        ([figures(0, 4, state="running"), figures(1, 5, **LIMIT)], 9, "running", {}),
        ([figures(0, 4, state="running"), figures(5, 5, **LIMIT)], 9, "ended", LIMIT),  # the first one is dead
        ([figures(0, 4, **LIMIT), figures(1, 5, rejected=1)], 9, "ended", LIMIT),
        ([figures(0, 5, **LIMIT), figures(1, 5)], 10, "ended", {}),  # the other one has done its calls
        ([figures(0, 9, **LIMIT), figures(1, 9, round=1)], 9, "ended", {}),
        ([figures(0, 9), figures(1, 9)], 10, "ended", {}),  # one was killed: what it did is counted twice, for a while
    ],
)
def test_the_counts_of_workers_are_those_of_the_run(
    workers: list[dict[str, Any]], done: int, state: str, trouble: dict[str, str]
) -> None:
    by_number = {str(number): one for number, one in enumerate(workers)}
    found = Summary.of({"dataset": "ships", "run_id": "daily", "planned": 10, "workers": by_number})
    assert (found.done, found.steps["harvest"]["state"], found.trouble) == (done, state, trouble)
