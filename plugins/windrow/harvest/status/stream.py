"""The health of one stream, from its last intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from windrow.harvest.status.facts import DagFact, Facts
from windrow.harvest.status.interval import DRY_RUN, Interval, State, completed_at, instant, interval_of
from windrow.store.summary import Summary
from windrow.store.warnings import Warned

INTERVALS = 30
"""Intervals of a stream that a strip shows."""
_DRY_RUNS = 10
"""Dry runs that are shown besides."""
_GRACE = timedelta(minutes=10)
"""How late a run may start before its interval is missing."""


class Health(StrEnum):
    """The state of a stream, the worst first. Only ``ACTION`` and ``LATE`` need a person.

    ``QUOTA`` and ``WARNING`` are not the state of a stream: a quota will not be enough for it, and it has warnings that
    no person has accepted, whatever its state is.
    """

    ACTION = "Action required"
    LATE = "Late"
    INCOMPLETE = "Incomplete"
    UNKNOWN = "Unknown"
    QUOTA = "Quota"
    WAITING = "Waiting"
    RUNNING = "Running"
    PAUSED = "Paused"
    NEW = "Not run yet"
    COMPLETE = "Complete"
    WARNING = "Warnings"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its health and its last intervals, the newest first."""

    dataset: str
    dag_ids: tuple[str, ...]
    health: Health
    why: str
    intervals: tuple[Interval, ...]
    connections: tuple[str, ...] = ()
    newest: str = ""
    """Up to where data is complete: the watermark of the last complete run, or when its receipt was written."""
    expected: str = ""
    """When the next run is due."""
    declared: bool = True
    """Whether a DAG in Airflow still harvests it; True if Airflow was not asked."""
    warnings: tuple[Warned, ...] = ()
    """The warnings that no person has accepted."""

    @property
    def last(self) -> Interval | None:
        """The newest interval that was due."""
        return next((one for one in self.intervals if one.state is not State.NOT_DUE), None)


def stream_of(
    dataset: str,
    summaries: Sequence[Summary],
    facts: Facts,
    quarantined: Mapping[tuple[str, str], int],
    now: datetime,
) -> Stream:
    """Return a dataset with its health and its last intervals.

    :param quarantined: the number of rejected queries by dataset and run id.
    """
    dags = [dag for dag in facts.dags.values() if dataset in dag.datasets]
    found = _of_dags(dataset, dags, summaries, facts, quarantined, now)
    seen = {(one.dag_id, one.run_id) for one in found}
    names = [dag.dag_id for dag in dags]
    for summary in summaries:
        dag_id = summary.dag_id or (names[0] if len(names) == 1 else "")
        if (dag_id, summary.run_id) not in seen and not (
            not dag_id and any((name, summary.run_id) in seen for name in names)
        ):
            found.append(interval_of(summary, None, facts, quarantined, now, dag_id=dag_id))
    found.sort(key=lambda one: one.due_at, reverse=True)
    dry = [one for one in found if one.run_id.startswith(DRY_RUN)]  # however many there are, they push out no interval
    counted = [one for one in found if not one.run_id.startswith(DRY_RUN)][:INTERVALS]
    intervals = tuple(sorted([*counted, *dry[:_DRY_RUNS]], key=lambda one: one.due_at, reverse=True))
    recorded = {one.dag_id for one in summaries if one.dag_id}
    health, why = _health(intervals, dags)
    good = next((one for one in intervals if completed_at(one)), None)
    receipt: Mapping[str, Any] = good.summary.steps["receipt"] if good and good.summary else {}
    next_at = [dag.next_at for dag in dags if dag.next_at and not dag.paused]
    return Stream(
        dataset=dataset,
        dag_ids=tuple(names or sorted(recorded)),
        health=health,
        why=why,
        intervals=intervals,
        connections=tuple(sorted({conn for dag in dags for conn in dag.connections.get(dataset, ())})),
        newest=str(receipt.get("watermark") or (completed_at(good) if good else "")),
        expected=min(next_at, default=""),
        declared=bool(dags) or not facts.asked,
    )


def _of_dags(
    dataset: str,
    dags: Iterable[DagFact],
    summaries: Sequence[Summary],
    facts: Facts,
    quarantined: Mapping[tuple[str, str], int],
    now: datetime,
) -> list[Interval]:
    """Return the intervals that Airflow knows: its runs, and times of the schedule that have no run."""
    found = []
    for dag in dags:
        runs = facts.runs.get(dag.dag_id, ())
        for fact in runs:
            summary = next(
                (one for one in summaries if one.run_id == fact.run_id and one.dag_id in {"", dag.dag_id}), None
            )
            skipped = bool(fact.skipped.intersection(dag.provers.get(dataset, ())))
            failed, retrying, deferred = (
                tuple(task for task in tasks if dag.tasks.get(task, dataset) == dataset)
                for tasks in (fact.failed, fact.retrying, fact.deferred)
            )
            mine = replace(fact, failed=failed or fact.failed, retrying=retrying, deferred=deferred)
            found.append(interval_of(summary, mine, facts, quarantined, now, dataset=dataset, skipped=skipped))
        begun = min((one.due_at for one in runs), default="")
        starts = {one.due_at[:19] for one in runs}
        for due_at in dag.due:
            if not begun or due_at < begun or due_at[:19] in starts:
                continue  # before the first run nothing was wanted
            late = now - (instant(due_at) or now) > _GRACE
            why = "the DAG is paused" if dag.paused else "Airflow started no run for it"
            state = State.MISSING if late else State.NOT_DUE
            found.append(
                Interval(
                    dataset,
                    dag.dag_id,
                    "",
                    due_at,
                    state,
                    why if late else "the run is about to start",
                    needs_person=late,
                )
            )
    return found


def _health(intervals: Sequence[Interval], dags: Sequence[DagFact]) -> tuple[Health, str]:
    """Return the worst that is true of a stream, and why. A run that repeats an interval mends it."""
    due = [one for one in intervals if one.state is not State.NOT_DUE]
    paused = bool(dags) and all(dag.paused for dag in dags)
    if not due:
        return (Health.PAUSED, "its DAG is paused") if paused else (Health.NEW, "no run has been due yet")
    newest = due[0]
    words = {
        State.WAITING: Health.ACTION if newest.needs_person else Health.WAITING,
        State.RUNNING: Health.RUNNING,
        State.UNKNOWN: Health.UNKNOWN,
        State.MISSING: Health.LATE,
        State.INCOMPLETE: Health.ACTION if newest.needs_person else Health.INCOMPLETE,
    }
    if newest.state in words:
        if newest.state is State.RUNNING and newest.needs_person:
            return Health.ACTION, newest.why
        if paused and newest.state is State.MISSING:
            return Health.PAUSED, "its DAG is paused"
        return words[newest.state], newest.why
    bad = [one for one in due if one.state in {State.INCOMPLETE, State.MISSING}]
    if bad:
        return Health.INCOMPLETE, f"{len(bad)} of the last {len(due)} intervals are not complete"
    if paused:
        return Health.PAUSED, "its DAG is paused; the last interval is complete"
    return Health.COMPLETE, newest.why
