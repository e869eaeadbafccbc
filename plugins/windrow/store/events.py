"""Events in MongoDB: who did what to a stream, or to a connection, when, and with which result.

A document is an event of a place. A place is a dataset, or `of_connection`. MongoDB deletes it after `KEEP_DAYS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from windrow.model.redact import blot
from windrow.store.documents import Document, Documents

EVENTS = "windrow_events"
KEEP_DAYS = 400
"""How long an event is kept: somewhat longer than a year."""
LONGEST = 1_000
"""Characters of each text of an event."""


@dataclass(frozen=True, slots=True)
class Event:
    """What somebody did. ``at`` is an aware instant; ``user`` is empty if Airflow does not know who it was.

    :param place: a dataset, or `of_connection`.
    :param action: like ``replay`` or ``stop``.
    :param what: what it was done to, like a run and a reason, and the person's note.
    :param result: like ``44 of 47 answers were read``.
    :param subject: what it was done to, for programs; empty where none looks for it.
    """

    place: str
    at: datetime
    user: str
    action: str
    what: str
    result: str = ""
    subject: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Event":
        """Read a document."""
        texts = (str(document.get(name, "")) for name in ("user", "action", "what", "result", "subject"))
        return cls(str(document["place"]), document["at"].replace(tzinfo=UTC), *texts)  # MongoDB keeps no zone


def of_connection(conn_id: str) -> str:
    """Return the place of the events of an Airflow connection."""
    return f"connection {conn_id}"


class EventDocuments(Documents):
    """Writes events. They are read by `windrow.store.status.StatusStore.events`."""

    def add_event(self, event: Event, *, id_: str) -> None:
        """Store an event. Doing it twice with the same ``id_`` replaces it; known secrets are removed."""
        document: Document = {"_id": f"{event.place}|{id_}", "place": event.place, "at": event.at}
        for name in ("user", "action", "what", "result", "subject"):
            document[name] = blot(getattr(event, name))[:LONGEST]
        self._replace(EVENTS, [document])


def where(places: Sequence[str]) -> Document:
    """Return the condition for the events of these places."""
    return {"place": {"$in": [*places]}}
