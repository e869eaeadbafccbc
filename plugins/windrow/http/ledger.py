"""What is left of quotas, in the API's own units, for all runs that share them.

Where an API tells in no header what is left (Google's do not), a ledger of our own is the only way to stop in
time. It is kept where every run sees it, and errs on the safe side: units are reserved in blocks before they are
used, so a run that is killed leaves at most one block behind that nobody used.
"""

import asyncio
import logging
import math
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from windrow.model.errors import Misconfigured, StagingUnavailable
from windrow.model.query import Query
from windrow.model.quota import Quota

log = logging.getLogger(__name__)

SPENT = "spent"
"""Stands in the book in the place of a holder when the API itself said that a window is used up. Its units are 0; of a
quota whose size nobody knows, the second of the epoch at which the API opens it again."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK = 100
"""Units reserved at a time, at most."""
_TRIES = 6
"""How often a client that met others at the book tries to reserve."""
_PAUSE_S = 0.005
"""The longest pause before the second try; it doubles with each further one."""
_UNSURE = timedelta(minutes=5)
"""For how long, at most, a window is too young to be called used up: see `Ledger.exhaust`."""


class Book(Protocol):
    """Where reservations are durable, and seen by all runs."""

    def reserve(self, window: str, holder: str, units: int) -> None:
        """Write down how many units a holder has reserved in a window, in place of what it had before."""

    def reservations(self, window: str) -> Mapping[str, int]:
        """Return the units reserved in a window, by holder."""


@dataclass(slots=True)
class _Account:
    """What one client has of one quota in the present window. Instants are in UTC."""

    quota: Quota
    window: str = ""
    starts_at: datetime = _LONG_AGO
    ends_at: datetime = _LONG_AGO
    reserved: int = 0
    used: int = 0
    spent: bool = False
    refusals: int = 0
    refused_cost: int = 0
    """Of the last time when no more could be reserved."""
    not_before: datetime = _LONG_AGO
    """When the API opens it again, as it said itself."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def covers(self, cost: int) -> bool:
        """Say whether so many units are reserved and not used."""
        return self.used + cost <= self.reserved


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """The quotas of one account with an API. Make one for each client; the book is what they share.

    :param account: whom the API counts the calls for, such as a client id.
    :param clock: tells the present instant.
    """

    def __init__(
        self, book: Book, quotas: Sequence[Quota], *, account: str, clock: Callable[[], datetime] = _now
    ) -> None:
        self._book = book
        self._account = account
        self._clock = clock
        self._accounts = [_Account(quota) for quota in quotas]
        self._holder = f"{socket.gethostname()}|{os.getpid()}|{uuid.uuid4().hex[:8]}"

    async def take(self, query: Query) -> float:
        """Take the units of one attempt at a query.

        :returns: 0 when they are taken; otherwise nothing was, and these are the seconds until the next window.
        :raises Misconfigured: no window has as many.
        """
        account = self._of(query)
        if account is None:
            return 0.0
        if self._clock() >= account.ends_at or not (account.spent or account.covers(query.cost)):
            refusals = account.refusals
            async with account.turn:  # wakes its waiters in the order they came
                if account.refusals == refusals or query.cost < account.refused_cost:  # no need to hear it twice
                    await self._fill(account, query)
        if self._clock() < account.not_before:
            return self._seconds_until(account.not_before)
        if account.spent or not account.covers(query.cost):
            return self._seconds_until(account.ends_at)
        account.used += query.cost
        return 0.0

    async def exhaust(self, query: Query, wait_s: float = 0.0) -> float:
        """Learn from the API that the quota of a query is used up, and tell all runs.

        Shortly after a window began the API may still speak of the one before: the call was sent in it, or its clock
        and ours differ. That is waited for, and nothing is written down, lest a whole day be given away.

        :param wait_s: for how long, where the API says so; counts for a quota whose size is not known. 0 for until the
            window ends.
        :returns: the seconds until the call may be made again; 0 when no quota is known for this query.
        """
        account = self._of(query)
        if account is None:
            return 0.0
        if wait_s and account.quota.units is None:
            account.not_before = self._clock() + timedelta(seconds=wait_s)
            until = math.ceil(account.not_before.timestamp())
            await asyncio.to_thread(self._book.reserve, self._closing(account), SPENT, until)
            return wait_s
        sure_at = account.starts_at + min(_UNSURE, (account.ends_at - account.starts_at) / 12)
        if self._clock() < sure_at:
            return self._seconds_until(sure_at)
        if not account.spent:
            account.spent = True
            await asyncio.to_thread(self._book.reserve, account.window, SPENT, 0)
        return self._seconds_until(account.ends_at)

    def name(self, query: Query) -> str:
        """Name the quota that a query draws on; empty when none is known."""
        account = self._of(query)
        return account.quota.name if account else ""

    async def close(self) -> None:
        """Give back what was reserved and not used."""
        for account in self._accounts:
            async with account.turn:
                if account.reserved > account.used and account.quota.units is not None:
                    await self._give_back(account)

    async def _look_whether_closed(self, account: _Account) -> None:
        if account.quota.units is not None:
            return
        closing = await asyncio.to_thread(self._book.reservations, self._closing(account))
        account.not_before = datetime.fromtimestamp(closing.get(SPENT, 0), UTC)

    def _closing(self, account: _Account) -> str:
        """Name the place in the book that says until when the API has closed a quota of unknown size."""
        return f"{self._account}|{account.quota.name}|closed"

    def _window(self, account: _Account, start: datetime) -> str:
        return f"{self._account}|{account.quota.name}|{start.isoformat()}"

    def _of(self, query: Query) -> _Account | None:
        for account in self._accounts:
            if account.quota.counts(query.path):
                return account
        return None

    def _seconds_until(self, instant: datetime) -> float:
        return max((instant - self._clock()).total_seconds(), 0.001)

    async def _fill(self, account: _Account, query: Query) -> None:
        """Begin a new window if it is time, and reserve what a query costs if it is not reserved. One at a time."""
        now, quota = self._clock(), account.quota
        if now >= account.ends_at:
            account.starts_at, account.ends_at = quota.window.bounds(now)
            account.window = self._window(account, account.starts_at)
            account.reserved = account.used = 0
            account.spent = False
            await self._look_whether_closed(account)
        if account.spent or account.covers(query.cost):
            return
        if quota.units is not None and query.cost > quota.units:
            raise Misconfigured(
                f"{query.key!r} costs {query.cost:,} units, and the quota '{quota.name}' has {quota.units:,} in all.",
                advice="Put the right number into the field quota in the extra of the Airflow connection.",
            )
        reserved = await asyncio.to_thread(self._reserve, account, query.cost)
        if reserved is None:
            account.spent = True
            return
        account.reserved = reserved
        if not account.covers(query.cost):
            account.refusals, account.refused_cost = account.refusals + 1, query.cost

    def _reserve(self, account: _Account, cost: int) -> int | None:
        """Reserve a block if there is one. Runs in a thread.

        First write, then look: of two at a time at least one sees the other. Who sees that all together have too
        much steps back, and tries again after a moment, so nobody ever counts on more than there is.

        :returns: what is reserved then, or None when the API said that the window is used up.
        """
        units, mine = account.quota.units, account.reserved
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(random.uniform(0, _PAUSE_S * 2**attempt))  # noqa: S311 - spreads clients, guards nothing
            reserved = self._book.reservations(account.window)
            if SPENT in reserved:
                return None
            if units is None:
                return account.used + 1_000_000  # only to look at the book again now and then
            free = units - mine - self._of_others(reserved)
            if free < cost:
                continue  # perhaps somebody is about to step back
            wanted = mine + max(cost, min(_BLOCK, free // 10))
            self._book.reserve(account.window, self._holder, wanted)
            if wanted + self._of_others(self._book.reservations(account.window)) <= units:
                return wanted
            self._book.reserve(account.window, self._holder, mine)
        return mine

    def _of_others(self, reserved: Mapping[str, int]) -> int:
        return sum(units for holder, units in reserved.items() if holder != self._holder)

    async def _give_back(self, account: _Account) -> None:
        """Reserve no more than is used. Where that cannot be written down, a block stays unused, and no more."""
        unused, account.reserved = account.reserved - account.used, account.used
        try:
            await asyncio.to_thread(self._book.reserve, account.window, self._holder, account.used)
        except StagingUnavailable as error:
            log.warning("%d units of the quota '%s' are lost for its window: %s", unused, account.quota.name, error)
