"""Send calls over HTTP and read what comes back. With `windrow.http.wire`, the only module that uses the HTTP library.

The transport does not sign, retry or judge; the `windrow.http.client.Client` does. A call ends after its timeout, a
body after its maximum size, and a broken connection becomes a `Response` without a status.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from windrow.http import bounds, network
from windrow.http.network import Network
from windrow.http.wire import Wire
from windrow.model.errors import Unreadable
from windrow.model.formats import GZIP, expanded
from windrow.model.response import Response

BROKEN = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, TimeoutError, OSError)
"""Errors of a broken connection. The second comes from aiohttp's Python parser, the only one on some machines."""

SESSION = "WINDROW_HTTP_SESSION"
"""If this environment variable is not empty, an `aiohttp.ClientSession` sends all calls. It takes more CPU a call."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A response whose body is still arriving."""

    status: int
    headers: Mapping[str, str]
    _got: aiohttp.ClientResponse

    async def body(self, most: int, timeout_s: float) -> tuple[bytes, bool]:
        """Read the whole body, at most ``most`` bytes; return it, and whether there was more."""
        async with asyncio.timeout(timeout_s):
            return await _body(self.headers, self._got.content, most)

    def lines(self, silence_s: float, name: str) -> AsyncIterator[bytes]:
        """Read the body line by line, see `windrow.http.bounds.lines`."""
        read_some = bounds.unpacked(self._got.content.readany, self.headers.get("Content-Encoding", ""))
        return bounds.lines(read_some, silence_s, name)


class Transport:
    """The connections to one API.

    :param base: calls with a relative URL are below it.
    :param name: id of the Airflow connection, for messages.
    :param connections: maximum concurrent calls. One more connection is opened for token requests, which must not
        wait for calls.
    :param timeout_s: timeout of a call, from sending to the last byte.
    :param headers: sent with every call.
    :param tls: whether any call is made over TLS. Reading the certificate authorities takes 30 ms.
    """

    def __init__(
        self,
        base: URL,
        *,
        name: str,
        connections: int,
        timeout_s: float,
        headers: Mapping[str, str],
        settings: Network | None = None,
        tls: bool = True,
    ) -> None:
        self._base = base
        self._name = name
        self._connections = connections
        self._timeout_s = timeout_s
        self._headers = headers
        self._network = settings or Network()
        self._tls = tls
        self._routes: dict[tuple[str, str], dict[str, Any]] = {}
        self._connector: aiohttp.TCPConnector
        self._session: aiohttp.ClientSession
        self._fresh: aiohttp.ClientSession
        self._wire: Wire | None = None

    async def open(self) -> None:
        """Get ready to send. Nothing is connected yet.

        :raises ConnectionUnusable: the certificate authorities to trust cannot be read.
        """
        self._network.warn(self._name)
        ssl = self._network.tls() if self._tls else True
        self._connector = self._network.connector(self._connections + 1, ssl)
        self._session = self._make_session(self._connector)
        if not os.environ.get(SESSION):
            self._wire = Wire(self._connector, self._headers, connections=self._connections, timeout_s=self._timeout_s)
        self._fresh = self._make_session(self._network.connector(self._connections + 1, ssl, reuse=False))

    async def close(self) -> None:
        """Close all connections."""
        if self._wire is not None:
            self._wire.close()
        await self._session.close()
        await self._fresh.close()

    async def send(
        self,
        method: str,
        url: URL,
        *,
        most: int,
        larger: Callable[[bytes], int] = lambda beginning: 0,
        headers: Mapping[str, str] | None = None,
        data: bytes | Mapping[str, str] | None = None,
        fresh: bool = False,
        signature: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one call and read its answer, without following redirects.

        :param most: bytes of the body that are read; of a longer one the response has the beginning, and ``cut``.
        :param larger: returns the maximum of a body that begins like this, if it is above ``most``.
        :param data: the body, or the fields of a form.
        :param signature: what signed the call: the response has it.
        :param fresh: use a new connection. After a connection broke, all idle ones may be dead too.
        :returns: a `Response`; without a status if no answer came.
        :raises ConnectionUnusable: a proxy requires a login, or the setting of the proxy is invalid.
        """
        route = self._route(url)
        read = partial(_body, most=most, larger=larger)
        answer: tuple[int, Mapping[str, str], tuple[bytes, bool]]
        try:
            if (
                self._wire is None
                or route
                or fresh
                or not url.absolute
                or (data is not None and not isinstance(data, bytes))
            ):
                session = self._fresh if fresh else self._session
                headers = self._with_login(headers, url, route)
                async with (
                    asyncio.timeout(self._timeout_s),
                    session.request(method, url, headers=headers, data=data, allow_redirects=False, **route) as got,
                ):
                    answer = got.status, got.headers, await read(got.headers, got.content)
            else:
                answer = await self._wire.call(method, url, headers or {}, data or b"", read)
        except (*BROKEN, ValueError) as error:
            return self._no_answer(error, route, signature or {})
        status, told, (body, cut) = answer
        self._check_proxy(status, route)
        return Response(status, body, told, cut=cut, signature=signature or {})

    @asynccontextmanager
    async def stream(self, url: URL, headers: Mapping[str, str] | None, silence_s: float) -> AsyncIterator[OpenStream]:
        """Open a response whose body is read as it arrives.

        :param silence_s: the longest time without data.
        :raises ConnectionUnusable: as `send`.
        """
        route = self._route(url)
        headers = self._with_login(headers, url, route)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=silence_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                got = await self._session.get(url, headers=headers, timeout=timeout, allow_redirects=False, **route)
        except aiohttp.ClientHttpProxyError as error:
            self._check_proxy(error.status, route)
            raise
        async with got:
            self._check_proxy(got.status, route)
            yield OpenStream(got.status, got.headers, got)

    def _make_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            base_url=self._base,
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),  # `send` and `stream` have their own
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # aiohttp accepts a gzip body that ends early
        )
        # aiohttp would repeat a GET by itself when its connection breaks: with the old signature, and uncounted. There
        # is no public switch; tests/faults compares the server's count with ours, so a change would be noticed.
        session._retry_connection = False
        return session

    def _route(self, url: URL) -> dict[str, Any]:
        target = url if url.absolute else self._base
        place = (target.scheme, target.raw_authority)
        if place not in self._routes:
            self._routes[place] = self._network.route(target.origin(), self._name)
        return self._routes[place]

    def _with_login(
        self, headers: Mapping[str, str] | None, url: URL, route: dict[str, Any]
    ) -> Mapping[str, str] | None:
        """Add the login of the proxy to a call without TLS: the proxy reads the call itself, as there is no tunnel."""
        if "proxy_headers" not in route or (url if url.absolute else self._base).scheme != "http":
            return headers
        return {**(headers or {}), **route["proxy_headers"]}

    def _no_answer(self, error: Exception, route: dict[str, Any], signature: Mapping[str, str]) -> Response:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            self._check_proxy(error.status, route)
        if isinstance(error, aiohttp.ClientConnectorError):  # the host may have moved to another address
            self._connector.clear_dns_cache()
        told = network.advice(error, route, self._name)
        return Response(trouble=network.describe(error), advice=told, signature=signature)

    def _check_proxy(self, status: int, route: dict[str, Any]) -> None:
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and route:
            raise network.proxy_login_required(route, self._name)


async def _body(
    headers: Mapping[str, str],
    content: aiohttp.StreamReader,
    most: int,
    larger: Callable[[bytes], int] = lambda beginning: 0,
) -> tuple[bytes, bool]:
    """Read a body without its Content-Encoding, and the content of one that is a gzip file.

    If it is too large, return its beginning; the connection is closed then. Damaged gzip data stay as they are: they
    are unreadable.

    :raises OSError: the body has a Content-Encoding that was not requested.
    """
    encoding = headers.get("Content-Encoding", "").lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise OSError(f"the Content-Encoding {encoding!r:.40} was not requested")
    if content.is_eof() and content.total_bytes <= most:  # it came with the headers, as most do
        # not `read_nowait`: it calls the parser again, which takes 4 us
        body, cut = b"".join(content._buffer) if content.total_bytes else b"", False
    else:
        body, cut = await bounds.body(content.iter_any(), most, larger)
    if not cut and (encoding == "deflate" or body.startswith(GZIP)):
        with suppress(Unreadable):
            inside = expanded(body, most, encoding)
            if len(inside) > most and larger(inside) > most:
                most = larger(inside)
                inside = expanded(body, most, encoding)
            return inside[:most], len(inside) > most
    return body, cut
