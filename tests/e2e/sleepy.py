"""Airflow with a task that sleeps until something kills it."""

import os
from pathlib import Path

import psutil

from local_cloud.supervisor import LocalCloud
from tests.e2e.system import Dag, System
from tests.local_cloud.conftest import eventually, pid_of


class Airflow(Dag):
    """A running Airflow, and its DAG `sleepy`, which has a task that sleeps."""

    def __init__(self, system: System) -> None:
        super().__init__(system, "sleepy")
        self.settings = system.settings
        self.cloud = LocalCloud(system.settings, os.environ)
        self.begun: list[str] = []

    def is_known(self) -> bool:
        return self.dag_id in {dag["dag_id"] for dag in self.system.airflow.call("GET", "/dags?limit=100")["dags"]}

    def start_task(self, path: Path) -> int:
        """Run the sleepy task; return the pid it writes to `path`."""
        self.begin(path)
        eventually(lambda: path.exists() and path.read_text().endswith("\n"), "the task runs", 60)
        return int(path.read_text())

    def begin(self, path: Path) -> None:
        self.begun.append(self.trigger(path=str(path)))

    def end(self) -> None:
        """End all runs: Airflow would start their tasks again."""
        for run_id in self.begun:
            self.system.airflow.call("PATCH", f"/dags/{self.dag_id}/dagRuns/{run_id}", {"state": "failed"})

    def scheduler(self) -> tuple[int, dict[int, str]]:
        """Return the pid of the scheduler, and the commands of all processes below it."""
        pid = pid_of(self.settings.var, "airflow scheduler")
        # not those with the mark: nobody but a tracer may read the environment of a task and of the worker that has it
        return pid, {child.pid: _command_of(child) for child in psutil.Process(pid).children(recursive=True)}


def _command_of(process: psutil.Process) -> str:
    """Return the command of a process, or nothing if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
