"""The time axis of a run: what worked when. Long waits are drawn short, so that work stays readable beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from windrow.harvest.status.facts import TaskFact
from windrow.harvest.status.interval import instant

_LONG = timedelta(seconds=60)
_LONG_SHARE = 0.25
"""A time without work is long if it lasts so long, and is this part of all work."""
_BREAK = 5.0
"""The width of a long wait on the axis, in percent."""
_MOST_BREAKS = 10
"""Only the longest are cut: more would leave no room for work."""

_CALLING = {"harvest", "more_workers", "sweep", "fetch"}
"""Names of tasks whose attempts are noted."""
_WORKING = {"running", "deferred", "restarting"}
_LONGEST_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Span:
    """Something that worked from ``start`` to ``end``."""

    name: str
    start: datetime
    end: datetime
    state: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A span on the axis: ``x`` and ``width`` are percent of the whole."""

    span: Span
    x: float
    width: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.span.end - self.span.start).total_seconds()


@dataclass(frozen=True, slots=True)
class Break:
    """A long time without work, drawn short. ``x`` and ``width`` are percent of the whole."""

    start: datetime
    end: datetime
    x: float
    width: float

    @property
    def hours(self) -> float:
        """How long it lasted."""
        return (self.end - self.start) / timedelta(hours=1)


def spans_of(tasks: Sequence[TaskFact], notes: Sequence[tuple[str, Mapping[str, Any]]], now: datetime) -> list[Span]:
    """Return what worked in a run: its tasks, and the attempts of its harvests.

    A task that deferred seems to work while it waits. So where there are attempts, they are taken instead of it.
    """
    found = []
    for step, figures in notes:
        began = instant(str(figures.get("started_at") or step.partition(" ")[2]))
        if step.startswith("harvest ") and began is not None:
            end = began + timedelta(seconds=min(float(figures.get("seconds") or 0), _LONGEST_S))
            name = f"harvest, worker {figures['worker']}" if "worker" in figures else "harvest"
            found.append(Span(name, began, end, str(figures.get("stopped_by") or figures.get("state") or "")))
    noted = bool(found)
    for task in tasks:
        start, end_at = instant(task.started_at), instant(task.ended_at)
        if start is not None and not (noted and task.task_id.rsplit(".", 1)[-1] in _CALLING):
            found.append(Span(task.task_id, start, end_at or (now if task.state in _WORKING else start), task.state))
    return found


def draw(spans: Sequence[Span]) -> tuple[list[Bar], list[Break]]:
    """Place spans on one axis from the first start to the last end, in the order of their starts."""
    ordered = sorted((one for one in spans if one.end >= one.start), key=lambda one: (one.start, one.end))
    if not ordered:
        return [], []
    busy: list[list[datetime]] = []
    for one in ordered:
        if busy and one.start <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], one.end)
        else:
            busy.append([one.start, one.end])
    worked = sum((end - start for start, end in busy), timedelta())
    least = max(_LONG, worked * _LONG_SHARE)
    gaps = [(before[1], after[0]) for before, after in pairwise(busy)]
    waits = sorted((gap for gap in gaps if gap[1] - gap[0] >= least), key=lambda gap: gap[0] - gap[1])[:_MOST_BREAKS]
    waits.sort()
    first, last = busy[0][0], busy[-1][1]
    shown = last - first - sum((end - start for start, end in waits), timedelta())
    scale = (100 - _BREAK * len(waits)) / max(shown.total_seconds(), 1e-9)

    def place(at: datetime) -> float:
        cut = [(start, end) for start, end in waits if end <= at]
        gone = sum((end - start for start, end in cut), timedelta())
        return (at - first - gone).total_seconds() * scale + _BREAK * len(cut)

    bars = [Bar(one, place(one.start), place(one.end) - place(one.start)) for one in ordered]
    return bars, [Break(start, end, place(end) - _BREAK, _BREAK) for start, end in waits]
