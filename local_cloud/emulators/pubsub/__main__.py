"""Launch the Pub/Sub emulator."""

import argparse
import asyncio
import logging

import aiohttp

from local_cloud.emulators import serving
from local_cloud.emulators.identity import Identity, load_key
from local_cloud.emulators.pubsub.registry import Registry
from local_cloud.emulators.pubsub.report import report
from local_cloud.emulators.pubsub.service import handlers
from local_cloud.emulators.pubsub.store import Store

REPORT_PATH = "/subscriptions"


def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    identity = Identity(load_key(options.data_dir / "signing-key.pem"))
    store = Store(options.data_dir / "subscriptions.sqlite")

    def make(session: aiohttp.ClientSession, spawn: serving.Spawn) -> serving.Emulator:
        registry = Registry(
            store=store, session=session, identity=identity, spawn=spawn, most_waiting=options.most_waiting
        )
        return serving.Emulator(registry, handlers(registry), REPORT_PATH, lambda: report(registry))

    with store.opened():
        asyncio.run(serving.serve(options, identity, make))


def main() -> None:
    """Read the command line and serve."""
    parser = serving.parser("pubsub", str(__doc__), REPORT_PATH)
    parser.add_argument(
        "--most-waiting",
        type=int,
        default=0,
        help="refuse messages while a subscription holds so many (0: no limit); for tests of a full queue",
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
