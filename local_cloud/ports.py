"""Every port must be free before anything starts: a taken one is a clear error, not a service that dies."""

import contextlib
import errno
import os
import random
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from local_cloud import processes
from local_cloud.errors import LocalCloudError, PortTaken
from local_cloud.services import Port, Service
from local_cloud.settings import LOOPBACK

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""
BLOCK = 64
"""Ports that a process claims at once."""
BLOCKS = range(12_032, 28_000, BLOCK)
"""The first port of each block: all below the ports of outgoing connections, and below those of `make demo`."""

_claimed: list[int] = []
"""What is left of the blocks that this process has claimed."""
_claims: list[socket.socket] = []


def check_free(services: Iterable[Service]) -> None:
    """Raise PortTaken when somebody listens on a port of these services."""
    for service in services:
        for port in service.ports:
            if not _is_free(port.number):
                raise PortTaken(_explain(service, port))


def find_free(count: int) -> list[int]:
    """Return this many ports that are free now. No other call, in this or another process, is given them.

    They lie below the range from which the kernel takes the ports of outgoing connections, so that none is taken
    that way before its service starts.
    """
    found: list[int] = []
    while len(found) < count:
        if not _claimed:
            _claimed.extend(_claim())
        port = _claimed.pop()
        if _is_free(port):
            found.append(port)
    return found


def _claim() -> range:
    """Return a block of ports that no other process is given before this one ends."""
    for first in random.sample(BLOCKS, len(BLOCKS)):
        claim = socket.socket(socket.AF_UNIX)
        if sys.platform == "linux":  # a name without a file: the kernel forgets it with the process
            try:
                claim.bind(f"\0windrow-ports-{first}")
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        return range(first, first + BLOCK)
    raise LocalCloudError(f"The ports from {BLOCKS.start} to {BLOCKS.stop} are all in use. Stop other test runs.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as the servers do: connections of the last run that are still closing do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def _explain(service: Service, port: Port) -> str:
    if port.number < 1024 and os.getuid() != 0:
        return f"{service.name} cannot use port {port.number}: set {port.variable} in .env to a port above 1023."
    holder = _holder(port.number)
    by = f" by {holder}" if holder else ""
    return (
        f"{service.name} needs port {port.number}, which is in use{by}. "
        f"Stop that process, or set {port.variable} in .env to another port."
    )


def _holder(port: int) -> str | None:
    """Return pid and command of who listens on a port, as far as /proc tells."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    if not inodes:
        return None
    for folder in processes.PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            for descriptor in (folder / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    command = processes.command(int(folder.name))
                    return f"process {folder.name} ({processes.shortened(command)})"
    return None


def _listening(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port, of any address."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTEN and int(local.rpartition(":")[2], 16) == port:
                inodes.add(inode)
    return inodes
