"""Several credentials for one API, of distinct owners: each call is signed by the one that has the most left.

There is no ledger of our own: the API is the ledger. A pool asks ``/rate_limit`` once for each of its tokens, which
is free, and then believes the headers of every answer: ``x-ratelimit-limit``, ``-remaining``, ``-reset`` and
``-resource``. What is under way is subtracted until it is answered, so a window is used up without one call too
many. Limits belong to the owner of a token: two tokens of one owner are one account here.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from windrow.http.auth import Auth, Exchange
from windrow.http.owner_limits import Account, Allowance, is_good, limit_in, limits_in, resource_of
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.model.query import Query
from windrow.model.response import Response

log = logging.getLogger(__name__)

_RATE_LIMIT = "/rate_limit"
_HOLD_S = 60.0
"""Pause after a refusal that does not say how long it lasts."""
_NEW_TOKENS = 2
"""So many different tokens of one credential are turned down, and it is not the token: the credential is no good."""


@dataclass(slots=True)
class Member:
    """One credential of a pool. ``label`` is what messages call it; its text is never shown."""

    label: str
    auth: Auth
    account: Account
    out: str = ""
    """Why it has left the pool; empty while it is in."""
    turned_down: set[str] = field(default_factory=set)
    """Identities of its tokens that the API did not take."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a pool is made of: how a token is had, and whose it is. Without an owner it has one of its own."""

    auth: Auth
    label: str
    owner: str = ""


def by_owner(credentials: Iterable[Credential]) -> list[list[Credential]]:
    """Group credentials by the owner whose limits they share, in the order in which the owners come."""
    groups: dict[object, list[Credential]] = {}
    for place, credential in enumerate(credentials):
        groups.setdefault(credential.owner or place, []).append(credential)
    return list(groups.values())


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
        self._members = [
            Member(each.label, each.auth, account)
            for group in by_owner(credentials)
            for account in [Account(Allowance(points_per_minute))]
            for each in group
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
        :raises ApiUnreachable: the only one has to be renewed, and that cannot be done.
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
            except (ApiUnreachable, RateLimited) as trouble:
                self._release(member)
                self._stand_in(member, trouble)
            except BaseException:  # cancelled, too: its place is free again
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
            told = limit_in(response.headers)
            if told is not None:
                member.account.observe(*told)
        if is_good(response):
            member.account.answered(time.time())
            member.turned_down.clear()
        self._release(member)

    def spent(self, signature: Mapping[str, str], wait_s: float | None) -> bool:
        """Hold the owner of a token back, and no other: the next signature is another's, or says how long to wait."""
        account = self._signed[signature["Authorization"]].account
        account.hold(_HOLD_S if wait_s is None else wait_s, time.time())
        return True

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Take a token out of the pool, unless a new one can be had in its place that the API may take.

        :raises CredentialsRejected: it was the last.
        :raises ApiUnreachable: as `signature`; so is `RateLimited`.
        """
        member = self._signed[signature["Authorization"]]
        member.turned_down.add(self.identity(signature))
        if len(member.turned_down) >= _NEW_TOKENS:
            self._drop(member, f"new tokens of it are turned down too, {why}")
        else:
            try:
                await member.auth.rejected(signature, post, why)
            except CredentialsRejected as rejected:
                self._drop(member, rejected.what)
            except (ApiUnreachable, RateLimited) as trouble:
                self._stand_in(member, trouble)
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
                f"{'; '.join(f'{member.label}, {member.out}' for member in self._members) or 'it has none'}.",
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
        except (ApiUnreachable, RateLimited):
            return
        self._signed[signature["Authorization"]] = member
        response = await post(_RATE_LIMIT, headers=signature, method="GET")
        if response.status == 401:
            self._drop(member, replace(response, signature=signature).summary)
        elif response.status == 404:
            member.account.unlimited = True  # a server whose limits are switched off
        elif response.status == 200:
            for resource, window in limits_in(response.body):
                member.account.observe(resource, window)

    def _stand_in(self, member: Member, trouble: ApiUnreachable | RateLimited) -> None:
        """Let others sign while a token cannot be renewed.

        :raises ApiUnreachable: no other can; so is `RateLimited`.
        """
        now = time.time()
        if all(other.account is member.account or other.account.held_until > now for other in self._alive()):
            raise trouble
        log.warning("%s of '%s' cannot sign for now: %s", member.label, self._name, trouble.what)
        member.account.hold(trouble.retry_at.timestamp() - now if isinstance(trouble, RateLimited) else _HOLD_S, now)

    def _drop(self, member: Member, why: str) -> None:
        if not member.out:
            member.out = why
            left = sum(not each.out for each in self._members)
            log.warning("%s of '%s' leaves the pool, %s are left: %s", member.label, self._name, left, why)
        self._news.set()

    def _release(self, member: Member) -> None:
        member.account.in_flight -= 1
        self._news.set()


def identity(header: str) -> str:
    """Tell the token in an Authorization header apart from others, without telling anything else of it."""
    return hashlib.blake2b(header.encode(), digest_size=8, person=b"windrow").hexdigest()
