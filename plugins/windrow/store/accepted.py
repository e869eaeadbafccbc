"""Accepted gaps in a store: queries of a run that a person no longer wants an answer to. They can be undone."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from windrow.model.plan import Run
from windrow.model.redact import blot
from windrow.store.documents import Documents
from windrow.store.events import LONGEST

ACCEPTED = "windrow_accepted"


class AcceptedDocuments(Documents):
    """Writes and reads accepted gaps. An answer that comes later counts instead."""

    def accept_gaps(self, run: Run, keys: Collection[str], *, by: str, note: str) -> None:
        """Accept that these queries of a run have no answer."""
        told = {"run": str(run), "by": by, "note": blot(note)[:LONGEST], "at": datetime.now(UTC).isoformat()}
        self._replace(ACCEPTED, [{"_id": f"{run}|{key}", **told} for key in keys])

    def accepted_gaps(self, run: Run) -> Mapping[str, str]:
        """Return who accepted each gap of a run, by key."""
        found = self._find(ACCEPTED, {"run": str(run)}, fields=("run", "by"))
        return {document["_id"].removeprefix(f"{run}|"): str(document.get("by", "")) for document in found}

    def undo_gaps(self, run: Run, keys: Collection[str]) -> None:
        """Undo it for these queries: a harvest calls them again, and the receipt demands their answers."""
        self._delete(ACCEPTED, *(f"{run}|{key}" for key in keys))
