"""One subscription's messages: which are ready, which are leased and until when, which wait for another try."""

import asyncio
import contextlib
import dataclasses
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable

from local_cloud.emulators.pubsub.acceptance import seconds
from local_cloud.emulators.pubsub.messages import PubsubMessage, ReceivedMessage, Subscription
from local_cloud.emulators.pubsub.store import MICROSECONDS, Store

LARGEST_RESPONSE = 10_000_000
"""Bytes of messages in one response, about."""
PUSH_BACKOFF = (0.1, 60.0)
"""Seconds before a push is tried again, first and at most, where the subscription has no retry policy."""

Bury = Callable[[Subscription, PubsubMessage, int], bool]
"""Publishes a message that was delivered so often to the dead letter topic; False when there is no such topic."""


class Holder:
    """Who may have only so many messages at once: a stream. Counts what it holds."""

    held = 0


@dataclasses.dataclass(slots=True)
class Lease:
    """A message that somebody has, until the deadline (seconds of the monotonic clock)."""

    deadline: float
    attempt: int
    holder: Holder


@dataclasses.dataclass
class Totals:
    """What a subscription has done since the server started."""

    delivered: int = 0
    redelivered: int = 0
    acknowledged: int = 0
    dead: int = 0
    expired: int = 0
    """Dropped, as older than the subscription keeps messages."""


class Backlog:
    """The messages of one subscription that are not acknowledged."""

    def __init__(self, subscription: Subscription, store: Store, bury: Bury) -> None:
        self.subscription = subscription
        self.totals = Totals()
        self._store = store
        self._bury = bury
        self._known = set(store.numbers_of(subscription.name))
        self._ready = deque(sorted(self._known))
        self._leases: dict[int, Lease] = {}
        self._ends: list[tuple[float, int]] = []
        self._later: list[tuple[float, int]] = []
        self._attempts: dict[int, int] = {}
        self._news = asyncio.Event()

    # --- what there is -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._known)

    @property
    def leased(self) -> int:
        """How many messages somebody has."""
        return len(self._leases)

    @property
    def leased_for_s(self) -> float:
        """How long the longest lease still lasts; 0 when there is none."""
        return max((lease.deadline - time.monotonic() for lease in self._leases.values()), default=0.0)

    @property
    def oldest_s(self) -> float:
        """How long the oldest message has been here; 0 when there is none."""
        return max(0.0, time.time() - min(self._known) / MICROSECONDS) if self._known else 0.0

    # --- in and out ----------------------------------------------------------------------------

    def add(self, numbers: Iterable[int]) -> None:
        """Let copies that are stored be delivered."""
        fresh = list(numbers)
        self._known.update(fresh)
        self._ready.extend(fresh)
        self._wake()

    def take(self, most: int, holder: Holder, deadline_s: float | None = None) -> list[ReceivedMessage]:
        """Lease up to so many messages, as long as a response may be; without any, return none."""
        now = time.monotonic()
        ends = now + (deadline_s or self.subscription.ack_deadline_seconds)
        dead_letters = self.subscription.HasField("dead_letter_policy")
        taken: list[ReceivedMessage] = []
        numbers: list[int] = []
        size = 0
        while self._ready and len(taken) < most and size < LARGEST_RESPONSE:
            number = self._ready.popleft()
            found = self._store.read(number) if number in self._known else None
            if found is None:  # acknowledged late, after its lease had ended
                continue
            blob, stored = found
            attempt = max(stored, self._attempts.get(number, 0)) + 1
            self._attempts[number] = attempt
            self._leases[number] = Lease(ends, attempt, holder)
            heapq.heappush(self._ends, (ends, number))
            holder.held += 1
            self.totals.delivered += 1
            self.totals.redelivered += attempt > 1
            numbers.append(number)
            size += len(blob)
            taken.append(
                ReceivedMessage(
                    ack_id=str(number),
                    message=PubsubMessage.FromString(blob),
                    delivery_attempt=attempt if dead_letters else 0,
                )
            )
        if dead_letters and numbers:
            self._store.count_attempts(numbers)
        return taken

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Delete these messages. Those that are gone are fine, and so is a lease that has ended."""
        numbers = [number for number in map(_number, ack_ids) if number in self._known]
        if not numbers:
            return
        self._store.delete(numbers)
        self.totals.acknowledged += len(numbers)
        for number in numbers:
            self._forget(number)
        self._wake()

    def modify(self, ack_id: str, deadline_s: int) -> None:
        """Let a lease end so many seconds from now; 0 gives the message back at once."""
        number = _number(ack_id)
        lease = self._leases.get(number)
        if lease is None:
            return
        if deadline_s == 0:
            self._give_back(number)
        else:
            lease.deadline = time.monotonic() + deadline_s
            heapq.heappush(self._ends, (lease.deadline, number))

    def purge(self) -> None:
        """Delete all messages."""
        self._store.delete(list(self._known))
        for number in list(self._known):
            self._forget(number)
        self._ready.clear()

    # --- time ----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Give back what was leased for too long, and let go on what has waited for it."""
        now = time.monotonic()
        while self._ends and self._ends[0][0] <= now:
            _, number = heapq.heappop(self._ends)
            lease = self._leases.get(number)
            if lease is not None and lease.deadline <= now:  # else it was acknowledged, or prolonged
                self._give_back(number)
        while self._later and self._later[0][0] <= now:
            _, number = heapq.heappop(self._later)
            self._ready.append(number)
            self._wake()

    def drop_old(self) -> None:
        """Delete what is older than the subscription keeps messages."""
        kept_us = seconds(self.subscription.message_retention_duration) * MICROSECONDS
        border = time.time_ns() // 1000 - kept_us
        old = [number for number in self._known if number < border]
        if old:
            self._store.delete(old)
            self.totals.expired += len(old)
            for number in old:
                self._forget(number)

    async def news(self, timeout_s: float) -> None:
        """Wait until something has changed, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # --- the ends of a message -----------------------------------------------------------------

    def _give_back(self, number: int) -> None:
        lease = self._leases.pop(number)
        lease.holder.held -= 1
        if not self._is_buried(number, lease.attempt):
            pause_s = self._pause_s(lease.attempt)
            if pause_s:
                heapq.heappush(self._later, (time.monotonic() + pause_s, number))
            else:
                self._ready.append(number)
        self._wake()

    def _is_buried(self, number: int, attempt: int) -> bool:
        """Move a message that was delivered too often to the dead letter topic; say whether that was so."""
        policy = self.subscription.dead_letter_policy
        if not policy.dead_letter_topic or attempt < policy.max_delivery_attempts:
            return False
        found = self._store.read(number)
        if found is None or not self._bury(self.subscription, PubsubMessage.FromString(found[0]), attempt):
            return False
        self._store.delete([number])
        self._forget(number)
        self.totals.dead += 1
        return True

    def _pause_s(self, attempt: int) -> float:
        """Return the seconds before the next try: doubling from the shortest to the longest."""
        if self.subscription.HasField("retry_policy"):
            policy = self.subscription.retry_policy
            shortest, longest = seconds(policy.minimum_backoff), seconds(policy.maximum_backoff)
        elif self.subscription.push_config.push_endpoint:
            shortest, longest = PUSH_BACKOFF
        else:
            return 0.0
        return min(longest, shortest * 2.0 ** min(attempt - 1, 60))

    def _forget(self, number: int) -> None:
        self._known.discard(number)
        self._attempts.pop(number, None)
        lease = self._leases.pop(number, None)
        if lease is not None:
            lease.holder.held -= 1


def _number(ack_id: str) -> int:
    """Read an ack id; 0, which no message has, when it is none of ours."""
    return int(ack_id) if ack_id.isascii() and ack_id.isdecimal() else 0
