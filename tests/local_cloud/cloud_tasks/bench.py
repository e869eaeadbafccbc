"""What the tests of Cloud Tasks share: a worker to call, a queue for each test, and the emulator on its own."""

import collections
import contextlib
import dataclasses
import datetime
import http.server
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import google.auth.transport.requests
import grpc
import requests
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.oauth2 import id_token
from google.protobuf.duration_pb2 import Duration

from local_cloud import ports
from local_cloud.testing import ROOT, free_settings
from tests.local_cloud.conftest import eventually

PARENT = "projects/windrow/locations/us-central1"
ACCOUNT = "tasks@windrow.iam.gserviceaccount.com"
SECOND = datetime.timedelta(seconds=1)


@dataclasses.dataclass(frozen=True)
class Call:
    """A request that the worker got."""

    method: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def task(self) -> str:
        return self.headers["X-CloudTasks-TaskName"]

    @property
    def token(self) -> str:
        return self.headers["Authorization"].removeprefix("Bearer ")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the worker says, and when."""

    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0


class Worker(http.server.ThreadingHTTPServer):
    """An HTTP server that remembers its calls, and answers as a test tells it; each test has a path."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), WorkerHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.calls: dict[str, list[Call]] = collections.defaultdict(list)
        self.answers: dict[str, Callable[[Call, int], Answer]] = {}
        self.busy: collections.Counter[str] = collections.Counter()
        self.most_busy: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()


class WorkerHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Worker

    def do_POST(self) -> None:
        server, path = self.server, self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = Call(self.command, dict(self.headers), body, time.time())
        with server.lock:
            server.calls[path].append(call)
            number = len(server.calls[path])
            server.busy[path] += 1
            server.most_busy[path] = max(server.most_busy[path], server.busy[path])
        answer = server.answers.get(path, lambda *_: Answer())(call, number)
        time.sleep(answer.seconds)
        with server.lock:
            server.busy[path] -= 1
        with contextlib.suppress(OSError):  # the queue may have been killed meanwhile
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

    do_GET = do_PUT = do_POST  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Bench:
    """A queue for one test: its client, its worker's path, and shortcuts."""

    def __init__(self, port: int, http_port: int, worker: Worker) -> None:
        self.url = f"http://127.0.0.1:{http_port}"
        self.client = client(port)
        self.worker = worker
        self.name = f"{PARENT}/queues/q-{uuid.uuid4().hex[:12]}"
        self.path = f"/{self.name.rpartition('/')[2]}"

    def make(self, rates: Mapping[str, Any] | None = None, **retry: Any) -> tasks_v2.Queue:
        """Make the queue. The pauses between attempts are short unless said otherwise."""
        queue = {"name": self.name, "rate_limits": rates or {}, "retry_config": {"min_backoff": seconds(0.05), **retry}}
        return self.client.create_queue(parent=PARENT, queue=queue)

    def add(self, task_id: str = "", *, url: str = "", request: Mapping[str, Any] | None = None, **task: Any) -> str:
        """Add a task for the worker; return its name."""
        if task_id:
            task["name"] = f"{self.name}/tasks/{task_id}"
        task["http_request"] = {"url": url or self.worker.url + self.path, **(request or {})}
        return self.client.create_task(parent=self.name, task=task).name

    def answer(self, *answers: Answer) -> None:
        """Let the worker answer one call after the other like this, and all further ones like the last."""
        self.worker.answers[self.path] = lambda _, number: answers[min(number, len(answers)) - 1]

    @property
    def calls(self) -> list[Call]:
        return list(self.worker.calls[self.path])

    def called(self, times: int, within: float = 20) -> list[Call]:
        """Wait until the worker has been called so often; return the calls."""
        eventually(lambda: len(self.calls) >= times, f"{times} calls", within)
        return self.calls

    def report(self) -> dict[str, Any]:
        """Return what the emulator says of the queue."""
        report: dict[str, Any] = requests.get(f"{self.url}/queues", timeout=10).json()[self.name]
        return report

    def settled(self) -> dict[str, Any]:
        """Wait until no task is left; return the report."""
        eventually(lambda: not list(self.client.list_tasks(parent=self.name)), "the queue is empty")
        return self.report()

    def verified(self, token: str, audience: str) -> Mapping[str, Any]:
        """Return the claims of a token, verified as a function would do it."""
        request = google.auth.transport.requests.Request()
        return id_token.verify_token(token, request, audience=audience, certs_url=f"{self.url}/certs")


def client(port: int) -> tasks_v2.CloudTasksClient:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
    return tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))


def seconds(number: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(number * 1e6))
    return duration


def in_seconds(number: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + number * SECOND


@contextlib.contextmanager
def launched(data: Path, worker: Worker, *options: str) -> Iterator[Bench]:
    """Run the emulator without the supervisor, until the block ends and it has stopped in order."""
    port, http_port = ports.find_free(2)
    process = launch(port, http_port, data, *options)

    def is_up() -> bool:
        assert process.poll() is None
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{http_port}/health", timeout=5).ok
        return False

    try:
        eventually(is_up, "the emulator is up")
        yield Bench(port, http_port, worker)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()


def launch(port: int, http_port: int, data: Path, *options: str) -> "subprocess.Popen[str]":
    python = str(free_settings(data).cloud_python)
    command = [python, "-m", "local_cloud.emulators.cloud_tasks", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http-port", str(http_port), "--data-dir", str(data), *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)
