"""What `chaos.many` finds, judged: runs, tables, calls that were refused, deadlocks, and what was tried again."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaos.truth import Difference

Key = tuple[str, str, str, int]
"""A task instance: DAG, run, task and map index."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: what was looked at, the result, and whether it is as it has to be."""

    what: str
    result: str
    is_good: bool = True

    def __str__(self) -> str:
        return f"| {self.what} | {self.result} |" if self.is_good else f"PROBLEM {self.what}: {self.result}"


def of_runs(dag: str, states: Sequence[tuple[str, str]]) -> Finding:
    """Judge the runs of a DAG, as type and state: each has to have succeeded, and there has to be one."""
    counts = Counter(f"{kind} {state}" for kind, state in states)
    result = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return Finding(f"runs of {dag}", result or "none", {state for _, state in states} == {"success"})


def of_table(difference: Difference) -> Finding:
    """Judge a table: each row of the API has to be there once, with its values."""
    return Finding(difference.table, str(difference).partition(": ")[2], difference.is_none)


def of_passengers(per_s: int, totals: Mapping[str, Any]) -> Finding:
    """Judge the counters of the passengers' API: it may have refused no call for its rate."""
    refused = totals["by_status"].get("429", 0)
    result = f"{totals['requests']:,} calls, {refused} refused, {totals['repeated_ok']} repeated"
    return Finding(f"passengers, {per_s} calls a second", result, not refused)


def of_github(per_hour: int, state: Mapping[str, Any]) -> Finding:
    """Judge the windows of the fake GitHub: it may have refused no call for a limit, and has to have had calls."""
    windows = [one for kinds in state["windows"].values() for one in kinds.get("core", [])]
    refused = state["primary_refusals"] + state["secondary_refusals"]
    calls, most = sum(one["used"] for one in windows), max((one["used"] for one in windows), default=0)
    result = f"{calls:,} calls in {len(windows)} windows, at most {most} in one, {refused} refused"
    return Finding(f"GitHub, {per_hour} calls an hour and owner", result, bool(calls) and not refused)


def of_youtube(units: Mapping[str, Mapping[str, int]]) -> Finding:
    """Judge the quotas of the fake YouTube: it may have refused no call for one."""
    refused = sum(one["refused"] for one in units.values())
    used = ", ".join(f"{one['used']:,} of {name}" for name, one in units.items() if one["used"])
    return Finding("YouTube, units of a day", f"{used}, {refused} refused", not refused)


def of_deadlocks(counted: int, logs: Mapping[str, bytes]) -> Finding:
    """Judge what PostgreSQL counted, and logs by name: none may know of a deadlock."""
    found = [name for name, content in logs.items() if b"deadlock" in content.lower()]
    result = f"{counted} counted by PostgreSQL, {len(found)} of {len(logs)} logs name one {found[:5] or ''}".strip()
    return Finding("deadlocks", result, not counted and not found)


def of_tries(tries: Mapping[Key, int], killed: Collection[Key], cleared: Collection[Key]) -> Finding:
    """Judge how often each task was tried: once, and once more for each time that it was killed or cleared."""
    again = {key: count for key, count in tries.items() if count > 1}
    unexplained = [key for key, count in again.items() if count > 1 + (key in killed) + (key in cleared)]
    names = Counter(f"{dag}.{task}" for dag, _, task, _ in unexplained)
    told = ", ".join(f"{name} {count}x" for name, count in names.items())
    result = f"{len(tries):,} tasks, {len(again)} tried again, {len(unexplained)} of them neither killed nor cleared"
    return Finding("tries", f"{result} {told}".strip(), bool(tries) and not unexplained)


def of_schedulers(tasks: Iterable[tuple[str, int]]) -> Finding:
    """Judge how many tasks ran on each scheduler: both have to have had some."""
    shares = dict(tasks)
    result = ", ".join(f"{count:,} on {host}" for host, count in shares.items())
    return Finding("tasks by scheduler", result or "none", len(shares) > 1)
