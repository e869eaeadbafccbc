"""Launch the Cloud Tasks emulator: gRPC on one port; health, certificates and counts over HTTP on another."""

import argparse
import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web

from local_cloud.emulators.cloud_tasks_server.acceptance import SHORTEST_DEADLINE
from local_cloud.emulators.cloud_tasks_server.admin import Admin
from local_cloud.emulators.cloud_tasks_server.delivery import KEEPALIVE_SECONDS, Courier
from local_cloud.emulators.cloud_tasks_server.registry import Registry
from local_cloud.emulators.cloud_tasks_server.service import CloudTasks, handlers
from local_cloud.emulators.cloud_tasks_server.store import Store
from local_cloud.emulators.identity import Identity, load_key

GRACE_SECONDS = 3.0
"""How long attempts in flight may take to end when the server stops. Those cut off are sent again."""


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM. An error in the work of a queue ends the server; nothing is lost by it."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    identity = Identity(load_key(options.data_dir / "signing-key.pem"))
    store = Store(options.data_dir / "queues.sqlite")
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
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
                store=store,
                courier=Courier(session, identity),
                spawn=spawn,
                tombstone_seconds=options.tombstone_seconds,
            )
            await _listen(options, registry, store, identity, stopping)
            registry.stop()
            if working:
                _, cut_off = await asyncio.wait(working, timeout=GRACE_SECONDS)
                for task in cut_off:
                    task.cancel()


async def _listen(
    options: argparse.Namespace, registry: Registry, store: Store, identity: Identity, stopping: asyncio.Event
) -> None:
    # without so_reuseport=0, two servers could share a port, and each would have half of the calls
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    service = CloudTasks(registry, store, shortest_deadline=options.shortest_deadline)
    server.add_generic_rpc_handlers([handlers(service)])
    server.add_insecure_port(f"{options.host}:{options.port}")
    runner = web.AppRunner(Admin(registry, store, identity).application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.http_port).start()
        registry.start()  # not before both ports are ours: whoever has them may be at work on the same queues
        await server.start()
        await stopping.wait()
    finally:
        await runner.cleanup()
        await server.stop(grace=None)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="cloud_tasks", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int, help="gRPC")
    parser.add_argument("--http-port", required=True, type=int, help="/health, /certs, /queues")
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument(
        "--tombstone-seconds", type=float, default=3600, help="how long the name of a finished task stays taken"
    )
    parser.add_argument(
        "--shortest-deadline",
        type=float,
        default=SHORTEST_DEADLINE.total_seconds(),
        help="seconds that a task must give its handler at least; for tests",
    )
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
