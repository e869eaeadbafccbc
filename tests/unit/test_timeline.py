"""The time axis of a run: work can be read, however long a run waited."""

from datetime import UTC, datetime, timedelta

import pytest

from windrow.harvest.status.facts import TaskFact
from windrow.harvest.timeline import Span, draw, spans_of

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def span(name: str, start: float, end: float) -> Span:
    return Span(name, NOON + timedelta(minutes=start), NOON + timedelta(minutes=end))


@pytest.mark.parametrize("wait", [30, 20 * 60, 3 * 24 * 60])
def test_a_long_wait_leaves_work_readable(wait: float) -> None:
    bars, breaks = draw([span("plan", 0, 10), span("harvest", 10, 40), span("harvest", 40 + wait, 60 + wait)])

    assert [(one.span.name, round(one.x), round(one.width)) for one in bars] == [
        ("plan", 0, 16), ("harvest", 16, 48), ("harvest", 68, 32),
    ]  # fmt: skip
    assert [(round(one.x), round(one.width), one.hours) for one in breaks] == [(63, 5, wait / 60)]


def test_short_pauses_and_work_at_the_same_time_are_drawn_as_they_are() -> None:
    bars, breaks = draw([span("a", 0, 50), span("b", 25, 75), span("c", 80, 100), span("odd", 9, 1)])

    assert breaks == []
    assert [(one.span.name, one.x, one.width) for one in bars] == [("a", 0, 50), ("b", 25, 50), ("c", 80, 20)]


def test_many_waits_leave_room_for_work() -> None:
    bars, breaks = draw([span("call", number * 1_000, number * 1_000 + 1) for number in range(200)])

    assert len(breaks) == 10
    assert all(0 <= one.x <= 100 and one.x + one.width <= 100.001 for one in bars)


@pytest.mark.parametrize("spans", [[], [span("at once", 0, 0)]])
def test_nothing_has_no_length(spans: list[Span]) -> None:
    bars, breaks = draw(spans)
    assert ([one.width for one in bars], breaks) == ([0.0] * len(spans), [])


def test_a_task_that_waits_does_not_seem_to_work() -> None:
    tasks = [
        TaskFact("plan", "2026-11-28T12:00:00+00:00", "2026-11-28T12:01:00+00:00", "success"),
        TaskFact("group.harvest", "2026-11-28T12:01:00+00:00", "", "deferred"),
        TaskFact("land", "2026-11-28T12:50:00+00:00", "", "running"),
        TaskFact("queued", "", "", "queued"),
    ]
    harvests = [
        ("harvest 1", {"started_at": "2026-11-28T12:01:00+00:00", "seconds": 60, "stopped_by": "RateLimited"}),
        ("harvest 2", {"started_at": "2026-11-28T12:02:00+00:00", "seconds": 60, "worker": 1}),
        ("harvest old", {"state": "ended"}),  # of an early version
        ("receipt", {}),
    ]

    found = spans_of(tasks, harvests, NOON + timedelta(hours=1))

    assert [(one.name, one.start.minute, (one.end - one.start).seconds // 60) for one in found] == [
        ("harvest", 1, 1), ("harvest, worker 1", 2, 1), ("plan", 0, 1), ("land", 50, 10),
    ]  # fmt: skip
    assert [one.name for one in spans_of(tasks[:2], [], NOON + timedelta(hours=1))] == ["plan", "group.harvest"]
