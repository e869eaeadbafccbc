"""The processes of one local cloud, wherever they are in the process tree, by a mark in their environment."""

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "WINDROW_SUPERVISED"
"""Set to the data folder for supervisord and, by inheritance, for all that descends from it."""

PROC = Path("/proc")


def marked(var: Path) -> dict[int, str]:
    """Return pid and command of each process of the local cloud at `var`.

    Read from /proc; where there is none (macOS) this finds nothing, and the supervisor is relied upon.
    """
    entry = f"{MARK}={var}".encode()
    found = {}
    for folder in PROC.glob("[0-9]*"):
        # it may end while we look, and another user's is not for us to read
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = command(int(folder.name))
    found.pop(os.getpid(), None)
    return found


def command(pid: int) -> str:
    """Return the command line of a process. Raises OSError when it is gone."""
    return (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def shortened(words: str, length: int = 160) -> str:
    """Return a command line for a message: both its ends, since a long path may come before the program's name."""
    if len(words) <= length:
        return words
    half = (length - len(" ... ")) // 2
    return f"{words[:half]} ... {words[-half:]}"


def wait_gone(var: Path, seconds: float) -> bool:
    """Wait until no process of the local cloud is left; say whether that is so."""
    deadline = time.monotonic() + seconds
    while marked(var):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def sweep(var: Path) -> dict[int, str]:
    """End processes that lost their supervisor: SIGTERM, then SIGKILL. Return what there was."""
    found = marked(var)
    for signum, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        left = marked(var)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        if wait_gone(var, patience):
            break
    return found
