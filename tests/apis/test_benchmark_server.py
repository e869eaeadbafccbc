"""The server of the engine benchmark: its delay, its counts, its end."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import aiohttp
import pytest

from local_cloud.apis.testing import ROOT
from tests.programs import needed

SERVER = ROOT / "benchmarks" / "server.mjs"
NODE = needed("node", install="on Debian and Ubuntu, `apt install nodejs`")


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    with subprocess.Popen([NODE, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


def ask(port: int, method: str, path: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_it_answers_by_name_after_the_delay_and_counts() -> None:
    async def calls(port: int) -> list[float]:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def call(name: str) -> float:
                started = time.monotonic()
                async with session.get("/get_user_by_name", params={"name": name}) as answer:
                    assert answer.status == 200
                    assert (await answer.json())["Name"] == name
                return time.monotonic() - started

            return await asyncio.gather(*(call(f'Ångström, Mr. "{number % 20}" ') for number in range(40)))

    with serving("--delay", "500") as (port, _):
        took = asyncio.run(calls(port))
        assert min(took) > 0.498, "Node's timers know whole milliseconds only"
        assert ask(port, "GET", "/_admin/counters") == (
            200,
            {
                "requests": 40,
                "unique": 20,
                "repeated": 20,
                "in_flight": 0,
                "max_in_flight": 40,
                "tokens_issued": 0,
            },
        )
        assert ask(port, "POST", "/_admin/reset")[1]["requests"] == 0


def test_it_issues_tokens_and_refuses_what_it_does_not_know() -> None:
    with serving() as (port, _):
        status, token = ask(port, "POST", "/oauth/token")
        assert (status, token["token_type"], token["expires_in"]) == (200, "Bearer", 3600)
        assert ask(port, "GET", "/_admin/counters")[1]["tokens_issued"] == 1
        assert ask(port, "GET", "/get_user_by_name")[0] == 400
        assert ask(port, "GET", "/nowhere")[0] == 404


def test_a_connection_is_used_again() -> None:
    with serving("--delay", "0") as (port, _):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.connect()
        own_port = connection.sock.getsockname()
        for _ in range(3):
            connection.request("GET", "/get_user_by_name?name=x")
            assert connection.getresponse().read()
            assert connection.sock.getsockname() == own_port
        connection.close()


def test_it_ends_on_sigterm_with_calls_in_flight() -> None:
    with serving("--delay", "60000") as (port, process):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/get_user_by_name?name=x")
        deadline = time.monotonic() + 5
        while ask(port, "GET", "/_admin/counters")[1]["in_flight"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        assert process.wait(2) == 0
        connection.close()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--port", "70000"], "70000"), (["--delay", "soon"], "soon"), (["--speed", "1"], "--speed")],
)
def test_bad_arguments_are_named(arguments: list[str], word: str) -> None:
    ended = subprocess.run([NODE, str(SERVER), *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert word in ended.stderr


def test_a_port_in_use_is_named() -> None:
    with serving() as (port, _):
        ended = subprocess.run(
            [NODE, str(SERVER), "--port", str(port)], capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 98
    assert str(port) in ended.stderr
