"""Follow the logs of all services at once, each line with the name of its service."""

import time
from collections.abc import Iterator
from pathlib import Path

POLL = 0.5
FIRST_LINES = 5
"""Lines shown of what each log holds already."""


def follow(folder: Path) -> Iterator[str]:
    """Yield lines of every `*.log` of a folder, for ever: the last few, then each new one as it is written."""
    tails: dict[Path, _Tail] = {}
    while True:
        for path in sorted(folder.glob("*.log")):
            first = path not in tails
            tail = tails.setdefault(path, _Tail(path))
            lines = tail.read()
            for line in lines[-FIRST_LINES:] if first else lines:
                yield f"{path.stem:<21} {line}"
        time.sleep(POLL)


class _Tail:
    """What was not read yet of a log that grows, and starts again from nothing when it is rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._partial = ""

    def read(self) -> list[str]:
        """Return the lines completed since the last call."""
        try:
            with self._path.open("rb") as log:
                if self._is_new():
                    self._offset, self._partial = 0, ""
                log.seek(self._offset)
                data = log.read()
        except FileNotFoundError:  # between the two steps of a rotation
            return []
        self._offset += len(data)
        *lines, self._partial = (self._partial + data.decode(errors="replace")).split("\n")
        return lines

    def _is_new(self) -> bool:
        now = self._path.stat()
        before, self._inode = self._inode, now.st_ino
        return now.st_ino != before or now.st_size < self._offset
