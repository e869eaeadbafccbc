"""What is not as it should be, grouped by cause: who must act, what is safe, and what to do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windrow.harvest.runbook import OTHER, row
from windrow.harvest.status.interval import Interval, State
from windrow.harvest.status.stream import Health, Stream
from windrow.model.errors import ApiUnreachable, CallsStopped, ConnectionUnusable, CredentialsRejected, RateLimited


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that is not as it should be, for all streams with the same cause."""

    health: Health
    cause: str
    streams: tuple[str, ...]
    since: str
    safe: str
    do: str
    person: bool
    """Whether a person must act; otherwise it continues by itself."""
    until: str = ""
    interval: Interval | None = None
    """An example."""
    group: str = ""
    """Identifies the cause from snapshot to snapshot, whatever streams it has."""
    shared: bool = False
    """Whether one credential or one API stopped all streams, so that one more stream is not one more problem."""

    @property
    def alert(self) -> str:
        """The cause of its alert, as a snooze takes it; empty if nobody is alerted of it."""
        is_open = self.person or self.health in {Health.INCOMPLETE, Health.UNKNOWN}
        return f"attention|{self.health.value}|{self.group}" if is_open else ""

    @property
    def who(self) -> str:
        """Who must act."""
        if self.person:
            return "you: it does not continue by itself"
        if self.health is Health.WARNING:
            return "you, but not at once: no run waits for it"
        if self.health is Health.QUOTA:
            return "you, if the data must not be late: otherwise nobody, the runs continue by themselves"
        if self.health is Health.WAITING:
            return "nobody: it continues by itself"
        return "you, but not at once: look what became of it"


_SHARED = {one.__name__ for one in (ApiUnreachable, CallsStopped, ConnectionUnusable, CredentialsRejected, RateLimited)}
_NUMBER = re.compile(r"\d[\d,.]*")
_ATTENTION = {Health.ACTION, Health.LATE, Health.INCOMPLETE, Health.UNKNOWN, Health.WAITING}


def grouped(streams: Sequence[Stream]) -> list[Attention]:
    """Return what needs attention in these streams, one entry a cause, the worst first."""
    groups: dict[tuple[object, ...], list[tuple[Stream, Interval]]] = {}
    for stream in streams:
        if stream.health not in _ATTENTION:
            continue
        one = _example(stream)
        if one is None:
            continue
        stopped = _stopped_by(one)
        key = (stream.health, stopped, _where(stream)) if stopped else (stream.health, one.why, one.failed_tasks)
        groups.setdefault(key, []).append((stream, one))
    found = [_one_cause(members) for members in groups.values()]
    order = list(Health)
    return sorted(found, key=lambda one: (not one.person, order.index(one.health), one.since))


def _stopped_by(one: Interval) -> str:
    """Return the name of the error that stopped a run; empty if it is not known, or no longer true."""
    trouble = one.summary.trouble if one.summary else {}
    return str(trouble.get("stopped_by") or "") if one.state in {State.WAITING, State.INCOMPLETE} else ""


def _where(stream: Stream) -> tuple[str, ...]:
    return stream.connections or (stream.dataset,)


_NAMED, _LONGEST = 3, 200
"""Warnings in one entry, and characters of each."""


def warned(streams: Sequence[Stream]) -> list[Attention]:
    """Return an entry for each of these streams that has warnings."""
    return [
        Attention(
            health=Health.WARNING,
            cause=_named([f"{one.name}: {one.text}" for one in stream.warnings]),
            streams=(stream.dataset,),
            since=min(one.first_at for one in stream.warnings),
            safe="all rows: a warning stops no run",
            do=f"correct the declaration, or accept what is right: windrow accept {stream.dataset}",
            person=False,
            interval=next((one for one in stream.intervals if one.run_id == stream.warnings[-1].run_id), None),
        )
        for stream in streams
        if stream.warnings
    ]


def _named(texts: Sequence[str]) -> str:
    shown = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..." for text in texts[:_NAMED]]
    return "; ".join([*shown, *([f"and {len(texts) - _NAMED:,} more"] if len(texts) > _NAMED else [])])


def _example(stream: Stream) -> Interval | None:
    """Return the interval that explains the health of a stream."""
    due = [one for one in stream.intervals if one.state is not State.NOT_DUE]
    if stream.health is Health.INCOMPLETE:
        return next((one for one in due if one.state in {State.INCOMPLETE, State.MISSING}), None)
    return due[0] if due else None


def _one_cause(members: Sequence[tuple[Stream, Interval]]) -> Attention:
    stream, one = members[0]
    stopped = _stopped_by(one)
    trouble: Mapping[str, Any] = one.summary.trouble if one.summary else {}
    tasks = one.failed_tasks
    of_task = str(trouble.get("task_id", "harvest")).rsplit(".", 1)[-1]
    names = {task.rsplit(".", 1)[-1] for task in tasks}
    told = bool(trouble.get("error")) and (
        not tasks or bool(names & {of_task, "harvest", "more_workers", "sweep", "fetch"})
    )
    counted = bool(one.summary and one.summary.steps.get("verdict", {}).get("points")) and one.counts.exact
    known = row(tasks or ([of_task] if told else ["prove"] if counted else []))
    cause = f"{one.why}: {trouble['error']}" if told and not counted and one.state is not State.WAITING else one.why
    do = str(trouble.get("advice") or known.do) if told and not counted else known.do
    safe = known.safe
    if one.state is State.WAITING:
        cause = str(trouble.get("error") or one.why)
        do, safe = "nothing: it continues by itself", "every answer so far"
        if one.needs_person:
            do = "answer in Airflow under Required Actions; after the time that it shows, the run ends or continues"
    elif one.state is State.MISSING:
        do, safe = "unpause the DAG, or trigger a run for the interval (docs/backfill.md)", "all earlier intervals"
    elif one.state is State.UNKNOWN:
        do = "open the run in Airflow: if it has ended, clear its last task; without a receipt nothing is proved"
    elif not tasks and not told and known is OTHER:
        do = "open the run in Airflow; clear 'harvest' with all tasks downstream: it makes only the missing calls"
    return Attention(
        health=stream.health,
        cause=cause,
        streams=tuple(each.dataset for each, _ in members),
        since=min((each.fact.ended_at or each.due_at if each.fact else each.due_at) for _, each in members),
        safe=safe,
        do=do,
        person=one.needs_person,
        until=max(each.waits_until for _, each in members),
        interval=one,
        # numbers in `why` change from snapshot to snapshot
        group="|".join([stopped, *_where(stream)]) if stopped else _NUMBER.sub("#", one.why)[:_LONGEST],
        shared=stopped in _SHARED,
    )
