"""What is sent, with and without `aiohttp.ClientSession`, and which connections are kept."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from multidict import CIMultiDict
from yarl import URL

from windrow.http.loop import LOOP, run_async
from windrow.http.transport import SESSION, Transport
from windrow.model.response import Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HEADERS = {"User-Agent": "windrow", "Accept": "application/json", "Accept-Encoding": "gzip"}


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test here on both event loops."""
    monkeypatch.setenv(LOOP, request.param)


@asynccontextmanager
async def server(
    answer: Callable[[bytes], bytes] = lambda _: OK,
    *,
    together: int = 1,
    late: bytes = b"",
    idle: asyncio.Event | None = None,
) -> AsyncIterator[tuple[URL, list[bytes]]]:
    """Serve, and keep the heads and bodies that came; each connection stays open until the client closes it.

    :param together: so many calls are answered at once, and no fewer.
    :param late: is sent after the first answer of a connection, when ``idle`` is set.
    """
    all_here = asyncio.Barrier(together)
    came: list[bytes] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
            came.append(head + await reader.readexactly(int(size[0]) if size else 0))
            await all_here.wait()
            writer.write(answer(came[-1]))
            if idle and len(came) == 1:
                await idle.wait()
                writer.write(late)

    def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def end(task: asyncio.Task[None]) -> None:
            writer.close()  # from Python 3.12 on, a server waits for its connections
            _ = task.cancelled() or task.exception()

        asyncio.ensure_future(one(reader, writer)).add_done_callback(end)

    listening = await asyncio.start_server(quiet, "127.0.0.1", 0)
    async with listening:
        yield URL(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"), came


@asynccontextmanager
async def opened(base: URL, **settings: Any) -> AsyncIterator[Transport]:
    transport = Transport(
        base, **{"name": "shop", "connections": 1, "timeout_s": 5, "headers": HEADERS, "tls": False} | settings
    )
    await transport.open()
    yield transport
    await transport.close()


def parts(sent: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the first line of a call, its headers, sorted, and its body."""
    head, _, body = sent.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return (
        line,
        sorted((name.lower(), value) for name, _, value in (header.partition(": ") for header in headers)),
        body,
    )


@pytest.mark.parametrize(
    ("method", "path", "headers", "data"),
    [
        ("GET", "/items?name=O'Dwyer, Mrs. Ä&x=1%2F2+3", {}, None),
        ("GET", "/%C3%84/b%2Fc?q=a%20b#part", {"Authorization": "Bearer a-token", "accept": "text/csv"}, None),
        ("GET", "/", CIMultiDict([("X-Part", "1"), ("X-Part", "2"), ("User-Agent", "other")]), None),
        ("POST", "/search", {"Content-Type": "application/json"}, b'{"q": "x"}'),
        ("POST", "/tokens", {"Content-Type": "application/json"}, None),
    ],
)
def test_a_call_is_the_same_without_a_session(method, path, headers, data, monkeypatch):
    async def sent() -> bytes:
        async with server() as (url, came), opened(url) as transport:
            where = url.join(URL(path))
            response = await transport.send(method, where, headers=headers, data=data, most=100)
            assert (response.status, response.body) == (200, b"{}"), response
            return came[0].replace(str(url.port).encode(), b"PORT")

    without = parts(run_async(sent()))
    monkeypatch.setenv(SESSION, "1")
    assert parts(run_async(sent())) == without


@pytest.mark.parametrize("place", ["name", "value", "URL"])
def test_no_value_becomes_a_header_of_its_own(place):
    evil = "a\r\nX-Other: b"
    headers = {"name": {evil: "c"}, "value": {"X-Note": evil}}.get(place, {})

    async def send() -> tuple[Response, list[bytes]]:
        async with server() as (url, came), opened(url) as transport:
            where = URL.build(scheme="http", host=url.host or "", port=url.port, path=evil, encoded=True)
            return await transport.send("GET", where if place == "URL" else url, headers=headers, most=100), came

    response, came = run_async(send())
    assert "control character" in response.trouble, response
    assert not came


def test_an_answer_may_follow_an_early_one():
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"

    async def send() -> Response:
        async with server(lambda _: early + OK) as (url, _), opened(url) as transport:
            return await transport.send("GET", url, most=100)

    response = run_async(send())
    assert (response.status, response.body, dict(response.headers)) == (200, b"{}", {"Content-Length": "2"})


def test_a_value_that_is_not_utf_8_goes_back_as_it_came():
    async def send() -> bytes:
        async with server(lambda _: OK.replace(b"\r\n\r\n", b'\r\nETag: "\xe4"\r\n\r\n')) as (url, came):
            async with opened(url) as transport:
                first = await transport.send("GET", url, most=100)
                await transport.send("GET", url, headers={"If-None-Match": first.headers["ETag"]}, most=100)
            return came[1]

    assert b'If-None-Match: "\xe4"\r\n' in run_async(send())


def test_idle_connections_leave_one_for_other_calls_and_make_room_for_other_servers():
    async def send() -> int | None:
        async with (
            server(together=2) as (one, _),
            server(together=2) as (two, _),
            server() as (three, _),
            opened(three, connections=2) as transport,
        ):
            for url, number in ((one, 2), (two, 2), (three, 3)):
                calls = [transport.send("GET", url, most=100) for _ in range(number)]
                assert {response.status for response in await asyncio.gather(*calls)} == {200}
            form = await transport.send("POST", URL("token"), data={"a": "b"}, most=100)  # by the session
            return form.status

    assert run_async(send()) == 200


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_connection_is_used_again_unless_the_server_closed_it(is_closed):
    answer = OK.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n") if is_closed else OK

    async def send() -> int:
        async with server(lambda _: answer) as (url, _), opened(url) as transport:
            assert [(await transport.send("GET", url, most=100)).status for _ in range(3)] == [200] * 3
            assert transport._wire
            return transport._wire._idle_count

    assert run_async(send()) == (0 if is_closed else 1)


PACKED = gzip.compress(b"[1]", mtime=0)
ON_ONE_CONNECTION = {
    "chunked": (
        b"Transfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n2\r\n[2\r\n1\r\n]\r\n0\r\nX-End: 1\r\n\r\n",
        b"[2]",
    ),
    "length": (b"Content-Length: 3\r\n\r\n[3]", b"[3]"),
    "gzip": (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED), b"[1]"),
    "gzip, chunked": (
        b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PACKED), PACKED),
        b"[1]",
    ),
    "empty": (b"Content-Length: 0\r\n\r\n", b""),
    "204": (b"\r\n", b""),
    "304": (b"Content-Length: 3\r\n\r\n", b""),  # the length of what it does not send
}
"""What follows the status line of an answer, and its body."""
CUT = {
    "in a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[",
    "in the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nowhere": b"HTTP/1.1 200 OK\r\n\r\n[4]",  # without a length, the end of the connection is that of the body
}


@pytest.mark.parametrize("cut", CUT)
def test_one_parser_reads_answers_of_all_kinds_and_an_answer_that_is_cut_costs_the_connection(cut):
    """Each kind after each other kind, on one connection. Then the server closes it in the middle of an answer."""
    kinds = [kind for first in ON_ONE_CONNECTION for other in ON_ONE_CONNECTION for kind in (first, other)]
    script = [b"HTTP/1.1 %d -\r\n%b" % (status_of(kind), ON_ONE_CONNECTION[kind][0]) for kind in kinds]
    begun: list[int] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(0)
        for answer in [*script, CUT[cut]] if len(begun) == 1 else [OK]:
            await reader.readuntil(b"\r\n\r\n")
            begun[-1] += 1
            writer.write(answer)
        writer.close()

    async def send() -> list[Response]:
        async with await asyncio.start_server(one, "127.0.0.1", 0) as listening:
            url = URL(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
            async with opened(url) as transport:
                return [await transport.send("GET", url, most=100) for _ in range(len(script) + 2)]

    *whole, broken, after = asyncio.run(send())
    assert [(got.status, got.body) for got in whole] == [
        (status_of(kind), ON_ONE_CONNECTION[kind][1]) for kind in kinds
    ]
    assert (broken.status, broken.body) == ((200, b"[4]") if cut == "nowhere" else (None, b"")), broken
    assert (after.status, after.body) == (200, b"{}")
    assert begun == [len(script) + 1, 1]


def status_of(kind: str) -> int:
    return int(kind) if kind.isdigit() else 200


def test_what_comes_on_an_idle_connection_is_no_answer():
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"

    async def send() -> int | None:
        idle = asyncio.Event()
        async with server(late=late, idle=idle) as (url, _), opened(url) as transport:
            await transport.send("GET", url, most=100)
            idle.set()
            assert transport._wire
            ((connection, _),) = next(iter(transport._wire._idle.values()))
            async with asyncio.timeout(5):
                while not (connection.protocol and connection.protocol.should_close):  # noqa: ASYNC110 - of aiohttp
                    await asyncio.sleep(0.001)
            return (await transport.send("GET", url, most=100)).status

    assert run_async(send()) == 200


@pytest.mark.parametrize("beginning", [b"", OK[:-1]])
def test_the_time_of_each_call_ends_by_itself(beginning):
    async def send() -> list[str]:
        async with server(lambda _: beginning) as (url, _), opened(url, connections=3, timeout_s=0.1) as transport:
            return [
                response.trouble
                for response in await asyncio.gather(*(transport.send("GET", url, most=100) for _ in range(3)))
            ]

    assert run_async(send()) == ["TimeoutError"] * 3
