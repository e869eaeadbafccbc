"""The staging in a SQLite file, for a harvest without MongoDB: the same documents, found by the same fields.

A document is BSON, as on the wire to MongoDB, so that values come back with the same types.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import bson

from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Run
from windrow.store.documents import Document
from windrow.store.staging import Staging

T = TypeVar("T")
_INDEXED = ("run", "window", "consent", "chunk")
"""Fields that documents are found by. The first that a document has is its own, see `windrow.store.staging`."""
_TABLE = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT, id TEXT, indexed TEXT, document BLOB NOT NULL, PRIMARY KEY (collection, id)
);
CREATE INDEX IF NOT EXISTS found ON documents (collection, indexed);
"""


class LocalStaging(Staging):
    """The state of harvests in one SQLite file, which one process uses at a time. Made by `opened`.

    All methods raise `StagingUnavailable` when the file cannot be read or written.
    """

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        self._sqlite = database
        self._name = name
        self._lock = Lock()  # the engine calls from several threads

    def prepare(self, dataset: str) -> None:
        """Create the table."""
        self._run(lambda: self._sqlite.executescript(_TABLE))

    def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        rows = [_row(collection, document) for document in documents]
        if rows:
            self._run(lambda: self._sqlite.executemany("REPLACE INTO documents VALUES (?, ?, ?, ?)", rows))

    def _summarize(self, run: Run, change: Document) -> None:
        """Do nothing: only the Harvest page and `windrow status` read summaries, and they read MongoDB."""

    def turns_clock(self) -> float:
        """Return the time of this machine."""
        return time.time()

    def claim_turns(self, api: str, span_s: float, now: float, ahead_s: float) -> float:
        """Return ``now``: no other process uses the file, and a client spaces its own calls."""
        return now

    def _insert(self, collection: str, document: Document) -> bool:
        row = _row(collection, document)
        self._run(lambda: self._sqlite.execute("INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?)", row))
        (found,) = self._find(collection, {"_id": document["_id"]})
        return bool(found["holder"] == document["holder"])

    def _delete(self, collection: str, *ids: str) -> None:
        places = [(collection, id_) for id_ in ids]
        if places:
            self._run(lambda: self._sqlite.executemany("DELETE FROM documents WHERE collection = ? AND id = ?", places))

    def _find(self, collection: str, where: Mapping[str, str], fields: Sequence[str] = ()) -> list[Document]:
        ((name, value),) = where.items()
        column = "id" if name == "_id" else "indexed"
        found = self._run(
            lambda: self._sqlite.execute(
                f"SELECT document FROM documents WHERE collection = ? AND {column} = ?",  # noqa: S608 - one of two names
                (collection, value),
            ).fetchall()
        )
        return [bson.decode(document) for (document,) in found]

    def _each(self, collection: str, where: Mapping[str, str]) -> Iterator[Document]:
        """Yield documents one by one."""
        ((_, value),) = where.items()
        statement = "SELECT id FROM documents WHERE collection = ? AND indexed = ? ORDER BY rowid"
        for (id_,) in self._run(lambda: self._sqlite.execute(statement, (collection, value)).fetchall()):
            yield from self._find(collection, {"_id": id_})

    def _run(self, operation: Callable[[], T]) -> T:
        try:
            with self._lock, self._sqlite:
                return operation()
        except sqlite3.Error as error:
            raise _unavailable(self._name, error) from error


@contextmanager
def opened(path: Path | None = None) -> Iterator[LocalStaging]:
    """Open the staging in a file, or in memory, and close it at the end.

    :raises StagingUnavailable: the file cannot be opened, or another process uses it.
    """
    name = str(path or ":memory:")
    try:
        if path:
            path.touch(mode=0o600)  # answers may have personal data
        database = sqlite3.connect(name, timeout=1.0, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise _unavailable(name, error) from error
    with closing(database):
        staging = LocalStaging(database, name)
        staging._run(lambda: database.executescript("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"))
        staging._run(lambda: database.execute("PRAGMA synchronous = FULL"))
        staging.prepare("")
        yield staging


def _row(collection: str, document: Document) -> tuple[str, str, Any, bytes]:
    indexed = next((document[name] for name in _INDEXED if name in document), None)
    return collection, document["_id"], indexed, bson.encode(document)


def _unavailable(name: str, error: sqlite3.Error | OSError) -> StagingUnavailable:
    if "locked" in str(error):
        return StagingUnavailable(
            f"The local store {name} is used by another process.",
            advice="Wait until the other `windrow harvest` has ended, or use another folder with --to.",
        )
    return StagingUnavailable(
        f"The local store {name} failed: {error}.",
        advice="Check that the folder exists and is writable, and that the disk is not full. Answers that were stored "
        "are safe.",
    )
