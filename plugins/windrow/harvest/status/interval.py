"""The state of one interval or run, from its summary in MongoDB and from what Airflow knows.

A run is complete only if its receipt agrees and nothing was harvested after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from windrow.harvest.status.facts import Facts, RunFact
from windrow.model.errors import CallsStopped
from windrow.store.summary import Summary

_ALIVE = timedelta(seconds=90)
"""A harvest that wrote nothing for so long is not running, as far as MongoDB knows: it writes every second."""
DRY_RUN = "plan__"
"""How the ids of runs begin that the page Plan starts with ``plan_only``."""
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


def interval_of(
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
    """Return the interval of a run, from its summary, from Airflow, or from both."""
    state, why, person = judge(summary, fact, facts, now, skipped=skipped)
    dataset = summary.dataset if summary else dataset
    run_id = summary.run_id if summary else fact.run_id if fact else ""
    begun = of_run_id(run_id) or (summary.first_at if summary else "")
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
            gaps = int(receipt.get("gaps", 0)) + int(receipt.get("accepted_gaps", 0))
            if gaps:
                return State.GAPS, f"the receipt agrees, with {gaps:,} accepted gaps", False
            return State.COMPLETE, "the receipt agrees", False
        points = summary.steps.get("verdict", {}).get("points") or ["planned, staged, loaded and merged differ"]
        return State.INCOMPLETE, "; ".join(map(str, points)), True
    if (planned_only := _planned_only(summary, fact)) is not None:
        return State.NOT_DUE, planned_only, False
    if skipped:
        return State.NOT_DUE, "no planned call was to be made: the task that writes the receipt was skipped", False
    if fact is not None and fact.state == "failed":
        tasks = ", ".join(fact.failed) or "a task"
        return State.INCOMPLETE, f"failed in {tasks}", True
    if fact is not None:
        return State.UNKNOWN, f"Airflow says {fact.state or 'nothing'}, but no receipt was written", False
    return _without_airflow(summary, facts, now)


def _planned_only(summary: Summary | None, fact: RunFact | None) -> str | None:
    """Return why a run was to make no call, if that is so: it was to show its cost alone."""
    if fact is not None and fact.state == "failed":
        by_the_page = fact.run_id.startswith(DRY_RUN)
        return f"a dry run, which failed in {', '.join(fact.failed) or 'a task'}" if by_the_page else None
    if summary and summary.steps.get("cost", {}).get("plan_only") and "harvest" not in summary.steps:
        return "a dry run: it planned, and made none of the planned calls"
    return None


def _active(summary: Summary | None, fact: RunFact | None, now: datetime) -> tuple[State, str, bool]:
    assert fact is not None  # noqa: S101 - the caller has checked it
    until = waits_until(summary, now)
    if until:
        stopped = summary is not None and summary.trouble.get("stopped_by") == CallsStopped.__name__
        return State.WAITING, "a person stopped the calls" if stopped else "the API asked to wait", False
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
    quiet = now - (instant(summary.updated_at) or now)
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
    at = instant(until)
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
        gaps += int(receipt.get("accepted_gaps", 0)) + int(receipt.get("erased", 0))
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


def completed_at(one: Interval) -> str:
    """Return when the receipt of a complete interval was written; empty if it is not complete."""
    complete = one.state in {State.COMPLETE, State.GAPS} and one.summary is not None
    return one.summary.times.get("receipt", "") if complete and one.summary else ""


def iso(at: datetime) -> str:
    """Return a time as ISO text in UTC, so that texts sort by time."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def instant(text: str) -> datetime | None:
    """Read an ISO time; None if it is not one."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def of_run_id(run_id: str) -> str:
    """Return the time in a run id of Airflow, like ``scheduled__2026-11-27T00:00:00+00:00``; empty if it has none."""
    at = instant(run_id.partition("__")[2][:32])
    return iso(at) if at else ""
