"""The runs: each contender on the same server, with the same faults, in processes of its own."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psutil

from benchmarks.backends import AIRFLOW_PYTHON, DATABASE, Mongo, NotReady, cpu_s
from benchmarks.measure import Wrong, busy, child, finished
from benchmarks.youtube.evidence import Calls, Content, Reader, prove_content, staged, stored
from benchmarks.youtube.job import DATASET, NOW, VIDEOS, Job
from local_cloud.apis.testing import FakeApi, running
from local_cloud.apis.youtube.oauth import DEMO_REFRESH_TOKEN

FAULTS = {"error_share": 0.01, "error_status": 503, "cut_share": 0.001, "token_lifetime_s": 60}
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Process:
    """What one process took."""

    step: str
    wall_s: float
    work_s: float
    """The same without the start and the imports; of a process that was killed, all of it."""
    cpu_s: float
    peak_rss: int
    """Bytes; of a process that was killed, the most of four samples a second."""
    staged_at_end: int
    """Documents in MongoDB when it ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contender did, once both sides have proved it."""

    calls: Calls
    content: Content
    processes: list[Process]
    server_cores: float
    """Cores that the API server kept busy."""
    mongo_cores: float
    """The same of MongoDB; 0 when it was not started here."""
    other_cores: float
    """The same of all other processes of the machine: noise."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The server and MongoDB, and the whole work."""

    api: FakeApi
    mongo: Mongo
    job: Job

    def windrow(self) -> Outcome:
        """Plan in one process, harvest in a second, kill it when half is answered, go on in a third.

        :raises Wrong: as all runs do, and if the kill made it ask again for more than it may have in flight.
        """
        steps = ["plan", "harvest", "harvest"]
        outcome = self._measured("Windrow", self.job, staged, steps, module="engine", killed=1)
        if outcome.calls.repeated_for_kill > 2 * self.job.connections:
            raise Wrong(f"Windrow asked {outcome.calls.repeated_for_kill} times again after the kill: too often.")
        return outcome

    def loop(self, calls: int) -> Outcome:
        """Run the serial loop on a sample, without a kill."""
        return self._measured("the serial loop", self._sample(calls), stored, ["run"], module="loop")

    def dlt(self, calls: int) -> Outcome:
        """Run dlt on a sample, kill it when half is answered, and run it again with what it kept."""
        return self._measured("dlt", self._sample(calls), stored, ["run", "run"], module="dlt_pipeline", killed=0)

    def _sample(self, calls: int) -> Job:
        return replace(self.job, calls=min(calls, self.job.calls))

    def _measured(
        self, label: str, job: Job, read: Reader, steps: list[str], *, module: str, killed: int | None = None
    ) -> Outcome:
        """Run the steps one after the other, the one at place ``killed`` until half is answered.

        :raises Wrong: one failed, or the server or MongoDB say that something is missing, double or wrong.
        """
        self._clear()
        server = psutil.Process(self.api.process.pid)
        began, before = time.perf_counter(), busy(server, self.mongo)
        with tempfile.TemporaryDirectory(prefix="benchmark-youtube-") as folder:
            job = replace(job, folder=folder)
            processes = [
                self._killed(label, module, step, job) if place == killed else self._whole(label, module, step, job)
                for place, step in enumerate(steps)
            ]
        took_s = time.perf_counter() - began
        used = {name: after - before[name] for name, after in busy(server, self.mongo).items()}
        calls = Calls.counted(self.api)
        calls.prove(label, job.calls)
        known_s = used["server"] + used["mongo"] + used["this"] + sum(process.cpu_s for process in processes)
        return Outcome(
            calls=calls,
            content=prove_content(label, self.mongo, job, read),
            processes=processes,
            server_cores=used["server"] / took_s,
            mongo_cores=used["mongo"] / took_s,
            other_cores=max(0.0, used["machine"] - known_s) / took_s,
        )

    def _clear(self) -> None:
        self.mongo.clear()
        self.api.reset_youtube()
        self.api.youtube(now=NOW)
        self.api.reset()

    def _whole(self, label: str, module: str, step: str, job: Job) -> Process:
        """Run a process to its end."""
        began = time.perf_counter()
        with child(f"youtube.{module}", step, job) as process:
            cost = finished(process, label)
        took_s = time.perf_counter() - began
        return Process(step, took_s, cost["wall_s"], cost["process_cpu_s"], int(cost["peak_rss"]), self._staged())

    def _killed(self, label: str, module: str, step: str, job: Job) -> Process:
        """Run a process until half of its calls are answered, then send SIGKILL."""
        began = time.perf_counter()
        with child(f"youtube.{module}", step, job) as process:
            of, peak_rss = psutil.Process(process.pid), 0
            while self._answered() < job.calls / 2:
                if process.poll() is not None:
                    raise Wrong(f"{label} ended with {process.returncode} before it was killed.")
                peak_rss = max(peak_rss, of.memory_info().rss)
                time.sleep(_LOOK_EVERY_S)
            used_s = cpu_s(of)
            process.kill()
            process.wait()
        took_s = time.perf_counter() - began
        return Process(f"{step}, killed", took_s, took_s, used_s, peak_rss, self._staged())

    def _answered(self) -> int:
        """Return how many calls the server has answered: its units, which it has at hand, where counters are sums."""
        used: int = self.api.youtube()["units"]["analytics"]["used"]
        return used

    def _staged(self) -> int:
        return self.mongo.client[DATABASE][DATASET].count_documents({})


def job_of(api: FakeApi, mongo: Mongo, days: int, connections: int) -> Job:
    """Describe the whole work: all videos on all days."""
    return Job(
        api_url=api.url,
        mongo_url=mongo.url,
        database=DATABASE,
        calls=days * VIDEOS,
        days=days,
        connections=connections,
        client_id=api.client.client_id,
        client_secret=api.client.client_secret,
        refresh_token=DEMO_REFRESH_TOKEN,
        folder="",
    )


@contextmanager
def bench(mongo: Mongo, days: int, connections: int, latency_ms: float) -> Iterator[Bench]:
    """Run the fake YouTube with its faults; the token endpoint takes as long as the API.

    :raises NotReady: the environment that it runs in is missing.
    """
    if not AIRFLOW_PYTHON.exists():
        raise NotReady("There is no environment for the fake YouTube. Run `make setup`.")
    with running(python=AIRFLOW_PYTHON, **FAULTS, latency_ms=latency_ms, token_latency_ms=latency_ms) as api:
        yield Bench(api, mongo, job_of(api, mongo, days, connections))
