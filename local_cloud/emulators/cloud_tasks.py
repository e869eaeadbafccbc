"""Launch the Cloud Tasks emulator."""

import argparse
import asyncio

import aiohttp

from local_cloud.emulators import serving
from local_cloud.emulators.cloud_tasks_server.acceptance import SHORTEST_DEADLINE
from local_cloud.emulators.cloud_tasks_server.delivery import Courier
from local_cloud.emulators.cloud_tasks_server.registry import Registry
from local_cloud.emulators.cloud_tasks_server.report import report
from local_cloud.emulators.cloud_tasks_server.service import CloudTasks, handlers
from local_cloud.emulators.cloud_tasks_server.store import Store
from local_cloud.emulators.identity import Identity, load_key

REPORT_PATH = "/queues"


def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    identity = Identity(load_key(options.data_dir / "signing-key.pem"))
    store = Store(options.data_dir / "queues.sqlite")

    def make(session: aiohttp.ClientSession, spawn: serving.Spawn) -> serving.Emulator:
        courier = Courier(session, identity)
        registry = Registry(store=store, courier=courier, spawn=spawn, tombstone_seconds=options.tombstone_seconds)
        service = CloudTasks(registry, store, shortest_deadline=options.shortest_deadline)
        return serving.Emulator(registry, handlers(service), REPORT_PATH, lambda: report(registry, store))

    with store.opened():
        asyncio.run(serving.serve(options, identity, make))


def main() -> None:
    """Read the command line and serve."""
    parser = serving.parser("cloud_tasks", str(__doc__), REPORT_PATH)
    parser.add_argument(
        "--tombstone-seconds", type=float, default=3600, help="how long the name of a finished task stays taken"
    )
    parser.add_argument(
        "--shortest-deadline",
        type=float,
        default=SHORTEST_DEADLINE.total_seconds(),
        help="seconds that a task must give its handler at least; for tests",
    )
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
