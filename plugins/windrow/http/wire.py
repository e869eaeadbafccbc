"""Send a call over a connection of aiohttp's pool, without `aiohttp.ClientSession`.

A session does for each call what a harvest needs once, or never: it merges headers, writes them, takes the URL apart,
looks for cookies, logins, traces and redirects, starts a timer, and makes a request, a writer and a response. That is
half of the CPU of a call that stores nothing. Connections, TLS, the parser and its limits are those of aiohttp.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TypeVar

import aiohttp
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

T = TypeVar("T")
Read = Callable[[Mapping[str, str], aiohttp.StreamReader], Awaitable[T]]
"""Reads the body of an answer with these headers."""

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_IDLE_S = 15.0
"""How long a connection may be idle before it is closed instead of used, as in aiohttp."""
_HEADS = 100
"""Sets of headers whose bytes are kept: most calls of a harvest have the same ones."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Characters that may not be in a header or in a URL: with some of them, a value could become a header of its own."""
_SWITCHING = 101


class Wire:
    """Sends calls without a proxy.

    :param connector: makes the connections, one more than ``connections``.
    :param headers: sent with every call.
    :param connections: how many are kept for later calls.
    :param timeout_s: timeout of a call, from sending to the last byte.
    """

    def __init__(
        self, connector: aiohttp.TCPConnector, headers: Mapping[str, str], *, connections: int, timeout_s: float
    ) -> None:
        self._connector = connector
        self._headers = headers
        self._connections = connections
        self._timeout_s = timeout_s
        self._targets: dict[tuple[str, str], aiohttp.ClientRequest] = {}
        self._idle: dict[aiohttp.ClientRequest, deque[tuple[Connection, float]]] = {}
        self._idle_count = 0
        self._clock = asyncio.get_running_loop().time
        self._deadlines: dict[Connection, float] = {}
        """When the running calls must end. One timer watches all of them."""
        self._bodies: dict[Connection, aiohttp.StreamReader] = {}
        """Those that did not come with the headers."""
        self._alarm: asyncio.TimerHandle | None = None
        self._head = lru_cache(_HEADS)(self._written)

    def close(self) -> None:
        """Close the idle connections."""
        if self._alarm is not None:
            self._alarm.cancel()
        for kept in self._idle.values():
            while kept:
                kept.popleft()[0].close()
        self._idle_count = 0

    async def call(
        self, method: str, url: URL, headers: Mapping[str, str], data: bytes, read: Read[T]
    ) -> tuple[int, Mapping[str, str], T]:
        """Send a call once; return its status, its headers, and what ``read`` returned.

        :param url: absolute.
        :param read: a body that it does not read to the end costs the connection.
        :raises aiohttp.ClientError: no answer came, or not all of it; `OSError` and `HttpProcessingError` as well.
        :raises TimeoutError: the call took too long.
        :raises ValueError: a header or the URL has a control character.
        """
        began = self._clock()
        target = self._targets.get((url.scheme, url.raw_authority)) or self._target(url)
        line = f"{method} {url.raw_path_qs} HTTP/1.1"
        if _CONTROL.search(line):
            raise ValueError("the URL has a control character")
        size = "" if method == "GET" and not data else f"Content-Length: {len(data)}\r\n"
        head = f"{line}\r\n{self._head(target, tuple(headers.items()))}{size}\r\n"
        kept = self._kept(target, began - _IDLE_S)
        connection = kept or await self._connected(target, began + self._timeout_s)
        try:
            self._watch(connection, began + self._timeout_s)
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            if kept is None:  # the parser of the answer before reads the next one as well
                protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            transport.write(head.encode("utf-8", "surrogateescape") + data)
            answer, content = await protocol.read()
            while answer.code < 200 and answer.code != _SWITCHING:  # the answer follows
                answer, content = await protocol.read()
            if not content.is_eof():
                if connection not in self._deadlines:  # its time ended when the headers came
                    raise TimeoutError
                self._bodies[connection] = content
            body = await read(answer.headers, content)
        except BaseException:  # also when cancelled: a connection in the middle of an answer is of no more use
            connection.close()
            raise
        finally:
            self._deadlines.pop(connection, None)
            self._bodies.pop(connection, None)
        self._keep(target, connection)
        return answer.code, answer.headers, body

    async def _connected(self, target: aiohttp.ClientRequest, deadline: float) -> Connection:
        """Open a connection. One that is kept for another server makes room for it."""
        for other in self._idle:
            if self._idle[other]:
                self._idle[other].popleft()[0].close()
                self._idle_count -= 1
                break
        async with asyncio.timeout_at(deadline):
            return await self._connector.connect(target, [], _NO_TIMEOUT)

    def _kept(self, target: aiohttp.ClientRequest, since: float) -> Connection | None:
        """Return an idle connection that was used since then and is open, and on which nothing came meanwhile."""
        kept = self._idle[target]
        while kept:
            connection, used_at = kept.popleft()
            self._idle_count -= 1
            protocol = connection.protocol
            # Some servers send a 408 before they close: it is no answer to the next call.
            if protocol is not None and used_at >= since and protocol.is_connected() and not protocol.should_close:
                return connection
            connection.close()
        return None

    def _keep(self, target: aiohttp.ClientRequest, connection: Connection) -> None:
        """Keep a connection for the next call, or give it back: one must be left for calls that are not sent here."""
        protocol = connection.protocol
        if protocol is None or protocol.should_close or self._idle_count + len(self._deadlines) >= self._connections:
            connection.release()
            return
        self._idle[target].append((connection, self._clock()))
        self._idle_count += 1

    def _watch(self, connection: Connection, deadline: float) -> None:
        """End a call at this time, unless it ends before."""
        self._deadlines[connection] = deadline
        if self._alarm is None or deadline < self._alarm.when():
            self._look()

    def _look(self) -> None:
        """End the calls whose time is over. Look again when the time of the next one is."""
        now = self._clock()
        for connection in [connection for connection, deadline in self._deadlines.items() if deadline <= now]:
            del self._deadlines[connection]
            # To close the connection is not enough: after an invalid chunk nothing ends the wait for the body.
            if connection.protocol is not None:
                connection.protocol.set_exception(TimeoutError())
            if connection in self._bodies:
                self._bodies[connection].set_exception(TimeoutError())
        if self._alarm is not None:
            self._alarm.cancel()
        at = min(self._deadlines.values(), default=None)
        self._alarm = None if at is None else asyncio.get_running_loop().call_at(at, self._look)

    def _target(self, url: URL) -> aiohttp.ClientRequest:
        """Return what the connector needs to know of a server."""
        target = aiohttp.ClientRequest("GET", url.origin())
        self._targets[url.scheme, url.raw_authority] = target
        self._idle[target] = deque()
        return target

    def _written(self, target: aiohttp.ClientRequest, headers: tuple[tuple[str, str], ...]) -> str:
        """Write the headers of a call, which replace those of every call.

        :raises ValueError: one has a control character.
        """
        all_headers = CIMultiDict({"Host": target.headers["Host"], **self._headers})
        for name, _ in headers:
            all_headers.popall(name, None)
        all_headers.extend(headers)
        for name, value in all_headers.items():
            if _CONTROL.search(name) or _CONTROL.search(value):
                raise ValueError(f"the header {name!r:.40} has a control character")
        return "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
