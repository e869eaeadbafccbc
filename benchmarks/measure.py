"""Measure one contender: in a process of its own, with the counters of both sides checked afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from benchmarks.backends import DATABASE, ROOT, Api, Mongo, cpu_s
from benchmarks.contenders import Contender
from benchmarks.job import Job

_COLLECTION = "titanic_passengers"
QUIET_CORES = 0.3
"""What other processes may use of the machine without spoiling a measurement."""
_ATTEMPTS = 3
_PATIENCE_S = 20.0


class Wrong(Exception):
    """A contender did not do its work, so its time says nothing."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of a contender took."""

    calls: int
    wall_s: float
    cpu_s: float
    """Of the contender's process: user and system time of all its threads."""
    peak_rss: int
    """Bytes, of the contender's process."""
    server_cores: float
    """Cores that the API server kept busy."""
    mongo_cores: float
    """The same of MongoDB; 0 when it was not started here."""
    other_cores: float
    """The same of all other processes of the machine: noise."""
    plan_s: float = 0.0
    """The seconds of ``wall_s`` in which no call was made yet: Windrow wrote its plan."""

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.wall_s

    @property
    def harvest_rate(self) -> float:
        """Calls a second without the plan."""
        return self.calls / (self.wall_s - self.plan_s)

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a call."""
        return self.cpu_s / self.calls * 1e6


def job(api: Api, mongo: Mongo, calls: int, connections: int) -> Job:
    """Describe the work to a contender."""
    return Job(api.url, mongo.url, DATABASE, _COLLECTION, calls, connections)


@contextmanager
def child(module: str, function: str, work: Any) -> Iterator["subprocess.Popen[str]"]:
    """Start the process of a contender. It finds the engine, and dlt is told to tell nobody of it.

    :param work: the job, a dataclass of plain values.
    """
    argv = [sys.executable, "-m", "benchmarks.child", module, function, json.dumps(asdict(work))]
    path = os.pathsep.join(map(str, filter(None, (ROOT, ROOT / "plugins", os.environ.get("PYTHONPATH")))))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: "subprocess.Popen[str]", label: str) -> dict[str, float]:
    """Wait for a contender's process and return what it printed.

    :raises Wrong: it failed; its own words are on stderr.
    """
    out, _ = process.communicate()
    if process.returncode:
        raise Wrong(f"{label} ended with {process.returncode}.")
    cost: dict[str, float] = json.loads(out.splitlines()[-1])
    return cost


def measure(contender: Contender, api: Api, mongo: Mongo, calls: int, connections: int) -> Measurement:
    """Run a contender while the machine does little else; of several noisy runs, take the least noisy.

    What other processes do decides, never the result.

    :raises Wrong: it failed, or the server or MongoDB did not count what they should.
    """
    runs: list[Measurement] = []
    while len(runs) < _ATTEMPTS and (not runs or runs[-1].other_cores > QUIET_CORES):
        settle()
        runs.append(once(contender, api, mongo, job(api, mongo, calls, connections)))
    return min(runs, key=lambda run: run.other_cores)


def once(contender: Contender, api: Api, mongo: Mongo, work: Job) -> Measurement:
    """Run a contender once, however busy the machine is.

    :raises Wrong: as `measure`.
    """
    mongo.clear()
    api.reset()
    began, before = time.perf_counter(), busy(api.process, mongo)
    with child(contender.module, contender.function, work) as process:
        cost = finished(process, contender.label)
    took_s = time.perf_counter() - began
    used = {name: after - before[name] for name, after in busy(api.process, mongo).items()}
    verify(contender, api, mongo, work.calls)
    known_s = used["server"] + used["mongo"] + used["this"] + cost["process_cpu_s"]
    return Measurement(
        calls=work.calls,
        wall_s=cost["wall_s"],
        cpu_s=cost["cpu_s"],
        peak_rss=int(cost["peak_rss"]),
        server_cores=used["server"] / cost["wall_s"],
        mongo_cores=used["mongo"] / cost["wall_s"],
        other_cores=max(0.0, used["machine"] - known_s) / took_s,
        plan_s=cost["plan_s"],
    )


def verify(contender: Contender, api: Api, mongo: Mongo, calls: int) -> None:
    """Check that each call was made once and, if the contender stages, that its answer is in MongoDB.

    :raises Wrong: it is not so.
    """
    asked = api.counters()
    staged = mongo.count(_COLLECTION) if contender.stages else calls
    if (asked["requests"], asked["unique"], staged) != (calls, calls, calls):
        raise Wrong(
            f"{contender.label} should have made {calls:,} calls: the server counted {asked['requests']:,}, "
            f"{asked['unique']:,} of them different, and MongoDB has {staged:,} answers."
        )


def busy(server: psutil.Process, mongo: Mongo) -> dict[str, float]:
    """Return the CPU seconds used so far by the machine, and by those of its processes that we know."""
    times = psutil.cpu_times()
    return {
        "machine": sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0),
        "server": cpu_s(server),
        "mongo": cpu_s(mongo.process),
        "this": time.process_time(),
    }


def settle() -> None:
    """Wait for a second in which the machine is quiet, for `_PATIENCE_S` at most."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if psutil.cpu_percent(interval=1.0) / 100 * (psutil.cpu_count() or 1) <= QUIET_CORES:
            return
