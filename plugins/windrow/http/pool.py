"""A pool of credentials of several owners for one API: the credential with the most calls left signs each call.

The pool reads the remaining calls from the headers of every answer (see `RateLimits`). If the API has a status path,
the pool also calls it once for each credential before the first call. Running calls are subtracted until they end, so a
limit is used completely, but never exceeded. Limits belong to the owner of a credential: two tokens of one owner share
them.

If a call is forbidden, the cause may be the credential, the query, or both. So the pool tries the query with one other
credential. A credential leaves the pool after several refusals of queries that others may read; a query that is
forbidden for two credentials is rejected; a query that only one credential may read is remembered.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from windrow.http.auth import Attempt, Auth, Exchange
from windrow.http.owner_limits import OwnerLimits
from windrow.http.pacing import LONGEST_PAUSE_S
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.model.query import Query
from windrow.model.rate_limits import LimitWindow, RateLimits
from windrow.model.response import Response

log = logging.getLogger(__name__)

_HOLD_S = 1.0
"""Pause of an owner after a limit without a reported end; it grows while the limit stays."""
_SHORTEST_S = 0.01
_NO_TOKEN_S = 60.0
"""Pause of a credential that gets no token."""
_NEW_TOKENS = 2
"""After this many rejected tokens of one credential, the credential itself counts as invalid."""
_BLAMED = 10
"""After this many forbidden queries that others may read, in a row, a credential leaves the pool.

Fewer could be the lists of one private repository, which say nothing against the credential.
"""
_CONFIRMED = 3
"""After this many queries that two credentials refused for one reason, queries refused for it are not tried again."""
_REMEMBERED = 10_000
"""Maximum number of remembered forbidden queries."""
_VARIABLE = re.compile(r"""[^\s"':,]*\d[^\s"':,]*""")
"""The variable parts of a refusal: words with a digit."""


@dataclass(slots=True)
class Member:
    """One credential of a pool. Messages show only its ``label``."""

    label: str
    auth: Auth
    limits: OwnerLimits
    stands_by: bool = False
    """It only signs queries that are forbidden for the others of the pool."""
    out: str = ""
    """Why it has left the pool; empty while it is in the pool."""
    turned_down: set[str] = field(default_factory=set)
    """Identities of its tokens that the API rejected."""
    blamed: set[str] = field(default_factory=set)
    """Queries that were forbidden for it since its last success, but that another credential may read."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential for a pool, and its owner. A credential without an owner has its own limits."""

    auth: Auth
    label: str
    owner: str = ""


def by_owner(credentials: Iterable[Credential]) -> list[list[Credential]]:
    """Group credentials by owner, in the order of their first appearance. Credentials of one owner share limits."""
    groups: dict[object, list[Credential]] = {}
    for place, credential in enumerate(credentials):
        groups.setdefault(credential.owner or place, []).append(credential)
    return list(groups.values())


class TokenPool(Auth):
    """Signs each call with the credential of the owner that has the most calls left.

    :param stand_by: credentials of other workers; they only sign queries that are forbidden for the pool's own.
    :param name: name of the pool in messages: the id of the Airflow connection.
    :param rate_limits: the limits of each owner, and how the API reports them.
    :param patience_s: the longest pause to wait inside the task if all limits are used up.
    :param reserved: share of each owner's limits that this pool leaves to other runs, from 0 to 1.
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
        self._started_at = time.time() - time.monotonic()
        self._signed: dict[str, Member] = {}
        self._met: asyncio.Task[None] | None = None
        self._pauses_before = 0
        self._unnamed = False
        """Whether a pause without a time is the last thing that the API said."""
        self._news = asyncio.Event()
        self._refusals: dict[str, dict[str, str]] = {}
        """By query key: the labels of credentials for which the query is forbidden, with the reason."""
        self._readers: dict[str, str] = {}
        """By path of a query that was forbidden for a credential: the label of one that may read it and its pages."""
        self._told: set[tuple[str, str]] = set()
        """Credentials and reasons that were already logged."""
        self._confirmed: Counter[str] = Counter()

    @property
    def refreshes(self) -> int:  # type: ignore[override]
        """How many tokens were fetched."""
        return sum(member.auth.refreshes for member in self._members)

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the headers of the token with the most calls left, or of the preferred token.

        :raises CredentialsRejected: no valid token is left in the pool.
        :raises RateLimited: all limits are used up for longer than ``patience_s``.
        :raises ApiUnreachable: the only token must be refreshed, and the token endpoint cannot be reached.
        """
        if self._met is None:
            self._pauses_before = self.pauses
            self._met = asyncio.create_task(self._meet(post))
        await asyncio.shield(self._met)
        while True:
            member = await self._free_member(query, prefer)
            member.limits.begin(self._now())
            try:
                signature = await member.auth.signature(post)
            except CredentialsRejected as rejected:
                self._release(member)
                self._drop(member, rejected.what)
            except (ApiUnreachable, RateLimited) as trouble:
                self._release(member)
                self._stand_in(member, trouble)
            except BaseException:  # also when cancelled: release its slot
                self._release(member)
                raise
            else:
                self._signed[_text(signature)] = member
                return signature

    def sign(self, signature: Mapping[str, str], attempt: Attempt) -> Attempt:
        """Sign with the credential of the signature."""
        return self._signed[_text(signature)].auth.sign(signature, attempt)

    async def close(self) -> None:
        """End the refreshes of all credentials."""
        await asyncio.gather(*(member.auth.close() for member in self._members))

    def learned(self, signature: Mapping[str, str], response: Response, query: Query | None = None) -> None:
        """Read the remaining calls from the headers of an answer."""
        member = self._signed[_text(signature)]
        member.auth.learned(signature, response, query)
        if response.status not in {None, 401}:  # headers of a 401 are about calls without a token
            told = self._rate_limits.told_by(response.headers)
            resource = response.headers.get(self._rate_limits.resource_header) or self._rate_limits.resource_of(query)
            if told is not None or (response.status or 500) < 500:  # a gateway knows nothing of limits
                member.limits.observe(resource, told and self._in_our_time(told))
        self._release(member)

    def answered(self, signature: Mapping[str, str], query: Query) -> None:
        """Handle a successful answer. Credentials for which the query was forbidden before may be invalid."""
        member = self._signed[_text(signature)]
        member.limits.answered(self._now())
        self._unnamed, self.pauses, self._pauses_before = False, 0, 0
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
                    self._drop(
                        other, f"it gets refusals for queries that other tokens may read: {refusals[other.label]}"
                    )

    def throttled(self, signature: Mapping[str, str], wait_s: float | None, query: Query) -> bool:
        """Pause only the owner of this credential; the next signature comes from another one, or says when to retry."""
        limits = self._signed[_text(signature)].limits
        now = self._now()
        if wait_s is None:
            opens_at = limits.opens_at(self._rate_limits.resource_of(query))
            self._unnamed = opens_at <= now
            wait_s = min(LONGEST_PAUSE_S, _HOLD_S * 2.0**self._pauses_before) if self._unnamed else opens_at - now
        limits.hold(max(wait_s, _SHORTEST_S), now)
        return True

    def forbidden(self, signature: Mapping[str, str], query: Query, response: Response) -> bool:
        """Handle a missing permission of the credential; return whether to retry at once with another one."""
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
        """Remove a token from the pool, unless it can be refreshed.

        :raises CredentialsRejected: no token is left in the pool.
        :raises ApiUnreachable: as in `signature`; the same for `RateLimited`.
        """
        member = self._signed[_text(signature)]
        member.turned_down.add(self.identity(signature))
        if len(member.turned_down) >= _NEW_TOKENS:
            self._drop(member, f"the API also rejected its new tokens: {why}")
        else:
            try:
                await member.auth.rejected(signature, post, why)
            except CredentialsRejected as rejected:
                self._drop(member, rejected.what)
            except (ApiUnreachable, RateLimited) as trouble:
                self._stand_in(member, trouble)
        self._alive()

    def identity(self, signature: Mapping[str, str]) -> str:
        """Return a digest that identifies a token without revealing it."""
        return identity(_text(signature))

    def _tell(self, member: Member, query: Query, kind: str) -> None:
        """Log once for each reason that a credential may not read a query that another one may read."""
        if (member.label, kind) not in self._told:
            self._told.add((member.label, kind))
            log.warning(
                "%s of '%s' has no permission for the query '%s', but another token has: %s",
                member.label,
                self._name,
                query.key,
                kind,
            )

    def _now(self) -> float:
        """Return the Unix time when the pool was made plus what has passed since: a step of the clock ends no pause."""
        return self._started_at + time.monotonic()

    def _in_our_time(self, window: LimitWindow) -> LimitWindow:
        return replace(window, reset_at=window.reset_at + self._now() - time.time())

    # --- choosing ------------------------------------------------------------------------------

    async def _free_member(self, query: Query | None, prefer: str) -> Member:
        """Wait for a member with calls left, and return the one with the most.

        Members for which the query is forbidden are only used if there are no others.
        """
        resource = self._rate_limits.resource_of(query)
        while True:
            alive, now = self._alive(), self._now()
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
            if self._unnamed:
                self.pauses = self._pauses_before + 1
            raise RateLimited.for_s(
                wait_s, f"The rate limits of all {len(self._alive())} tokens of '{self._name}' are used up"
            )
        await asyncio.sleep(max(wait_s, 0.01))

    def _others(self, refusals: Mapping[str, str]) -> list[Member]:
        """Return members for which a query is not forbidden; stand-by members only if there are no others."""
        others = [member for member in self._members if not member.out and member.label not in refusals]
        return [member for member in others if not member.stands_by] or others

    def _alive(self) -> list[Member]:
        alive = [member for member in self._members if not member.out and not member.stands_by]
        if not alive:
            why = "; ".join(f"{member.label}: {member.out}" for member in self._members if member.out)
            raise CredentialsRejected(
                f"The pool of '{self._name}' has no valid token: {why or 'it is empty'}.",
                advice=f"Set valid tokens in the extra of the Airflow connection '{self._name}', then clear this task "
                "with all tasks downstream. All answers so far are staged.",
            )
        return alive

    # --- knowing -------------------------------------------------------------------------------

    async def _meet(self, post: Exchange) -> None:
        """Call the status path with each credential. If that fails, its first call shows what is left."""
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
        if response.status == 401:  # the token may still be valid: its first call shows that
            log.warning(
                "%s of '%s' is only used if all others are used up: %s answered %s",
                *(member.label, self._name, self._rate_limits.status, replace(response, signature=signature).summary),
            )
        if response.status == 200:
            for resource, window in self._rate_limits.told_by_status(response.body):
                member.limits.observe(resource, self._in_our_time(window))

    def _stand_in(self, member: Member, trouble: ApiUnreachable | RateLimited) -> None:
        """Use other members while a token cannot be refreshed.

        :raises ApiUnreachable: there are no others; the same for `RateLimited`.
        """
        now = self._now()
        if all(other.limits is member.limits or other.limits.held_until > now for other in self._alive()):
            raise trouble
        log.warning("%s of '%s' cannot be used for now: %s", member.label, self._name, trouble.what)
        member.limits.hold(trouble.retry_at.timestamp() - now if isinstance(trouble, RateLimited) else _NO_TOKEN_S, now)

    def _drop(self, member: Member, why: str) -> None:
        if not member.out:
            member.out = why
            left = sum(not each.out and not each.stands_by for each in self._members)
            log.warning("%s of '%s' was removed from the pool (%s left): %s", member.label, self._name, left, why)
        self._news.set()

    def _release(self, member: Member) -> None:
        member.limits.in_flight -= 1
        self._news.set()


def identity(header: str) -> str:
    """Return a digest that identifies the credential in a signature without revealing it."""
    return hashlib.blake2b(header.encode(), digest_size=8, person=b"windrow").hexdigest()


def _text(signature: Mapping[str, str]) -> str:
    """Return the secret part of a signature."""
    return signature.get("Authorization") or "\n".join(signature.values())
