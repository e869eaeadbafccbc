"""What an emulator keeps across restarts, in SQLite.

Every call is one transaction, and done when it returns: a killed process loses nothing, a power cut may lose the
last moments.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class SqliteStore:
    """A database that one thread uses. A store derives from it, and brings its tables."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Open the database, making it when there is none, until the block ends."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as self._database:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("PRAGMA foreign_keys = ON")
            self._database.executescript(self._schema)
            yield

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._database:  # commits, or rolls back
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
