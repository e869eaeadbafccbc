"""Run the publisher: `python -m windrow.sources.x.publisher`. Its settings are environment variables: .env.example.

It ends with code 0 on SIGTERM or SIGINT, with 2 if a person must change something, and with 1 if a restart may help.
After a restart it continues from the watermark; some posts may be published twice.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from windrow.http.auth import StaticToken
from windrow.http.client import Client, Limits
from windrow.model import logs
from windrow.model.errors import LoginRejected, Misconfigured, WindrowError
from windrow.sources.x.publisher.background import in_background
from windrow.sources.x.publisher.intake import RUN
from windrow.sources.x.publisher.outlet import Outlet
from windrow.sources.x.publisher.publisher import PARTING_S, Publisher, Tempo
from windrow.sources.x.publisher.settings import Settings
from windrow.sources.x.streams import POLICY
from windrow.store.staging import opened

log = logging.getLogger("windrow.sources.x.publisher")

AGAIN, FINAL = 1, 2


async def serve(settings: Settings, tempo: Tempo, beat: Path | None) -> None:
    """Publish until SIGTERM or SIGINT.

    :param beat: a file to touch while the stream sends data and the state is saved, for a health check. A process
        without a working stream does not touch it.
    """
    outlet = Outlet(settings.project, settings.topic)
    if settings.subscription:
        await in_background(lambda: outlet.prepare(settings.subscription))
    client = Client(
        settings.api_url, StaticToken(settings.bearer_token), name="x", policy=POLICY, limits=Limits(connections=2)
    )
    mongo = contextlib.ExitStack()
    staging = mongo.enter_context(opened(settings.mongo_url, settings.mongo_database, "the variable MONGO_URL"))
    try:
        async with client:
            publisher = Publisher(
                client,
                outlet,
                staging,
                settings.rules,
                usernames=settings.usernames,
                tempo=tempo,
                noted=beat.touch if beat else lambda: None,
            )
            running = asyncio.create_task(publisher.run())
            for signum in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(signum, running.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await running
    finally:
        with contextlib.suppress(TimeoutError):  # closing may look for the server once more
            async with asyncio.timeout(PARTING_S):
                await in_background(mongo.close)


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m windrow.sources.x.publisher", description="Publish the posts of X to Pub/Sub."
    )
    parser.add_argument(
        "--beat", type=Path, metavar="FILE", help="touch this file every few seconds while the stream works"
    )
    parser.add_argument(
        "--search-lag",
        type=float,
        metavar="SECONDS",
        default=Tempo.search_lag,
        help="how long after a reconnect its gap is filled (%(default)s)",
    )
    parser.add_argument(
        "--rules-lag",
        type=float,
        metavar="SECONDS",
        default=Tempo.rules_lag,
        help="how long new rules may be inactive in the stream; this also is a gap (%(default)s)",
    )
    options = parser.parse_args()
    logs.configure(as_json=os.environ.get("X_LOG_FORMAT") == "json", to=sys.stderr)
    logs.begin(RUN)
    tempo = Tempo(search_lag=options.search_lag, rules_lag=options.rules_lag)
    try:
        asyncio.run(serve(Settings.read(os.environ), tempo, options.beat))
    except (Misconfigured, LoginRejected) as error:
        log.error("%s", error)
        return FINAL
    except WindrowError as error:
        log.error("%s", error)
        return AGAIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
