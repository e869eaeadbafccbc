"""Launch nx-27017, which speaks MongoDB's protocol and stores in SQLite, in the foreground, with logins.

Its own command line always writes a pid file, and refuses to start when an old one names the pid of any
living process, as after a crash. The supervisor needs no pid file, so this starts the server itself.
"""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from neosqlite.collection.query_helper import crud_operations
from nx_27017 import handler, server

from local_cloud.airflow_settings import known_source
from local_cloud.emulators import guard
from local_cloud.emulators.mongo_logins import LoginHandler, Users


def main() -> None:
    """Serve until SIGTERM. MONGO_USER of the database `admin` has the password MONGO_PASSWORD."""
    parser = argparse.ArgumentParser(prog="mongo", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--data-dir", required=True, type=Path)
    options = parser.parse_args()
    known_source.check(server, handler, crud_operations)
    guard.install()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    users = Users(options.data_dir / "users.json")
    users.put("admin", os.environ["MONGO_USER"], os.environ["MONGO_PASSWORD"])
    # one file per database
    logins = LoginHandler(users, str(options.data_dir))
    # A thread for each connection. With asyncio each command would be handed to a thread and back: a third more CPU.
    server.run_server_threaded(options.host, options.port, logins)


if __name__ == "__main__":
    main()
