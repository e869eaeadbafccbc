"""Several workers harvest one plan: each part of the plan is leased to one worker at a time.

* A part is a chunk of the plan, or a piece of one where there are few chunks.
* A lease is won once (`windrow.store.leases`). A worker that finds no free part waits while others hold some: if a
  worker dies, its parts are free again when no beat came for ``lease_s``. Staged answers are not called again.
* A worker that was frozen for longer than its lease finds a newer turn at its next beat, and drops the queries of that
  part. Whatever it writes in between is idempotent: an answer has the key of its query.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

from windrow.harvest.feeds import Item, PlanFeed
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Plan
from windrow.store.leases import Held, Lease
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

LEASE_S = 60.0
"""A worker without a beat for so long is dead."""
_BEATS = 6
"""Beats of a live worker in this time."""
_PARTS_A_WORKER = 4
"""With fewer parts for each worker, the last ones leave workers without one."""
_MOST_PIECES = 10
"""Pieces of a chunk. Each piece reads the keys of the whole chunk."""
_LOOK_FIRST_S, _LOOK_EVERY_S, _LOOKED_AT_PER_S = 0.05, 1.0, 1_000
"""How often a worker without a part looks for one: soon at first, as most parts of others end soon, and ever more
rarely. Each look reads all leases, and so many a second at most."""


class Leases:
    """The parts of a plan, as one worker sees them. All methods run in threads.

    :param worker: number of this worker, from 0; a later try of the same worker has the same one.
    :param workers: number of workers; all of them give the same.
    """

    def __init__(self, staging: Staging, plan: Plan, worker: int, workers: int, lease_s: float = LEASE_S) -> None:
        self.pieces = min(_MOST_PIECES, -(-_PARTS_A_WORKER * workers // max(plan.chunks, 1))) or 1
        self.parts = plan.chunks * self.pieces
        self.others_work = False
        """Whether other workers held parts when the last call of `take` found no free one."""
        self._staging = staging
        self._run = plan.run
        self._worker = worker
        self._lease_s = lease_s
        self._holder = uuid.uuid4().hex
        first = worker * self.parts // workers
        self._order = [*range(first, self.parts), *range(first)]
        """Each worker begins elsewhere, so that they rarely want the same part."""
        self._known: dict[int, Lease] = {}
        self.round = 0
        self._again: dict[int, int] = {}
        """Turns that this worker follows up, by part: calls failed before it began, or an earlier try of it had it."""
        self._beats: dict[int, tuple[tuple[int, int], float]] = {}
        """The last turn and beat of each part that others hold, and since when it is the last (monotonic)."""
        self._mine: dict[int, Lease] = {}
        self._looked_at = 0.0
        self._ended = False
        self._lock = Lock()

    def begin(self) -> list[int]:
        """Read the leases, and return the parts that earlier tries of this worker have finished.

        If every part was finished, this is a new round: each part is looked at once more, by whichever worker.
        """
        with self._lock:
            self._look()
            ended = {part: one for part, one in self._known.items() if one.state in {Held.DONE, Held.TRIED}}
            self.round = max((one.round for one in self._known.values()), default=0) + (len(ended) == self.parts > 0)
            self._again = {
                part: one.turn
                for part, one in self._known.items()
                if one.state is Held.TRIED or (one.state is Held.HELD and one.worker == self._worker)
            }
            mine = [part for part, one in ended.items() if (one.worker, one.round) == (self._worker, self.round)]
            return [part for part in mine if part not in self._again]

    def take(self) -> Lease | None:
        """Lease a free part; None if there is none now, or after `end`."""
        with self._lock:
            looked = False
            while not self._ended:
                if (part := self._free()) is not None:
                    known = self._known.get(part)
                    turn = known.turn + 1 if known else 0
                    lease = Lease(self.parts, part, turn, self._worker, self._holder, self.round)
                    if self._staging.claim_part(self._run, lease):
                        self._known[part] = self._mine[part] = lease
                        return lease
                elif looked:
                    break
                self._look()
                looked = True
            self.others_work = any(
                one.state is Held.HELD and part not in self._mine for part, one in self._known.items()
            )
            return None

    def close(self, lease: Lease, state: Held) -> None:
        """Store what became of a part, unless another worker has taken it over."""
        with self._lock:
            part, mine = lease.part, self._mine.get(lease.part)
            if mine and mine.turn == lease.turn:
                self._known[part] = replace(mine, state=state)
                self._staging.keep_lease(self._run, self._known[part])
                del self._mine[part]

    def beat(self) -> list[Lease]:
        """Show the others that this worker lives; return the leases of parts that they have taken over meanwhile."""
        lost = []
        with self._lock:
            for part, lease in list(self._mine.items()):
                if self._staging.has_lease(self._run, replace(lease, turn=lease.turn + 1)):
                    lost.append(lease)
                    del self._mine[part]
                else:
                    self._mine[part] = replace(lease, beat=lease.beat + 1)
                    self._staging.keep_lease(self._run, self._mine[part])
            if lost:
                self._look()
        return lost

    def end(self, state: Held) -> None:
        """Take no more, and give up the parts that are left."""
        with self._lock:  # a call of `take` that runs has its part by now
            self._ended = True
            left = list(self._mine.values())
        for lease in left:
            self.close(lease, state)

    def _look(self) -> None:
        now = time.monotonic()  # before the read: after it, a worker that was frozen meanwhile would see an old beat
        self._known = self._staging.leases(self._run, self.parts)
        for part, one in self._known.items():
            if self._beats.get(part, (None,))[0] != (one.turn, one.beat):
                self._beats[part] = (one.turn, one.beat), now
        self._looked_at = now

    def _free(self) -> int | None:
        """Return a part that nobody works on and that needs work; None if there is none."""
        return next((part for part in self._order if self._is_free(part)), None)

    def _is_free(self, part: int) -> bool:
        one = self._known.get(part)
        if one is None or one.state is Held.LEFT or self._again.get(part) == one.turn:
            return True
        if one.state is not Held.HELD:
            return one.round < self.round
        return part not in self._mine and self._looked_at - self._beats[part][1] >= self._lease_s


class SharedFeed(PlanFeed):
    """The parts of a plan that this worker leases. A `Feed`.

    ``done_before`` counts the queries of its own parts, so the sum over all workers counts each query once.

    :param lease_s: how long a worker may be silent before others take over its parts.
    """

    _ahead_at = 100
    """The next part is claimed late, so that no worker holds parts that others could do."""

    def __init__(self, staging: Staging, plan: Plan, worker: int, workers: int, *, lease_s: float = LEASE_S) -> None:
        super().__init__(staging, plan)
        self.is_shared = True
        self.worker = worker
        self._leases = Leases(staging, plan, worker, workers, lease_s)
        self._beat_s = lease_s / _BEATS
        self._beating: asyncio.Task[None] | None = None
        self._open: dict[str, tuple[Lease, int]] = {}
        """Queries that are not durable, by the ticket of their lease."""
        self._lost: set[str] = set()
        self._over = False
        self._halted = False

    def start(self) -> None:
        """Begin to claim and to load the first part."""
        super().start()
        self._beating = asyncio.create_task(self._beat())

    async def next(self) -> Item | None:
        """Return the next query. At the end of its own parts, wait while others hold some."""
        while True:
            item = await super().next()
            if item is None or item.ticket not in self._lost:
                return item

    def durable(self, items: Sequence[Item]) -> None:
        """Finish the parts whose last queries these are."""
        for item in items:
            lease, left = self._open[item.ticket]
            self._open[item.ticket] = lease, left - 1
            if left == 1:
                self._leases.close(lease, Held.DONE)

    def halt(self) -> None:
        """Claim no more."""
        self._halted = True

    def stop(self) -> None:
        """Claim no more, and leave to others what was not called."""
        tried = self._over and not self._halted and not self._pending
        super().stop()
        self._over = True
        if self._beating is not None:
            self._beating.cancel()
        with contextlib.suppress(StagingUnavailable):  # others wait until the lease expires
            self._leases.end(Held.TRIED if tried else Held.LEFT)

    def _look_ahead(self) -> None:
        if not self._over and len(self._pending) <= self._ahead_at:
            self._ahead = asyncio.create_task(self._load_part())

    async def _load_part(self) -> list[Item]:
        """Return the queries of a part; none at the end, or after `halt`."""
        if not self._begun:
            await asyncio.to_thread(self._begin)
        pause_s = _LOOK_FIRST_S
        while not self._halted:
            lease = await asyncio.to_thread(self._leases.take)
            if lease is not None:
                return await asyncio.to_thread(self._load_leased, lease)
            if not self._leases.others_work:
                break
            await asyncio.sleep(max(pause_s, self._leases.parts / _LOOKED_AT_PER_S))
            pause_s = min(2 * pause_s, _LOOK_EVERY_S)
        self._over = True
        return []

    def _begin(self) -> None:
        super()._begin()
        finished = self._leases.begin()
        self.round = self._leases.round
        for part in finished:
            number, piece = divmod(part, self._leases.pieces)
            self._load(number, piece, self._leases.pieces)  # counts what is settled

    def _load_leased(self, lease: Lease) -> list[Item]:
        number, piece = divmod(lease.part, self._leases.pieces)
        items = [replace(item, ticket=lease.ticket) for item in self._load(number, piece, self._leases.pieces)]
        self._open[lease.ticket] = lease, len(items)
        if not items:
            self._leases.close(lease, Held.DONE)
        return items

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            with contextlib.suppress(StagingUnavailable):  # the next write of answers says so
                if lost := await asyncio.to_thread(self._leases.beat):
                    log.warning(
                        "Other workers have taken over %s parts of the plan of %s, because this worker gave no sign "
                        "for too long. It leaves their queries to them.",
                        *(len(lost), self.run),
                    )
                    self._lost.update(lease.ticket for lease in lost)
