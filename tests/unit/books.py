"""State that the clients of all runs share, in memory, for tests that need no MongoDB."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from windrow.http.ledger import Page
from windrow.http.pacing import Pause, Stop
from windrow.model.plan import Run
from windrow.store.consents import ConsentDocuments
from windrow.store.documents import Document


class MemoryBook(ConsentDocuments):
    """Stores quotas, pauses, and the documents of consents."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.windows: dict[str, list[int]] = defaultdict(list)
        """The units of the blocks, by number."""
        self.closed: dict[str, datetime] = {}
        self.pauses: dict[str, Pause] = {}
        self.turns: dict[str, float] = {}

    def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        self.documents |= {one["_id"]: one for one in documents}

    def _find(self, collection: str, where: Mapping[str, str], fields: Sequence[str] = ()) -> list[Document]:
        found = list(self.documents.values())
        return [one for one in found if all(one[name] == value for name, value in where.items())]

    def _insert(self, collection: str, document: Document) -> bool:
        return self.documents.setdefault(document["_id"], document) is document

    def _each(self, collection: str, where: Mapping[str, str]) -> Iterator[Document]:
        yield from self._find(collection, where)

    def _delete(self, collection: str, *ids: str) -> None:
        for id_ in ids:
            self.documents.pop(id_, None)

    def _summarize(self, run: Run, change: Document) -> None:
        raise AssertionError("a book has no runs")

    def quota_page(self, window: str) -> Page:
        blocks = self.windows.get(window, [])
        return Page(sum(blocks), len(blocks), self.closed.get(window))

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        assert number <= len(self.windows[window]), "a block was left out"
        if number == len(self.windows[window]):
            self.windows[window].append(units)
            return True
        return False

    def turns_clock(self) -> float:
        return time.time()

    def claim_turns(self, api: str, span_s: float, now: float, ahead_s: float) -> float:
        start = max(now + ahead_s, self.turns.get(api, 0.0))
        self.turns[api] = start + span_s
        return start

    def close_window(self, window: str, until: datetime) -> None:
        self.closed[window] = until

    def pause(self, api: str) -> Pause | None:
        return self.pauses.get(api)

    def stop(self, api: str) -> Stop | None:
        return None

    def keep_pause(self, api: str, pause: Pause | None) -> None:
        self.pauses.pop(api, None)
        if pause:
            self.pauses[api] = pause
