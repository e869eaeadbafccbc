"""What Airflow costs while nothing is to do: each service, each queue that is watched, and a run that finds nothing.

``python -m benchmarks.idle [--seconds 120] [--runs 3]``, with the environment of Airflow (``make bench-idle``). It
starts the local cloud in a folder of its own and pauses all DAGs. The unit is CPU time, user and system, of a service
and all its child processes: on a busy machine it says more than a time, though it still grows there.
"""

import argparse
import contextlib
import itertools
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import requests
from croniter import croniter

from local_cloud import airflow_env, supervisord
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import Settings
from local_cloud.testing import running

DAGS = ("x_posts", "spotify_new_artist", "harvest_watch", "harvest_status", "housekeeping")
"""DAGs that also run while there is nothing to do. The others make calls in each run."""
WATCHERS = {"x_posts": ("airflow-triggerer", "pubsub"), "spotify_new_artist": ("airflow-triggerer", "aws")}
"""Those for which the triggerer watches a queue, and the services that this occupies."""
SETTLE_S = 10.0
"""Until what was switched on or off has taken effect."""
PARSED_S = 120.0
"""Until the files of all DAGs that were switched off have been parsed for it; longer on a busy machine."""
RUN_S = 600.0
"""A run that takes longer is stuck."""
DAY_S = 86_400
TASKS = "tasks"
"""The processes of tasks, which are children of the scheduler's."""
_CRON = re.compile(r"[\d*/,-]+(?: [\d*/,-]+){4}")


class Idle:
    """The services of a local cloud, and the CPU time that they use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._airflow = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)

    def pause_all(self) -> None:
        """Switch off all DAGs that are on."""
        for dag in self._airflow.call("GET", "/dags?limit=100&paused=false")["dags"]:
            self._airflow.pause(str(dag["dag_id"]), is_paused=True)
        time.sleep(SETTLE_S)

    def quieten(self) -> None:
        """Let X make no more posts, and run each DAG once: the first run makes tables, and takes what is waiting."""
        scene = f"{self._settings.api_url}/_admin/x/scene"
        requests.put(scene, json={"rate_per_s": 0}, timeout=RUN_S).raise_for_status()
        for dag_id in DAGS:
            self.run(dag_id, 0.0)
        self.pause_all()
        time.sleep(PARSED_S)

    def switch_on(self, dag_id: str) -> None:
        """Switch a DAG on, and so what it watches."""
        self._airflow.pause(dag_id, is_paused=False)
        time.sleep(SETTLE_S)

    def cores(self, seconds: float) -> dict[str, float]:
        """Return how many cores each service uses, measured for so many seconds."""
        began, before = time.monotonic(), self.cpu_s()
        time.sleep(seconds)
        took_s = time.monotonic() - began
        return {name: (after - before[name]) / took_s for name, after in self.cpu_s().items()}

    def run(self, dag_id: str, cores: float) -> tuple[float, float, Mapping[str, int]]:
        """Run a DAG. Return CPU seconds and the number of tasks by state.

        The first figure is of the processes of its tasks, which use none while nothing runs. The second is of all
        services, less those of doing nothing: on a busy machine, it says little.

        :param cores: what all services use while they do nothing.
        """
        began, before = time.monotonic(), self.cpu_s()
        run_id = self._airflow.trigger(dag_id)
        self._airflow.wait(dag_id, run_id, limit_s=RUN_S)
        time.sleep(SETTLE_S)  # its processes end after the run
        after = self.cpu_s()
        used = sum(after.values()) - sum(before.values()) - cores * (time.monotonic() - began)
        states = Counter(str(task["state"]) for task in self._airflow.tasks(dag_id, run_id).values())
        return after[TASKS] - before[TASKS], used, states

    def runs_a_day(self, dag_id: str) -> int:
        """Return how often its schedule starts a DAG in a day."""
        found = _CRON.search(str(self._airflow.call("GET", f"/dags/{dag_id}")["timetable_summary"]))
        if found is None:
            return 0
        day = datetime(2026, 1, 5, tzinfo=UTC)
        times = croniter(found[0], day - timedelta(seconds=1), ret_type=datetime)
        return sum(1 for _ in itertools.takewhile(lambda one: one < day + timedelta(days=1), times))

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds of each service so far, with those of its child processes that have ended."""
        services = supervisord.connect(self._settings).supervisor.getAllProcessInfo()
        found = {str(one["name"]): _of_tree(int(one["pid"])) for one in services if one["pid"]}  # type: ignore[index, call-overload, union-attr]
        (scheduler,) = (int(one["pid"]) for one in services if one["name"] == "airflow-scheduler")  # type: ignore[index, call-overload, union-attr]
        found[TASKS] = sum(_of_tree(worker.pid) for worker in psutil.Process(scheduler).children())
        found["airflow-scheduler"] -= found[TASKS]
        return found


def _of_tree(pid: int) -> float:
    """Return the CPU seconds of a process and all below it."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # user and system, its own and those of children that have ended
    return total


def measure(idle: Idle, seconds: float, runs: int) -> None:
    """Print three tables: services, watched queues, runs."""
    idle.quieten()
    base = idle.cores(seconds)
    print(f"\nload {os.getloadavg()[0]:.0f}\n\n| all DAGs paused | % of a core | CPU a day |\n|---|---:|---:|")
    for name, cores in [*sorted(base.items(), key=lambda one: -one[1]), ("all", sum(base.values()))]:
        print(f"| {name} | {100 * cores:.2f} | {DAY_S * cores:,.0f} s |")
    print("\n| watched for | % of a core | CPU a day |\n|---|---:|---:|")
    for dag_id, services in WATCHERS.items():
        idle.switch_on(dag_id)
        found = idle.cores(seconds)
        cores = sum(found[name] - base[name] for name in services)
        idle.pause_all()
        print(f"| {dag_id} | {100 * cores:.2f} | {DAY_S * cores:,.0f} s |", flush=True)
    print("\n| run of | tasks | CPU of tasks | CPU of all | runs a day | CPU of tasks a day |")
    print("|---|---|---:|---:|---:|---:|")
    for dag_id in DAGS:
        made = [idle.run(dag_id, sum(base.values())) for _ in range(runs)]
        idle.pause_all()
        tasks_s, all_s = (sum(one[place] for one in made) / runs for place in (0, 1))
        states, often = made[-1][2], idle.runs_a_day(dag_id)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        print(
            f"| {dag_id} | {counts} | {tasks_s:.2f} s | {all_s:.2f} s | {often} | {tasks_s * often:,.0f} s |",
            flush=True,
        )


def main() -> None:
    """Start the local cloud, measure, stop it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="for each measurement of idleness (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each DAG (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(None, Path(folder) / "var") as settings:
        measure(Idle(settings), options.seconds, options.runs)


if __name__ == "__main__":
    main()
