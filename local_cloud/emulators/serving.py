"""How our gRPC emulators are served: gRPC on one port; health, certificates and a report over HTTP on another."""

import argparse
import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import grpc
from aiohttp import web

from local_cloud.emulators import guard
from local_cloud.emulators.identity import Identity

GRACE_SECONDS = 3.0
"""How long calls to others that are in flight may take to end when the server stops. Those cut off are sent again."""
KEEPALIVE_SECONDS = 1.0
"""How long a connection to whoever is called is kept; servers keep theirs longer, so none breaks in use."""
LARGEST_MESSAGE = 64 << 20
"""Bytes of a request or a response; gRPC's default of 4 MB is less than the services' own limits."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a coroutine beside the others; an error in it ends the server, which is then started again."""


class Registry(Protocol):
    """What an emulator holds: queues, or topics with their subscriptions."""

    def start(self) -> None:
        """Go on with what an earlier process left."""

    def stop(self) -> None:
        """Begin no more work."""


@dataclass(frozen=True)
class Emulator:
    """The parts of an emulator."""

    registry: Registry
    handlers: grpc.GenericRpcHandler
    report_path: str
    report: Callable[[], Mapping[str, Any]]
    """What the HTTP side shows at `report_path`."""


def parser(prog: str, description: str, report_path: str) -> argparse.ArgumentParser:
    """Return a parser of the options that every emulator has."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    made.add_argument("--host", required=True)
    made.add_argument("--port", required=True, type=int, help="gRPC")
    made.add_argument("--http-port", required=True, type=int, help=f"/health, /certs, {report_path}")
    made.add_argument("--data-dir", required=True, type=Path)
    return made


async def serve(
    options: argparse.Namespace, identity: Identity, make: Callable[[aiohttp.ClientSession, Spawn], Emulator]
) -> None:
    """Serve until SIGTERM. An error in spawned work ends the server; nothing is lost by it.

    :param make: makes the emulator, given a session for its calls to others.
    """
    guard.install()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session, asyncio.TaskGroup() as group:
        working: set[asyncio.Task[None]] = set()

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            task = group.create_task(work)
            working.add(task)
            task.add_done_callback(working.discard)
            return task

        emulator = make(session, spawn)
        await _listen(options, identity, emulator, stopping)
        emulator.registry.stop()
        if working:
            _, cut_off = await asyncio.wait(working, timeout=GRACE_SECONDS)
            for task in cut_off:
                task.cancel()


async def _listen(options: argparse.Namespace, identity: Identity, emulator: Emulator, stopping: asyncio.Event) -> None:
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # or two servers could share a port, and each would have half of the calls
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ]
    )
    server.add_generic_rpc_handlers([emulator.handlers])
    server.add_insecure_port(f"{options.host}:{options.port}")
    runner = web.AppRunner(_http_side(identity, emulator), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.http_port).start()
        emulator.registry.start()  # not before both ports are ours: whoever has them may be at work on the same data
        await server.start()
        await stopping.wait()
    finally:
        await runner.cleanup()
        await server.stop(grace=None)


def _http_side(identity: Identity, emulator: Emulator) -> web.Application:
    async def health(_: web.Request) -> web.Response:
        """It answers, so the server works: all of it runs in one loop."""
        return web.json_response({"status": "ok"})

    async def certificates(_: web.Request) -> web.Response:
        return web.json_response(identity.certificates())

    async def report(_: web.Request) -> web.Response:
        return web.json_response(emulator.report())

    application = web.Application(middlewares=[guard.aiohttp_middleware()])
    application.add_routes([
        web.get("/health", health),
        web.get("/certs", certificates),
        web.get(emulator.report_path, report),
    ])
    return application
