"""The engine's memory: the same harvest with few calls and with twenty times as many.

The plan is written by a process of its own, as in Airflow, where planning is a task of its own.
"""

import statistics
import subprocess
import time
from dataclasses import dataclass

import psutil

from benchmarks.backends import Mongo, api
from benchmarks.contenders import ENGINE
from benchmarks.measure import child, finished, job, verify

TIMES = 20
"""How many times as many calls the long harvest makes."""
_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Memory:
    """The resident memory of one harvest, in bytes."""

    calls: int
    wall_s: float
    peak_rss: int
    """Of the process that harvests, as the kernel kept it."""
    median_rss: float
    """Of the same, over the second half of the harvest, sampled."""
    plan_peak_rss: int
    """Of the process that wrote the plan."""


def compare(mongo: Mongo, calls: int, connections: int) -> list[Memory]:
    """Harvest ``calls``, then twenty times as many, from a server that answers at once."""
    with api(delay_ms=0) as server:
        found = []
        for number in (calls, calls * TIMES):
            mongo.clear()
            server.reset()
            work = job(server, mongo, number, connections)
            with child(ENGINE.module, "plan", work) as process:
                planned = finished(process, "the plan")
            with child(ENGINE.module, "harvest", work) as process:
                samples = _sampled(process)
                harvested = finished(process, "the harvest")
            verify(ENGINE, server, mongo, number)
            found.append(
                Memory(
                    calls=number,
                    wall_s=harvested["wall_s"],
                    peak_rss=int(harvested["peak_rss"]),
                    median_rss=statistics.median(samples[len(samples) // 2 :]),
                    plan_peak_rss=int(planned["peak_rss"]),
                )
            )
            print(f"{number:,} calls harvested in {found[-1].wall_s:.0f} s", flush=True)
    return found


def _sampled(process: "subprocess.Popen[str]") -> list[int]:
    """Return the resident memory of a process in bytes, sampled until it ends."""
    of = psutil.Process(process.pid)
    samples = []
    while process.poll() is None:
        samples.append(of.memory_info().rss)
        time.sleep(_EVERY_S)
    return samples
