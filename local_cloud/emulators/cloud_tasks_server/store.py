"""What must survive a restart, in SQLite: queues, tasks, names in use, and tasks that were given up."""

import dataclasses
from pathlib import Path

from local_cloud.emulators.cloud_tasks_server.messages import Queue, Task
from local_cloud.emulators.sqlite_store import SqliteStore

SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (
    name TEXT PRIMARY KEY, message BLOB NOT NULL, dispatched INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tasks (
    name TEXT PRIMARY KEY, queue TEXT NOT NULL REFERENCES queues ON DELETE CASCADE, message BLOB NOT NULL,
    executions INTEGER NOT NULL, previous_status INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS tasks_of_queue ON tasks (queue);
CREATE TABLE IF NOT EXISTS tombstones (
    name TEXT PRIMARY KEY, queue TEXT NOT NULL REFERENCES queues ON DELETE CASCADE, until REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS tombstones_of_queue ON tombstones (queue);
CREATE INDEX IF NOT EXISTS tombstones_by_end ON tombstones (until);
CREATE TABLE IF NOT EXISTS given_up (
    queue TEXT NOT NULL REFERENCES queues ON DELETE CASCADE, name TEXT NOT NULL, attempts INTEGER NOT NULL,
    reason TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS given_up_of_queue ON given_up (queue);
"""


@dataclasses.dataclass(eq=False)
class StoredTask:
    """A task and what the API does not tell of it."""

    message: Task
    executions: int = 0
    """Answers of the handler other than 5xx."""
    previous_status: int = 0
    """HTTP status of the last attempt; 0: none yet, or no answer."""


@dataclasses.dataclass(frozen=True)
class GivenUp:
    """A task that will not be tried again."""

    name: str
    attempts: int
    reason: str
    at: float
    """Seconds since 1970."""


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a queue has done since it was made."""

    dispatched: int
    done: int


class Store(SqliteStore):
    """The database of all queues. Used by one thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, SCHEMA)

    def queues(self) -> list[Queue]:
        """Return all queues."""
        return [Queue.FromString(message) for (message,) in self._database.execute("SELECT message FROM queues")]

    def tasks(self, queue: str) -> list[StoredTask]:
        """Return all tasks of a queue."""
        rows = self._database.execute(
            "SELECT message, executions, previous_status FROM tasks WHERE queue = ?", (queue,)
        )
        return [StoredTask(Task.FromString(message), *others) for message, *others in rows]

    def totals(self, queue: str) -> Totals:
        """Return the counts of a queue."""
        return Totals(
            *self._database.execute("SELECT dispatched, done FROM queues WHERE name = ?", (queue,)).fetchone()
        )

    def given_up(self, queue: str) -> list[GivenUp]:
        """Return the tasks of a queue that were given up, the oldest first."""
        rows = self._database.execute(
            "SELECT name, attempts, reason, at FROM given_up WHERE queue = ? ORDER BY rowid", (queue,)
        )
        return [GivenUp(*row) for row in rows]

    def is_buried(self, task: str, now: float) -> bool:
        """Whether a task of this name is gone so recently that the name cannot be used again."""
        found = self._database.execute("SELECT 1 FROM tombstones WHERE name = ? AND until > ?", (task, now))
        return found.fetchone() is not None

    def save_queue(self, queue: Queue) -> None:
        """Keep a queue as it is now."""
        self._database.execute(
            "INSERT INTO queues (name, message) VALUES (?, ?) ON CONFLICT DO UPDATE SET message = excluded.message",
            (queue.name, queue.SerializeToString()),
        )

    def delete_queue(self, queue: str) -> None:
        """Forget a queue and all that belongs to it."""
        self._database.execute("DELETE FROM queues WHERE name = ?", (queue,))

    def save_task(self, queue: str, task: StoredTask) -> None:
        """Keep a task as it is now."""
        self._save_task(queue, task)

    def save_dispatch(self, queue: str, task: StoredTask) -> None:
        """Keep a task that is being sent, and count that."""
        with self._transaction() as database:
            self._save_task(queue, task)
            database.execute("UPDATE queues SET dispatched = dispatched + 1 WHERE name = ?", (queue,))

    def _save_task(self, queue: str, task: StoredTask) -> None:
        self._database.execute(
            "REPLACE INTO tasks VALUES (?, ?, ?, ?, ?)",
            (task.message.name, queue, task.message.SerializeToString(), task.executions, task.previous_status),
        )

    def bury(self, queue: str, tasks: list[str], now: float, until: float) -> None:
        """Delete tasks, and keep their names from being used again until then."""
        with self._transaction():
            self._bury(queue, tasks, now, until)

    def bury_done(self, queue: str, task: str, now: float, until: float) -> None:
        """Delete a task that succeeded, and count it."""
        with self._transaction() as database:
            self._bury(queue, [task], now, until)
            database.execute("UPDATE queues SET done = done + 1 WHERE name = ?", (queue,))

    def bury_given_up(self, queue: str, task: GivenUp, until: float) -> None:
        """Delete a task that is not tried again, and keep the reason."""
        with self._transaction() as database:
            self._bury(queue, [task.name], task.at, until)
            database.execute(
                "INSERT INTO given_up VALUES (?, ?, ?, ?, ?)", (queue, task.name, task.attempts, task.reason, task.at)
            )

    def _bury(self, queue: str, tasks: list[str], now: float, until: float) -> None:
        self._database.executemany("DELETE FROM tasks WHERE name = ?", [(task,) for task in tasks])
        self._database.execute("DELETE FROM tombstones WHERE until <= ?", (now,))
        self._database.executemany("REPLACE INTO tombstones VALUES (?, ?, ?)", [(task, queue, until) for task in tasks])
