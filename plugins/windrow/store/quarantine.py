"""The quarantine in a store: answers that cannot be read, with their bytes and the reason."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import orjson

from windrow.model.answer import Rejected, kept
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store import status
from windrow.store.documents import Document, Documents

QUARANTINE = "windrow_quarantine"
LIST, LOOK_UP = -1, -2
"""In place of the number of a chunk, where the quarantine holds what is in no plan: what one was to be made from, which
a receipt does not let pass, or what was only looked up."""
_EXCERPT = 100_000
"""Characters of a quarantined text that are stored beside its bytes."""
_ASIDE = "|"
"""Before the key of a query that is in no plan: one that is may have the same key, and a fate of its own."""


class QuarantineDocuments(Documents):
    """Writes and reads quarantined answers."""

    def reject(self, run: Run, rejected: Sequence[tuple[int, Rejected]]) -> None:
        """Keep answers that cannot be read, with the reason."""
        self._put(
            QUARANTINE,
            [
                {
                    "_id": f"{run}|{_ASIDE if number < 0 else ''}{one.query.key}",
                    "run": str(run),
                    "chunk": number,
                    "query": orjson.dumps(one.query.row).decode(),
                    "status": one.status,
                    "reason": one.reason,
                    "cause": one.reason[: status.CAUSE],
                    "fetched_at": one.fetched_at.isoformat(),
                    "incomplete": one.incomplete,
                    "body": one.body[:_EXCERPT] if one.raw else kept(one.body),
                    **({"raw": one.raw, "content_type": one.content_type} if one.raw else {}),
                }
                for number, one in rejected
            ],
        )

    def quarantined(self, run: Run, *, with_bodies: bool = True) -> list[tuple[int, Rejected]]:
        """Return what is in the quarantine of a run, by key, each with the number of its query's chunk.

        :param with_bodies: whether texts and bytes are read too; without them the answers are empty.
        """
        fields = () if with_bodies else ("chunk", "query", "status", "reason", "fetched_at", "incomplete")
        found = map(self._rejected, self._find(QUARANTINE, {"run": str(run)}, fields))
        return sorted(found, key=lambda entry: entry[1].query.key)

    def each_quarantined(self, run: Run) -> Iterator[tuple[int, Rejected]]:
        """Yield what `quarantined` returns, one by one, in the order of their ids. Memory holds one of them."""
        for key in sorted(self.quarantined_keys(run)):
            yield from map(self._rejected, self._find(QUARANTINE, {"_id": f"{run}|{key}"}))

    def _rejected(self, document: Document) -> tuple[int, Rejected]:
        """Make the number of a chunk and a quarantined answer of the fields of a document."""
        one = Rejected(
            query=Query.from_row(orjson.loads(document["query"])),
            status=document["status"],
            body=self._body(QUARANTINE, document),
            reason=document["reason"],
            fetched_at=datetime.fromisoformat(document["fetched_at"]),
            incomplete=document.get("incomplete", False),
            raw=self._bytes(QUARANTINE, document, "raw"),
            content_type=document.get("content_type", ""),
        )
        return document["chunk"], one

    def quarantined_keys(self, run: Run) -> set[str]:
        """Return the keys of the queries that are in the quarantine of a run."""
        found = self._find(QUARANTINE, {"run": str(run)}, fields=("run",))
        return {document["_id"].removeprefix(f"{run}|") for document in found}

    def aside(self, run: Run, place: int) -> set[str]:
        """Return the keys of queries of no plan whose answers are in the quarantine of a run: LIST, or LOOK_UP."""
        found = self._find(QUARANTINE, {"run": str(run)}, fields=("chunk",))
        return {one["_id"].removeprefix(f"{run}|{_ASIDE}") for one in found if one["chunk"] == place}

    def release(self, run: Run, key: str, *, aside: bool = False) -> None:
        """Take a query out of the quarantine, once its answer is staged; with ``aside`` one that is in no plan."""
        self._delete(QUARANTINE, f"{run}|{_ASIDE if aside else ''}{key}")
