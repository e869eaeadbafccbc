"""How we speak to supervisord: the configuration it reads, and XML-RPC over its Unix socket."""

import hashlib
import http.client
import json
import os
import shlex
import shutil
import socket
import tempfile
import xmlrpc.client
from collections.abc import Collection
from pathlib import Path
from typing import Any

from local_cloud import folder, processes
from local_cloud.errors import FolderError
from local_cloud.services import STAGES, Service
from local_cloud.settings import Settings

SOCKET_PATH_LIMIT = 90
"""Bytes of a Unix socket's path: systems take 104 or 108, and supervisord first binds to path.PID."""
START_SECONDS = 10
"""A service that ends sooner than this has failed to start; after START_RETRIES more of these it is given up."""
START_RETRIES = 3


def socket_path(settings: Settings) -> Path:
    """Return where supervisord listens: in `var/run`, or in a short folder made for it when that is too long."""
    path = settings.run / "supervisor.sock"
    if _fits(path):
        return path
    name = f"windrow-{os.getuid()}-{hashlib.sha256(os.fsencode(settings.var)).hexdigest()[:16]}"
    short = Path(tempfile.gettempdir(), name, "sock")
    return short if _fits(short) else Path("/tmp", name, "sock")  # noqa: S108 - nobody else may use the folder


def socket_folder(settings: Settings) -> Path | None:
    """Return the folder outside of `var` that the socket needs, which nobody else uses; None when it needs none."""
    path = socket_path(settings)
    return None if path.parent == settings.run else path.parent


def make_socket_folder(settings: Settings) -> None:
    """Make the folder of the socket. Raises FolderError when another user has one of its name."""
    private = socket_folder(settings)
    if private is None:
        return
    private.mkdir(mode=0o700, exist_ok=True)
    owner = private.lstat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
        raise FolderError(f"{private} must be a folder that only you can use. Delete it, or shorten WINDROW_VAR.")


def remove_socket_folder(settings: Settings) -> None:
    """Remove the folder of the socket, if there is one."""
    private = socket_folder(settings)
    if private is not None:
        shutil.rmtree(private, ignore_errors=True)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def program(service: Service) -> str:
    """Return the name by which supervisord knows a service."""
    return f"{service.stage}:{service.name}"


def write_configuration(settings: Settings, services: Collection[Service]) -> Path:
    """Write supervisord.conf and what each service is started with; both only for the owner's eyes.

    Raises FolderError when a path cannot be written in supervisord.conf.
    """
    for path in (settings.var, settings.root):
        if "%" in str(path):
            raise FolderError(f"supervisord cannot use a folder with a % in its name: {path}. Choose another.")
    make_socket_folder(settings)
    for service in services:
        environment = {**service.environment, processes.MARK: str(settings.var)}
        spec = {"argv": service.argv, "environment": environment}
        folder.write_private(_spec(settings, service), json.dumps(spec))
    sections = [_section("supervisord", _daemon(settings)), _section("unix_http_server", _server(settings))]
    rpc = {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"}
    sections.append(_section("rpcinterface:supervisor", rpc))
    sections += [_section(f"program:{service.name}", _program(settings, service)) for service in services]
    # supervisord stops one group after the other, and all programs of a group at once
    for stage in STAGES:
        names = [service.name for service in services if service.stage == stage]
        if names:
            group = {"programs": ",".join(names), "priority": str(STAGES.index(stage))}
            sections.append(_section(f"group:{stage}", group))
    path = settings.run / "supervisord.conf"
    folder.write_private(path, "\n".join(sections))
    return path


def log_file(settings: Settings, service: Service) -> Path:
    """Return the file that holds what a service prints."""
    return settings.log / f"{service.name}.log"


def _spec(settings: Settings, service: Service) -> Path:
    return settings.run / "services" / f"{service.name}.json"


def _daemon(settings: Settings) -> dict[str, str]:
    return {
        "nodaemon": "true",
        "silent": "true",
        "logfile": str(settings.log / "supervisord.log"),
        "logfile_maxbytes": "1MB",
        "logfile_backups": "1",
        "pidfile": str(settings.run / "supervisord.pid"),
        "childlogdir": str(settings.log),
        "directory": str(settings.root),
    }


def _server(settings: Settings) -> dict[str, str]:
    return {"file": str(socket_path(settings)), "chmod": "0700"}


def _program(settings: Settings, service: Service) -> dict[str, str]:
    run_service = (str(settings.cloud_python), "-m", "local_cloud.run_service", str(_spec(settings, service)))
    return {
        "command": shlex.join(run_service),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(START_SECONDS),
        "startretries": str(START_RETRIES),
        "stopsignal": service.stop_signal,
        "stopwaitsecs": str(service.stop_seconds),
        # to the group: executor workers and running tasks get the signal too
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(log_file(settings, service)),
        "stdout_logfile_maxbytes": "5MB",
        "stdout_logfile_backups": "2",
    }


def _section(name: str, values: dict[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""])


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # as the base class has it
        return _UnixConnection(self._path)


def connect(settings: Settings) -> xmlrpc.client.ServerProxy:
    """Return supervisord's XML-RPC interface. Calls raise OSError when it does not run."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(socket_path(settings)))
