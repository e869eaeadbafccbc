"""How long the rest of a run takes, and which errors are new: compared with several earlier runs."""

from typing import Any

import pytest

from windrow.harvest.status.interval import Counts, Interval, State
from windrow.harvest.waterfall import changes, pace
from windrow.store.reports import Reason
from windrow.store.summary import Summary


def run(day: int, state: State = State.COMPLETE, *, load_s: int = 60, missing: int = 0) -> Interval:
    at = f"2026-11-{day:02d}T01"
    times = {"harvest": f"{at}:00:00+00:00", "receipt": f"{at}:{load_s // 60:02d}:{load_s % 60:02d}+00:00"}
    summary = Summary("orders", str(day), times=times, steps={"receipt": {}})
    counts = Counts(100, 100 - missing, missing=missing, exact=state is State.COMPLETE)
    return Interval("orders", "shop", str(day), at, state, "", counts, summary)


def harvest(**figures: Any) -> tuple[str, dict[str, Any]]:
    return "harvest 1", {"state": "running", "answered": 100, "gaps": 0, "seconds": 100.0, **figures}


EARLIER = [run(20 - place, load_s=load) for place, load in enumerate((30, 30, 30, 90, 600, 600, 600, 10, 10))]


@pytest.mark.parametrize(
    ("figures", "per_s", "calls_s"),
    [
        ({"recent_done": 60, "recent_seconds": 30.0}, 2.0, (15, 30)),
        ({"recent_done": 0, "recent_seconds": 30.0}, 0.0, (30, 30)),
        ({}, 1.0, (30, 30)),  # noted by an earlier version
        ({"answered": 0}, 0.0, None),
    ],
)
def test_the_rest_is_calls_at_the_present_rate_and_the_usual_load(
    figures: dict[str, Any], per_s: float, calls_s: tuple[float, float] | None
) -> None:
    found = pace(run(21, State.RUNNING, missing=30), [harvest(**figures)], EARLIER)

    assert found is not None
    assert (found.per_s, found.calls_left, found.calls_s) == (per_s, 30, calls_s)
    assert (found.load_s, found.of_runs) == (90, 7), "the median of the last seven"


def test_a_run_that_does_not_harvest_has_no_pace() -> None:
    assert pace(run(21, State.RUNNING), [harvest(state="ended")], EARLIER) is None
    assert pace(run(21, State.INCOMPLETE), [harvest()], EARLIER) is None, "killed: its last note says that it runs"
    found = pace(run(21, State.RUNNING), [harvest()], [run(20, State.INCOMPLETE)])
    assert found is not None
    assert (found.load_s, found.of_runs) == (None, 0)


def test_errors_are_compared_with_several_runs() -> None:
    counted = {("late", 21): 9, ("late", 20): 1, ("late", 19): 8, ("late", 18): 2, ("new", 21): 3, ("gone", 20): 5}
    reasons = [Reason("orders", str(day), text, 200, count, "", "") for (text, day), count in counted.items()]
    stream = [run(22), run(21), run(20), run(19), run(18), run(17, State.RUNNING)]

    found, of_runs = changes(stream[1], stream, reasons)

    assert of_runs == 3, "runs before it that have ended with a receipt"
    assert [(one.reason.reason, one.reason.count, one.usual, one.seen) for one in found] == [
        ("late", 9, 2, 3), ("new", 3, 0, 0),
    ]  # fmt: skip
    alone, none = changes(stream[1], stream[1:2], reasons)
    assert ([one.usual for one in alone], none) == ([None, None], 0)
