"""Several credentials for one API, of distinct owners: each call is signed by the one that has the most left.

There is no ledger of our own: the API is the ledger. A pool asks ``/rate_limit`` once for each of its tokens, which
is free, and then believes the headers of every answer: ``x-ratelimit-limit``, ``-remaining``, ``-reset`` and
``-resource``. What is under way is subtracted until it is answered, so a window is used up without one call too
many. Limits belong to the owner of a token: two tokens of one owner are one account here.

Of each window a margin is left, 1 % of it, for what others do with the same owner's tokens meanwhile.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from windrow.auth import Auth, Exchange
from windrow.errors import CredentialsRejected, RateLimited
from windrow.query import Query
from windrow.response import Response

log = logging.getLogger(__name__)

CORE, GRAPHQL = "core", "graphql"
_RATE_LIMIT = "/rate_limit"
_MARGIN = 100
"""One part in so many of a window is left to others."""
_CONCURRENCY = 90
"""Calls of one owner under way at once. GitHub allows 100, REST and GraphQL together."""
_SAME_WINDOW_S = 2.0
"""Two ends of windows that are so close to one another are the same end."""
_GRACE_S = 1.0
"""Clocks differ, and a window must not be tried before it is open: so long after its end the next one begins."""
_HOLD_S = 60.0
"""Pause after a refusal that does not say how long it lasts."""


@dataclass(slots=True)
class Window:
    """What an owner may still call. ``reset_at`` is in seconds of the epoch, by the clock of the API."""

    limit: int
    remaining: int
    reset_at: float

    @property
    def spare(self) -> int:
        """What is left without the margin."""
        return self.remaining - max(1, self.limit // _MARGIN)

    @property
    def opens_at(self) -> float:
        """When the next window is open for sure."""
        return self.reset_at + _GRACE_S


@dataclass(slots=True)
class Allowance:
    """Points a minute: replenished evenly, with a burst of a tenth of a minute's worth, never more than the limit."""

    per_minute: float
    level: float = field(init=False)
    at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.level = self.per_minute / 10

    def ready_at(self, now: float) -> float:
        """Return when there is a point, in seconds of the epoch; not later than ``now`` if there is one already."""
        self._fill(now)
        return now if self.level >= 1 else now + (1 - self.level) / self._rate

    def take(self, now: float) -> None:
        """Take a point."""
        self._fill(now)
        self.level -= 1

    @property
    def _rate(self) -> float:
        return self.per_minute * 0.9 / 60

    def _fill(self, now: float) -> None:
        self.level = min(self.per_minute / 10, self.level + max(0.0, now - self.at) * self._rate)
        self.at = now


@dataclass(slots=True)
class Account:
    """An owner of tokens, as far as the API told. ``in_flight`` are calls that are not answered yet."""

    allowance: Allowance
    windows: dict[str, Window] = field(default_factory=dict)
    in_flight: int = 0
    held_until: float = 0.0
    unlimited: bool = False

    def free(self, resource: str, now: float) -> int:
        """Count the calls that may go out now; what is under way has its place already."""
        if now < self.held_until or self.in_flight >= _CONCURRENCY:
            return 0
        if self.unlimited:
            return _CONCURRENCY - self.in_flight
        window = self.windows.get(resource)
        if window is None:  # nothing is known: one call will tell
            return 1 - self.in_flight
        if now >= window.opens_at:
            window.remaining = window.limit
        return window.spare - self.in_flight

    def opens_at(self, resource: str) -> float:
        """Return when a call may go out again, in seconds of the epoch."""
        window = self.windows.get(resource)
        return max(self.held_until, window.opens_at if window and window.spare <= 0 else 0.0)

    def observe(self, resource: str, told: Window) -> None:
        """Learn what an answer told. Answers overtake one another: within a window the lowest word counts."""
        known = self.windows.get(resource)
        if known is None or told.reset_at > known.reset_at + _SAME_WINDOW_S:
            self.windows[resource] = told
        elif told.reset_at >= known.reset_at - _SAME_WINDOW_S:
            known.limit = told.limit
            known.remaining = min(known.remaining, told.remaining)
            known.reset_at = max(known.reset_at, told.reset_at)


@dataclass(slots=True)
class Member:
    """One credential of a pool. ``label`` is what messages call it; its text is never shown."""

    label: str
    auth: Auth
    account: Account
    out: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """What a pool is made of: how a token is had, and whose it is. Without an owner it has one of its own."""

    auth: Auth
    label: str
    owner: str = ""


class TokenPool(Auth):
    """Signs each call with the token of the owner that has the most left.

    :param name: what messages call the pool: the id of the Airflow connection.
    :param points_per_minute: calls of an owner in a minute: the secondary limit, which no header tells.
    :param patience_s: the longest pause that is waited for in place when all are used up.
    """

    def __init__(
        self,
        credentials: Sequence[Credential],
        *,
        name: str = "api",
        points_per_minute: float = 900.0,
        patience_s: float = 60.0,
    ) -> None:
        accounts: dict[str, Account] = {}
        self._members = [
            Member(
                each.label,
                each.auth,
                accounts.setdefault(each.owner or f"#{place}", Account(Allowance(points_per_minute))),
            )
            for place, each in enumerate(credentials)
        ]
        self._name = name
        self._patience_s = patience_s
        self._signed: dict[str, Member] = {}
        self._met: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def refreshes(self) -> int:  # type: ignore[override]
        """How many tokens were fetched."""
        return sum(member.auth.refreshes for member in self._members)

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the headers of the token that has the most left, or of the one that is preferred.

        :raises CredentialsRejected: no token is left in the pool.
        :raises RateLimited: all are used up for longer than ``patience_s``.
        """
        if self._met is None:
            self._met = asyncio.create_task(self._meet(post))
        await asyncio.shield(self._met)
        resource = resource_of(query)
        while True:
            member = await self._free_member(resource, prefer)
            member.account.in_flight += 1
            member.account.allowance.take(time.time())
            try:
                signature = await member.auth.signature(post)
            except CredentialsRejected as rejected:
                self._release(member)
                self._drop(member, rejected.what)
            except BaseException:
                self._release(member)
                raise
            else:
                self._signed[signature["Authorization"]] = member
                return signature

    def learned(self, signature: Mapping[str, str], response: Response) -> None:
        """Learn from the headers of an answer what is left."""
        member = self._signed[signature["Authorization"]]
        member.auth.learned(signature, response)
        if response.status != 401:  # its headers are about calls without a token
            told = _told(response.headers)
            if told is not None:
                member.account.observe(*told)
        self._release(member)

    def spent(self, signature: Mapping[str, str], wait_s: float | None) -> bool:
        """Hold the owner of a token back, and no other: the next signature is another's, or says how long to wait."""
        account = self._signed[signature["Authorization"]].account
        account.held_until = max(account.held_until, time.time() + (_HOLD_S if wait_s is None else wait_s))
        return True

    async def rejected(self, signature: Mapping[str, str], post: Exchange) -> None:
        """Take a token out of the pool, unless a new one can be had in its place.

        :raises CredentialsRejected: it was the last.
        """
        member = self._signed[signature["Authorization"]]
        try:
            await member.auth.rejected(signature, post)
        except CredentialsRejected as rejected:
            self._drop(member, rejected.what)
        self._alive()

    def identity(self, signature: Mapping[str, str]) -> str:
        """Return a digest that tells tokens apart, and tells nothing else of them."""
        return identity(signature["Authorization"])

    # --- choosing ------------------------------------------------------------------------------

    async def _free_member(self, resource: str, prefer: str) -> Member:
        """Return the member that has the most left, once one has."""
        while True:
            alive, now = self._alive(), time.time()
            free = [member for member in alive if member.account.free(resource, now) > 0]
            if ready := [member for member in free if member.account.allowance.ready_at(now) <= now]:
                return max(ready, key=lambda member: self._rank(member, resource, now, prefer))
            if free:
                await asyncio.sleep(min(member.account.allowance.ready_at(now) for member in free) - now)
            elif any(member.account.in_flight for member in alive):
                self._news.clear()
                await self._news.wait()
            else:
                await self._wait(min(member.account.opens_at(resource) for member in alive) - now)

    def _rank(self, member: Member, resource: str, now: float, prefer: str) -> tuple[bool, int]:
        preferred = bool(prefer) and any(
            identity(header) == prefer for header, signer in self._signed.items() if signer is member
        )
        return preferred, member.account.free(resource, now)

    async def _wait(self, wait_s: float) -> None:
        if wait_s > self._patience_s:
            raise RateLimited.for_s(wait_s, f"All {len(self._alive())} tokens of '{self._name}' are used up")
        await asyncio.sleep(max(wait_s, 0.01))

    def _alive(self) -> list[Member]:
        alive = [member for member in self._members if not member.out]
        if not alive:
            raise CredentialsRejected(
                f"The API '{self._name}' turns down every token of the pool: "
                f"{', '.join(member.label for member in self._members) or 'it has none'}.",
                advice=f"Put good tokens into the extra of the Airflow connection '{self._name}'. What is answered is "
                "staged; clear this task with all tasks downstream.",
            )
        return alive

    # --- knowing -------------------------------------------------------------------------------

    async def _meet(self, post: Exchange) -> None:
        """Ask for each token what is left of it. Where that cannot be had, its first call will tell."""
        await asyncio.gather(*(self._ask_limits(member, post) for member in self._members))

    async def _ask_limits(self, member: Member, post: Exchange) -> None:
        try:
            signature = await member.auth.signature(post)
        except CredentialsRejected as rejected:
            self._drop(member, rejected.what)
            return
        self._signed[signature["Authorization"]] = member
        response = await post(_RATE_LIMIT, headers=signature, method="GET")
        if response.status == 401:
            self._drop(member, "the API answers 401 (bad credentials)")
        elif response.status == 404:
            member.account.unlimited = True  # a GitHub Enterprise server whose limits are switched off
        elif response.status == 200:
            for resource, window in _limits(response.body):
                member.account.observe(resource, window)

    def _drop(self, member: Member, why: str) -> None:
        if not member.out:
            member.out = True
            left = sum(not each.out for each in self._members)
            log.warning("%s of '%s' leaves the pool, %s are left: %s", member.label, self._name, left, why)
        self._news.set()

    def _release(self, member: Member) -> None:
        member.account.in_flight -= 1
        self._news.set()


def resource_of(query: Query | None) -> str:
    """Name the limit that a query counts against."""
    return GRAPHQL if query is not None and query.path.rstrip("/").endswith("/graphql") else CORE


def identity(header: str) -> str:
    """Tell the token in an Authorization header apart from others, without telling anything else of it."""
    return hashlib.blake2b(header.encode(), digest_size=8, person=b"windrow").hexdigest()


def _told(headers: Mapping[str, str]) -> tuple[str, Window] | None:
    """Read the limits in the headers of an answer; None where there are none, or none that can be read."""
    try:
        window = Window(
            int(headers["X-RateLimit-Limit"]),
            int(headers["X-RateLimit-Remaining"]),
            float(headers["X-RateLimit-Reset"]),
        )
    except (KeyError, ValueError):
        return None
    return headers.get("X-RateLimit-Resource", CORE), window


def _limits(body: bytes) -> Iterable[tuple[str, Window]]:
    """Read the answer of ``/rate_limit``; nothing where it cannot be read."""
    try:
        resources = orjson.loads(body)["resources"]
        return [
            (name, Window(int(each["limit"]), int(each["remaining"]), float(each["reset"])))
            for name, each in resources.items()
            if name in {CORE, GRAPHQL}
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return []
