"""Is it complete, who must act, what does it wait for: one snapshot of all streams, for pages and terminals.

A snapshot is made from the summaries in MongoDB and, where Airflow can be asked, from its DAGs and runs. It never
guesses: a run is complete only if its receipt agrees and nothing was harvested after it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from windrow.harvest.runbook import OTHER, row
from windrow.store.status import Paused, QuotaUse, Reason, StatusStore, Summary

INTERVALS = 30
"""Intervals of a stream that a strip shows."""
_ALIVE = timedelta(seconds=90)
"""A harvest that wrote nothing for so long is not running, as far as MongoDB knows: it writes every second."""
_GRACE = timedelta(minutes=10)
"""How late a run may start before its interval is missing."""
_ACTIVE = {"queued", "running"}


class State(StrEnum):
    """The state of one interval, or of one run."""

    COMPLETE = "complete"
    GAPS = "complete with accepted gaps"
    INCOMPLETE = "incomplete"
    MISSING = "missing"
    RUNNING = "running"
    WAITING = "waiting"
    NOT_DUE = "not due"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """The state of a stream, the worst first. Only ``ACTION`` and ``LATE`` need a person."""

    ACTION = "Action required"
    LATE = "Late"
    INCOMPLETE = "Incomplete"
    UNKNOWN = "Unknown"
    WAITING = "Waiting"
    RUNNING = "Running"
    PAUSED = "Paused"
    NEW = "Not run yet"
    COMPLETE = "Complete"


@dataclass(frozen=True, slots=True)
class DagFact:
    """What Airflow knows about a DAG. Times are ISO texts in UTC; empty if there is none."""

    dag_id: str
    tasks: Mapping[str, str] = field(default_factory=dict)
    """The dataset of each task that has one."""
    connections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The Airflow connections of APIs that each dataset is harvested from."""
    provers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The tasks that write the receipt of each dataset."""
    paused: bool = False
    schedule: str = ""
    next_at: str = ""
    due: tuple[str, ...] = ()
    """When the schedule wanted runs, the newest first; empty if it is not by time."""

    @property
    def datasets(self) -> list[str]:
        """The datasets that the DAG harvests."""
        return sorted(self.provers)


@dataclass(frozen=True, slots=True)
class RunFact:
    """What Airflow knows about a DAG run."""

    dag_id: str
    run_id: str
    state: str
    due_at: str
    started_at: str = ""
    ended_at: str = ""
    kind: str = ""
    """scheduled, manual, backfill or asset_triggered."""
    by: str = ""
    """The user who triggered it."""
    failed: tuple[str, ...] = ()
    """Tasks that failed by themselves."""
    retrying: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    awaiting: tuple[str, ...] = ()
    """Tasks that wait for a person."""
    skipped: frozenset[str] = frozenset()
    """Tasks that were skipped."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What Airflow knows. ``asked`` is False where nothing could ask it, such as in a terminal."""

    asked: bool = False
    dags: Mapping[str, DagFact] = field(default_factory=dict)
    runs: Mapping[str, Sequence[RunFact]] = field(default_factory=dict)
    """The newest runs of each DAG, the newest first."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Queries of one run: planned = done + quarantined + missing. None is unknown."""

    planned: int | None = None
    done: int | None = None
    quarantined: int = 0
    missing: int | None = None
    gaps: int = 0
    """Of ``done``: the API says that there is no such thing."""
    exact: bool = False
    """Whether a receipt counted them; otherwise ``done`` is a lower bound."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of a stream, with its run if there is one."""

    dataset: str
    dag_id: str
    run_id: str
    """Empty if there was no run."""
    due_at: str
    state: State
    why: str
    counts: Counts = field(default_factory=Counts)
    summary: Summary | None = None
    fact: RunFact | None = None
    needs_person: bool = False
    waits_until: str = ""

    @property
    def failed_tasks(self) -> tuple[str, ...]:
        """Tasks that Airflow reports as failed."""
        return self.fact.failed if self.fact else ()

    @property
    def error(self) -> str:
        """What went wrong last, if it is known and nothing was fine since."""
        return str(self.summary.trouble.get("error", "")) if self.summary else ""


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

    @property
    def last(self) -> Interval | None:
        """The newest interval that was due."""
        return next((one for one in self.intervals if one.state is not State.NOT_DUE), None)


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

    @property
    def who(self) -> str:
        """Who must act."""
        if self.person:
            return "you: it does not continue by itself"
        if self.health is Health.WAITING:
            return "nobody: it continues by itself"
        return "you, but not at once: look what became of it"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one time. ``error`` says what could not be asked."""

    at: str
    streams: tuple[Stream, ...] = ()
    reasons: tuple[Reason, ...] = ()
    reasons_complete: bool = True
    quotas: tuple[QuotaUse, ...] = ()
    pauses: tuple[Paused, ...] = ()
    facts: Facts = field(default_factory=Facts)
    error: str = ""
    advice: str = ""

    @property
    def attention(self) -> list[Attention]:
        """What is not as it should be, grouped by cause, the worst first."""
        return _attention(self.streams)

    @property
    def sentence(self) -> str:
        """The whole in one sentence, without times."""
        if self.error:
            return "The state of the harvests is unknown: MongoDB did not answer."
        if not self.streams:
            return "No stream has run yet."
        complete = sum(one.health is Health.COMPLETE for one in self.streams)
        acting = [one for one in self.streams if one.health in {Health.ACTION, Health.LATE}]
        parts = [f"{complete} of {len(self.streams)} streams complete"]
        if acting:
            parts.append(f"{len(acting)} {'needs' if len(acting) == 1 else 'need'} you")
        for health in (Health.INCOMPLETE, Health.UNKNOWN, Health.WAITING, Health.RUNNING, Health.PAUSED, Health.NEW):
            if count := sum(one.health is health for one in self.streams):
                parts.append(f"{count} {health.value.lower()}")
        return ", ".join(parts) + "."

    @property
    def newest(self) -> str:
        """When the newest receipt that agrees was written; empty if there is none."""
        return max((_completed_at(one) for stream in self.streams for one in stream.intervals), default="")

    @property
    def active(self) -> bool:
        """Whether something runs, so that looking again soon is worth it."""
        return any(one.state is State.RUNNING for stream in self.streams for one in stream.intervals)

    def stream(self, dataset: str) -> Stream | None:
        """Return a stream by name."""
        return next((one for one in self.streams if one.dataset == dataset), None)

    def only(self, sees: Callable[[Sequence[str]], bool]) -> "Snapshot":
        """Return the part that somebody may see.

        :param sees: takes the DAGs of a stream and returns whether the person may read them; no DAG at all is a stream
            whose DAG is not known.
        """
        streams = tuple(
            replace(one, intervals=tuple(each for each in one.intervals if not each.dag_id or sees([each.dag_id])))
            for one in self.streams
            if sees(one.dag_ids)
        )
        names = {one.dataset for one in streams}
        hidden = {
            (each.dataset, each.run_id)
            for one in self.streams
            for each in one.intervals
            if each.dag_id and not sees([each.dag_id])
        }
        accounts = {conn_id for one in streams for conn_id in one.connections}
        return replace(
            self,
            streams=streams,
            reasons=tuple(
                one for one in self.reasons if one.dataset in names and (one.dataset, one.run_id) not in hidden
            ),
            pauses=tuple(one for one in self.pauses if one.conn_id in accounts or sees(())),
            facts=replace(self.facts, dags={name: one for name, one in self.facts.dags.items() if sees([name])}),
        )


def take(store: StatusStore, facts: Facts, *, now: datetime | None = None) -> Snapshot:
    """Read everything once.

    :raises StagingUnavailable: MongoDB did not answer.
    """
    now = now or datetime.now(UTC)
    declared = {dataset for dag in facts.dags.values() for dataset in dag.datasets}
    datasets = sorted(declared | set(store.datasets()))
    summaries = store.latest(datasets, each=INTERVALS)
    reasons, complete = store.reasons()
    quarantined: dict[tuple[str, str], int] = {}
    for one in reasons:
        quarantined[one.dataset, one.run_id] = quarantined.get((one.dataset, one.run_id), 0) + one.count
    streams = [_stream(dataset, summaries.get(dataset, ()), facts, quarantined, now) for dataset in datasets]
    order = list(Health)
    return Snapshot(
        at=_iso(now),
        streams=tuple(sorted(streams, key=lambda one: (order.index(one.health), one.dataset))),
        reasons=tuple(reasons),
        reasons_complete=complete,
        quotas=tuple(store.quotas(now)),
        pauses=tuple(store.pauses()),
        facts=facts,
    )


# --- a run -------------------------------------------------------------------------------------


def judge(
    summary: Summary | None, fact: RunFact | None, facts: Facts, now: datetime, *, skipped: bool = False
) -> tuple[State, str, bool]:
    """Return the state of a run, why, and whether a person must act.

    :param skipped: Airflow says that the task that writes the receipt was skipped: there was nothing to do.
    """
    receipt = summary.steps.get("receipt") if summary else None
    active = fact is not None and fact.state in _ACTIVE
    if active:
        return _active(summary, fact, now)
    if summary and receipt is not None and _is_last(summary):
        if receipt.get("agrees") is True:
            gaps = int(receipt.get("gaps", 0))
            if gaps:
                return State.GAPS, f"the receipt agrees, with {gaps:,} accepted gaps", False
            return State.COMPLETE, "the receipt agrees", False
        points = summary.steps.get("verdict", {}).get("points") or ["planned, staged, loaded and merged differ"]
        return State.INCOMPLETE, "; ".join(map(str, points)), True
    if skipped:
        return State.NOT_DUE, "no planned call was to be made: the task that writes the receipt was skipped", False
    if fact is not None and fact.state == "failed":
        tasks = ", ".join(fact.failed) or "a task"
        return State.INCOMPLETE, f"failed in {tasks}", True
    if fact is not None:
        return State.UNKNOWN, f"Airflow says {fact.state or 'nothing'}, but no receipt was written", False
    return _without_airflow(summary, facts, now)


def _active(summary: Summary | None, fact: RunFact | None, now: datetime) -> tuple[State, str, bool]:
    assert fact is not None  # noqa: S101 - the caller has checked it
    until = waits_until(summary, now)
    if until:
        return State.WAITING, "the API asked to wait", False
    if fact.awaiting:
        return State.WAITING, f"{', '.join(fact.awaiting)} waits for the approval of a person", True
    if fact.retrying:
        return State.RUNNING, f"{', '.join(fact.retrying)} will be retried", False
    if fact.failed:
        return State.RUNNING, f"{', '.join(fact.failed)} failed, other tasks still run", True
    if fact.state == "queued":
        return State.RUNNING, "the run is queued", False
    return State.RUNNING, f"{', '.join(fact.deferred)} deferred" if fact.deferred else "the run goes on", False


def _without_airflow(summary: Summary | None, facts: Facts, now: datetime) -> tuple[State, str, bool]:
    """Judge a run that Airflow does not have, or could not be asked about."""
    if summary is None:
        return State.UNKNOWN, "nothing is known about it", False
    until = waits_until(summary, now)
    if until and not facts.asked:
        return State.WAITING, "the API asked to wait", False
    harvest = summary.steps.get("harvest", {})
    quiet = now - (_time(summary.updated_at) or now)
    if harvest.get("state") == "running" and quiet < _ALIVE and not facts.asked:
        return State.RUNNING, "it harvests", False
    where = "it is not in Airflow any more" if facts.asked else "no task has written anything since"
    if (task_id := summary.trouble.get("task_id")) and not facts.asked:
        return State.INCOMPLETE, f"failed in {task_id}", True
    if summary.planned is None:
        return State.UNKNOWN, f"its plan was never completed, and {where}", False
    if (summary.done or 0) < summary.planned:
        return State.INCOMPLETE, f"calls are missing, and {where}", not facts.asked
    return State.UNKNOWN, f"all calls are done, but there is no receipt, and {where}", False


def waits_until(summary: Summary | None, now: datetime) -> str:
    """Return until when a harvest waits for its API; empty if it does not."""
    if summary is None:
        return ""
    until = str(summary.trouble.get("waits_until", ""))
    at = _time(until)
    return until if at and at > now else ""


def counts(summary: Summary | None, quarantined: int) -> Counts:
    """Count the queries of a run. Where a receipt is the last word, it counts; otherwise what was noted so far."""
    if summary is None:
        return Counts(quarantined=quarantined)
    receipt, pull = summary.steps.get("receipt", {}), summary.steps.get("pull")
    exact = bool(receipt) and _is_last(summary)
    if pull is not None:  # a batch of messages: one record each, and what cannot be read is in the quarantine
        pulled, bad = int(pull.get("pulled", 0)), int(pull.get("unreadable", 0))
        done = int(receipt.get("loaded", 0)) if exact else 0
        return Counts(pulled, done, bad, max(0, pulled - bad - done), exact=exact)
    planned, settled = summary.planned, summary.done
    gaps = int(receipt.get("gaps", 0)) if exact else int(summary.steps.get("harvest", {}).get("gaps", 0))
    if exact and "staged" in receipt:
        gaps = int(summary.steps.get("verdict", {}).get("query_gaps", gaps))  # the receipt's are of records, too
        planned, settled = int(receipt["planned"]), int(receipt["staged"]) + gaps
    if planned is None:
        return Counts(None, settled, quarantined, None, gaps)
    done = min(settled or 0, planned)
    aside = min(quarantined, planned - done)
    return Counts(planned, done, aside, planned - done - aside, gaps, exact)


def _is_last(summary: Summary) -> bool:
    """Return whether nothing was planned or harvested after the receipt: otherwise it is about an earlier try."""
    at = summary.times.get("receipt", "")
    return bool(at) and all(summary.times.get(kind, "") <= at for kind in ("plan", "harvest", "enqueue", "drain"))


def _completed_at(one: Interval) -> str:
    complete = one.state in {State.COMPLETE, State.GAPS} and one.summary is not None
    return one.summary.times.get("receipt", "") if complete and one.summary else ""


# --- a stream ----------------------------------------------------------------------------------


def _stream(
    dataset: str,
    summaries: Sequence[Summary],
    facts: Facts,
    quarantined: Mapping[tuple[str, str], int],
    now: datetime,
) -> Stream:
    dags = [dag for dag in facts.dags.values() if dataset in dag.datasets]
    found = _of_dags(dataset, dags, summaries, facts, quarantined, now)
    seen = {(one.dag_id, one.run_id) for one in found}
    names = [dag.dag_id for dag in dags]
    for summary in summaries:
        dag_id = summary.dag_id or (names[0] if len(names) == 1 else "")
        if (dag_id, summary.run_id) not in seen and not (
            not dag_id and any((name, summary.run_id) in seen for name in names)
        ):
            found.append(_interval(summary, None, facts, quarantined, now, dag_id=dag_id))
    intervals = tuple(sorted(found, key=lambda one: one.due_at, reverse=True)[:INTERVALS])
    recorded = {one.dag_id for one in summaries if one.dag_id}
    health, why = _health(intervals, dags)
    good = next((one for one in intervals if _completed_at(one)), None)
    receipt: Mapping[str, Any] = good.summary.steps["receipt"] if good and good.summary else {}
    next_at = [dag.next_at for dag in dags if dag.next_at and not dag.paused]
    return Stream(
        dataset=dataset,
        dag_ids=tuple(names or sorted(recorded)),
        health=health,
        why=why,
        intervals=intervals,
        connections=tuple(sorted({conn for dag in dags for conn in dag.connections.get(dataset, ())})),
        newest=str(receipt.get("watermark") or (_completed_at(good) if good else "")),
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
            found.append(_interval(summary, mine, facts, quarantined, now, dataset=dataset, skipped=skipped))
        begun = min((one.due_at for one in runs), default="")
        starts = {one.due_at[:19] for one in runs}
        for due_at in dag.due:
            if not begun or due_at < begun or due_at[:19] in starts:
                continue  # before the first run nothing was wanted
            late = now - (_time(due_at) or now) > _GRACE
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


def _interval(
    summary: Summary | None,
    fact: RunFact | None,
    facts: Facts,
    quarantined: Mapping[tuple[str, str], int],
    now: datetime,
    *,
    dataset: str = "",
    dag_id: str = "",
    skipped: bool = False,
) -> Interval:
    state, why, person = judge(summary, fact, facts, now, skipped=skipped)
    dataset = summary.dataset if summary else dataset
    run_id = summary.run_id if summary else fact.run_id if fact else ""
    begun = _of_run_id(run_id) or (summary.first_at if summary else "")
    return Interval(
        dataset=dataset,
        dag_id=fact.dag_id if fact else dag_id,
        run_id=run_id,
        due_at=fact.due_at if fact else begun,
        state=state,
        why=why,
        counts=counts(summary, quarantined.get((dataset, run_id), 0)),
        summary=summary,
        fact=fact,
        needs_person=person,
        waits_until=waits_until(summary, now) if state is State.WAITING else "",
    )


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


# --- attention ---------------------------------------------------------------------------------

_ATTENTION = {Health.ACTION, Health.LATE, Health.INCOMPLETE, Health.UNKNOWN, Health.WAITING}


def _attention(streams: Sequence[Stream]) -> list[Attention]:
    groups: dict[tuple[object, ...], list[tuple[Stream, Interval]]] = {}
    for stream in streams:
        if stream.health not in _ATTENTION:
            continue
        one = _example(stream)
        if one is None:
            continue
        trouble = one.summary.trouble if one.summary else {}
        stopped = str(trouble.get("stopped_by", "")) if one.state in {State.WAITING, State.INCOMPLETE} else ""
        same = stream.connections or (stream.dataset,)
        key = (stream.health, stopped, same) if stopped else (stream.health, one.why, one.failed_tasks)
        groups.setdefault(key, []).append((stream, one))
    found = [_one_cause(members) for members in groups.values()]
    order = list(Health)
    return sorted(found, key=lambda one: (not one.person, order.index(one.health), one.since))


def _example(stream: Stream) -> Interval | None:
    """Return the interval that explains the health of a stream."""
    due = [one for one in stream.intervals if one.state is not State.NOT_DUE]
    if stream.health is Health.INCOMPLETE:
        return next((one for one in due if one.state in {State.INCOMPLETE, State.MISSING}), None)
    return due[0] if due else None


def _one_cause(members: Sequence[tuple[Stream, Interval]]) -> Attention:
    stream, one = members[0]
    trouble: Mapping[str, Any] = one.summary.trouble if one.summary else {}
    tasks = one.failed_tasks
    of_task = str(trouble.get("task_id", "harvest")).rsplit(".", 1)[-1]
    names = {task.rsplit(".", 1)[-1] for task in tasks}
    told = bool(trouble.get("error")) and (not tasks or bool(names & {of_task, "harvest", "sweep", "fetch"}))
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
    )


# --- times -------------------------------------------------------------------------------------


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _time(text: str) -> datetime | None:
    """Read an ISO time; None if it is not one."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _of_run_id(run_id: str) -> str:
    """Return the time in a run id of Airflow, like ``scheduled__2026-11-27T00:00:00+00:00``; empty if it has none."""
    at = _time(run_id.partition("__")[2][:32])
    return _iso(at) if at else ""
