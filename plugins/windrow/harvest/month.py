"""A month of all streams, for those who pay: on time, complete, hours until mended, calls, units."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from windrow.harvest.dry_run import ways
from windrow.harvest.status.interval import Interval, State, completed_at, instant

_DAY = timedelta(days=1)
_GOOD = {State.COMPLETE, State.GAPS}


@dataclass(frozen=True, slots=True)
class Month:
    """A month in UTC, from its first moment to that of the next one."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, year: int, month: int) -> "Month":
        """Return a month. Months beyond 12 or below 1 are those of the next or the last year."""
        year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
        after = (year + 1, 1) if month == 12 else (year, month + 1)
        return cls(datetime(year, month, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a stream did in a month. None is unknown, or nothing to compute it from."""

    dataset: str
    due: int
    complete: int
    on_time: int
    """Complete before the next interval was due; within a day for the last one."""
    mended_h: float | None
    """The median of the hours from when an interval was due until it was complete, where it was late or had failed."""
    calls: int
    """Calls that tasks made, and queries that Cloud Tasks called, each once."""
    units: Mapping[str, int]
    """Units that calls took, by the name of the quota; of a run that did not count them, those of its plan."""


def sheet(dataset: str, intervals: Sequence[Interval], month: Month) -> Sheet:
    """Return the figures of a stream, from its intervals in any order."""
    mine = sorted((one for one in intervals if _within(one, month)), key=lambda one: one.due_at)
    due = [one for one in mine if one.state is not State.NOT_DUE]
    on_time, mended = 0, []
    for place, one in enumerate(due):
        at, done = instant(one.due_at), instant(completed_at(one))
        if at is None or done is None:
            continue
        following = instant(due[place + 1].due_at) if place + 1 < len(due) else None
        in_time = done <= max(following or at + _DAY, at + timedelta(seconds=1))
        on_time += in_time
        if not in_time or (one.summary and "failure" in one.summary.steps):
            mended.append((done - at) / timedelta(hours=1))
    units: Counter[str] = Counter()
    calls = 0
    for one in mine:
        steps = one.summary.steps if one.summary else {}
        counted = steps.get("receipt") or steps.get("harvest") or {}
        calls += int(counted.get("sent", counted.get("enqueued", 0)))
        planned = next((way.units for way in ways(one.summary)), {}) if one.state is not State.NOT_DUE else {}
        units.update(dict(counted.get("units", ())) or planned)
    complete = sum(one.state in _GOOD for one in due)
    return Sheet(dataset, len(due), complete, on_time, median(mended) if mended else None, calls, units)


def _within(one: Interval, month: Month) -> bool:
    at = instant(one.due_at)
    return at is not None and month.start <= at < month.end
