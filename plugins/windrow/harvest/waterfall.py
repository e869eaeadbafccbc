"""A receipt as a waterfall: from planned queries to merged records, with every subtraction; and a run's attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from windrow.harvest.flow import STEP
from windrow.harvest.status.interval import Interval

_CALLS = ("sent", "retried", "throttled", "unchanged", "tokens")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a waterfall. ``value`` is None where nobody has counted yet."""

    name: str
    value: int | None
    kind: str
    """total, minus, or records (a total in another unit)."""
    leads_to: str = ""
    """What a subtraction consists of: quarantine, open, gap, repeated, unreadable, load, merge."""
    share: float = 0.0
    """Its part of the largest total of its unit, from 0 to 1: the length of its bar."""
    start: float = 0.0
    """Where its bar begins, from 0 to 1: a subtraction hangs at the end of what is left."""


def waterfall(interval: Interval) -> list[Step]:
    """Return the receipt of a run, as far as it is counted. Empty if nothing is known."""
    summary, counts = interval.summary, interval.counts
    if summary is None:
        return []
    receipt: Mapping[str, Any] = summary.steps.get("receipt", {}) if counts.exact else {}
    verdict: Mapping[str, Any] = summary.steps.get("verdict", {}) if counts.exact else {}
    planned = counts.planned
    listed = summary.listed if summary.listed is not None else planned
    steps = [Step("listed", listed, "total")]
    if listed is not None and planned is not None and listed > planned:
        steps.append(Step("named more than once", listed - planned, "minus", "repeated"))
    steps.append(Step("planned", planned, "total"))
    steps.append(Step("in quarantine", counts.quarantined, "minus", "quarantine"))
    steps.append(Step("no answer yet", counts.missing, "minus", "open"))
    accepted = int(receipt.get("accepted_gaps", 0))
    steps.append(
        Step("gaps: the API has no such thing", counts.gaps and max(0, counts.gaps - accepted), "minus", "gap")
    )
    if accepted:
        steps.append(Step("gaps that a person accepted", accepted, "minus", "accepted"))
    staged = None if counts.done is None else max(0, counts.done - counts.gaps)
    partial = int(verdict.get("partial", 0))
    steps.append(Step(f"answers staged{f' ({partial:,} lack their last pages)' if partial else ''}", staged, "total"))
    if left_out := int(verdict.get("records_left_out", 0)):
        steps.append(Step("records that cannot be read and are left out", left_out, "minus", "unreadable"))
    unreadable = verdict.get("unreadable", receipt.get("unreadable"))
    if unreadable:
        steps.append(Step("could not be read when they were landed", int(unreadable), "minus", "unreadable"))
    exported, loaded, merged = (_count(receipt, name) for name in ("exported", "loaded", "merged"))
    steps.append(Step("records landed", exported, "records"))
    if exported is not None and loaded is not None and exported != loaded:
        steps.append(Step("not in the landing table", exported - loaded, "minus", "load"))
    steps.append(Step("records loaded", loaded, "records"))
    distinct = _count(receipt, "distinct")
    if loaded is not None and distinct is not None and loaded > distinct:
        steps.append(Step("delivered more than once", loaded - distinct, "minus", "repeated"))
    base = distinct if distinct is not None else loaded
    if base is not None and merged is not None and base != merged:
        steps.append(Step("not in the final table", base - merged, "minus", "merge"))
    steps.append(Step("records merged", merged, "records"))
    return _with_shares(steps)


def _count(receipt: Mapping[str, Any], name: str) -> int | None:
    value = receipt.get(name)
    return int(value) if isinstance(value, int | float) else None


def _with_shares(steps: Sequence[Step]) -> list[Step]:
    """Set the length of each bar, and leave out subtractions of nothing."""
    queries = max((one.value or 0 for one in steps if one.kind == "total"), default=0)
    records = max((one.value or 0 for one in steps if one.kind == "records"), default=0)
    found, unit, left = [], queries, 0
    for one in steps:
        value = one.value or 0
        if one.kind == "minus":
            if one.value == 0:
                continue
            left = max(0, left - value)
        else:
            unit, left = queries if one.kind == "total" else records, value
        share = min(1.0, value / unit) if unit else 0.0
        start = min(1.0 - share, left / unit) if unit and one.kind == "minus" else 0.0
        found.append(replace(one, share=share, start=start))
    return found


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a harvest, or one flow that planned or looked something up."""

    name: str
    started_at: str
    figures: Mapping[str, Any]

    def count(self, name: str) -> int | None:
        """Return a figure; None if this attempt does not have it."""
        return _count(self.figures, name)


def attempts(notes: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Attempt]:
    """Return the attempts of a run, the newest first, and last the sum of all calls."""
    found = [
        Attempt(step.split(" ", 1)[0], str(figures.get("started_at") or step.partition(" ")[2]), figures)
        for step, figures in notes
        if step.startswith(("harvest ", STEP))
    ]
    found.sort(key=lambda one: one.started_at, reverse=True)
    if len(found) > 1:
        total = {name: sum(one.count(name) or 0 for one in found) for name in (*_CALLS, "answered", "gaps", "rejected")}
        found.append(Attempt("sum of all", "", total))
    return found


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a harvest is, and how long the rest takes. Seconds; None is unknown."""

    per_s: float
    calls_left: int
    calls_s: float | None


def pace(interval: Interval, notes: Sequence[tuple[str, Mapping[str, Any]]], now: datetime) -> Pace | None:
    """Return the pace of the harvests that run now; None if none does."""
    running = [
        figures
        for step, figures in notes
        if step.startswith("harvest ") and figures.get("state") == "running" and figures.get("seconds")
    ]
    left = (interval.counts.missing or 0) if interval.counts.planned is not None else 0
    if not running or interval.state.value not in {"running", "waiting"}:
        return None
    per_s = sum((figures.get("answered", 0) + figures.get("gaps", 0)) / figures["seconds"] for figures in running)
    return Pace(per_s, left, left / per_s if per_s else None)
