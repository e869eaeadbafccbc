"""What all runs share of the limits of an API: blocks of its quotas, how often calls were paused, who stopped them."""

from datetime import UTC, datetime
from itertools import count

from windrow.http.ledger import Page
from windrow.http.pacing import Pause, Stop
from windrow.model.redact import blot
from windrow.store.documents import Documents
from windrow.store.events import LONGEST

QUOTAS, PAUSES, STOPS, TURNS = "windrow_quotas", "windrow_pauses", "windrow_stops", "windrow_turns"


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

    # --- stops ---------------------------------------------------------------------------------

    def stop(self, api: str) -> Stop | None:
        """Return who stopped the calls to an API; None if nobody did."""
        for document in self._find(STOPS, {"_id": api}):
            return Stop(document["by"], datetime.fromisoformat(document["at"]), document["note"])
        return None

    def keep_stop(self, api: str, stop: Stop | None) -> None:
        """Store that a person stopped the calls to an API, or that they go on."""
        if stop is None:
            self._delete(STOPS, api)
        else:
            note = blot(stop.note)[:LONGEST]
            self._replace(STOPS, [{"_id": api, "by": stop.by, "at": stop.at.isoformat(), "note": note}])
