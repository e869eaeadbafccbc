"""Counts what is left of quotas, in the units of the API, for all runs that share them.

Some APIs, such as Google's, report in no header what is left, so Windrow must count itself to stop in time. The count
is stored where every run sees it, and is on the safe side: units are claimed in blocks before they are used, so a
killed run leaves at most one unused block.

The blocks of a window are numbered, and the book accepts each number only once. A client reads all earlier blocks
before it claims the next one, so it knows what is left. Returned units are one more block, with negative units.
"""

import asyncio
import logging
import math
import os
import socket
import uuid
from collections import Counter
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
_SHARES = 1_000
"""So many clients have units of a window, if each wants some."""
_UNSURE = timedelta(minutes=5)
"""For up to this time after its start, a window is not marked as used up: see `Ledger.exhaust`."""


@dataclass(frozen=True, slots=True)
class Page:
    """The entries of the book for one window."""

    taken: int
    """The units of all blocks."""
    number: int
    """Number of the next block."""
    closed_until: datetime | None
    """Set when the API has said that the window is used up."""


class QuotaStore(Protocol):
    """Stores claims for all runs."""

    def quota_page(self, window: str) -> Page:
        """Read the entries of a window."""

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        """Store the block of this number, unless it exists.

        :param by: a unique id of the claim.
        :returns: whether the block belongs to the caller; only one of several callers gets True.
        """

    def close_window(self, window: str, until: datetime) -> None:
        """Store that the API allows no more calls in this window, until a time."""


@dataclass(slots=True)
class _QuotaState:
    """The units of one client from one quota in the current window. Times are in UTC."""

    quota: Quota
    window: str = ""
    starts_at: datetime = _LONG_AGO
    ends_at: datetime = _LONG_AGO
    began_at: datetime = _LONG_AGO
    """When this client made its first call in the window."""
    reserved: int = 0
    used: int = 0
    spent: bool = False
    refusals: int = 0
    refused_cost: int = 0
    """Cost of the last query for which no units could be reserved."""
    logged: str = ""
    """The last window for which the log says that it has no free units."""
    not_before: datetime = _LONG_AGO
    """When calls are allowed again, as reported by the API."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def covers(self, cost: int) -> bool:
        """Return whether this many units are reserved and not used."""
        return self.used + cost <= self.reserved


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """The quotas of one account with an API. Make one for each client; they share the book.

    :param account: the account that the API counts calls for, such as a client id.
    :param reserved: share of each quota that is left to other runs, from 0 to 1.
    :param clock: returns the current time.
    """

    def __init__(
        self,
        book: QuotaStore,
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
        self._accounts = [_QuotaState(quota) for quota in quotas]
        self.taken: Counter[str] = Counter()
        """Units that calls took, by the name of the quota; a call that is repeated takes them again."""
        self._process = f"{socket.gethostname()}|{os.getpid()}"

    async def take(self, query: Query) -> float:
        """Take the units of one attempt at a query.

        :returns: 0 if the units are taken; otherwise nothing is taken, and these are the seconds until the next window.
        :raises Misconfigured: the query costs more than the complete quota.
        """
        account = self._of(query)
        if account is None:
            return 0.0
        if self._clock() >= account.ends_at or not (account.spent or account.covers(query.cost)):
            refusals = account.refusals
            async with account.turn:  # wakes waiting calls in their order
                if account.refusals == refusals or query.cost < account.refused_cost:  # one refusal is enough
                    await self._fill(account, query)
        if self._clock() < account.not_before:
            return self._seconds_until(account.not_before)
        if account.spent or not account.covers(query.cost):
            return self._seconds_until(account.ends_at)
        account.used += query.cost
        self.taken[account.quota.name] += query.cost
        return 0.0

    async def exhaust(self, query: Query, wait_s: float = 0.0) -> float:
        """Handle the API's answer that the quota of a query is used up, and report it to all runs.

        Shortly after the start of a window the answer may still be about the window before: the call was sent in
        it, or the clocks differ. Then the call only waits and nothing is stored, so that no complete window is lost.

        :param wait_s: how long to wait, if the API says so; only used for a quota of unknown size. 0: until the end of
            the window.
        :returns: the seconds until the call may be made again; 0 if there is no quota for this query.
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
        """Return the name of the quota of a query; empty if there is none."""
        account = self._of(query)
        return account.quota.name if account else ""

    async def close(self) -> None:
        """Return the units that were reserved but not used."""
        for account in self._accounts:
            async with account.turn:
                if account.reserved > account.used and account.quota.units is not None:
                    await self._give_back(account)

    def _closing(self, account: _QuotaState) -> str:
        """Return the entry of the book that says until when the API has closed a quota of unknown size."""
        return f"{self._account}|{account.quota.name}|closed"

    def _of(self, query: Query) -> _QuotaState | None:
        return next((account for account in self._accounts if account.quota.counts(query.path)), None)

    def _seconds_until(self, instant: datetime) -> float:
        return max((instant - self._clock()).total_seconds(), 0.001)

    async def _fill(self, account: _QuotaState, query: Query) -> None:
        """Start a new window if necessary, and reserve the cost of a query. Only one call at a time runs this."""
        now, quota = self._clock(), account.quota
        if now >= account.ends_at:
            account.starts_at, account.ends_at = quota.period.bounds(now)
            account.window = f"{self._account}|{quota.name}|{account.starts_at.isoformat()}"
            account.began_at = now
            account.reserved = account.used = 0
            account.spent = False
        if account.spent or account.covers(query.cost):
            return
        if quota.units is not None and query.cost > quota.units:
            raise Misconfigured(
                f"The query {query.key!r} costs {query.cost:,} units, but the quota '{quota.name}' only has "
                f"{quota.units:,} units.",
                advice="Set the correct units in 'quota' in the extra of the Airflow connection.",
            )
        reserved = await asyncio.to_thread(self._claim, account, query.cost)
        account.spent = reserved is None
        account.reserved = reserved or account.reserved
        if not account.covers(query.cost):
            account.refusals, account.refused_cost = account.refusals + 1, query.cost
            if account.logged != account.window:
                account.logged = account.window
                log.info(
                    "The quota '%s' has no free units for a call of cost %d until %s UTC: they are used, or claimed by "
                    "other tasks. Calls wait.",
                    *(quota.name, query.cost, f"{account.ends_at:%Y-%m-%d %H:%M:%S}"),
                )

    def _claim(self, account: _QuotaState, cost: int) -> int | None:
        """Claim a block if there are enough units. Runs in a thread.

        If another client claims the number first, this reads the book again; each time one client succeeds, so it ends.

        :returns: the reserved units, or None if the API has said that the window is used up.
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
            most = min(max(_BLOCK, units // 100), free // 10)
            block = max(cost, min(most, max(units // _SHARES, self._likely(account))))
            if self._write(account, page.number, block):
                return account.reserved + block

    def _likely(self, account: _QuotaState) -> int:
        """Return how many more units a client will use: as many again, but only at its rate until the window ends.

        So nobody holds units that it cannot use, while others wait for some.
        """
        now = self._clock()
        if now <= account.began_at:
            return account.used
        rest = (account.ends_at - now) / (now - account.began_at)
        return math.ceil(account.used * min(1.0, rest))

    def _write(self, account: _QuotaState, number: int, units: int) -> bool:
        by = f"{self._process}|{uuid.uuid4().hex[:8]}"
        return self._book.claim_block(account.window, number, units, by=by, ends_at=account.ends_at)

    async def _give_back(self, account: _QuotaState) -> None:
        """Return unused units. If this cannot be stored, at most one block stays unused."""
        unused, account.reserved = account.reserved - account.used, account.used

        def write() -> None:
            while not self._write(account, self._book.quota_page(account.window).number, -unused):
                pass

        try:
            await asyncio.to_thread(write)
        except StagingUnavailable as error:
            log.warning(
                "%d unused units of the quota '%s' could not be returned and are lost until it is reset: %s",
                unused,
                account.quota.name,
                error,
            )
