"""Who may use a service of the local cloud: processes of the same user, and no page in a browser.

A service runs with the rights of whoever started it, and does what it is told without a password. So it hangs up on
a process of another user (on Linux, where the kernel tells whose a connection is), and refuses every request that a
browser makes for a page: one with an Origin, or with a Host that is not this machine.
"""

import contextlib
import errno
import http.server
import inspect
import os
import socket
import struct
import sys
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

REASON = "The local cloud serves programs of this machine. It refuses web pages: {}.\n"
HERE = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_SOCK_DIAG, _BY_FAMILY, _LISTEN = 4, 20, 10
"""Constants of Linux: the netlink family NETLINK_SOCK_DIAG, the message SOCK_DIAG_BY_FAMILY, the state TCP_LISTEN."""
_TRUSTED_S = 5.0
"""For so long a connection of gRPC that was looked at is not looked at again: it costs milliseconds a call."""
_MOST_LET_IN = 1_000

Asgi = Callable[[Mapping[str, Any], Any, Any], Awaitable[None]]


def install() -> None:
    """Guard all servers that this process starts; call it before they are imported."""
    _hang_up_on_strangers()
    _refuse_pages()
    _guard_grpc()


def fault(origin: str | None, host: str | None) -> str | None:
    """Say why a request is refused; None for one that is served."""
    if origin is not None:
        return f"a request with the Origin {origin!r:.80}"
    name = (host or "").rpartition(":")[0] if (host or "").rpartition(":")[2].isdecimal() else host or ""
    return None if not host or name.lower() in HERE else f"a request for the Host {host!r:.80}"


def asgi(app: Asgi) -> Asgi:
    """Guard an ASGI application."""

    async def guarded(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] in {"http", "websocket"}:
            headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
            if (why := fault(headers.get(b"origin"), headers.get(b"host"))) is not None:
                body = REASON.format(why).encode()
                start = {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
                if scope["type"] == "http":
                    await send(start)
                    await send({"type": "http.response.body", "body": body})
                else:
                    await send({"type": "websocket.close", "code": 1008})
                return
        await app(scope, receive, send)

    return guarded


def aiohttp_middleware() -> Any:
    """Return a middleware of aiohttp.web."""
    from aiohttp import web  # noqa: PLC0415 - not every service's environment has it

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
        if (why := fault(request.headers.get("Origin"), request.headers.get("Host"))) is not None:
            return web.Response(status=403, text=REASON.format(why))
        answer: web.StreamResponse = await handler(request)
        return answer

    return guarded


def is_stranger(peer: tuple[str, int], server: tuple[str, int]) -> bool:
    """Say whether the other end of a connection does not belong to the user of this process.

    A connection that the kernel does not list has no owner any more, so it does not. Elsewhere than on Linux nobody
    can tell, and all are let in.
    """
    if not _TABLES[0].exists():
        return False
    if (owner := _owner(peer, server)) is not None:
        return owner != os.getuid()
    wanted = {(_written(*peer, length), _written(*server, length)) for length in (4, 16)}
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if (fields[1], fields[2]) in wanted:
                    return int(fields[7]) != os.getuid()
    return True


def _owner(peer: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Ask the kernel for the user of one IPv4 connection (sock_diag(7)); None if it does not answer.

    This takes microseconds. The tables take 10 ms if there are thousands of connections, as after many tests.
    """
    if ":" in peer[0] + server[0]:
        return None
    ends = (peer[1], server[1], socket.inet_aton(peer[0]), socket.inet_aton(server[0]))
    wanted = struct.pack("!HH4s12x4s12x", *ends)
    asked = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + wanted + bytes(4) + b"\xff" * 8
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.send(struct.pack("=IHHII", 16 + len(asked), _BY_FAMILY, 1, 0, 0) + asked)
        answer = kernel.recv(4096)  # the header of 16 bytes, then struct inet_diag_msg
        if len(answer) >= 84 and struct.unpack_from("=H", answer, 4)[0] == _BY_FAMILY and answer[17] != _LISTEN:
            return int(struct.unpack_from("=I", answer, 80)[0])
    return None


def _written(host: str, port: int, length: int) -> str:
    """Write an address as the kernel's tables have it: words of 32 bits in the order of this machine."""
    octets = socket.inet_aton(host) if ":" not in host else socket.inet_pton(socket.AF_INET6, host)
    if len(octets) != length:
        octets = b"\0" * 10 + b"\xff\xff" + octets if length == 16 else octets[-4:]
    words = [octets[start : start + 4] for start in range(0, length, 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"


def _hang_up_on_strangers() -> None:
    accept = socket.socket.accept

    def guarded(self: socket.socket) -> tuple[socket.socket, Any]:
        link, address = accept(self)
        if link.family in {socket.AF_INET, socket.AF_INET6} and is_stranger(address[:2], link.getsockname()[:2]):
            link.close()
            raise ConnectionAbortedError(
                errno.ECONNABORTED, "a process of another user"
            )  # servers take it for a client that left
        return link, address

    socket.socket.accept = guarded  # type: ignore[method-assign]


def _refuse_pages() -> None:
    """Guard all servers that are made of http.server."""
    parse = http.server.BaseHTTPRequestHandler.parse_request

    def guarded(self: http.server.BaseHTTPRequestHandler) -> bool:
        if not parse(self):
            return False
        if (why := fault(self.headers.get("Origin"), self.headers.get("Host"))) is None:
            return True
        self.send_error(403, explain=REASON.format(why))
        return False

    http.server.BaseHTTPRequestHandler.parse_request = guarded  # type: ignore[method-assign]


def _guard_grpc() -> None:
    """Guard servers of gRPC, whose core accepts connections itself: their calls are looked at."""
    try:
        import grpc  # noqa: PLC0415 - not every service's environment has it
        from grpc import aio  # noqa: PLC0415
    except ImportError:
        return
    grpc.server = partial(_guarded_server, grpc, grpc.server, is_async=False)
    aio.server = partial(_guarded_server, grpc, aio.server, is_async=True)


class _Door:
    """Who may call one server of gRPC."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int]] = []
        self._let_in: dict[str, float] = {}

    def refuses(self, context: Any) -> bool:
        """Say whether a call comes from a stranger. A connection is looked at again after `_TRUSTED_S`."""
        peer = context.peer()
        kind, _, address = urllib.parse.unquote(peer).partition(":")
        if kind not in {"ipv4", "ipv6"} or self._let_in.get(peer, 0.0) > time.monotonic():
            return False
        host, _, port = address.rpartition(":")
        if all(is_stranger((host.strip("[]"), int(port)), here) for here in self.addresses):
            return True
        if len(self._let_in) > _MOST_LET_IN:
            self._let_in.clear()
        self._let_in[peer] = time.monotonic() + _TRUSTED_S
        return False


def _guarded_server(grpc: Any, make: Any, *arguments: Any, is_async: bool, **options: Any) -> Any:
    """Make a server that looks who calls, and remembers where it listens."""
    door = _Door()
    base = grpc.aio.ServerInterceptor if is_async else grpc.ServerInterceptor

    class Interceptor(base):  # type: ignore[misc]
        if is_async:

            async def intercept_service(self, continuation: Any, details: Any) -> Any:
                handler = await continuation(details)
                return handler and _checked(grpc, handler, door.refuses, is_async=True)

        else:

            def intercept_service(self, continuation: Any, details: Any) -> Any:
                handler = continuation(details)
                return handler and _checked(grpc, handler, door.refuses, is_async=False)

    options["interceptors"] = [Interceptor(), *(options.get("interceptors") or ())]
    server = make(*arguments, **options)
    listen = server.add_insecure_port

    def add_insecure_port(address: str) -> int:
        port = listen(address)
        door.addresses.append((address.rpartition(":")[0].strip("[]"), port))
        return int(port)

    server.add_insecure_port = add_insecure_port
    return server


def _checked(grpc: Any, handler: Any, refuses: Callable[[Any], bool], *, is_async: bool) -> Any:
    """Make a handler that looks who calls, and then does what the given one does."""
    requests = "stream" if handler.request_streaming else "unary"
    responses = "stream" if handler.response_streaming else "unary"
    inner = getattr(handler, f"{requests}_{responses}")
    refusal = (grpc.StatusCode.PERMISSION_DENIED, REASON.format("a process of another user").strip())

    def answer(request: Any, context: Any) -> Any:
        if refuses(context):
            context.abort(*refusal)
        return inner(request, context)

    async def answer_async(request: Any, context: Any) -> Any:
        if refuses(context):
            await context.abort(*refusal)
        found = inner(request, context)
        return await found if inspect.isawaitable(found) else found

    async def answer_by_and_by(request: Any, context: Any) -> Any:
        if refuses(context):
            await context.abort(*refusal)
        async for each in inner(request, context):
            yield each

    behaviour: Any = answer
    if is_async:
        behaviour = answer_by_and_by if inspect.isasyncgenfunction(inner) else answer_async
    make = getattr(grpc, f"{requests}_{responses}_rpc_method_handler")
    return make(behaviour, handler.request_deserializer, handler.response_serializer)
