"""The data folder: claimed by a marker file, so that `clean` can never delete anything else."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from local_cloud.errors import FolderError

MARKER = ".windrow-local-cloud"


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
