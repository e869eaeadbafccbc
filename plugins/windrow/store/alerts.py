"""What people were told of problems, what a channel did not take, and when anybody last looked for them."""

from collections.abc import Sequence

from windrow.store.documents import Document, Documents
from windrow.store.status import ALERTS, WATCH
from windrow.store.summary import stamp

_CAUSE, _CHANNEL = "cause|", "channel|"
"""How the ids of documents begin."""


class AlertDocuments(Documents):
    """Reads and writes the documents: one a problem, by its cause, and one a channel that did not take a message."""

    def alerts(self) -> list[Document]:
        """Return the problems that people were told of, or that are snoozed."""
        return [one for one in self._find(ALERTS, {}) if one["_id"].startswith(_CAUSE)]

    def undelivered(self) -> list[Document]:
        """Return what channels did not take, one document a channel."""
        return [one for one in self._find(ALERTS, {}) if one["_id"].startswith(_CHANNEL)]

    def keep_undelivered(self, records: Sequence[Document]) -> None:
        """Store what channels did not take by their ``channel``, and delete the records of all others."""
        documents = [{"_id": f"{_CHANNEL}{one['channel']}", **one} for one in records]
        kept = {one["_id"] for one in documents}
        self._replace(ALERTS, documents)
        self._delete(ALERTS, *(one["_id"] for one in self.undelivered() if one["_id"] not in kept))

    def snooze(self, cause: str, until: str, *, by: str) -> None:
        """Let nobody be told of a cause until a time: an ISO text in UTC."""
        place = f"{_CAUSE}{cause}"
        found = self._find(ALERTS, {"_id": place}) or [{"_id": place, "cause": cause, "text": "", "since": stamp()}]
        self._replace(ALERTS, [found[0] | {"snoozed_until": until, "snoozed_by": by}])

    def keep_alerts(self, records: Sequence[Document]) -> None:
        """Store problems by their ``cause``, delete all others, and store that a check was made now."""
        documents = [{"_id": f"{_CAUSE}{one['cause']}", **one} for one in records]
        snoozed = {one["_id"]: one for one in self.alerts() if one.get("snoozed_until", "") > stamp()}
        for one in documents:  # since this check began
            one |= {name: value for name, value in snoozed.get(one["_id"], {}).items() if name.startswith("snoozed")}
        kept = {one["_id"] for one in documents}
        self._replace(ALERTS, documents)
        self._delete(ALERTS, *(one["_id"] for one in self.alerts() if one["_id"] not in kept))
        self._replace(ALERTS, [{"_id": WATCH, "at": stamp()}])
