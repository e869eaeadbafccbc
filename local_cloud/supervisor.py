"""Start, watch and stop the local cloud: a reaper runs supervisord, and supervisord runs the services."""

import contextlib
import datetime
import fcntl
import subprocess
import time
import xmlrpc.client
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from local_cloud import airflow_db, airflow_env, aws_resources, folder, ports, processes, ready, reaper, supervisord
from local_cloud.errors import FolderError, LocalCloudError, ServiceFailed
from local_cloud.services import CLOUD, DATABASE, STAGES, Service, select, table
from local_cloud.settings import Settings

LOG_LINES = 15
"""Lines of a service's log in the error about its failure."""
SUPERVISORD_SECONDS = 15
POLL = 0.2

Report = Callable[[str], None]
"""Receives one progress line for the user."""


def silent(_: str) -> None:
    """Report nothing."""


class LocalCloud:
    """The local cloud in one data folder, or some of its services.

    It runs until `down`; with an `owner`, a pid, it also ends within seconds when that process does, however it does.
    With `extensible`, another object can start further services of the same cloud later.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        names: Collection[str] | None = None,
        *,
        extensible: bool = False,
        owner: int | None = None,
    ) -> None:
        self._settings = settings
        self._owner = None if owner is None else processes.identity(owner)
        self._environ = environ
        self._names = names
        self._extensible = extensible
        self._reaper: subprocess.Popen[bytes] | None = None
        self._log_starts: dict[str, int] = {}

    @property
    def services(self) -> tuple[Service, ...]:
        """The services this object runs, in start order. Claims the data folder, for the secrets in it."""
        every = table(self._settings, self._environ)
        return every if self._names is None else select(every, self._names)

    def is_running(self) -> bool:
        """Whether the supervisor answers; it does until everything is stopped."""
        try:
            self._rpc.getState()
        except OSError:
            return False
        except xmlrpc.client.Fault:  # it is shutting down
            return True
        return True

    def up(self, report: Report = silent) -> bool:
        """Start all services and wait until they are healthy; False if all already were.

        Raises PortTaken, FolderError or ServiceFailed; nothing that was started then keeps running. Raises FolderError
        when the disk is full; what runs then keeps running.
        """
        if full := folder.full_disk(self._settings.var):
            raise FolderError(full)
        with self._alone():
            services = self.services
            running = self.is_running()
            if running and self._all_healthy(services):
                return False
            try:
                if running:
                    report("The local cloud runs, but not all of it is healthy: starting what is missing.")
                else:
                    self._start_supervisord(table(self._settings, self._environ) if self._extensible else services)
                self._start(services, report)
            except BaseException:  # Ctrl-C too: half a cloud is no use, and nobody would stop it
                if not self._extensible:  # others use what runs of it, and its owner stops it
                    self._stop()
                raise
            return True

    def down(self) -> bool:
        """Stop everything and check that no process is left; False if nothing was running.

        Raises LocalCloudError when a process survives even SIGKILL.
        """
        if not self._settings.run.exists():
            return False
        with self._alone():
            return self._stop()

    def clean(self) -> bool:
        """Stop everything and delete the data folder; False if it does not exist. Raises FolderError."""
        self.down()
        return folder.delete(self._settings.var)

    def states(self) -> dict[str, str]:
        """Return the state of each service: healthy, stuck, starting, stopped, failed, or the state of supervisord."""
        if not self.is_running():
            return {service.name: "stopped" for service in self.services}
        return {service.name: self._state(service) for service in self.services}

    @property
    def _rpc(self) -> Any:  # xmlrpc.client has no type for a namespace of remote calls
        return supervisord.connect(self._settings).supervisor

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Prevent a second `up` or `down` while one is running."""
        folder.claim(self._settings.var)
        self._settings.run.mkdir(exist_ok=True)
        with (self._settings.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalCloudError(
                    f"Another command is starting or stopping the local cloud in {self._settings.var}. "
                    "Wait for it to end, then try again."
                ) from None
            yield

    def _start_supervisord(self, services: Collection[Service]) -> None:
        settings = self._settings
        processes.sweep(settings.var)
        ports.check_free(services)
        settings.log.mkdir(exist_ok=True)
        configuration = supervisord.write_configuration(settings, services)
        daemon = ("-m", "supervisor.supervisord", "--configuration", str(configuration))
        python = str(settings.cloud_python)
        options = [] if self._owner is None else ["--while-alive", self._owner]
        private = supervisord.socket_folder(settings)
        options += [] if private is None else ["--remove", str(private)]
        output = settings.log / "reaper.log"
        with output.open("ab") as log:
            self._reaper = subprocess.Popen(
                [python, "-m", "local_cloud.reaper", *options, python, *daemon],
                cwd=settings.root,
                env={**self._environ, processes.MARK: str(settings.var)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is not for the services
            )
        deadline = time.monotonic() + SUPERVISORD_SECONDS
        while not self.is_running():
            if self._reaper.poll() is not None or time.monotonic() > deadline:
                raise ServiceFailed(_failure("supervisord", "did not start", output, 0))
            time.sleep(POLL)

    def _start(self, services: Collection[Service], report: Report) -> None:
        settings = self._settings
        cloud = [service for service in services if service.stage == CLOUD]
        database = [service for service in services if service.stage == DATABASE]
        airflow = [service for service in services if service.stage not in {CLOUD, DATABASE}]
        self._launch([*database, *cloud])
        if airflow:  # its own start takes longer than that of the emulators: do not wait for them here
            airflow_env.write_passwords(settings)
            for service in database:
                self._wait_healthy(service)
            if not airflow_db.is_current(settings):
                report("Making Airflow's database.")
                airflow_db.migrate(settings, self._environ)
            if database:
                airflow_db.end_future_jobs(settings)
            self._launch(airflow)
        for service in services:
            self._wait_healthy(service)
        if any(service.name == "gcs" for service in cloud):
            ready.ensure_bucket(settings)
        if any(service.name == "aws" for service in cloud):
            aws_resources.ensure(settings)
        if airflow:
            ready.warm_execution_api(settings)
            since = min(_started(self._info(service)) for service in airflow)
            for problem in ready.wait_for_dags(settings, since):
                report(problem)

    def _launch(self, services: Collection[Service]) -> None:
        for service in services:
            info = self._info(service)
            if info["statename"] in {"STARTING", "RUNNING"}:
                if not service.stuck():
                    continue
                self._stop_one(service)
            log = supervisord.log_file(self._settings, service)
            self._log_starts[service.name] = log.stat().st_size if log.exists() else 0
            wait_until_it_lasts = False
            try:
                self._rpc.startProcess(supervisord.program(service), wait_until_it_lasts)
            except xmlrpc.client.Fault as fault:
                raise self._failed(service, f"could not be started ({fault.faultString})") from None

    def _stop_one(self, service: Service) -> None:
        """Stop a service, and wait until it has ended."""
        do_not_wait = False  # its own wait may be longer than that for an answer
        with contextlib.suppress(xmlrpc.client.Fault):  # it has ended meanwhile
            self._rpc.stopProcess(supervisord.program(service), do_not_wait)
        while self._info(service)["statename"] == "STOPPING":
            time.sleep(POLL)

    def _wait_healthy(self, service: Service) -> None:
        deadline = time.monotonic() + service.start_seconds
        while True:
            info = self._info(service)
            if info["statename"] in {"BACKOFF", "EXITED", "FATAL"}:
                how = info["spawnerr"] or f"exit status {info['exitstatus']}"
                raise self._failed(service, f"ended while starting ({how})")
            if service.healthy(_started(info)):
                return
            if time.monotonic() > deadline:
                raise self._failed(service, f"was not healthy after {service.start_seconds} s")
            time.sleep(POLL)

    def _all_healthy(self, services: Collection[Service]) -> bool:
        return all(self._state(service) == "healthy" for service in services)

    def _state(self, service: Service) -> str:
        info = self._info(service)
        name: str = info["statename"]
        if name in {"STARTING", "RUNNING"}:
            if not service.healthy(_started(info)):
                return "starting"
            return "stuck" if service.stuck() else "healthy"
        return {"FATAL": "failed", "BACKOFF": "restarting"}.get(name, name.lower())

    def _info(self, service: Service) -> dict[str, Any]:
        try:
            info: dict[str, Any] = self._rpc.getProcessInfo(supervisord.program(service))
        except xmlrpc.client.Fault:
            raise LocalCloudError(
                f"The local cloud in {self._settings.var} was started without {service.name}. "
                "Stop it first: `make down`."
            ) from None
        return info

    def _stop(self) -> bool:
        was_running = self.is_running()
        if was_running:
            with contextlib.suppress(xmlrpc.client.Fault):  # it is shutting down already
                self._rpc.shutdown()
            slowest = max(service.stop_seconds for service in table(self._settings, self._environ))
            deadline = time.monotonic() + len(STAGES) * (slowest + 5)
            while self.is_running() and time.monotonic() < deadline:
                time.sleep(POLL)
            processes.wait_gone(self._settings.var, reaper.GRACE + 2)  # the reaper ends what supervisord left
        swept = processes.sweep(self._settings.var)
        if self._reaper is not None:
            self._reaper.wait()
            self._reaper = None
        supervisord.remove_socket_folder(self._settings)
        left = processes.marked(self._settings.var)
        if left:
            listing = "".join(f"\n  {pid} {processes.shortened(command)}" for pid, command in left.items())
            raise LocalCloudError(f"These processes of the local cloud could not be stopped:{listing}")
        return was_running or bool(swept)

    def _failed(self, service: Service, what: str) -> ServiceFailed:
        log = supervisord.log_file(self._settings, service)
        return ServiceFailed(_failure(service.name, what, log, self._log_starts.get(service.name, 0)))


def _started(info: Mapping[str, Any]) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(info["start"], datetime.UTC)


def _failure(name: str, what: str, log: Path, start: int) -> str:
    """Make the error about a failed service, with its output since its log had `start` bytes."""
    text = log.read_bytes() if log.exists() else b""
    if len(text) >= start:  # else the log was rotated: all of it is new
        text = text[start:]
    lines = text.decode(errors="replace").splitlines()[-LOG_LINES:]
    shown = "".join(f"\n  {line}" for line in lines) or "\n  (nothing)"
    return f"{name} {what}. Log: {log}. Last lines:{shown}"
