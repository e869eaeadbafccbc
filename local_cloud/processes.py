"""The processes of one local cloud, wherever they are in the process tree, by a mark in their environment."""

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "WINDROW_SUPERVISED"
"""Set to the data folder for supervisord and, by inheritance, for all that descends from it."""

PROC = Path("/proc")


def identity(pid: int) -> str:
    """Return what names a process and no later one of the same pid. Raises ProcessLookupError when it is gone."""
    stat = PROC / str(pid) / "stat"
    if not PROC.is_dir():  # macOS: a pid is all there is to go by
        os.kill(pid, 0)
        return f"{pid}-0"
    try:
        # the name of the program, in brackets, may hold spaces and brackets itself
        state, *fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    if state in {"Z", "X"}:  # it has ended, and nobody asked how
        raise ProcessLookupError(f"process {pid} has ended")
    return f"{pid}-{fields[18]}"  # when it started, in ticks since the machine did


def lives(name: str) -> bool:
    """Whether the process that `identity` gave this name still runs."""
    try:
        return identity(int(name.partition("-")[0])) == name
    except (ProcessLookupError, ValueError):
        return False


def marked(value: Path | str, mark: str = MARK) -> dict[int, str]:
    """Return pid and command of each process whose environment has this mark: of the local cloud at `value`.

    Read from /proc; where there is none (macOS) this finds nothing, and the supervisor is relied upon.
    """
    entry = f"{mark}={value}".encode()
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


def wait_gone(value: Path | str, seconds: float, mark: str = MARK) -> bool:
    """Wait until no process with this mark is left; say whether that is so."""
    deadline = time.monotonic() + seconds
    while marked(value, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def sweep(value: Path | str, mark: str = MARK, patience: float = 3.0) -> dict[int, str]:
    """End processes that lost their supervisor: SIGTERM, after `patience` SIGKILL. Return what there was."""
    found = marked(value, mark)
    for signum, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 3.0)):
        left = marked(value, mark)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        if wait_gone(value, seconds, mark):
            break
    return found
