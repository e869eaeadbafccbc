"""What is left of quotas, in the API's own units, for all runs that share them.

Where an API tells in no header what is left (Google's do not), a ledger of our own is the only way to stop in
time. It is kept where every run sees it, and errs on the safe side: units are claimed in blocks before they are used,
so a run that is killed leaves at most one block behind that nobody used.

The blocks of a window are numbered, and the book lets each number be written once. Who claims one has read all before
it, so it knows what is left. What is given back is one more block, with units below 0.
"""

import asyncio
import logging
import math
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from windrow.model.errors import Misconfigured, StagingUnavailable
from windrow.model.query import Query
from windrow.model.quota import Quota

log = logging.getLogger(__name__)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK = 100
"""Units claimed at a time, at most; a hundredth of a quota of more than 10,000, so that its book stays short."""
_UNSURE = timedelta(minutes=5)
"""For how long, at most, a window is too young to be called used up: see `Ledger.exhaust`."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is in the book for one window."""

    taken: int
    """The units of all blocks."""
    number: int
    """Of the next block."""
    closed_until: datetime | None
    """Set once the API itself said that the window is used up."""


class Book(Protocol):
    """Where claims are durable, and seen by all runs."""

    def quota_page(self, window: str) -> Page:
        """Read what is in the book for a window."""

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        """Write down the block of this number, unless there is one.

        :param by: who claims it, never the same twice.
        :returns: whether it is the caller's; of all who try one of them hears so.
        """

    def close_window(self, window: str, until: datetime) -> None:
        """Write down that the API gives nothing more in this window, until an instant."""


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
    :param reserved: share of each quota that is left to others, from 0 to 1.
    :param clock: tells the present instant.
    """

    def __init__(
        self,
        book: Book,
        quotas: Sequence[Quota],
        *,
        account: str,
        reserved: float = 0.0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._book = book
        self._account = account
        self._reserved = reserved
        self._clock = clock
        self._accounts = [_Account(quota) for quota in quotas]
        self._process = f"{socket.gethostname()}|{os.getpid()}"

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
            await asyncio.to_thread(self._book.close_window, self._closing(account), account.not_before)
            return wait_s
        sure_at = account.starts_at + min(_UNSURE, (account.ends_at - account.starts_at) / 12)
        if self._clock() < sure_at:
            return self._seconds_until(sure_at)
        if not account.spent:
            account.spent = True
            await asyncio.to_thread(self._book.close_window, account.window, account.ends_at)
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

    def _closing(self, account: _Account) -> str:
        """Name the place in the book that says until when the API has closed a quota of unknown size."""
        return f"{self._account}|{account.quota.name}|closed"

    def _of(self, query: Query) -> _Account | None:
        return next((account for account in self._accounts if account.quota.counts(query.path)), None)

    def _seconds_until(self, instant: datetime) -> float:
        return max((instant - self._clock()).total_seconds(), 0.001)

    async def _fill(self, account: _Account, query: Query) -> None:
        """Begin a new window if it is time, and reserve what a query costs if it is not reserved. One at a time."""
        now, quota = self._clock(), account.quota
        if now >= account.ends_at:
            account.starts_at, account.ends_at = quota.period.bounds(now)
            account.window = f"{self._account}|{quota.name}|{account.starts_at.isoformat()}"
            account.reserved = account.used = 0
            account.spent = False
        if account.spent or account.covers(query.cost):
            return
        if quota.units is not None and query.cost > quota.units:
            raise Misconfigured(
                f"{query.key!r} costs {query.cost:,} units, and the quota '{quota.name}' has {quota.units:,} in all.",
                advice="Put the right number into the field quota in the extra of the Airflow connection.",
            )
        reserved = await asyncio.to_thread(self._claim, account, query.cost)
        account.spent = reserved is None
        account.reserved = reserved or account.reserved
        if not account.covers(query.cost):
            account.refusals, account.refused_cost = account.refusals + 1, query.cost

    def _claim(self, account: _Account, cost: int) -> int | None:
        """Claim a block if there is one. Runs in a thread.

        Who finds the number gone reads again: somebody else has got on, so this ends.

        :returns: what is reserved then, or None when the API said that the window is used up.
        """
        units = account.quota.units
        while True:
            page = self._book.quota_page(account.window)
            if page.closed_until is not None:
                return None
            if units is None:
                account.not_before = self._book.quota_page(self._closing(account)).closed_until or _LONG_AGO
                return account.used + 1_000_000  # only to look at the book again now and then
            free = units - math.ceil(units * self._reserved) - page.taken
            if free < cost:
                return account.reserved
            block = max(cost, min(max(_BLOCK, units // 100), free // 10))
            if self._write(account, page.number, block):
                return account.reserved + block

    def _write(self, account: _Account, number: int, units: int) -> bool:
        by = f"{self._process}|{uuid.uuid4().hex[:8]}"
        return self._book.claim_block(account.window, number, units, by=by, ends_at=account.ends_at)

    async def _give_back(self, account: _Account) -> None:
        """Reserve no more than is used. Where that cannot be written down, a block stays unused, and no more."""
        unused, account.reserved = account.reserved - account.used, account.used

        def write() -> None:
            while not self._write(account, self._book.quota_page(account.window).number, -unused):
                pass

        try:
            await asyncio.to_thread(write)
        except StagingUnavailable as error:
            log.warning("%d units of the quota '%s' are lost for its window: %s", unused, account.quota.name, error)
