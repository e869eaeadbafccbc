"""Launch nx-27017, which speaks MongoDB's protocol and stores in SQLite, in the foreground.

Its own command line always writes a pid file, and refuses to start when an old one names the pid of any
living process, as after a crash. The supervisor needs no pid file, so this starts the server itself.
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

from nx_27017 import daemon

from local_cloud.airflow_settings import known_source
from local_cloud.emulators import guard


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="mongo", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--data-dir", required=True, type=Path)
    options = parser.parse_args()
    known_source.check(daemon)
    guard.install()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    daemon.run_server_sync(
        argparse.Namespace(
            host=options.host,
            port=options.port,
            data_dir=str(options.data_dir),  # one file per database
            db_path="memory",  # not used with data_dir
            single_db_compat=False,
            journal_mode="WAL",
            fts5_tokenizers=None,
            threaded=False,
        )
    )


if __name__ == "__main__":
    main()
