"""Quotas in an API's own units: how much of the present window is left, for all runs that share it.

Where an API tells in no header what is left (Google's do not), a ledger of our own is the only way to stop in
time. It is kept where every run sees it, and errs on the safe side: units are reserved in blocks before they are
used, so a run that is killed leaves at most one block behind that nobody used.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo

from windrow.query import Query

SPENT = "spent"
"""Stands in the book in the place of a holder when the API itself said that a window is used up."""
_PACIFIC = ZoneInfo("America/Los_Angeles")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK = 100
"""Units reserved at a time, at most."""


class Window(StrEnum):
    """For how long a quota lasts before it is filled again, all at once."""

    MINUTE = "minute"
    HOUR = "hour"
    PACIFIC_DAY = "pacific_day"
    """From midnight to midnight in California: 23 or 25 hours on the days when the clocks change."""

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the beginning and the end, in UTC, of the window that an instant is in."""
        if self is Window.PACIFIC_DAY:
            day = now.astimezone(_PACIFIC).date()
            midnights = [datetime(on.year, on.month, on.day, tzinfo=_PACIFIC) for on in (day, day + timedelta(days=1))]
            return midnights[0].astimezone(UTC), midnights[1].astimezone(UTC)
        length = timedelta(minutes=1) if self is Window.MINUTE else timedelta(hours=1)
        start = datetime.fromtimestamp(now.timestamp() // length.total_seconds() * length.total_seconds(), UTC)
        return start, start + length


@dataclass(frozen=True, slots=True)
class Quota:
    """So many units in a window, for the calls whose path begins with one of ``paths``.

    ``units`` is None where we know of no limit; the API may still say that one is used up.
    """

    name: str
    window: Window
    units: int | None
    paths: tuple[str, ...]


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
    ends_at: datetime = _LONG_AGO
    reserved: int = 0
    used: int = 0
    spent: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        """
        account = self._of(query)
        if account is None:
            return 0.0
        now = self._clock()
        if now >= account.ends_at or account.used + query.cost > account.reserved:
            async with account.turn:
                if now >= account.ends_at:
                    await self._open(account, now)
                if account.used + query.cost > account.reserved and not account.spent:
                    await asyncio.to_thread(self._reserve, account, query.cost)
        if account.spent or account.used + query.cost > account.reserved:
            return max((account.ends_at - now).total_seconds(), 0.001)
        account.used += query.cost
        return 0.0

    async def exhaust(self, query: Query) -> float:
        """Learn from the API that the quota of a query is used up, and tell all runs.

        :returns: the seconds until the next window; 0 when no quota is known for this query.
        """
        account = self._of(query)
        if account is None:
            return 0.0
        account.spent = True
        await asyncio.to_thread(self._book.reserve, account.window, SPENT, 0)
        return max((account.ends_at - self._clock()).total_seconds(), 0.001)

    def name(self, query: Query) -> str:
        """Name the quota that a query draws on; empty when none is known."""
        account = self._of(query)
        return account.quota.name if account else ""

    async def close(self) -> None:
        """Give back what was reserved and not used."""
        for account in self._accounts:
            if account.reserved > account.used and account.quota.units is not None:
                account.reserved = account.used
                await asyncio.to_thread(self._book.reserve, account.window, self._holder, account.used)

    def _of(self, query: Query) -> _Account | None:
        for account in self._accounts:
            if query.path.startswith(account.quota.paths):
                return account
        return None

    async def _open(self, account: _Account, now: datetime) -> None:
        """Begin a new window: what was reserved in the one before stays there as it was used."""
        await self.close()
        start, account.ends_at = account.quota.window.bounds(now)
        account.window = f"{self._account}|{account.quota.name}|{start.isoformat()}"
        account.reserved = account.used = 0
        account.spent = False

    def _reserve(self, account: _Account, cost: int) -> None:
        """Reserve a block if there is one: first write, then look, so that two at a time never get too much.

        Runs in a thread. Two that look at once may both step back, and leave a few units unused.
        """
        reserved = dict(self._book.reservations(account.window))
        if SPENT in reserved:
            account.spent = True
            return
        if account.quota.units is None:
            account.reserved = account.used + 1_000_000  # only to be asked again now and then
            return
        free = account.quota.units - sum(reserved.values())
        if free < cost:
            return
        before = account.reserved
        account.reserved += max(cost, min(_BLOCK, free // 10))
        self._book.reserve(account.window, self._holder, account.reserved)
        over = sum(self._book.reservations(account.window).values()) - account.quota.units
        if over > 0:
            account.reserved = max(before, account.reserved - over)
            self._book.reserve(account.window, self._holder, account.reserved)


def restated(quotas: Sequence[Quota], given: Mapping[str, Mapping[str, object]]) -> list[Quota]:
    """Return quotas with the units and windows that a connection states in place of the source's own.

    :param given: by a quota's name, ``units`` (a whole number above 0, or null) and ``per`` (a `Window`).
    :raises ValueError: saying what cannot be meant.
    """
    known = {quota.name: quota for quota in quotas}
    for name, changes in given.items():
        if name not in known:
            raise ValueError(f"there is no quota {name!r}; known are {sorted(known)}")
        if not isinstance(changes, Mapping) or not set(changes) <= {"units", "per"}:
            raise ValueError(f'the quota {name!r} should look like {{"units": 10000, "per": "pacific_day"}}')
        units = changes.get("units", known[name].units)
        if isinstance(units, bool) or not (units is None or (isinstance(units, int) and units > 0)):
            raise ValueError(f"the quota {name!r} has units {units!r:.40}, and should have a whole number above 0")
        per = changes.get("per", known[name].window)
        if per not in set(Window):
            raise ValueError(f"the quota {name!r} is per {per!r:.40}, and should be per one of {[*map(str, Window)]}")
        known[name] = Quota(name, Window(str(per)), units, known[name].paths)
    return [known[quota.name] for quota in quotas]
