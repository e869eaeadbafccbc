"""Serve the fake APIs: `python -m local_cloud.apis --port 28400`.

Prints its address as the first line of stdout once it takes connections. Ends with code 0 on SIGTERM or
SIGINT, 2 when an argument or the passengers' file is no good, 98 when the port is in use.
"""

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from local_cloud.apis.app import make_app
from local_cloud.apis.faults import BadFault, Faults, parse_changes
from local_cloud.apis.made_up_passengers import make_passengers
from local_cloud.apis.passengers import BadPassengers, read_passengers
from local_cloud.apis.tokens import DEMO_CLIENT, Client
from local_cloud.emulators import guard
from local_cloud.run_service import die_with_parent
from local_cloud.settings import LOOPBACK, PORT_DEFAULTS

BAD_INPUT = 2
PORT_IN_USE = 98  # the number of EADDRINUSE on Linux
DRAIN_S = 0.5
"""Seconds that calls in flight get to finish when the server stops."""


def arguments() -> argparse.Namespace:
    """Read the command line; the environment supplies the defaults."""
    parser = argparse.ArgumentParser(prog="python -m local_cloud.apis", description="Serve the fake APIs.")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port",
        type=int,
        default=PORT_DEFAULTS["WINDROW_API_PORT"],
        help="port to listen on, 0 for any free one (%(default)s)",
    )
    parser.add_argument(
        "--passengers",
        type=Path,
        metavar="FILE.csv",
        default=os.environ.get("WINDROW_PASSENGERS_CSV") or None,
        help="serve the passengers of this file ($WINDROW_PASSENGERS_CSV); without it they are made up",
    )
    parser.add_argument(
        "--faults",
        metavar="JSON",
        default=os.environ.get("WINDROW_API_FAULTS") or "{}",
        help="faults to start with ($WINDROW_API_FAULTS), such as '{\"error_share\": 0.1}'",
    )
    parser.add_argument("--posts", type=Path, metavar="FILE", help="keep the times of X's posts in this file")
    parser.add_argument("--client-id", default=DEMO_CLIENT.client_id, help="known client (%(default)s)")
    parser.add_argument("--client-secret", default=DEMO_CLIENT.client_secret, help="its secret")
    parser.add_argument("--die-with-parent", action="store_true", help="stop when the parent ends (Linux)")
    return parser.parse_args()


async def serve(app: web.Application, listener: socket.socket) -> None:
    """Serve `app` until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    # a client that hangs up ends its call, so that `in_flight` counts what clients wait for
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=DRAIN_S)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    host, port = listener.getsockname()[:2]
    print(f"the fake APIs listen on http://{host}:{port}", flush=True)
    await stop.wait()
    await runner.cleanup()


def main() -> int:
    """Run the server; return the exit code."""
    options = arguments()
    if options.die_with_parent:
        die_with_parent(os.getppid())
    guard.install()
    logging.basicConfig(level=logging.WARNING)
    try:
        faults = Faults().changed(parse_changes(options.faults))
        passengers = read_passengers(options.passengers) if options.passengers else make_passengers()
    except (BadFault, BadPassengers) as bad:
        return _complain(str(bad), BAD_INPUT)
    try:
        listener = socket.create_server((options.host, options.port), backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _complain(
                f"port {options.port} is in use: stop what listens there, or choose another with --port "
                "or WINDROW_API_PORT",
                PORT_IN_USE,
            )
        return _complain(f"cannot listen on {options.host} port {options.port}: {error}", BAD_INPUT)
    except OverflowError:
        return _complain(f"{options.port} is no port: it must be from 0 to 65535", BAD_INPUT)
    client = Client(options.client_id, options.client_secret)
    asyncio.run(serve(make_app(passengers, client, faults, options.posts), listener))
    return 0


def _complain(message: str, code: int) -> int:
    print(f"the fake APIs cannot start: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
