"""Consents of people: refresh tokens that their endpoint may replace at each use, shared by all runs and processes.

A new refresh token must be stored before anything else happens, and only one process may use the old one. So the
refreshes of a consent are numbered. Before each attempt at number n, a process inserts a claim with the next attempt
number; the tokens of number n are inserted once. Inserting is atomic, so one process wins, and the others wait for its
tokens. A claim ends with its lease. Then another process tries again with the old refresh token, because the first one
may have been killed before its call arrived.
"""

import asyncio
import hashlib
import logging
import os
import socket
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import orjson

from windrow.http.auth import Token
from windrow.model.errors import StagingUnavailable
from windrow.model.redact import know

log = logging.getLogger(__name__)

_POLL_S = 0.25
"""How often a process looks for the tokens of another one."""
_SKEW = timedelta(minutes=5)
"""A claim whose lease ended longer ago than this is over, whatever the clocks say."""
_LONGEST_LEASE = timedelta(minutes=10)
_SAVE_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0)
"""Pauses between attempts to store new tokens: without them the consent is lost."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a refresh, which has started."""

    number: int
    attempt: int
    by: str
    started_at: datetime
    until: datetime
    """The end of the lease. Times are in UTC."""


@dataclass(frozen=True, slots=True)
class ConsentState:
    """What is stored of a consent."""

    number: int = 0
    """Number of the last refresh; 0 before the first."""
    sealed: str = field(default="", repr=False)
    """Its tokens, encrypted."""
    claim: Claim | None = None
    """The last attempt at the next refresh, if there is one."""


class ConsentStore(Protocol):
    """Stores consents for all processes."""

    def consent(self, consent: str) -> ConsentState:
        """Read what is stored."""

    def claim_refresh(self, consent: str, claim: Claim) -> bool:
        """Store a claim, unless one of this number and attempt exists; return whether it is the caller's."""

    def release_refresh(self, consent: str, claim: Claim) -> None:
        """Delete a claim: the endpoint answered, and gave no tokens."""

    def save_refresh(self, consent: str, number: int, sealed: str, *, by: str) -> bool:
        """Store the tokens of a refresh, unless it has some; return whether they are the caller's.

        Then delete everything about earlier refreshes.
        """


class Seal(Protocol):
    """Encrypts what is stored."""

    def seal(self, text: str) -> str:
        """Encrypt."""

    def unseal(self, sealed: str) -> str:
        """Decrypt.

        :raises ConnectionUnusable: the key has changed.
        """


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to use a refresh token once."""

    claim: Claim
    refresh_token: str = field(repr=False)
    unanswered: Claim | None = None
    """The attempt before, of which no answer is stored: the endpoint may already have replaced the refresh token."""


class Consent:
    """One consent.

    :param client_id: the client that the consent was given to.
    :param refresh_token: the refresh token of the connection. Another one is another consent, so what a person sets
        anew in the connection replaces what is stored.
    :param lease_s: longer than any attempt at a refresh; at most 10 minutes.
    """

    def __init__(
        self, store: ConsentStore, seal: Seal, client_id: str, refresh_token: str, *, lease_s: float = 60.0
    ) -> None:
        know(refresh_token)
        self._store = store
        self._seal = seal
        self._first = refresh_token
        self._lease = timedelta(seconds=lease_s)
        self._by = f"{socket.gethostname()}|{os.getpid()}|{uuid.uuid4().hex[:8]}"
        given = orjson.dumps([client_id, refresh_token])
        self._id = hashlib.blake2b(given, digest_size=16, person=b"windrow consent").hexdigest()

    async def turn(self, used: str) -> Token | Turn:
        """Wait for the right to refresh, or for the token of another process.

        :param used: the last access token of this process: one that is no longer wanted.
        """
        seen: Claim | None = None
        seen_at = 0.0
        while True:
            state = await asyncio.to_thread(self._store.consent, self._id)
            refresh_token, token = self._read(state)
            if token is not None and token.value != used and time.monotonic() < token.refresh_at:
                return token
            now, last = datetime.now(UTC), state.claim
            if last != seen:
                seen, seen_at = last, time.monotonic()
            if last is not None and last.by != self._by and last.until > now - _SKEW:
                # clocks of machines differ, so the lease counts from when this process first saw the claim
                wait_s = seen_at + min(last.until - last.started_at, _LONGEST_LEASE).total_seconds() - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(min(wait_s, _POLL_S))
                    continue
            attempt = last.attempt + 1 if last else 1
            claim = Claim(state.number + 1, attempt, self._by, now, now + self._lease)
            if not await asyncio.to_thread(self._store.claim_refresh, self._id, claim):
                continue
            if (await asyncio.to_thread(self._store.consent, self._id)).number == state.number:
                return Turn(claim, refresh_token, last)
            await self.release(claim)  # another process stored its tokens since

    async def is_over(self, turn: Turn) -> bool:
        """Return whether another process has stored the tokens of this refresh."""
        return (await asyncio.to_thread(self._store.consent, self._id)).number >= turn.claim.number

    async def release(self, claim: Claim) -> None:
        """Let others refresh at once: the endpoint has answered without tokens."""
        await asyncio.to_thread(self._store.release_refresh, self._id, claim)

    async def save(self, turn: Turn, token: Token, refresh_token: str) -> bool:
        """Store new tokens; return whether they count. If not, another process was faster, and its tokens count.

        :raises StagingUnavailable: MongoDB cannot be reached for minutes.
        """
        know(refresh_token, token.value)
        left = time.time() - time.monotonic()
        fields = {
            "refresh_token": refresh_token,
            "access_token": token.value,
            "refresh_at": left + token.refresh_at,
            "expires_at": left + token.expires_at,
        }
        sealed = self._seal.seal(orjson.dumps(fields).decode())
        for pause_s in _SAVE_PAUSES_S:
            try:
                return await self._save(turn, sealed)
            except StagingUnavailable as error:
                log.warning("A new refresh token is not stored yet; do not stop this process: %s", error)
                await asyncio.sleep(pause_s)
        return await self._save(turn, sealed)

    async def _save(self, turn: Turn, sealed: str) -> bool:
        return await asyncio.to_thread(self._store.save_refresh, self._id, turn.claim.number, sealed, by=self._by)

    def _read(self, state: ConsentState) -> tuple[str, Token | None]:
        """Return the refresh token to use next, and the access token."""
        if not state.sealed:
            return self._first, None
        fields = orjson.loads(self._seal.unseal(state.sealed))
        know(fields["refresh_token"], fields["access_token"])
        left = time.time() - time.monotonic()
        token = Token(fields["access_token"], fields["refresh_at"] - left, fields["expires_at"] - left)
        return fields["refresh_token"], token
