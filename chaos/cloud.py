"""The local cloud under test: what it runs now, and how it is hurt."""

import argparse
import contextlib
import datetime
import signal
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import requests

from chaos import once
from chaos.incidents import WORKER, Incident
from local_cloud import airflow_db, airflow_env, supervisord
from local_cloud.airflow_api import AirflowApi
from local_cloud.services import Service
from local_cloud.settings import Settings

CALLED = ("titanic", "youtube", "github", "spotify")
"""APIs whose calls in flight are counted: the stream of X is always in flight."""
SLOW_MS = 1000
"""How long each answer of these APIs takes, so that most incidents meet calls in flight."""


def new_folder(name: str) -> Path:
    """Return the folder of a campaign, for `argparse`: one with an earlier local cloud would start with its data."""
    folder = Path(name)
    if folder.exists() and any(folder.iterdir()):
        raise argparse.ArgumentTypeError(f"{folder} has the data and logs of an earlier campaign; delete it")
    return folder


@dataclass(frozen=True)
class Task:
    """A task instance, as Airflow's database has it."""

    dag: str
    run: str
    name: str
    state: str | None

    def __str__(self) -> str:
        return f"{self.dag}.{self.name}"


class Cloud:
    """A running local cloud."""

    def __init__(self, settings: Settings, services: dict[str, Service]) -> None:
        self.settings = settings
        self.services = services
        self.airflow = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)
        self._rpc = supervisord.connect(settings).supervisor
        self._dressed: int | None = None
        self._lasting: list[tuple[threading.Timer, Callable[[], None]]] = []

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call an admin route of the fake APIs. Raises requests.RequestException."""
        answer = requests.request(method, f"{self.settings.api_url}/_admin/{path}", json=body, timeout=3)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def dress(self, **youtube: Any) -> None:
        """Make the APIs slow, and YouTube small. They forget it when they are started again."""
        with contextlib.suppress(requests.RequestException, xmlrpc.client.Fault, OSError):
            pid = self.pid("apis")
            if pid and pid != self._dressed:
                for name in CALLED:
                    self.api("PUT", f"faults?api={name}", {"latency_ms": SLOW_MS})
                self.api("PUT", "youtube", youtube)
                self._dressed = pid

    def in_flight(self) -> int | None:
        """Count the calls that wait for an answer; None while the APIs do not answer."""
        try:
            return sum(self.api("GET", f"counters?api={name}")["totals"]["in_flight"] for name in CALLED)
        except requests.RequestException:
            return None

    def look(self, runs: str) -> tuple[dict[tuple[str, str], str], list[Task]]:
        """Return the states of the DAG runs, and all their tasks.

        :param runs: when the first was made, in SQL. Raises psycopg2.Error.
        """
        with (
            contextlib.closing(
                psycopg2.connect(airflow_env.database_url(self.settings), connect_timeout=5)
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT dag_id, run_id, state FROM dag_run WHERE queued_at > %s", (runs,))
            states = {(dag, run): str(state) for dag, run, state in cursor.fetchall()}
            cursor.execute(
                "SELECT i.dag_id, i.run_id, i.task_id, i.state FROM task_instance i"
                " JOIN dag_run r USING (dag_id, run_id) WHERE r.queued_at > %s",
                (runs,),
            )
            return states, [Task(*row) for row in cursor.fetchall()]

    def pid(self, name: str) -> int:
        """Return the pid of a service; 0 while it does not run."""
        return int(self._rpc.getProcessInfo(supervisord.program(self.services[name]))["pid"])

    def unhealthy(self) -> dict[str, str]:
        """Return the services that are not healthy, each with the state that supervisord knows."""
        found = {}
        for service in self.services.values():
            info = self._rpc.getProcessInfo(supervisord.program(service))
            started = datetime.datetime.fromtimestamp(info["start"], datetime.UTC)
            if info["statename"] not in {"STARTING", "RUNNING"} or not service.healthy(started):
                found[service.name] = str(info["statename"])
        return found

    def strike(self, incident: Incident) -> str:
        """Let an incident happen, and return to what: a process and its command. One that lasts ends by itself."""
        if incident.kind in once.LASTS_S:
            undo = self._strike_once(incident)
            self._end_later(incident.lasts_s, undo)
            return f"for {incident.lasts_s:.0f} s"
        if incident.target == WORKER:
            process = self._worker(incident.task)
            if process is None:
                return "no task process was there"
            return self._hurt(incident, [process])
        if incident.kind == "restart":
            self.restart(incident.target)
            return ""
        pid = self.pid(incident.target)
        if not pid:
            return "it did not run"
        try:
            process = psutil.Process(pid)
            tree = [process, *process.children(recursive=True)] if incident.kind == "freeze" else [process]
        except psutil.NoSuchProcess:
            return "it did not run"
        return self._hurt(incident, tree)

    def _strike_once(self, incident: Incident) -> Callable[[], None]:
        if incident.kind == once.DISK:
            return once.fill(self.settings.var / incident.target)
        chosen = [one for name, one in self.services.items() if name.partition("-")[0] == incident.target]
        chosen = chosen or [self.services[incident.target]]
        if incident.kind == once.CLOCK:
            return once.set_ahead(self.settings, chosen, self.restart)
        return once.drop([port.number for one in chosen for port in one.ports])

    def restart(self, name: str) -> None:
        """Stop a service and start it again."""
        program = supervisord.program(self.services[name])
        do_not_wait = False  # its own wait may be longer than that for an answer
        with contextlib.suppress(xmlrpc.client.Fault):  # it does not run
            self._rpc.stopProcess(program, do_not_wait)
        while self._rpc.getProcessInfo(program)["statename"] == "STOPPING":
            time.sleep(0.2)
        with contextlib.suppress(xmlrpc.client.Fault):  # supervisord was quicker
            self._rpc.startProcess(program, do_not_wait)

    def repair(self) -> bool:
        """Do what `make up` does for a scheduler that is stuck; return whether it was."""
        if not self.services["airflow-scheduler"].stuck():
            return False
        if not airflow_db.end_future_jobs(self.settings):
            self.restart("airflow-scheduler")
        return True

    def _hurt(self, incident: Incident, processes: list[psutil.Process]) -> str:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL if incident.kind == "kill" else signal.SIGSTOP)
        if incident.kind == "freeze":
            self._end_later(incident.lasts_s, lambda: _thaw(processes))
        return f"{len(processes)} processes" if len(processes) > 1 else ""

    def _end_later(self, seconds: float, undo: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, undo)
        self._lasting.append((timer, undo))
        timer.start()

    def end_incidents(self) -> None:
        """End at once what still lasts, so that nothing of it stays on this machine."""
        for timer, undo in self._lasting:
            if timer.is_alive():
                timer.cancel()
                undo()

    def _worker(self, number: int) -> psutil.Process | None:
        """Choose the process of a task, one that calls an API if there is one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            below = psutil.Process(self.pid("airflow-scheduler")).children(recursive=True)
            tasks = [one for one in below if not one.children()]
            calling = [one for one in tasks if _is_connected(one, self.settings.api_port)]
            chosen = calling or tasks
            return chosen[number % len(chosen)] if chosen else None
        return None


def _is_connected(process: psutil.Process, port: int) -> bool:
    try:
        return any(link.raddr and link.raddr.port == port for link in process.net_connections("tcp"))
    except psutil.Error:
        return False


def _thaw(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def insisting(seconds: float) -> Iterator[None]:
    """Yield again and again for so many seconds, with a pause between."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(1)
