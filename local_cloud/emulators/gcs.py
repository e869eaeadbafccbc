"""Launch gcp-storage-emulator 2026.7.19: Cloud Storage's JSON API on a folder.

The emulator's own server handles one connection at a time, so that a single idle one stalls everybody, and
a port in use leaves a process that hangs. This serves the same handlers with a thread a connection.
"""

import argparse
import functools
import http.server
import logging
import signal
import sys
import threading
from pathlib import Path

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator import storage as emulator_storage
from gcp_storage_emulator.handlers import buckets, objects

from local_cloud.airflow_settings import known_source
from local_cloud.emulators import gcs_routes, guard
from local_cloud.emulators.gcs_storage import DurableStorage


class Server(http.server.ThreadingHTTPServer):
    """A thread a connection; idle ones do not delay the end."""

    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="gcs", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--data-dir", required=True, type=Path)
    options = parser.parse_args()
    known_source.check(emulator, emulator_storage, buckets, objects)
    guard.install()
    logging.basicConfig(level=logging.CRITICAL)  # the emulator logs whole requests, and warns about its own
    storage = DurableStorage(options.data_dir, f"http://{options.host}:{options.port}")
    storage.reconcile()
    emulator.HANDLERS = gcs_routes.mended(emulator.HANDLERS)  # where its router looks them up
    threading.Thread(target=storage.flush_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server((options.host, options.port), functools.partial(emulator.RequestHandler, storage)) as server:
        try:
            server.serve_forever()
        finally:
            storage.flush()


if __name__ == "__main__":
    main()
