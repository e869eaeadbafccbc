"""Token flows: sign every attempt with a valid token, and refresh it once for all concurrent calls.

Tokens expire during a harvest. If every concurrent call refreshed its token after a 401, there would be as many
refreshes as calls, and an API that revokes the old token on each refresh would then reject all of them. Here at most
one refresh runs at a time; it starts *before* the token expires, while calls continue with the old one.
"""

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from multidict import CIMultiDict
from yarl import URL

from windrow.model.errors import CredentialsRejected
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.redact import know
from windrow.model.response import Response


class Exchange(Protocol):
    """Sends one unsigned call for a token flow. The client provides it."""

    async def __call__(
        self,
        url: str,
        form: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Response:
        """Send the call and return the response; ``trouble`` is the reason if there is none."""


@dataclass(slots=True)  # not frozen, as `Response`
class Attempt:
    """One HTTP request before it is sent. A signature may depend on all of it."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


LIFETIME_S = 3600.0
"""Lifetime of a token for which the API reports none, or one that is over: otherwise each call would fetch a token."""
_SHORTEST_S, _LONGEST_S = 0.1, 366 * 24 * 3600.0
_LEFT_ALONE_S = 60.0
"""Rejected credentials are not sent again for this time: otherwise each concurrent call would send them."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. Both times are seconds of the monotonic clock of this process."""

    value: str = field(repr=False)
    refresh_at: float
    expires_at: float

    @classmethod
    def lasting(cls, value: str, lifetime_s: float, since: float | None = None) -> "Token":
        """Make a token that is valid for ``lifetime_s`` from ``since`` (now) and is refreshed in its last quarter.

        The refresh starts at most a minute before the end: enough for running calls to end. An impossible lifetime,
        for example because clocks differ, counts as `LIFETIME_S`; the maximum is a year.
        """
        since = time.monotonic() if since is None else since
        lifetime_s = min(max(lifetime_s, _SHORTEST_S), _LONGEST_S) if 0 < lifetime_s < math.inf else LIFETIME_S
        return cls(value, since + lifetime_s - min(60.0, lifetime_s / 4), since + lifetime_s)


class Auth(ABC):
    """Signs calls. The client asks for a signature before every attempt, so no retry uses an old token."""

    refreshes = 0
    """How many tokens were fetched."""
    refused = 0
    """How many tokens the API rejected since it last accepted one."""
    pauses = 0
    """How often all credentials were paused in a row; earlier tries may have counted some."""
    query_params: tuple[str, ...] = ()
    """Names of the query parameters that carry a credential. The client removes them from URLs that an API returns."""

    @abstractmethod
    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the credential that signs one attempt: for most kinds, the headers to send.

        :param query: the query of the attempt; None for a call of the token flow itself.
        :param prefer: the `identity` of the preferred credential, if there are several.
        """

    def sign(self, signature: Mapping[str, str], attempt: Attempt) -> Attempt:
        """Return the attempt, signed with a result of `signature`. Headers of the signature replace others."""
        headers = CIMultiDict(attempt.headers or signature)
        if attempt.headers:
            headers.update(signature)
        return Attempt(attempt.method, attempt.url, headers, attempt.body)

    async def close(self) -> None:  # noqa: B027 - most have no use for it
        """End what runs in the background. The client calls this before it closes its connections."""

    @abstractmethod
    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Handle a signature that the API rejected; return when a new signature may be accepted.

        :param why: the answer of the API in one line, for messages.
        :raises CredentialsRejected: a new signature does not help.
        """

    def learned(  # noqa: B027 - most have no use for it
        self, signature: Mapping[str, str], response: Response, query: Query | None = None
    ) -> None:
        """Handle the end of an attempt, successful or not. Called once for each signature."""

    def answered(self, signature: Mapping[str, str], query: Query) -> None:  # noqa: B027 - as above
        """Handle a successful answer."""

    def throttled(self, signature: Mapping[str, str], wait_s: float | None, query: Query) -> bool:
        """Handle a used-up limit of the credential; return whether to retry at once with the next signature."""
        return False

    def forbidden(self, signature: Mapping[str, str], query: Query, response: Response) -> bool:
        """Handle a missing permission of the credential; return whether to retry at once with another one."""
        return False

    def identity(self, signature: Mapping[str, str]) -> str:
        """Return an id for the credential of a signature that reveals nothing else; empty if there is only one."""
        return ""


class NoAuth(Auth):
    """For APIs that do not need a token."""

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return no headers."""
        return {}

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Raise: there is nothing to refresh."""
        raise CredentialsRejected(
            f"The API answered 401 (unauthorized), but its Airflow connection has no credentials: {why}",
            advice="Set 'auth' in the extra of the Airflow connection, and its fields, such as token, or token_path "
            "with login and password (docs/connections.md).",
        )


class StaticAuth(Auth):
    """A credential that was created by hand, and is valid until it is revoked.

    :param headers: the headers that sign a call.
    :param what: name of the credential in messages.
    :param secrets: values that must not appear in messages.
    """

    def __init__(self, headers: Mapping[str, str], what: str, secrets: Sequence[str] = ()) -> None:
        know(*secrets)
        self._signature = dict(headers)
        self._what = what

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the same headers for every call."""
        return self._signature

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Raise: this credential cannot be refreshed."""
        raise CredentialsRejected(
            f"The API rejected the {self._what}: {why}",
            advice=f"Set a valid {self._what} in the Airflow connection.",
        )


class StaticToken(StaticAuth):
    """A bearer token."""

    def __init__(self, token: str) -> None:
        super().__init__({"Authorization": f"Bearer {token}"}, "token", [token])


class RefreshingToken(Auth):
    """A bearer token that is refreshed before it expires, once for all calls. A subclass fetches the token.

    :param backoff: how long to wait before the next token if the API also rejects new ones.
    """

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._token: Token | None = None
        self._refresh: asyncio.Task[Token] | None = None
        self._turned_down: CredentialsRejected | None = None
        self._ask_again_at = 0.0

    @abstractmethod
    async def grant(self, post: Exchange) -> Token:
        """Get a new token.

        :raises CredentialsRejected: the token endpoint rejected the credentials.
        :raises ApiUnreachable: the token endpoint gave no usable answer.
        """

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the Authorization header; wait for a refresh only if there is no valid token."""
        token, now = self._token, time.monotonic()
        if token is None or now >= token.expires_at:
            token = await self._refreshed(post)
        elif now >= token.refresh_at and self._refresh is None:
            self._start_refresh(post).add_done_callback(self._postpone_if_failed)
        return {"Authorization": f"Bearer {token.value}"}

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Refresh the token, unless another call already did so after this signature was made."""
        if self._token is not None and signature["Authorization"] == f"Bearer {self._token.value}":
            self._token = None  # it signs no further call
            self.refused += 1
        if self._token is None:
            await self._refreshed(post)

    def learned(self, signature: Mapping[str, str], response: Response, query: Query | None = None) -> None:
        """Reset the count of rejected tokens after an accepted one."""
        if response.status not in {None, 401}:
            self.refused = 0

    async def close(self) -> None:
        """End a refresh: no call needs its token any more."""
        if self._refresh is not None and not self._refresh.done():
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    async def _refreshed(self, post: Exchange) -> Token:
        if self._turned_down is not None and time.monotonic() < self._ask_again_at:
            raise self._turned_down
        # shield: a cancelled call must not cancel the refresh that other calls wait for.
        return await asyncio.shield(self._refresh or self._start_refresh(post))

    def _start_refresh(self, post: Exchange) -> "asyncio.Task[Token]":
        self._refresh = asyncio.create_task(self._replace(post))
        # Waiting calls get the error; if no call waits any more, the error is not reported.
        self._refresh.add_done_callback(lambda refresh: refresh.cancelled() or refresh.exception())
        return self._refresh

    def _postpone_if_failed(self, refresh: "asyncio.Task[Token]") -> None:
        """After a failed refresh in the background, wait for half of the remaining lifetime before the next one.

        The failure is not reported, because the old token is still valid. After it expires, a call waits for a
        refresh and raises its error.
        """
        token, now = self._token, time.monotonic()
        if token is not None and (refresh.cancelled() or refresh.exception() is not None):
            self._token = replace(token, refresh_at=now + (token.expires_at - now) / 2)

    async def _replace(self, post: Exchange) -> Token:
        try:
            if self.refused > 1:  # the first new token is fetched at once; if it is also rejected, wait longer
                await asyncio.sleep(self._backoff.pause_s(self.refused - 1))
            token = await self.grant(post)
            know(token.value)
            self._token = token
            self.refreshes += 1
            return token
        except CredentialsRejected as error:
            self._turned_down, self._ask_again_at = error, time.monotonic() + _LEFT_ALONE_S
            raise
        finally:
            self._refresh = None


def can_be_sent(token: object) -> bool:
    """Return whether a value can be a token (RFC 6750 section 2.1): visible ASCII, which is safe in a header."""
    return isinstance(token, str) and token != "" and all("!" <= sign <= "~" for sign in token)
