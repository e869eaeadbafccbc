"""What all runs share of an API's limits: blocks of its quotas, and how often its calls were paused."""

from datetime import UTC, datetime
from itertools import count

from windrow.http.ledger import Page
from windrow.http.pacing import Pause
from windrow.store.documents import Documents

QUOTAS, PAUSES = "windrow_quotas", "windrow_pauses"


class LimitDocuments(Documents):
    """Writes and reads them; implements `windrow.http.pacing.PauseStore`."""

    def quota_page(self, window: str) -> Page:
        """Return what is in the book of quotas for a window.

        What version 0.1 wrote counts: documents by holder, which have no number, and a mark without ``ends_at``.
        """
        found = {document["_id"]: document for document in self._find(QUOTAS, {"window": window})}
        mark = found.pop(f"{window}|spent", None)
        until = (mark.get("ends_at") or datetime.fromtimestamp(mark["units"], UTC)) if mark else None
        number = next(number for number in count() if f"{window}|{number}" not in found)
        taken = sum(document["units"] for document in found.values())
        return Page(taken, number, until.replace(tzinfo=UTC) if until else None)  # MongoDB keeps no zone

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        """Write down the block of this number, unless there is one, and say whether it is the caller's."""
        document = {"_id": f"{window}|{number}", "window": window, "kind": "block", "number": number}
        document |= {"holder": by, "units": units, "ends_at": ends_at}
        return self._insert(QUOTAS, document)

    def close_window(self, window: str, until: datetime) -> None:
        """Write down that the API gives nothing more in this window, until an instant."""
        self._replace(QUOTAS, [{"_id": f"{window}|spent", "window": window, "kind": "spent", "ends_at": until}])

    # --- pauses --------------------------------------------------------------------------------

    def pause(self, api: str) -> Pause | None:
        """Return how often calls to an API were paused in a row; None if its last call was successful."""
        for document in self._find(PAUSES, {"_id": api}):
            return Pause(document["times"], datetime.fromisoformat(document["since"]))
        return None

    def keep_pause(self, api: str, pause: Pause | None) -> None:
        """Store the pause of an API, or delete it."""
        if pause is None:
            self._delete(PAUSES, api)
        else:
            self._replace(PAUSES, [{"_id": api, "times": pause.times, "since": pause.since.isoformat()}])
