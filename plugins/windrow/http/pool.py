"""Several credentials for one API, of distinct owners: each call is signed by the one that has the most left.

There is no ledger of our own: the API is the ledger. A pool believes the headers of every answer, as `RateLimits` names
them; where the API has a status path, the pool asks it once for each credential before the first call. What is in
flight is subtracted until it is answered, so a window is used up without one call too many. Limits belong to the owner
of a credential: two tokens of one owner share them.

A refusal may be the fault of the credential, of the query, or of the pair. So a query that is refused is tried with one
other credential. A credential that refuses what others may read leaves the pool; a query that two credentials may not
read is refused for good; what only one may read is remembered.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from windrow.http.auth import Auth, Exchange
from windrow.http.owner_limits import OwnerLimits
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.model.query import Query
from windrow.model.rate_limits import RateLimits
from windrow.model.response import Response

log = logging.getLogger(__name__)

_HOLD_S = 1.0
"""Pause of an owner after a limit that does not say how long it lasts; it grows while it does not help."""
_SHORTEST_S = 0.01
_NO_TOKEN_S = 60.0
"""Pause of a credential that gets no token."""
_NEW_TOKENS = 2
"""So many different tokens of one credential are turned down, and it is not the token: the credential is no good."""
_BLAMED = 3
"""So many queries that others may read are refused to a credential, and it leaves the pool."""
_CONFIRMED = 3
"""So many queries got one kind of refusal from two credentials, and no further one is tried with a second."""
_REMEMBERED = 10_000
"""The most refused queries that are remembered."""
_VARIABLE = re.compile(r"""[^\s"':,]*\d[^\s"':,]*""")
"""What differs from one refusal of a kind to the next: words with a digit."""


@dataclass(slots=True)
class Member:
    """One credential of a pool. ``label`` is what messages call it; its text is never shown."""

    label: str
    auth: Auth
    limits: OwnerLimits
    stands_by: bool = False
    """It signs only what others of the pool are refused."""
    out: str = ""
    """Why it has left the pool; empty while it is in."""
    turned_down: set[str] = field(default_factory=set)
    """Identities of its tokens that the API did not take."""
    blamed: set[str] = field(default_factory=set)
    """What it refused, since its last good answer, and another one read."""


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
    """Signs each call with the credential of the owner that has the most left.

    :param stand_by: further ones, of other workers: they sign only what the pool's own are refused.
    :param name: what messages call the pool: the id of the Airflow connection.
    :param rate_limits: what each owner is allowed, and how the API tells it.
    :param patience_s: the longest pause that is waited for in place when all are used up.
    :param reserved: share of each owner's windows that this pool leaves to others, from 0 to 1.
    """

    def __init__(
        self,
        credentials: Sequence[Credential],
        *,
        stand_by: Sequence[Credential] = (),
        name: str = "api",
        rate_limits: RateLimits | None = None,
        patience_s: float = 60.0,
        reserved: float = 0.0,
    ) -> None:
        self._rate_limits = allowed = rate_limits or RateLimits()
        self._members = [
            Member(each.label, each.auth, limits, stands_by)
            for stands_by, some in ((False, credentials), (True, stand_by))
            for group in by_owner(some)
            for limits in [OwnerLimits.of(allowed, reserved)]
            for each in group
        ]
        self._name = name
        self._patience_s = patience_s
        self._signed: dict[str, Member] = {}
        self._met: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._refusals: dict[str, dict[str, str]] = {}
        """By the key of a query: the credentials, by label, that were refused it, each with the kind of refusal."""
        self._readers: dict[str, str] = {}
        """By the path of a query that a credential was refused: one that may read it, and so its further pages."""
        self._told: set[tuple[str, str]] = set()
        """The credentials and kinds of refusals that were logged."""
        self._confirmed: Counter[str] = Counter()

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
        while True:
            member = await self._free_member(query, prefer)
            member.limits.begin(time.time())
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
                self._signed[_text(signature)] = member
                return signature

    def learned(self, signature: Mapping[str, str], response: Response, query: Query | None = None) -> None:
        """Learn from the headers of an answer what is left."""
        member = self._signed[_text(signature)]
        member.auth.learned(signature, response, query)
        if response.status not in {None, 401}:  # headers of a 401 are about calls without a token
            told = self._rate_limits.told_by(response.headers)
            resource = response.headers.get(self._rate_limits.resource_header) or self._rate_limits.resource_of(query)
            if told is not None or (response.status or 500) < 500:  # a gateway knows nothing of limits
                member.limits.observe(resource, told)
        self._release(member)

    def answered(self, signature: Mapping[str, str], query: Query) -> None:
        """Learn of a good answer. Who refused the query before is at fault, or may not read just this."""
        member = self._signed[_text(signature)]
        member.limits.answered(time.time())
        member.turned_down.clear()
        member.blamed.clear()
        refusals = self._refusals.get(query.key, {})
        if refusals:
            self._readers[query.path] = member.label
        for other in self._members:
            if other.label in refusals and not other.out:
                self._tell(other, query, refusals[other.label])
                other.blamed.add(query.key)
                if len(other.blamed) >= _BLAMED:
                    self._drop(other, f"it is refused what others may read: {refusals[other.label]}")

    def throttled(self, signature: Mapping[str, str], wait_s: float | None, query: Query) -> bool:
        """Hold the owner of a credential back, and no other: the next signature is another's, or says when."""
        limits = self._signed[_text(signature)].limits
        now = time.time()
        if wait_s is None:
            opens_at = limits.opens_at(self._rate_limits.resource_of(query))
            wait_s = opens_at - now if opens_at > now else _HOLD_S
        limits.hold(max(wait_s, _SHORTEST_S), now)
        return True

    def forbidden(self, signature: Mapping[str, str], query: Query, response: Response) -> bool:
        """Learn that a credential may not read something; say whether it is worth a try with another one."""
        member = self._signed[_text(signature)]
        kind = _VARIABLE.sub("*", response.summary)[:120]
        refusals = self._refusals.setdefault(query.key, {})
        refusals[member.label] = kind
        for memory in (self._refusals, self._readers):
            if len(memory) > _REMEMBERED:
                del memory[next(iter(memory))]
        if len(refusals) > 1:
            self._confirmed[kind] += 1
            return False
        return bool(self._others(refusals)) and self._confirmed[kind] < _CONFIRMED

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Take a token out of the pool, unless a new one can be had in its place that the API may take.

        :raises CredentialsRejected: it was the last.
        :raises ApiUnreachable: as `signature`; so is `RateLimited`.
        """
        member = self._signed[_text(signature)]
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
        return identity(_text(signature))

    def _tell(self, member: Member, query: Query, kind: str) -> None:
        """Say once of each kind that a credential may not read what another one may."""
        if (member.label, kind) not in self._told:
            self._told.add((member.label, kind))
            log.warning(
                "%s of '%s' may not read '%s', which another credential may: %s",
                member.label,
                self._name,
                query.key,
                kind,
            )

    # --- choosing ------------------------------------------------------------------------------

    async def _free_member(self, query: Query | None, prefer: str) -> Member:
        """Return the member that has the most left, once one has; of those that were not refused the query, if any."""
        resource = self._rate_limits.resource_of(query)
        while True:
            alive, now = self._alive(), time.time()
            refusals = self._refusals.get(query.key, {}) if query else {}
            if refusals:
                alive = self._others(refusals) or alive
            free = [member for member in alive if member.limits.free(resource, now) > 0]
            if ready := [member for member in free if member.limits.ready_at(now) <= now]:
                reader = self._readers.get(query.path) if query else None
                return max(
                    ready,
                    key=lambda member: (
                        self._is_preferred(member, prefer),
                        member.label == reader,
                        member.limits.free(resource, now),
                    ),
                )
            if free:
                await asyncio.sleep(min(member.limits.ready_at(now) for member in free) - now)
            elif any(member.limits.in_flight for member in alive):
                self._news.clear()
                await self._news.wait()
            else:
                await self._wait(min(member.limits.opens_at(resource) for member in alive) - now)

    def _is_preferred(self, member: Member, prefer: str) -> bool:
        return bool(prefer) and any(
            identity(text) == prefer for text, signer in self._signed.items() if signer is member
        )

    async def _wait(self, wait_s: float) -> None:
        if wait_s > self._patience_s:
            raise RateLimited.for_s(wait_s, f"All {len(self._alive())} tokens of '{self._name}' are used up")
        await asyncio.sleep(max(wait_s, 0.01))

    def _others(self, refusals: Mapping[str, str]) -> list[Member]:
        """Return those that were not refused a query; those that stand by only if it is none of the others."""
        others = [member for member in self._members if not member.out and member.label not in refusals]
        return [member for member in others if not member.stands_by] or others

    def _alive(self) -> list[Member]:
        alive = [member for member in self._members if not member.out and not member.stands_by]
        if not alive:
            why = "; ".join(f"{member.label}, {member.out}" for member in self._members if member.out)
            raise CredentialsRejected(
                f"The API '{self._name}' turns down every token of the pool: {why or 'it has none'}.",
                advice=f"Put good tokens into the extra of the Airflow connection '{self._name}'. What is answered is "
                "staged; clear this task with all tasks downstream.",
            )
        return alive

    # --- knowing -------------------------------------------------------------------------------

    async def _meet(self, post: Exchange) -> None:
        """Ask for each credential what is left of it. Where that cannot be had, its first call will tell."""
        if self._rate_limits.status:
            await asyncio.gather(*(self._ask_limits(member, post) for member in self._members if not member.stands_by))

    async def _ask_limits(self, member: Member, post: Exchange) -> None:
        try:
            signature = await member.auth.signature(post)
        except CredentialsRejected as rejected:
            self._drop(member, rejected.what)
            return
        except (ApiUnreachable, RateLimited):
            return
        self._signed[_text(signature)] = member
        response = await post(self._rate_limits.status, headers=signature, method="GET")
        if response.status == 401:  # it need not be the token: its first call will tell
            log.warning(
                "%s of '%s' is used only when no other is left: %s answers %s",
                *(member.label, self._name, self._rate_limits.status, replace(response, signature=signature).summary),
            )
        if response.status == 200:
            for resource, window in self._rate_limits.told_by_status(response.body):
                member.limits.observe(resource, window)

    def _stand_in(self, member: Member, trouble: ApiUnreachable | RateLimited) -> None:
        """Let others sign while a token cannot be renewed.

        :raises ApiUnreachable: no other can; so is `RateLimited`.
        """
        now = time.time()
        if all(other.limits is member.limits or other.limits.held_until > now for other in self._alive()):
            raise trouble
        log.warning("%s of '%s' cannot sign for now: %s", member.label, self._name, trouble.what)
        member.limits.hold(trouble.retry_at.timestamp() - now if isinstance(trouble, RateLimited) else _NO_TOKEN_S, now)

    def _drop(self, member: Member, why: str) -> None:
        if not member.out:
            member.out = why
            left = sum(not each.out and not each.stands_by for each in self._members)
            log.warning("%s of '%s' leaves the pool, %s are left: %s", member.label, self._name, left, why)
        self._news.set()

    def _release(self, member: Member) -> None:
        member.limits.in_flight -= 1
        self._news.set()


def identity(header: str) -> str:
    """Tell the credential in a signature apart from others, without telling anything else of it."""
    return hashlib.blake2b(header.encode(), digest_size=8, person=b"windrow").hexdigest()


def _text(signature: Mapping[str, str]) -> str:
    """Return what is secret in a signature."""
    return signature.get("Authorization") or "\n".join(signature.values())
