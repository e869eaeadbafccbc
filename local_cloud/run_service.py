"""Run a service so that it ends with its parent: `python -m local_cloud.run_service SPEC.json`.

SPEC.json holds `argv` and the complete `environment` of the service. A file rather than supervisord.conf,
because values may hold quotes, `%` and line ends, and some are secrets.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to send SIGTERM to this process when its parent, `parent`, ends.

    Linux only; elsewhere it does nothing. The request survives exec, and is not inherited by children.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the request was made, so no signal will come
        os._exit(1)


def main(spec: Path) -> None:
    """Become the service that `spec` describes."""
    # supervisord leads its own process, so the parent we see now is the one to live and die with
    die_with_parent(os.getppid())
    service = json.loads(spec.read_text())
    os.execve(service["argv"][0], service["argv"], service["environment"])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(Path(sys.argv[1]))
