"""Run the local cloud, or a part of it, for the time of a test: on free ports, in a folder of its own."""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from local_cloud import ports
from local_cloud.settings import PORT_DEFAULTS, Settings
from local_cloud.supervisor import LocalCloud

ROOT = Path(__file__).resolve().parents[1]


def free_settings(var: Path, **overrides: Any) -> Settings:  # whatever the fields of Settings take
    """Return settings with free ports and data in `var`; `overrides` are fields of Settings."""
    fields = [variable.removeprefix("WINDROW_").lower() for variable in PORT_DEFAULTS]
    chosen = dict(zip(fields, ports.find_free(len(fields)), strict=True))
    return Settings(**{"root": ROOT, "var": var.resolve(), **chosen, **overrides})


@contextlib.contextmanager
def running(
    services: Collection[str] | None, var: Path, *, owner: int | None = None, **overrides: Any
) -> Iterator[Settings]:
    """Run these services (None: all) until the block ends, then stop them and make sure that nothing is left.

    They also end within seconds of the process `owner` (None: this one), be it killed. `var` must be an empty or
    new folder, or one of an earlier run: its data is found again.
    Raises what LocalCloud.up and LocalCloud.down raise, and ValueError for an unknown service.
    """
    settings = free_settings(var, **overrides)
    cloud = LocalCloud(settings, os.environ, services, owner=os.getpid() if owner is None else owner)
    cloud.up()
    try:
        yield settings
    finally:
        cloud.down()
