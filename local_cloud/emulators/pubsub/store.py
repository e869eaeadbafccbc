"""What must survive a restart, in SQLite: topics, subscriptions, and each subscription's copies of messages."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from local_cloud.emulators.pubsub.messages import PubsubMessage, Subscription, Topic
from local_cloud.emulators.sqlite_store import SqliteStore

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, message BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS subscriptions (name TEXT PRIMARY KEY, message BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS copies (
    number INTEGER PRIMARY KEY, subscription TEXT NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    message BLOB NOT NULL, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS copies_of_subscription ON copies (subscription);
"""
MICROSECONDS = 1_000_000


class Numbers:
    """Numbers that are used once, also across restarts: microseconds since 1970, or one more than the last."""

    def __init__(self, last: int) -> None:
        self._last = last

    def next(self) -> int:
        """Return a number greater than all before."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last


class Store(SqliteStore):
    """The database of all topics and subscriptions. Used by one thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, SCHEMA)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Open the database, and find the numbers that are used up."""
        with super().opened():
            (last,) = self._database.execute("SELECT MAX(number) FROM copies").fetchone()
            self.numbers = Numbers(last or 0)
            yield

    # --- topics and subscriptions --------------------------------------------------------------

    def topics(self) -> list[Topic]:
        """Return all topics."""
        return [Topic.FromString(message) for (message,) in self._database.execute("SELECT message FROM topics")]

    def subscriptions(self) -> list[Subscription]:
        """Return all subscriptions."""
        rows = self._database.execute("SELECT message FROM subscriptions")
        return [Subscription.FromString(message) for (message,) in rows]

    def save_topic(self, topic: Topic) -> None:
        """Keep a topic as it is now."""
        self._save("topics", topic.name, topic.SerializeToString())

    def save_subscription(self, subscription: Subscription) -> None:
        """Keep a subscription as it is now."""
        self._save("subscriptions", subscription.name, subscription.SerializeToString())

    def _save(self, table: str, name: str, message: bytes) -> None:
        self._database.execute(
            f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT DO UPDATE SET message = excluded.message",  # noqa: S608
            (name, message),
        )

    def delete_topic(self, name: str) -> None:
        """Forget a topic."""
        self._database.execute("DELETE FROM topics WHERE name = ?", (name,))

    def delete_subscription(self, name: str) -> None:
        """Forget a subscription and its copies."""
        self._database.execute("DELETE FROM subscriptions WHERE name = ?", (name,))

    # --- copies --------------------------------------------------------------------------------

    def publish(self, messages: Sequence[PubsubMessage], subscriptions: Sequence[str]) -> Mapping[str, list[int]]:
        """Keep a copy of each message for each subscription, all or none; return their numbers by subscription."""
        blobs = [message.SerializeToString() for message in messages]
        numbers = {name: [self.numbers.next() for _ in blobs] for name in subscriptions}
        rows = [
            (number, name, blob) for name, theirs in numbers.items() for number, blob in zip(theirs, blobs, strict=True)
        ]
        with self._transaction() as database:
            database.executemany("INSERT INTO copies (number, subscription, message) VALUES (?, ?, ?)", rows)
        return numbers

    def numbers_of(self, subscription: str) -> list[int]:
        """Return the numbers of a subscription's copies, the oldest first."""
        rows = self._database.execute(
            "SELECT number FROM copies WHERE subscription = ? ORDER BY number", (subscription,)
        )
        return [number for (number,) in rows]

    def read(self, number: int) -> tuple[bytes, int] | None:
        """Return a message as bytes, and its attempts that were counted; None when it is gone."""
        found: tuple[bytes, int] | None = self._database.execute(
            "SELECT message, attempts FROM copies WHERE number = ?", (number,)
        ).fetchone()
        return found

    def count_attempts(self, numbers: Sequence[int]) -> None:
        """Count one more delivery of each of these copies."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE copies SET attempts = attempts + 1 WHERE number = ?", [(number,) for number in numbers]
            )

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete copies; those that are gone already are fine."""
        with self._transaction() as database:
            database.executemany("DELETE FROM copies WHERE number = ?", [(number,) for number in numbers])
