"""The process: how it starts, what stops its start, and how it ends."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from local_cloud.apis.testing import ROOT, FakeApi, running
from local_cloud.apis.tokens import DEMO_CLIENT, Client


def start(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Start a server that is expected to give up."""
    return subprocess.run(
        [sys.executable, "-m", "local_cloud.apis", "--port", "0", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class TestStart:
    def test_it_starts_with_faults(self) -> None:
        with running(error_share=1, error_status=502) as api:
            assert api.get("/get_user_list").status == 502

    def test_a_bad_start_tells_why(self) -> None:
        with pytest.raises(RuntimeError, match="error_share"), running(error_share=2):
            pass

    def test_a_port_in_use_is_named(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            ended = start("--port", str(port))
        assert ended.returncode == 98
        assert ended.stdout == ""
        (line,) = ended.stderr.splitlines()
        assert str(port) in line

    @pytest.mark.parametrize(
        ("arguments", "environment", "words"),
        [
            (["--faults", "{"], {}, ["JSON"]),
            ([], {"WINDROW_API_FAULTS": '{"speed": 1}'}, ["speed", "error_share"]),
            (["--passengers", "nowhere.csv"], {}, ["nowhere.csv"]),
            ([], {"WINDROW_PASSENGERS_CSV": "nowhere.csv"}, ["nowhere.csv"]),
            (["--host", "203.0.113.1"], {}, ["203.0.113.1"]),
            (["--port", "70000"], {}, ["70000"]),
        ],
    )
    def test_bad_input_is_one_line(self, arguments: list[str], environment: dict[str, str], words: list[str]) -> None:
        ended = start(*arguments, environment=environment)
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        for word in words:
            assert word in line

    def test_a_bad_file_is_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "passengers.csv"
        path.write_text("Name\nRoe\n")
        ended = start("--passengers", str(path))
        assert ended.returncode == 2
        assert ended.stderr.splitlines() == [
            f"the fake APIs cannot start: {path}, line 1: the column PassengerId is missing"
        ]

    def test_another_client_can_be_known(self) -> None:
        with running(client=Client("someone", "s3cret")) as api:
            assert api.get("/get_user_list", api.token()).status == 200
            with pytest.raises(ValueError, match="invalid_client"):
                dataclasses.replace(api, client=DEMO_CLIENT).token()


def ask_slowly(api: FakeApi) -> HTTPConnection:
    connection = HTTPConnection(*api.address, timeout=10)
    connection.request("GET", "/get_user_list")
    return connection


class TestEnd:
    def test_sigterm_ends_it_at_once_whatever_is_open(self) -> None:
        with running() as api, ExitStack() as open_connections:
            for _ in range(5):
                idle = HTTPConnection(*api.address, timeout=10)
                open_connections.callback(idle.close)
                idle.request("GET", "/_admin/health")
                assert idle.getresponse().read()
            api.faults(latency_ms=60_000)
            for _ in range(5):
                open_connections.callback(ask_slowly(api).close)
            deadline = time.monotonic() + 5
            while api.counters()["totals"]["in_flight"] < 5:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            started = time.monotonic()
            assert api.stop() == 0
            assert time.monotonic() - started < 2

    def test_it_can_be_stopped_twice(self) -> None:
        with running() as api:
            assert api.stop() == 0
            assert api.stop() == 0

    def test_nothing_runs_after_the_with(self) -> None:
        with running() as api:
            pass
        assert api.process.poll() == 0
        with pytest.raises(ConnectionRefusedError):
            api.counters()
