"""Launch the Pub/Sub emulator: gRPC on one port; health, certificates and counts over HTTP on another."""

import argparse
import asyncio
import logging
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web

from local_cloud.emulators.identity import Identity, load_key
from local_cloud.emulators.pubsub.admin import Admin
from local_cloud.emulators.pubsub.registry import Registry
from local_cloud.emulators.pubsub.service import handlers
from local_cloud.emulators.pubsub.store import Store

GRACE_SECONDS = 3.0
"""How long pushes in flight may take to end when the server stops. Those cut off are sent again."""
LARGEST_MESSAGE = 64 << 20
"""Bytes of a request or a response; gRPC's default of 4 MB is less than Pub/Sub's own limits."""


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM. An error in the work of a subscription ends the server; nothing is lost by it."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    identity = Identity(load_key(options.data_dir / "signing-key.pem"))
    store = Store(options.data_dir / "subscriptions.sqlite")
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=1.0)
    jar = aiohttp.DummyCookieJar()
    with store.opened():
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session, asyncio.TaskGroup() as group:
            working: set[asyncio.Task[None]] = set()

            def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                task = group.create_task(work)
                working.add(task)
                task.add_done_callback(working.discard)
                return task

            registry = Registry(
                store=store, session=session, identity=identity, spawn=spawn, most_waiting=options.most_waiting
            )
            await _listen(options, registry, identity, stopping)
            registry.stop()
            if working:
                _, cut_off = await asyncio.wait(working, timeout=GRACE_SECONDS)
                for task in cut_off:
                    task.cancel()


async def _listen(options: argparse.Namespace, registry: Registry, identity: Identity, stopping: asyncio.Event) -> None:
    # without so_reuseport=0, two servers could share a port, and each would have half of the calls
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ]
    )
    server.add_generic_rpc_handlers([handlers(registry)])
    server.add_insecure_port(f"{options.host}:{options.port}")
    runner = web.AppRunner(Admin(registry, identity).application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.http_port).start()
        registry.start()  # not before both ports are ours: whoever has them may be at work on the same data
        await server.start()
        await stopping.wait()
    finally:
        await runner.cleanup()
        await server.stop(grace=None)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="pubsub", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int, help="gRPC")
    parser.add_argument("--http-port", required=True, type=int, help="/health, /certs, /subscriptions")
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument(
        "--most-waiting",
        type=int,
        default=0,
        help="refuse messages while a subscription holds so many (0: no limit); for tests of a full queue",
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
