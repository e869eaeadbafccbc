"""Whether the quotas of APIs are enough for the calls that running and queued harvests have planned, in time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from statistics import median
from typing import Any

from windrow.harvest.dry_run import Way, ways
from windrow.harvest.status.attention import Attention
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.interval import DRY_RUN, Interval, State, instant, iso
from windrow.harvest.status.stream import Health, Stream
from windrow.model.plan import Run
from windrow.model.quota import Period
from windrow.store.reports import QuotaUse

Noted = Mapping[Run, Mapping[str, Any]]
"""By run: its connection, the account that the API counts, and the quotas that apply, as its harvest noted them."""
_PERIODS = 3
"""Scheduled runs that a period needs at least."""
_HELD = 9
"""A running task holds up to a tenth of what was left when it claimed it, which is a ninth of what is left now."""


@dataclass(frozen=True, slots=True)
class Need:
    """Units of a quota that a run needs at least from now on, and what the quota has. Times are ISO texts in UTC."""

    quota: str
    account: str
    """Hash of the account that the API counts; the account is shown to those only who may read its connection."""
    conn_id: str
    dataset: str
    dag_id: str
    run_id: str
    since: str
    units: int
    by: str
    """When the run must be done: its deadline, or the next scheduled run, whichever is first."""
    left: int
    """Units that are left in the present window."""
    resets_at: str
    size: int | None
    """Units of a whole window; None if that is not known."""
    period_s: int


def scheduled(intervals: Sequence[Interval]) -> tuple[datetime, timedelta] | None:
    """Return the time of the newest scheduled run, and the period of the schedule, as earlier runs show it.

    :param intervals: those of a stream, the newest first.
    :returns: None if there were too few scheduled runs.
    """
    runs = [one for one in intervals if one.run_id.startswith("scheduled__") and one.state is not State.MISSING]
    times = [at for one in runs if (at := instant(one.due_at))]
    if len(times) < _PERIODS:
        return None
    between = [(later - before).total_seconds() for later, before in pairwise(times)]
    return times[0], timedelta(seconds=median(between))


def noted_by(streams: Sequence[Stream]) -> list[Run]:
    """Return the runs whose notes `needs` uses: those that are active, and for each the newest harvest before it."""
    return [
        Run(each.dataset, each.run_id)
        for stream in streams
        for one in _active(stream)
        for each in (one, _before(stream, one, "harvest"))
        if each
    ]


def needs(
    streams: Sequence[Stream], noted: Noted, uses: Sequence[QuotaUse], facts: Facts, now: datetime
) -> tuple[Need, ...]:
    """Return what running and queued harvests need of quotas whose state is known.

    A run without a plan is taken to need what the run before it needed. A run that nothing expects to end at a time
    is left out: it waits for the next window, and nobody is late.
    """
    found = []
    for stream in streams:
        for one in _active(stream):
            by, note = _by(stream, one, facts, now), _note(stream, one, noted)
            if by is None or "account" not in note:
                continue
            account, units = str(note["account"]), _units(stream, one)
            hashed = sha256(account.encode()).hexdigest()[:8]
            for name, size, unit, zone in note["quotas"]:
                period = Period(unit, zone)
                state = _state(name, account, size, period, uses, now)
                if units.get(name) and state:
                    run = (one.dataset, one.dag_id, one.run_id, one.due_at)
                    of = (name, hashed, note["conn_id"])
                    found.append(Need(*of, *run, units[name], iso(by), *state, size, period.seconds))
    return tuple(found)


def short(needed: Sequence[Need], intervals: Mapping[tuple[str, str], Interval]) -> list[Attention]:
    """Return an entry for each quota that does not have what is needed of it in time.

    :param intervals: those of the runs, by dataset and run id.
    """
    quotas: dict[tuple[str, str], list[Need]] = {}
    for one in sorted(needed, key=lambda one: one.by):
        quotas.setdefault((one.account, one.quota), []).append(one)
    return [entry for members in quotas.values() if (entry := _entry(members, intervals))]


def _entry(members: Sequence[Need], intervals: Mapping[tuple[str, str], Interval]) -> Attention | None:
    """Return the entry of a quota at the time at which it lacks the most; None if it is enough at each.

    :param members: the needs, the first one that must be done is first.
    """
    worst, units, lacking = None, 0, 0.0
    for place, one in enumerate(members):
        units += one.units
        more = _more_until(one)
        if more is not None and units - (one.left + one.left // _HELD + more) > lacking:
            worst, lacking = (place, units, more), units - (one.left + one.left // _HELD + more)
    if worst is None:
        return None
    place, units, more = worst
    one, due = members[place], members[: place + 1]
    of = ", ".join(sorted({f"'{each.conn_id}'" for each in due}))
    later = f", and {more:,} more before then" if more else ""
    return Attention(
        health=Health.QUOTA,
        cause=f"the quota '{one.quota}' of {of} is not enough: the planned calls need at least {units:,} units by "
        f"{_told(one.by)}; {one.left:,} are left until {_told(one.resets_at)}{later}",
        streams=tuple(sorted({each.dataset for each in due})),
        since=min(each.since for each in due),
        safe="every answer so far: a run waits until the quota resets, and continues by itself",
        do="stop a run that can wait, or get a larger quota from the API and write it into 'quota' of the connection's "
        "extra; otherwise the data is late",
        person=False,
        until=one.resets_at,
        interval=intervals.get((one.dataset, one.run_id)),
        group=f"{one.quota}|{one.account}",
        shared=True,
    )


def _more_until(one: Need) -> int | None:
    """Return the units of the windows that begin before a run must be done; None if that is not known."""
    by, resets_at = instant(one.by), instant(one.resets_at)
    if by is None or resets_at is None or by <= resets_at:
        return 0
    return None if one.size is None else one.size * (1 + int((by - resets_at).total_seconds() // one.period_s))


def _active(stream: Stream) -> Iterator[Interval]:
    """Yield the runs of a stream that go on, or will, and make the calls of their plans."""
    for one in stream.intervals:
        only_planned = one.summary is not None and one.summary.steps.get("cost", {}).get("plan_only") is True
        goes_on = one.state in {State.RUNNING, State.WAITING}
        if goes_on and one.run_id and not one.run_id.startswith(DRY_RUN) and not only_planned:
            yield one


def _before(stream: Stream, one: Interval, step: str) -> Interval | None:
    """Return the newest run of the same DAG before this one that has noted a step."""
    return next(
        (
            each
            for each in stream.intervals
            if each.due_at < one.due_at
            and each.dag_id == one.dag_id
            and each.summary is not None
            and each.summary.steps.get(step)
            and not each.run_id.startswith(DRY_RUN)
        ),
        None,
    )


def _note(stream: Stream, one: Interval, noted: Noted) -> Mapping[str, Any]:
    """Return what the harvest of a run noted, or that of the run before it; empty if neither did."""
    before = _before(stream, one, "harvest")
    runs = [one, *([before] if before else [])]
    return next((noted[run] for each in runs if (run := Run(each.dataset, each.run_id)) in noted), {})


def _units(stream: Stream, one: Interval) -> dict[str, int]:
    """Return the units that a run still needs at least, by quota: of the cheapest way to harvest its plan."""
    found: list[Way] = ways(one.summary)
    planned, missing = one.counts.planned, one.counts.missing
    share = missing / planned if found and planned and missing is not None else 1.0
    if not found:
        before = _before(stream, one, "cost")
        found = ways(before.summary) if before else []
    names = {name for way in found for name in way.units}
    return {name: int(min(way.units.get(name, 0) for way in found) * share) for name in names}


def _by(stream: Stream, one: Interval, facts: Facts, now: datetime) -> datetime | None:
    times = [one.fact.deadline_at] if one.fact and one.fact.deadline_at else []
    dag = facts.dags.get(one.dag_id)
    if dag is not None and not dag.paused:
        times.append(dag.next_at)
    found = [at for text in times if (at := instant(text))]
    if not facts.asked and (known := scheduled(stream.intervals)):
        found.append(known[0] + known[1])
    return max(now, min(found)) if found else None


def _state(
    name: str, account: str, size: int | None, period: Period, uses: Sequence[QuotaUse], now: datetime
) -> tuple[int, str] | None:
    """Return what is left of a quota, and when it resets; None if that is not known."""
    mine = [one for one in uses if (one.account, one.name) == (account, name)]
    if closed := next((one for one in mine if one.closed), None):
        return 0, closed.ends_at
    if size is None:
        return None
    if not mine:
        return size, iso(period.bounds(now)[1])
    return max(0, size - mine[0].taken), mine[0].ends_at


def _told(text: str) -> str:
    at = instant(text)
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else text
