"""Where the queries of a harvest come from."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from windrow.model.answer import Outcome
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging


@dataclass(slots=True)  # not frozen, as `Response`
class Item:
    """A query to settle, with the number of its chunk. ``ticket`` identifies the item for its feed."""

    query: Query
    chunk: int
    ticket: str = ""


class Feed(Protocol):
    """What a harvester takes queries from."""

    run: Run
    worker: int | None
    """Number of this worker, from 0, whose counts are a part of the run's; None if they are no part of a sum."""
    round: int
    """With a number of a worker: the counts of the highest round are those of the run."""
    is_shared: bool
    """Whether other workers take queries of the same run, and a query may come back from one that has died."""
    planned: int
    """Queries in the plan of the run; 0 while this is unknown."""
    done_before: int
    """Queries of the plan that were settled before."""

    def start(self) -> None:
        """Begin to load. Called once, in the event loop of the harvester."""

    async def next(self) -> Item | None:
        """Return the next query that is not settled, or None at the end. Many workers call this at once."""

    def durable(self, items: Sequence[Item]) -> None:
        """Called when the answers to these queries, or their rejections, are durable. Runs in a thread."""

    def halt(self) -> None:
        """Return None soon, because the harvest takes no more. A signal handler may call this."""

    def stop(self) -> None:
        """Stop loading."""


class ListFeed:
    """Some queries of a plan.

    :param items: not settled yet.
    """

    def __init__(self, plan: Plan, items: Sequence[Item], *, done_before: int) -> None:
        self.run = plan.run
        self.round = 0
        self.worker: int | None = None
        self.is_shared = False
        self.planned = plan.planned
        self.done_before = done_before
        self._pending = deque(items)

    def start(self) -> None:
        """Do nothing: the queries are here."""

    async def next(self) -> Item | None:
        """Return the next query."""
        return self._pending.popleft() if self._pending else None

    def durable(self, items: Sequence[Item]) -> None:
        """Do nothing: a staged query is settled."""

    def halt(self) -> None:
        """Do nothing: nothing waits."""

    def stop(self) -> None:
        """Do nothing: nothing is loaded."""


class PlanFeed:
    """The queries of a plan that are neither settled nor accepted as gaps, chunk by chunk. The next is loaded ahead."""

    _ahead_at = 500
    """The next chunk is loaded when so few queries are left: to load it at once would delay the first calls."""

    def __init__(self, staging: Staging, plan: Plan) -> None:
        self.run = plan.run
        self.round = 0
        self.worker: int | None = None
        self.is_shared = False
        self.planned = plan.planned
        self.done_before = 0
        self._staging = staging
        self._chunks = plan.chunks
        self._next_chunk = 0
        self._pending: deque[Item] = deque()
        self._ahead: asyncio.Task[list[Item]] | None = None
        self._quarantined: set[str] = set()
        self._accepted: Collection[str] = ()
        self._paged: dict[str, int] = {}
        self._begun = False

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
                self._ahead = None
                self._look_ahead()
        item = self._pending.popleft()
        if self._ahead is None:
            self._look_ahead()
        return item

    def durable(self, items: Sequence[Item]) -> None:
        """Do nothing: a staged query is settled."""

    def halt(self) -> None:
        """Do nothing: the next chunk is loaded soon."""

    def stop(self) -> None:
        """Stop loading the next chunk."""
        self._next_chunk = self._chunks
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    def _look_ahead(self) -> None:
        """Begin to load more, if few queries are left and there are others."""
        if self._next_chunk < self._chunks and len(self._pending) <= self._ahead_at:
            self._ahead = asyncio.create_task(asyncio.to_thread(self._load, self._next_chunk))
            self._next_chunk += 1

    def _begin(self) -> None:
        """Read what concerns the whole plan. Runs in a thread."""
        self._quarantined = self._staging.quarantined_keys(self.run)
        self._accepted = self._staging.accepted_gaps(self.run).keys()
        self._paged = self._staging.paged(self.run)
        self._begun = True

    def _load(self, number: int, piece: int = 0, pieces: int = 1) -> list[Item]:
        """Return the queries of a chunk, or of a piece of it, that are not settled. Runs in a thread."""
        if not self._begun:
            self._begin()
        queries = self._staging.chunk(self.run, number).queries[piece::pieces]
        outcomes = self._staging.settled(self.run, number)
        settled = {key: outcome for key, outcome in outcomes.items() if outcome is not Outcome.PARTIAL}
        for key in self._quarantined & settled.keys():  # killed between staging and release
            self._staging.release(self.run, key)
        for key in self._paged.keys() & settled.keys():  # killed before its pages were deleted
            self._staging.drop_pages(self.run, key, self._paged[key])
        pending = [
            Item(query, number) for query in queries if query.key not in settled and query.key not in self._accepted
        ]
        self.done_before += len(queries) - len(pending)
        return pending
