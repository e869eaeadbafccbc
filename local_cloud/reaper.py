"""The parent of supervisord, which leaves no process behind: `python -m local_cloud.reaper [OPTIONS] COMMAND...`.

supervisord knows the services it started, but not what they forked: executor workers, tasks. When a service
is killed these would be handed to init and live on. The reaper is their next of kin (a child subreaper):
any process that loses its parent becomes a child of the reaper, and is ended. When supervisord itself
is gone, so is everything else. When the reaper is killed, supervisord gets SIGTERM and stops its services.
When the process that --while-alive names is gone, supervisord is stopped.

Linux only; elsewhere the reaper only waits for supervisord.
"""

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from local_cloud import processes
from local_cloud.run_service import die_with_parent

PR_SET_CHILD_SUBREAPER = 36
GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL: of orphans once supervisord is gone, of supervisord once its owner is."""
POLL = 0.2
"""Seconds between two looks at the children."""


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent ends."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def children() -> Iterator[int]:
    """Yield the processes whose parent is this one."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    if listing.exists():
        yield from map(int, listing.read_text().split())


def reap() -> tuple[int, int]:
    """Return pid and status of a child that has ended, or (0, 0)."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:  # no children at all
        return 0, 0


def send(pid: int, signum: signal.Signals) -> None:
    """Send a signal to a child of ours, which may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def launch(command: list[str]) -> int:
    """Start supervisord, bound to this process."""
    reaper = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(reaper)
        os.execv(command[0], command)  # noqa: S606 - no shell is the point
    return pid


def supervise(supervisord: int, owner_lives: Callable[[], bool]) -> int:
    """Wait for supervisord, ending every orphan meanwhile, and it when the owner is gone; return its exit status."""
    late: float | None = None
    while True:
        pid, status = reap()
        while pid:
            if pid == supervisord:
                return os.waitstatus_to_exitcode(status)
            pid, status = reap()
        for orphan in children():
            if orphan != supervisord:
                send(orphan, signal.SIGKILL)
        if late is not None and time.monotonic() > late:
            send(supervisord, signal.SIGKILL)
        elif late is None and not owner_lives():
            late = time.monotonic() + GRACE
            send(supervisord, signal.SIGTERM)
        time.sleep(POLL)  # the kernel tells nobody when a process is adopted


def end_all() -> None:
    """End whatever is left: SIGTERM, then SIGKILL after the grace period."""
    deadline = time.monotonic() + GRACE
    told: set[int] = set()
    while True:
        while reap()[0]:
            pass
        left = set(children())
        if not left:
            return
        late = time.monotonic() > deadline
        for pid in left if late else left - told:
            send(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= left
        time.sleep(POLL)


def main() -> int:
    """Run supervisord to its end, then end everything it left."""
    parser = argparse.ArgumentParser(prog="python -m local_cloud.reaper")
    parser.add_argument("--while-alive", metavar="PROCESS", help="stop when this process is gone (processes.identity)")
    parser.add_argument("--remove", metavar="FOLDER", help="delete this folder at the end")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    owner = options.while_alive
    adopt_orphans()
    supervisord = launch(options.command)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: send(supervisord, signal.SIGTERM))
    status = supervise(supervisord, lambda: owner is None or processes.lives(owner))
    end_all()
    if options.remove:
        shutil.rmtree(options.remove, ignore_errors=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
