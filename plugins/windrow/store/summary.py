"""One summary per run: what each kind of step of it counted last, written while the run goes on.

Staging writes a summary at most once per second and run, so that a reader never counts answers:

================  ==================================================  =====================================
collection        one document is                                     ``_id``; indexed fields
================  ==================================================  =====================================
``windrow_runs``  the last figures of each kind of step of a run      dataset|run_id; ``dataset, first_at``
================  ==================================================  =====================================
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from windrow.model.plan import Run

Document = dict[str, Any]

RUNS = "windrow_runs"
KINDS = (
    *("scope", "watermark", "code", "cost", "profile", "harvest", "enqueue", "drain", "pull", "receipt", "verdict"),
    *("failure", "landed", "purged"),
)
"""Steps that a summary has, by the first word of their names. Each harvest of a run replaces the one before."""
_COUNTS = ("settled_before", "answered", "gaps", "rejected", "unanswered", "sent", "retried", "throttled", "tokens")
_TROUBLE = ("error", "advice", "stopped_by", "waits_until")
_NOT_PURGED = {"purged": "", "purged_at": ""}
"""What a step removes: `purged` is true only until something is written again."""
_SILENT = timedelta(seconds=90)
"""A worker that has written nothing for so long, while others have, is dead: each writes every second."""


def stamp(now: datetime | None = None) -> str:
    """Return the time as summaries have it: ISO 8601 in UTC with milliseconds, which sorts as text."""
    return (now or datetime.now(UTC)).isoformat(timespec="milliseconds")


def summary_update(run: Run, step: str, figures: Mapping[str, Any], now: str) -> Document | None:
    """Return the change of a run's summary when a step notes its figures; None for a step that it does not have.

    ``now`` is an ISO text in UTC. Doing it twice changes nothing, so it may be tried again.
    """
    kind = step.split(" ", 1)[0]
    if kind not in KINDS:
        return None
    worker = figures.get("worker") if kind == "harvest" else None
    change: Document = {f"{kind}_at": now, "updated_at": now}
    change |= {kind: dict(figures)} if worker is None else {f"workers.{worker}": {**figures, "at": now}}
    first: Document = {"dataset": run.dataset, "run_id": run.run_id, "first_at": now}
    if run.dag_id:
        change["dag_id"] = run.dag_id
    update: Document = {"$set": change, "$setOnInsert": first}
    if kind != "purged":
        update["$unset"] = _NOT_PURGED
    if kind == "harvest" and worker is None:  # what reads Redis knows only its own part: the largest is a lower bound
        update["$max"] = {"done": _done(figures)}
    return update


def _done(figures: Mapping[str, Any]) -> int:
    return sum(int(figures.get(name, 0)) for name in ("settled_before", "answered", "gaps"))


def _of_workers(workers: Mapping[str, Mapping[str, Any]]) -> Document:
    """Return the figures of the workers of a run as those of one harvest: counts are sums of the newest round.

    It runs while a worker does that has written lately. Then an error of another one is no trouble, nor if all is done.
    """
    newest = max(int(one.get("round", 0)) for one in workers.values())
    each = [one for one in workers.values() if one.get("round", 0) == newest]
    each.sort(key=lambda one: str(one["at"]))
    last = datetime.fromisoformat(each[-1]["at"])
    is_running = any(
        one.get("state") == "running" and last - datetime.fromisoformat(one["at"]) < _SILENT for one in each
    )
    found: Document = {name: sum(int(one.get(name, 0)) for one in each) for name in _COUNTS}
    planned = max(int(one.get("planned", 0)) for one in each)
    found |= {"workers": len(each), "planned": planned, "state": "running" if is_running else "ended"}
    troubled = [] if is_running or _done(found) >= planned else [one for one in each if one.get("error")]
    return {**found, **{name: troubled[-1][name] for name in _TROUBLE if troubled and name in troubled[-1]}}


def plan_update(run: Run, listed: int, planned: int, now: str) -> Document:
    """Return the change of a run's summary when its plan is complete."""
    change = {"listed": listed, "planned": planned, "plan_at": now, "updated_at": now}
    if run.dag_id:
        change["dag_id"] = run.dag_id
    first = {"dataset": run.dataset, "run_id": run.run_id, "first_at": now}
    return {"$set": change, "$setOnInsert": first, "$unset": _NOT_PURGED}


@dataclass(frozen=True, slots=True)
class Summary:
    """What MongoDB knows about one run. Times are ISO texts in UTC; empty for never. None is unknown."""

    dataset: str
    run_id: str
    dag_id: str = ""
    first_at: str = ""
    updated_at: str = ""
    listed: int | None = None
    planned: int | None = None
    done: int | None = None
    """Queries that are settled, at least."""
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The last figures of each of `KINDS`."""
    times: Mapping[str, str] = field(default_factory=dict)
    """When each of them was written."""

    @classmethod
    def of(cls, document: Document) -> "Summary":
        """Read a document of ``windrow_runs``."""
        steps = {kind: document[kind] for kind in KINDS if isinstance(document.get(kind), dict)}
        times = {kind: str(document.get(f"{kind}_at", "")) for kind in (*KINDS, "plan") if f"{kind}_at" in document}
        done, workers = document.get("done"), document.get("workers")
        if workers:
            steps["harvest"] = steps.get("harvest", {}) | _of_workers(workers)
            done = max(done or 0, min(_done(steps["harvest"]), steps["harvest"]["planned"]))
        harvested = steps.get("harvest", {}).get("planned")
        return cls(
            dataset=str(document["dataset"]),
            run_id=str(document["run_id"]),
            dag_id=str(document.get("dag_id", "")),
            first_at=str(document.get("first_at", "")),
            updated_at=str(document.get("updated_at", "")),
            listed=document.get("listed"),
            planned=document.get("planned", harvested),
            done=done,
            steps=steps,
            times=times,
        )

    @property
    def trouble(self) -> Mapping[str, Any]:
        """What went wrong last: ``error``, ``advice``, ``stopped_by``, ``task_id``, ``waits_until``, as far as known.

        Empty if nothing did, or if a receipt that agrees was written after it.
        """
        harvest, failure, receipt = (self.steps.get(kind, {}) for kind in ("harvest", "failure", "receipt"))
        at = {kind: self.times.get(kind, "") for kind in ("harvest", "failure", "receipt")}
        found = failure if failure and at["failure"] >= at["harvest"] else harvest
        if receipt.get("agrees") is True and at["receipt"] >= max(at["harvest"], at["failure"]):
            return {}
        names = ("error", "advice", "stopped_by", "task_id", "waits_until")
        return {name: found[name] for name in names if found.get(name)}
