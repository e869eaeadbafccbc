"""However a test session ends, it leaves no process and no temporary folder behind.

`begin` gives the session a folder, which is the temp directory of all that it starts, and a keeper: a process that
waits for the session to end, ends every process that still carries its mark, and deletes the folder. What a killed
keeper left is deleted when the next session begins.
"""

import atexit
import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from local_cloud import processes, signals  # noqa: E402

MARK = "PYTEST_WINDROW_SESSION"
"""Set for all that a session starts: what `processes.identity` says of the first process of the session."""
PREFIX = "windrow-tests-"
PATIENCE_S = 8.0
"""How long processes get to end before they are killed: the services of a local cloud end one after the other."""


def begin() -> None:
    """Begin a session, or join the one whose worker this process is; SIGTERM and SIGHUP end it as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signals.end_in_order()
    if "PYTEST_XDIST_WORKER" in os.environ and MARK in os.environ:
        return
    place = Path(os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir()))  # pytest keeps its own there
    for folder in place.glob(f"{PREFIX}*"):
        name = folder.name.removeprefix(PREFIX)
        if not processes.lives(name) and folder.stat().st_uid == os.getuid():
            clear(place, name)
    name = processes.identity(os.getpid())
    keeper = subprocess.Popen(
        [sys.executable, __file__, str(place), name],
        env={key: value for key, value in os.environ.items() if key != MARK},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal from the terminal is not for it
    )
    atexit.register(_finish, keeper, os.getpid())
    folder = place / f"{PREFIX}{name}"
    folder.mkdir(mode=0o700)
    os.environ |= {MARK: name, "TMPDIR": str(folder)}
    tempfile.tempdir = None  # it is found anew


def owner() -> int:
    """Return the pid of the process whose end is that of the session."""
    return int(os.environ[MARK].partition("-")[0])


def clear(place: Path, name: str) -> None:
    """End all that a session left, and delete its folder."""
    processes.sweep(name, MARK, PATIENCE_S)
    shutil.rmtree(place / f"{PREFIX}{name}", ignore_errors=True)
    for lock in place.glob("pytest-of-*/pytest-*/.lock"):  # else pytest keeps all that was killed for three days
        with contextlib.suppress(OSError):
            if lock.read_text() == name.partition("-")[0]:
                lock.unlink()


def keep(place: Path, name: str) -> None:
    """Wait until the session says that it has ended, or is gone, and clear up behind it."""
    while processes.lives(name) and not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
    clear(place, name)


def _finish(keeper: "subprocess.Popen[bytes]", pid: int) -> None:
    if os.getpid() == pid:  # not in a fork of it
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.communicate(timeout=2 * PATIENCE_S)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2])
