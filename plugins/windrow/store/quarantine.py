"""The quarantine in a store: answers that cannot be read, with their bytes and the reason."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import orjson

from windrow.model.answer import Rejected, kept
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store import status
from windrow.store.documents import Document, Documents

QUARANTINE, CLAIMS = "windrow_quarantine", "windrow_claims"
LIST, LOOK_UP = -1, -2
"""In place of the number of a chunk, where the quarantine holds what is in no plan: what one was to be made from, which
a receipt does not let pass, or what was only looked up."""
_CLAIMED = timedelta(days=2)
"""How long a claim is valid that nobody gives back."""
_EXCERPT = 100_000
"""Characters of a quarantined text that are stored beside its bytes."""
_ASIDE = "|"
"""Before the key of a query that is in no plan: one that is may have the same key, and a fate of its own."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The action that replays a run, the keys it has chosen, and how many it has read so far without a call."""

    holder: str
    keys: Sequence[str] = ()
    read: int = 0


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

    def each_quarantined(self, run: Run, keys: Collection[str] | None = None) -> Iterator[tuple[int, Rejected]]:
        """Yield what `quarantined` returns, one by one, in the order of their ids. Memory holds one of them.

        :param keys: only these queries of the plan.
        """
        for key in sorted(self.quarantined_keys(run) if keys is None else keys):
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

    def claim_replay(self, run: Run, *, by: str) -> Claim:
        """Claim the replay of a run, and return the claim that holds: only one action at a time has it."""
        now = datetime.now(UTC)
        claim = {"_id": str(run), "holder": by, "keys": [], "read": 0, "at": now.isoformat()}
        if not self._insert(CLAIMS, claim):
            for document in self._find(CLAIMS, {"_id": str(run)}):
                if now - datetime.fromisoformat(document["at"]) < _CLAIMED:
                    return Claim(document["holder"])
            self._replace(CLAIMS, [claim])  # nobody gave it back
        for document in self._find(CLAIMS, {"_id": str(run)}):
            return Claim(document["holder"], document["keys"], document["read"])
        return Claim(by)

    def keep_claim(self, run: Run, claim: Claim) -> None:
        """Store how far a replay is."""
        document = {"_id": str(run), **asdict(claim), "at": datetime.now(UTC).isoformat()}
        self._replace(CLAIMS, [document])

    def end_replay(self, run: Run) -> None:
        """Give the claim back."""
        self._delete(CLAIMS, str(run))

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
