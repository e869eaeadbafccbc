"""A receipt as a waterfall: from planned queries to merged records, with every subtraction; and a run's attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from windrow.harvest.flow import STEP
from windrow.harvest.status.interval import Interval, State, completed_at, instant
from windrow.store.reports import Reason

COMPARED = 7
"""Earlier runs that a run is compared with."""
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
    accepted, erased = (int(receipt.get(name, 0)) for name in ("accepted_gaps", "erased"))
    gaps = counts.gaps and max(0, counts.gaps - accepted - erased)
    steps.append(Step("gaps: the API has no such thing", gaps, "minus", "gap"))
    if accepted:
        steps.append(Step("gaps that a person accepted", accepted, "minus", "accepted"))
    if erased:
        steps.append(Step("erased: they were about a person", erased, "minus"))
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
    """How fast a run is, and how long the rest takes: calls, then the load. None is unknown."""

    per_s: float
    """Queries a second, in the last five minutes at most."""
    calls_left: int
    calls_s: tuple[float, float] | None
    """The least and the most seconds of the calls: by the present rate, and by that of the whole attempt."""
    load_s: float | None
    """Seconds from the last answer to the receipt: the median of earlier runs."""
    of_runs: int
    """Earlier runs that the load was measured in."""


def pace(
    interval: Interval, notes: Sequence[tuple[str, Mapping[str, Any]]], earlier: Sequence[Interval] = ()
) -> Pace | None:
    """Return the pace of the harvests that run now; None if none does.

    :param earlier: intervals of the stream, the newest first; the last complete ones tell how long a load takes.
    """
    running = [
        figures
        for step, figures in notes
        if step.startswith("harvest ") and figures.get("state") == "running" and figures.get("seconds")
    ]
    left = (interval.counts.missing or 0) if interval.counts.planned is not None else 0
    if not running or interval.state not in {State.RUNNING, State.WAITING}:
        return None
    whole = sum((figures.get("answered", 0) + figures.get("gaps", 0)) / figures["seconds"] for figures in running)
    live = sum(_recently(figures) for figures in running)
    rates = [rate for rate in (live, whole) if rate > 0]
    loads = [seconds for one in earlier if one.run_id != interval.run_id and (seconds := _load_s(one)) is not None]
    return Pace(
        per_s=live,
        calls_left=left,
        calls_s=(left / max(rates), left / min(rates)) if rates else None,
        load_s=median(loads[:COMPARED]) if loads else None,
        of_runs=len(loads[:COMPARED]),
    )


def _recently(figures: Mapping[str, Any]) -> float:
    """Return the rate of the last minutes; that of the whole attempt if an earlier version noted it."""
    if figures.get("recent_seconds"):
        return float(figures["recent_done"] / figures["recent_seconds"])
    return float((figures.get("answered", 0) + figures.get("gaps", 0)) / figures["seconds"])


def _load_s(one: Interval) -> float | None:
    times = one.summary.times if one.summary else {}
    ended, proved = instant(times.get("harvest", "")), instant(completed_at(one))
    return (proved - ended).total_seconds() if ended and proved and proved >= ended else None


@dataclass(frozen=True, slots=True)
class Change:
    """Quarantined answers of a run with one reason, and how many are usual: the median of earlier runs."""

    reason: Reason
    usual: float | None
    """None if there is no earlier run to compare with."""
    seen: int
    """Earlier runs that had this reason."""


def changes(interval: Interval, stream: Sequence[Interval], reasons: Sequence[Reason]) -> tuple[list[Change], int]:
    """Return the reasons of a run beside those of the last comparable runs, and how many runs these are.

    Comparable are earlier runs that have ended with a receipt.

    :param stream: the intervals of the stream, the newest first.
    :param reasons: those of all its runs.
    """
    earlier = [one.run_id for one in stream if one.run_id and one.due_at < interval.due_at and one.counts.exact][
        :COMPARED
    ]
    counted: dict[str, dict[str, int]] = {}
    for one in reasons:
        if one.run_id in earlier:
            by_run = counted.setdefault(one.reason, {})
            by_run[one.run_id] = by_run.get(one.run_id, 0) + one.count
    found = []
    for one in reasons:
        if one.run_id == interval.run_id:
            known = counted.get(one.reason, {})
            usual = median([known.get(run_id, 0) for run_id in earlier]) if earlier else None
            found.append(Change(one, usual, len(known)))
    return found, len(earlier)
