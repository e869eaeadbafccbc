"""A real full disk, for a bucket and for each warehouse: the line of the task names it, and nothing is lost.

The service has a small file system of its own, in a user namespace, so that no root is needed.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_cloud.services import select, table
from local_cloud.settings import Settings
from local_cloud.testing import free_settings
from windrow.airflow.operators.failure import story

SIZE = "24m"
MOUNT = f'mount -t tmpfs -o size={SIZE} windrow "$0" && exec "$@"'
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


class Disk:
    """The file system of a service."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._ballast = Path(f"/proc/{pid}/root{folder}/ballast")

    def fill(self) -> None:
        """Leave no byte."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1))

    def free(self) -> None:
        self._ballast.unlink()


@contextlib.contextmanager
def on_a_small_disk(name: str, settings: Settings) -> Iterator[Disk]:
    """Run a service of the local cloud until the block ends."""
    (service,) = select(table(settings, os.environ), [name])
    folder = settings.var / name
    folder.mkdir(parents=True)
    command = [*NAMESPACE, "sh", "-c", MOUNT, str(folder), *service.argv]
    log = settings.var / f"{name}.log"
    with log.open("w") as output, subprocess.Popen(
        command, env=dict(service.environment), cwd=settings.root, stdout=output, stderr=output
    ) as process:
        try:
            while not service.healthy(datetime.now(UTC)):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield Disk(folder, process.pid)
        finally:
            process.terminate()


def line(error: BaseException) -> str:
    """Return the last line of the log of a task that ends with this error."""
    instance = SimpleNamespace(task_id="t", task=None)
    return story({"task_instance": instance, "run_id": "r", "exception": error})  # type: ignore[typeddict-item]
