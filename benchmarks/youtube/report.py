"""The results: what each process took, a table of the contenders, and ``results/youtube.json``."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta

from benchmarks import report
from benchmarks.measure import QUIET_CORES
from benchmarks.youtube.runs import FAULTS, Outcome, Process

LABELS = {"windrow": "Windrow", "loop": "serial `requests` loop", "dlt": "dlt"}


def told(name: str, outcome: Outcome) -> str:
    """Say what became of one contender, process by process."""
    lines = [f"{LABELS[name]}: {outcome.content.documents:,} reports, none lost, none double, every figure right"]
    lines += [
        f"  {process.step:16} {process.wall_s:7.1f} s, {process.cpu_s:6.1f} s of CPU, "
        f"{process.peak_rss / report.MB:.0f} MB; {process.staged_at_end:,} documents at its end"
        for process in outcome.processes
    ]
    lines.append(f"  server {outcome.server_cores:.2f} cores, MongoDB {outcome.mongo_cores:.2f}")
    if outcome.other_cores > QUIET_CORES:
        lines.append(f"  others used {outcome.other_cores:.2f} cores, so the times are worse than they would be")
    return "\n".join(lines)


def compared(found: Mapping[str, Outcome], options: argparse.Namespace) -> str:
    """Draw the table, one column a contender, and say what the plain loop has to expect."""
    rows: dict[str, Callable[[str, Outcome], str]] = {
        "calls measured": lambda _, one: f"{one.content.documents:,}",
        "calls/s": lambda name, one: f"{rate(name, one):,.1f}",
        f"{options.calls:,} calls with a kill": lambda name, one: _time(with_kill_s(name, one, options.calls)),
        "the same without a kill": lambda name, one: _time(without_kill_s(name, one, options.calls)),
        "calls sent": lambda _, one: f"{one.calls.sent:,}",
        "repeated for 503": lambda _, one: f"{one.calls.error_503:,}",
        "repeated for a cut": lambda _, one: f"{one.calls.cut:,}",
        "repeated for 401": lambda _, one: f"{one.calls.refused_401:,}",
        "repeated for the kill": lambda _, one: f"{one.calls.repeated_for_kill:,}",
        "tokens": lambda _, one: f"{one.calls.tokens:,}",
        "CPU us a call": lambda _, one: f"{cpu_us(one):,.0f}",
        "peak MB, the plan left out": lambda _, one: f"{max(step.peak_rss for step in _harvests(one)) / report.MB:.0f}",
    }
    head = ("", *(LABELS[name] for name in found))
    table = report.table(head, [(what, *(cell(*one) for one in found.items())) for what, cell in rows.items()])
    return f"{table}\n{_expectation(options)}"


def write(found: Mapping[str, Outcome], options: argparse.Namespace, mongo: str) -> None:
    """Write ``results/youtube.json``."""
    setup = {name: value for name, value in vars(options).items() if name != "only"} | {"faults": FAULTS}
    contenders = {
        name: {
            "label": LABELS[name],
            "calls_per_s": rate(name, one),
            "cpu_us_a_call": cpu_us(one),
            "without_kill_s": without_kill_s(name, one, options.calls),
            "with_kill_s": with_kill_s(name, one, options.calls),
            "measured_whole": name == "windrow",
            "repeated_for_faults": one.calls.repeated_for_faults,
            "repeated_for_kill": one.calls.repeated_for_kill,
            **asdict(one),
        }
        for name, one in found.items()
    }
    report.write("youtube.json", {**report.machine(mongo), "setup": setup, "contenders": contenders})


def rate(name: str, outcome: Outcome) -> float:
    """Return calls a second: of Windrow over both processes with their starts, of the others over the last's work."""
    if name == "windrow":
        return outcome.content.documents / sum(process.wall_s for process in _harvests(outcome))
    return outcome.content.documents / outcome.processes[-1].work_s


def cpu_us(outcome: Outcome) -> float:
    """Return microseconds of CPU for each call that was sent, repeated ones included; the plan is left out."""
    return sum(process.cpu_s for process in _harvests(outcome)) / outcome.calls.sent * 1e6


def with_kill_s(name: str, outcome: Outcome, calls: int) -> float:
    """Return how long ``calls`` take with a kill in the middle.

    Measured of Windrow. The others begin again, as dlt was seen to: half as long again, extrapolated.
    """
    return calls / rate(name, outcome) * (1.0 if name == "windrow" else 1.5)


def without_kill_s(name: str, outcome: Outcome, calls: int) -> float | None:
    """Return the same without a kill, extrapolated; None of Windrow, which was not run so."""
    return None if name == "windrow" else calls / rate(name, outcome)


def _harvests(outcome: Outcome) -> list[Process]:
    return [process for process in outcome.processes if process.step != "plan"]


def _time(seconds: float | None) -> str:
    return "not run" if seconds is None else str(timedelta(seconds=round(seconds)))


def _expectation(options: argparse.Namespace) -> str:
    """Say by arithmetic how far the loop comes that raises on the first failure."""
    failing = 1 - (1 - FAULTS["error_share"]) * (1 - FAULTS["cut_share"])
    calls, latency_s = 1 / failing, options.latency_ms / 1000
    token_calls = FAULTS["token_lifetime_s"] / latency_s if latency_s else float("inf")
    return (
        f"By arithmetic: a loop that does not repeat ends at its first 503 or cut connection, on average after "
        f"{calls:.0f} calls ({calls * latency_s:.0f} s); one that does not refresh, after {token_calls:.0f}."
    )
