"""Distinct keys, however many: in a temporary SQLite database, of which memory holds a few megabytes.

A million keys took 109 MB as a set. Digests of 8 bytes would take 8 MB, but two keys may have the same: each that is
found would have to be looked up in the chunks of the plan. Here whole keys are compared, so no query can be lost.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from weakref import finalize

from windrow.model.errors import StagingUnavailable

_SETTINGS = """
PRAGMA cache_size = -4000;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID;
BEGIN;
"""
"""The cache is in kilobytes. What is larger goes to a file that SQLite has already deleted from its folder."""
_ADD = "INSERT OR IGNORE INTO seen VALUES (?)"
_FEW = 20_000
"""So many keys are in a set, which takes 2 us less for each of them, and 3 MB."""


class Keys:
    """A set of keys, for one thread at a time.

    All methods raise `StagingUnavailable` when the temporary file cannot be written.

    :param few: up to this number, the keys are in memory.
    """

    def __init__(self, keys: Iterable[str] = (), *, few: int = _FEW) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        finalize(self, self._database.close)
        self._database.executescript(_SETTINGS)
        self._count = 0
        self._most_few = few
        self._few: set[str] | None = set()
        for key in keys:
            self.add(key)

    def add(self, key: str) -> bool:
        """Add a key, and return whether it is new."""
        if self._few is None:
            is_new = self._run(_ADD, key).rowcount == 1
        elif is_new := key not in self._few:
            self._few.add(key)
            if len(self._few) > self._most_few:
                for each in self._few:
                    self._run(_ADD, each)
                self._few = None
        self._count += is_new
        return is_new

    def __contains__(self, key: str) -> bool:
        if self._few is not None:
            return key in self._few
        with closing(self._run("SELECT 1 FROM seen WHERE key = ?", key)) as found:
            return found.fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise StagingUnavailable(
                f"The keys of a plan cannot be written to a temporary file: {error}.",
                advice="Check that the folder for temporary files (TMPDIR) has space: a million keys take 100 MB. "
                "Then clear this task: it continues with what is stored.",
            ) from error
