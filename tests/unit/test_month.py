"""The sheet of a month: what was due, complete and on time, and how long the rest took."""

from datetime import UTC, datetime
from typing import Any

import pytest

from windrow.harvest.month import Month, sheet
from windrow.harvest.status.interval import Interval, State
from windrow.store.summary import Summary

NOVEMBER = Month.of(2026, 11)


def run(due: str, done: str = "", state: State = State.COMPLETE, *, sent: int = 10, **steps: Any) -> Interval:
    known = {"receipt": {"sent": sent}, **steps} if done else {"harvest": {"sent": sent}, **steps}
    summary = Summary("orders", due, times={"receipt": f"2026-{done}:00+00:00"} if done else {}, steps=known)
    return Interval("orders", "shop", due, f"2026-{due}:00.000+00:00", state, "", summary=summary)


def test_a_month_is_from_its_first_moment_to_the_next() -> None:
    assert Month.of(2026, 13) == Month(datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))
    assert Month.of(2026, 0) == Month(datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("intervals", "figures"),
    [
        ([], (0, 0, 0, None, 0)),
        ([run("11-01T00:00", "11-01T02:00"), run("11-02T00:00", "11-02T05:00", State.GAPS)], (2, 2, 2, None, 20)),
        # late: complete when the next one was due already
        ([run("11-01T00:00", "11-03T00:00"), run("11-02T00:00", "11-02T01:00")], (2, 2, 1, 48, 20)),
        # the last one has a day
        ([run("11-30T00:00", "12-01T00:00")], (1, 1, 1, None, 10)),
        ([run("11-30T00:00", "12-01T01:00")], (1, 1, 0, 25, 10)),
        # in time, after a failure
        ([run("11-01T00:00", "11-01T02:00", failure={"task_id": "load"})], (1, 1, 1, 2, 10)),
        ([run("11-01T00:00", state=State.INCOMPLETE), run("11-02T00:00", state=State.MISSING)], (2, 0, 0, None, 20)),
        ([run("11-01T00:00", state=State.NOT_DUE, sent=3)], (0, 0, 0, None, 3)),
        # Cloud Tasks made the calls
        ([run("11-01T00:00", "11-01T02:00", receipt={"enqueued": 7, "given_up": 0})], (1, 1, 1, None, 7)),
        ([run("10-31T23:59", "11-01T02:00"), run("12-01T00:00", "12-01T01:00")], (0, 0, 0, None, 0)),
    ],
)  # fmt: skip
def test_the_figures_of_a_month(intervals: list[Interval], figures: tuple[Any, ...]) -> None:
    found = sheet("orders", intervals, NOVEMBER)
    assert (found.due, found.complete, found.on_time, found.mended_h, found.calls) == figures


def test_units_are_those_that_calls_took_or_else_those_of_plans_that_ran() -> None:
    cost = {"ways": [{"name": "", "calls": 1, "units": [["day", 5]], "hours": 0.1, "remark": ""}]}
    intervals = [run("11-01T00:00", "11-01T02:00", cost=cost), run("11-02T00:00", "11-02T02:00", cost=cost)]
    dry = run("11-03T00:00", state=State.NOT_DUE, cost=cost)
    assert sheet("orders", [*intervals, dry], NOVEMBER).units == {"day": 10}
    counted = run("11-04T00:00", "11-04T02:00", cost=cost, receipt={"sent": 9, "units": [["day", 7], ["search", 1]]})
    assert sheet("orders", [*intervals, dry, counted], NOVEMBER).units == {"day": 17, "search": 1}
