"""Where the queries of a harvest come from."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from windrow.model.answer import Outcome
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging


@dataclass(frozen=True, slots=True)
class Item:
    """A query to settle, with the number of its chunk. ``ticket`` is for the feed, to know the item again by."""

    query: Query
    chunk: int
    ticket: str = ""


class Feed(Protocol):
    """What a harvester takes queries from."""

    run: Run
    planned: int
    """Queries of the run's plan; 0 while it is not known."""
    done_before: int
    """Queries of the plan that were found settled, so far."""

    def start(self) -> None:
        """Begin to load. Called once, in the harvester's event loop."""

    async def next(self) -> Item | None:
        """Return the next query that is not settled, or None at the end. Called by many workers at once."""

    def durable(self, items: Sequence[Item]) -> None:
        """Learn that the answers to these are durable, or their rejection is. Runs in a thread."""

    def stop(self) -> None:
        """Load no more."""


class PlanFeed:
    """A plan, chunk by chunk, without what is settled. The next chunk is loaded while the present one is asked."""

    def __init__(self, staging: Staging, plan: Plan) -> None:
        self.run = plan.run
        self.planned = plan.planned
        self.done_before = 0
        self._staging = staging
        self._chunks = plan.chunks
        self._next_chunk = 0
        self._pending: deque[Item] = deque()
        self._ahead: asyncio.Task[list[Item]] | None = None
        self._quarantined: set[str] = set()
        self._paged: dict[str, int] = {}

    def start(self) -> None:
        """Begin to load the first chunk."""
        self._look_ahead()

    async def next(self) -> Item | None:
        """Return the next query in the order of the plan."""
        while not self._pending:
            ahead = self._ahead
            if ahead is None:
                return None
            loaded = await asyncio.shield(ahead)
            if ahead is self._ahead:  # of all the workers that waited, the first to wake moves on
                self._pending.extend(loaded)
                self._look_ahead()
        return self._pending.popleft()

    def durable(self, items: Sequence[Item]) -> None:
        """Nothing is left to do: what is staged is settled."""

    def stop(self) -> None:
        """Drop the chunk that is being loaded."""
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    def _look_ahead(self) -> None:
        if self._next_chunk < self._chunks:
            self._ahead = asyncio.create_task(asyncio.to_thread(self._load, self._next_chunk))
            self._next_chunk += 1
        else:
            self._ahead = None

    def _load(self, number: int) -> list[Item]:
        """Return the queries of a chunk that are not settled. Runs in a thread."""
        if number == 0:
            self._quarantined = self._staging.quarantined_keys(self.run)
            self._paged = self._staging.paged(self.run)
        chunk = self._staging.chunk(self.run, number)
        outcomes = self._staging.settled(self.run, number)
        settled = {key: outcome for key, outcome in outcomes.items() if outcome is not Outcome.PARTIAL}
        for key in self._quarantined & settled.keys():  # killed between staging and release
            self._staging.release(self.run, key)
        for key in self._paged.keys() & settled.keys():  # killed before its pages were deleted
            self._staging.drop_pages(self.run, key, self._paged[key])
        pending = [Item(query, number) for query in chunk.queries if query.key not in settled]
        self.done_before += len(chunk.queries) - len(pending)
        return pending
