"""The guard of the tests: nothing reaches beyond this machine, and what stays here works as ever."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import psutil
import pytest
import requests

from local_cloud.apis.testing import FakeApi

FOLDER = Path(__file__).resolve().parents[1] / "loopback_only"
BEYOND_4, BEYOND_6 = "198.51.100.7", "2001:db8::7"  # set aside for documentation: nobody is there
NAME = "beyond.example"

sys.path.insert(0, str(FOLDER))
import loopback_guard  # noqa: E402 - from the folder that children find it in
from loopback_guard import BeyondLoopback  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def _guarded() -> None:
    loopback_guard.install()


def udp(family: int = socket.AF_INET) -> socket.socket:
    return socket.socket(family, socket.SOCK_DGRAM)


REACHING: dict[str, Callable[[], object]] = {
    "connect": lambda: socket.socket().connect((BEYOND_4, 80)),
    "connect_ex": lambda: socket.socket().connect_ex((BEYOND_4, 80)),
    "connect by name": lambda: socket.create_connection((NAME, 80)),
    "connect by IPv6": lambda: socket.socket(socket.AF_INET6).connect((BEYOND_6, 80)),
    "connect by mapped IPv6": lambda: socket.socket(socket.AF_INET6).connect((f"::ffff:{BEYOND_4}", 80)),
    "connect over UDP": lambda: udp().connect((BEYOND_4, 53)),
    "sendto": lambda: udp().sendto(b"x", (BEYOND_4, 53)),
    "sendmsg": lambda: udp().sendmsg([b"x"], [], 0, (BEYOND_4, 53)),
    "broadcast": lambda: udp().connect(("255.255.255.255", 9)),
    "multicast": lambda: udp().connect(("224.0.0.1", 9)),
    "getaddrinfo": lambda: socket.getaddrinfo(NAME, 80),
    "getaddrinfo of bytes": lambda: socket.getaddrinfo(NAME.encode(), 80),
    "gethostbyname": lambda: socket.gethostbyname(NAME),
    "gethostbyname_ex": lambda: socket.gethostbyname_ex(NAME),
    "gethostbyaddr": lambda: socket.gethostbyaddr(BEYOND_4),
    "getnameinfo": lambda: socket.getnameinfo((BEYOND_4, 80), 0),
    "requests": lambda: requests.get(f"http://{NAME}/", timeout=5),
    "requests by address": lambda: requests.get(f"http://{BEYOND_4}/", timeout=5),
}


@pytest.mark.parametrize("reach", REACHING.values(), ids=REACHING.keys())
def test_reaching_beyond_is_refused(reach: Callable[[], object]) -> None:
    with pytest.raises(BeyondLoopback, match=r"198\.51\.100\.7|2001:db8::7|beyond\.example|255\.|224\."):
        reach()


def test_it_is_no_outage() -> None:
    assert not issubclass(BeyondLoopback, OSError), "code under test would try again"


async def fetch(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def open_stream(host: str) -> None:
    await asyncio.open_connection(host, 80)


@pytest.mark.parametrize(
    "reach",
    [
        lambda: open_stream(NAME),
        lambda: open_stream(BEYOND_4),
        lambda: fetch(f"http://{NAME}/"),
        lambda: fetch(f"http://{BEYOND_4}/"),
    ],
)
def test_asyncio_is_refused_too(reach: Callable[[], object]) -> None:
    with pytest.raises(BeyondLoopback, match=r"198\.51\.100\.7|beyond\.example"):
        asyncio.run(reach())


def test_clients_reach_this_machine(api: FakeApi) -> None:
    url = f"{api.url}/_admin/health"
    assert asyncio.run(fetch(url)) == 200
    assert asyncio.run(fetch(url.replace("127.0.0.1", "localhost"))) == 200
    assert requests.get(url, timeout=5).status_code == 200
    assert requests.get(url.replace("127.0.0.1", "localhost"), timeout=5).status_code == 200


def own_addresses() -> list[str]:
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET
    ]


def test_every_address_of_this_machine_can_be_reached() -> None:
    addresses = own_addresses()
    assert "127.0.0.1" in addresses
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - all addresses is the point
        for address in [*addresses, "127.8.9.10", "0.0.0.0"]:  # noqa: S104
            socket.create_connection((address, server.getsockname()[1]), timeout=5).close()


def test_this_machine_may_look_itself_up() -> None:
    assert socket.getfqdn()
    for host in (None, "localhost", "LOCALHOST", "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()):  # noqa: S104
        assert socket.getaddrinfo(host, 80)
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert socket.gethostbyaddr("127.0.0.1")


def test_unix_sockets_pass(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))


def child(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


REACH = f"import socket; socket.create_connection(({BEYOND_4!r}, 80), timeout=0.1)"


class TestChildren:
    def test_a_child_is_guarded_by_its_environment(self) -> None:
        ended = child(REACH, loopback_guard.environment(os.environ))
        assert ended.returncode == 1
        assert f"BeyondLoopback: socket.getaddrinfo reaches for '{BEYOND_4}'" in ended.stderr

    def test_so_is_its_child(self) -> None:
        code = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {REACH!r}]))"
        ended = child(code, loopback_guard.environment(os.environ))
        assert ended.returncode == 1
        assert "BeyondLoopback" in ended.stderr

    def test_connections_of_uvloop_are_refused(self) -> None:
        code = f"""
import asyncio, aiohttp, uvloop
async def fetch():
    async with aiohttp.ClientSession() as session, session.get("http://{BEYOND_4}/"):
        pass
uvloop.run(fetch())
"""
        ended = child(code, loopback_guard.environment(os.environ))
        assert ended.returncode == 1
        assert "BeyondLoopback: socket.connect" in ended.stderr

    def test_refusals_that_are_swallowed_still_leave_a_trace(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        code = f"import contextlib, socket\nwith contextlib.suppress(Exception): {REACH.partition('; ')[2]}"
        ended = child(code, loopback_guard.environment(os.environ) | {loopback_guard.LOG_VARIABLE: str(log)})
        assert ended.returncode == 0
        (line,) = log.read_text().splitlines()
        assert line.startswith(f"socket.getaddrinfo {BEYOND_4} ")

    def test_the_real_sitecustomize_is_loaded_as_well(self, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text("import sys; sys.real_one_ran = True")
        environment = loopback_guard.environment(os.environ | {"PYTHONPATH": str(tmp_path)})
        ended = child(f"import sys; assert sys.real_one_ran; {REACH}", environment)
        assert "BeyondLoopback" in ended.stderr

    def test_the_environment_keeps_other_folders_and_is_stable(self) -> None:
        once = loopback_guard.environment({"PYTHONPATH": "/a" + os.pathsep + "/b", "HOME": "/h"})
        assert once == {"PYTHONPATH": os.pathsep.join([str(FOLDER), "/a", "/b"]), "HOME": "/h"}
        assert loopback_guard.environment(once) == once
