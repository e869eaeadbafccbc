"""Launch our Athena and Glue, in front of the emulator that holds S3 and Glue's catalogue."""

import argparse
import logging
import signal
import sys
from pathlib import Path

from local_cloud.emulators import guard
from local_cloud.emulators.athena_server.executions import Executions
from local_cloud.emulators.athena_server.glue import Glue
from local_cloud.emulators.athena_server.lake import Lake
from local_cloud.emulators.athena_server.server import Server


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="athena", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--upstream", required=True, help="address of the emulator of S3 and Glue's catalogue")
    parser.add_argument("--data-dir", required=True, type=Path)
    options = parser.parse_args()
    guard.install()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    store = Lake(options.upstream, options.data_dir / "objects")
    executions = Executions(store, options.data_dir)
    executions.load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server((options.host, options.port), executions.calls, Glue(store).calls, options.upstream) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
