"""The engine's memory: the same plan, discovery and harvest with few calls, and with 20 and 100 times as many.

Each is a process of its own, as in Airflow, where planning is a task of its own. Discovery writes the same plan as
the plan, from the pages of a list.
"""

import statistics
import subprocess
import time
from dataclasses import dataclass

import psutil

from benchmarks.backends import Mongo, api
from benchmarks.contenders import ENGINE
from benchmarks.measure import child, finished, job, verify

TIMES = (1, 20, 100)
"""How many times as many calls each harvest makes."""
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
    discovery_peak_rss: int
    """Of the process that found it out."""


def compare(mongo: Mongo, calls: int, connections: int) -> list[Memory]:
    """Harvest ``calls``, then `TIMES` as many, from a server that answers at once."""
    with api(delay_ms=0) as server:
        found = []
        for number in (calls * times for times in TIMES):
            mongo.clear()
            server.reset()
            work = job(server, mongo, number, connections)
            with child(ENGINE.module, "discover", work) as process:
                discovered = finished(process, "the discovery")
            mongo.clear()
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
                    discovery_peak_rss=int(discovered["peak_rss"]),
                )
            )
            print(f"{number:,} calls harvested in {found[-1].wall_s:.0f} s: {found[-1]}", flush=True)
    return found


def _sampled(process: "subprocess.Popen[str]") -> list[int]:
    """Return the resident memory of a process in bytes, sampled until it ends."""
    of = psutil.Process(process.pid)
    samples = []
    while process.poll() is None:
        samples.append(of.memory_info().rss)
        time.sleep(_EVERY_S)
    return samples
