"""The data folder: claimed by a marker file, so that `clean` can never delete anything else."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from local_cloud.errors import FolderError

MARKER = ".windrow-local-cloud"
LEAST_FREE = 100_000_000
"""Bytes that have to be free: with less, services cannot write their data and logs."""


def claim(var: Path) -> None:
    """Make `var` and mark it as ours. Raises FolderError when it holds something else."""
    marker = var / MARKER
    if marker.is_file():
        return
    if var.exists() and (not var.is_dir() or any(var.iterdir())):
        raise FolderError(
            f"{var} exists and was not created by the local cloud. Set WINDROW_VAR to an empty or a new folder."
        )
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.write_text("Data of Windrow's local cloud; `make clean` deletes this folder.\n")


def full_disk(var: Path) -> str:
    """Return what to do if the disk of `var` is full; an empty string if it is not."""
    there = next(path for path in (var, *var.parents) if path.exists())
    usage = shutil.disk_usage(there)
    if usage.free >= LEAST_FREE:
        return ""
    return (
        f"The disk of {var} is full: {usage.free / 1e6:,.0f} MB of {usage.total / 1e6:,.0f} MB are free, and the "
        f"local cloud needs {LEAST_FREE / 1e6:,.0f} MB. What is stored is kept. Delete files on this disk, or set "
        "WINDROW_VAR to a folder on another one; then run `make up`."
    )


def delete(var: Path) -> bool:
    """Delete `var`; False when there is none. Raises FolderError when it does not carry our marker."""
    if not var.exists():
        return False
    if not (var / MARKER).is_file():
        raise FolderError(
            f"{var} does not contain the file {MARKER}, so the local cloud did not create it and will not delete it. "
            "Check WINDROW_VAR, or delete the folder yourself."
        )
    shutil.rmtree(var)
    return True


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step: readers see the old or the new text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def secret(path: Path, make: Callable[[], Mapping[str, str]]) -> dict[str, str]:
    """Return the secrets kept in `path` (JSON, 0600), making them when there are none yet."""
    if not path.exists():
        write_private(path, json.dumps(dict(make())))
    values: dict[str, str] = json.loads(path.read_text())
    return values
