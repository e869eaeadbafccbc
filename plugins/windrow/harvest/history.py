"""The history of a stream: a calendar of a year with the state of each day, and what changed, when, and by whom."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from windrow.harvest.status.interval import Interval, State, instant, iso
from windrow.store.events import Event as Act
from windrow.store.summary import Summary

YEAR = timedelta(days=370)
"""How far back a calendar goes: 53 weeks."""
_WORST = (
    State.INCOMPLETE,
    State.MISSING,
    State.UNKNOWN,
    State.WAITING,
    State.RUNNING,
    State.GAPS,
    State.COMPLETE,
    State.NOT_DUE,
)


@dataclass(frozen=True, slots=True)
class Day:
    """A day in UTC, with the worst state of its intervals."""

    date: date
    state: State
    why: str
    intervals: tuple[Interval, ...] = ()


def weeks(intervals: Sequence[Interval], due: Collection[date], today: date) -> list[list[Day]]:
    """Return the weeks from the first known interval on, a year at most, each from Monday to Sunday or today.

    :param intervals: of one stream, in any order.
    :param due: days on which the present schedule wants a run.
    """
    by_day: dict[date, list[Interval]] = {}
    for one in intervals:
        if (at := instant(one.due_at)) and at.date() <= today:
            by_day.setdefault(at.date(), []).append(one)
    if not by_day:
        return []
    first = max(min(by_day), today - YEAR)
    days = [_day(first + timedelta(days=n), by_day, due, today) for n in range((today - first).days + 1)]
    found: list[list[Day]] = [[]]
    for day in days:
        if found[-1] and day.date.weekday() == 0:
            found.append([])
        found[-1].append(day)
    return found


def _day(day: date, by_day: Mapping[date, Sequence[Interval]], due: Collection[date], today: date) -> Day:
    mine = sorted(by_day.get(day, ()), key=lambda one: one.due_at)
    if mine:
        worst = min(mine, key=lambda one: _WORST.index(one.state))
        return Day(day, worst.state, worst.why, tuple(mine))
    if day in due and day < today:
        return Day(day, State.MISSING, "no run is known, and the present schedule wants one")
    return Day(day, State.NOT_DUE, "no run was due")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a stream. ``by`` is who caused it; empty if that is not known."""

    at: str
    text: str
    by: str = ""
    run_id: str = ""


def events(
    intervals: Sequence[Interval], summaries: Sequence[Summary], acts: Sequence[Act] = (), *, limit: int = 50
) -> list[Event]:
    """Return what happened to a stream, the newest first: runs and acts of people, accepted gaps, changes of its code.

    :param summaries: of its runs, in any order. Each is compared with the one before that noted its code.
    """
    found = [Event(iso(one.at), _told(one), one.user) for one in acts]
    for one in intervals:
        by = one.fact.by if one.fact else ""
        if one.run_id and by:
            found.append(Event(one.due_at, f"started a run ({one.state.value})", by, one.run_id))
        if one.state is State.GAPS:
            found.append(
                Event(one.due_at, f"{one.counts.gaps:,} gaps accepted by the params of the run", by, one.run_id)
            )
    before: Mapping[str, object] | None = None
    for each in sorted(summaries, key=lambda one: one.times.get("code", "")):
        code = each.steps.get("code")
        if not code:
            continue
        if before is not None:
            found += [Event(each.times["code"], text, "", each.run_id) for text in changed(before, code)]
        before = code
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


def _told(act: Act) -> str:
    return f"{act.action} {act.what}{f': {act.result}' if act.result else ''}"


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return what differs between the code of two runs: the version, columns of the contract, quotas."""
    found = []
    for name, what in (("version", "Windrow"), ("bundle", "the DAG bundle")):
        if before.get(name) != after.get(name):
            found.append(f"{what} changed from {before.get(name) or 'unknown'} to {after.get(name) or 'unknown'}")
    for name, what in (("columns", "column"), ("quotas", "quota")):
        old, new = (dict(each.get(name) or ()) for each in (before, after))  # type: ignore[call-overload]
        found += [f"{what} {key} was added: {new[key]}" for key in new.keys() - old.keys()]
        found += [f"{what} {key} was removed" for key in old.keys() - new.keys()]
        found += [
            f"{what} {key} changed from {old[key]} to {new[key]}"
            for key in old.keys() & new.keys()
            if old[key] != new[key]
        ]
    return sorted(found)
