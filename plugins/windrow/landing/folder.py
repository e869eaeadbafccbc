"""An object store that is a folder, for landings on a laptop."""

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from windrow.model.errors import BadParameter


class FolderStore:
    """A folder. A `windrow.landing.files.ObjectStore`: an object is written whole or not at all.

    Its methods raise OSError if the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        """Write an object, and replace an existing one."""
        self._write(name, io.BytesIO(data))

    def _write(self, name: str, data: IO[bytes]) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        number, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "wb") as file:
                shutil.copyfileobj(data, file)
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def put_file(self, name: str, file: IO[bytes]) -> None:
        """Write a file, from its beginning, as an object, and replace an existing one."""
        file.seek(0)
        self._write(name, file)

    def get_file(self, name: str, file: IO[bytes]) -> bool:
        """Copy an object to a file. Return False if the object does not exist."""
        path = self._path(name)
        if not path.is_file():
            return False
        with path.open("rb") as source:
            shutil.copyfileobj(source, file)
        return True

    def get(self, name: str) -> bytes | None:
        """Return the content of an object; None if it does not exist."""
        path = self._path(name)
        return path.read_bytes() if path.is_file() else None

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name has this prefix."""
        folder = self._path(prefix.rpartition("/")[0])
        found = (str(path.relative_to(self._folder)) for path in folder.rglob("*") if path.is_file())
        return sorted(name for name in found if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Delete an object; it may already be deleted."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if ".." in path.parts:
            raise BadParameter(f"{name!r} is outside of {self._folder}.", advice="Use a name without '..'.")
        return path
