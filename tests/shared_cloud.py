"""One local cloud for all processes of a test session: a service starts when a test first needs it.

With pytest-xdist the tests run in several worker processes. They find the cloud in the folder that they share, and
take turns at starting services. The controller stops it when the session ends.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.settings import PORT_DEFAULTS, Settings
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import ROOT, free_settings
from tests import ends


class SharedCloud:
    """The local cloud in `folder`. Objects in several processes can stand for the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def need(self, *names: str) -> Settings:
        """Start those of these services that do not run yet; no names mean all services."""
        settings = self.settings()
        with locked(self.folder / "services.lock"):
            LocalCloud(settings, os.environ, frozenset(names) or None, extensible=True, owner=ends.owner()).up()
            return settings

    def settings(self) -> Settings:
        """Return what the first process that asked has chosen."""
        with locked(self.folder / "services.lock"):
            var = (self.folder / "var").resolve()
            if not self._ports.exists():
                settings = free_settings(var)
                fields = [variable.removeprefix("WINDROW_").lower() for variable in PORT_DEFAULTS]
                self._ports.write_text(json.dumps({field: getattr(settings, field) for field in fields}))
            return Settings(root=ROOT, var=var, **json.loads(self._ports.read_text()))

    def down(self) -> None:
        """Stop all services; do nothing when none was started."""
        if self._ports.exists():
            LocalCloud(self.settings(), os.environ).down()

    @property
    def _ports(self) -> Path:
        return self.folder / "ports.json"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_worker() -> bool:
    """Say whether this process is a worker of pytest-xdist."""
    return "PYTEST_XDIST_WORKER" in os.environ


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this session share."""
    base = factory.getbasetemp()
    return base.parent if is_worker() else base
