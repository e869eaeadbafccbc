"""Token flows: sign every attempt with a token that is alive, and refresh it once for all calls in flight.

Why this is more than a header: tokens die in the middle of a harvest. Refreshing on the first 401 with many
calls in flight makes as many refreshes, and an API whose new token ends the old one then refuses them all.
Here one refresh at most is under way; it starts *before* the token dies, while calls go on with the old one.
"""

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from windrow.model.errors import CredentialsRejected
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.redact import know
from windrow.model.response import Response


class Exchange(Protocol):
    """One call beside the harvest, without a signature of its own: the client lends it to the token flow."""

    async def __call__(
        self,
        url: str,
        form: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Response:
        """Send it, and return what came; ``trouble`` tells why nothing did."""


LIFETIME_S = 3600.0
"""For a token whose life is not told, or told to be over: taken at its word, each call would fetch one of its own."""
_SHORTEST_S, _LONGEST_S = 0.1, 366 * 24 * 3600.0
_LEFT_ALONE_S = 60.0
"""For so long credentials that were turned down are not sent again: each call in flight would send them once more."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. Both instants are seconds of the monotonic clock of this process."""

    value: str = field(repr=False)
    refresh_at: float
    expires_at: float

    @classmethod
    def lasting(cls, value: str, lifetime_s: float, since: float | None = None) -> "Token":
        """Make a token that lives ``lifetime_s`` from ``since`` (now) and is refreshed in its last quarter.

        The margin is at most a minute: enough for calls in flight to end, little of an hour to lose. A life that
        cannot be, as where the clocks differ, counts as `LIFETIME_S`; a year is the longest.
        """
        since = time.monotonic() if since is None else since
        lifetime_s = min(max(lifetime_s, _SHORTEST_S), _LONGEST_S) if 0 < lifetime_s < math.inf else LIFETIME_S
        return cls(value, since + lifetime_s - min(60.0, lifetime_s / 4), since + lifetime_s)


class Auth(ABC):
    """How calls are signed. The client asks before every attempt, so no retry carries an old token."""

    refreshes = 0
    """How many tokens were fetched."""
    refused = 0
    """Tokens in a row that the API refused, since it last accepted one."""

    @abstractmethod
    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the headers that sign one attempt.

        :param query: what is going to be asked; None for a call of the token flow itself.
        :param prefer: the `identity` of the credential that would be best, where there are several.
        """

    @abstractmethod
    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Learn that the API did not take this signature; return when signing anew can help.

        :param why: its answer in one line, for messages.
        :raises CredentialsRejected: when it cannot.
        """

    def learned(  # noqa: B027 - most have no use for it
        self, signature: Mapping[str, str], response: Response, query: Query | None = None
    ) -> None:
        """Learn how an attempt ended, whatever came of it: called once for each signature."""

    def answered(self, signature: Mapping[str, str], query: Query) -> None:  # noqa: B027 - as above
        """Learn that the API did what it was asked."""

    def throttled(self, signature: Mapping[str, str], wait_s: float | None, query: Query) -> bool:
        """Learn that a limit of the credential is used up; say whether the next signature is worth a try at once."""
        return False

    def forbidden(self, signature: Mapping[str, str], query: Query, response: Response) -> bool:
        """Learn that the credential may not read something; say whether it is worth a try with another one."""
        return False

    def identity(self, signature: Mapping[str, str]) -> str:
        """Tell the credential behind a signature from others, and nothing else of it; empty where there is but one."""
        return ""


class NoAuth(Auth):
    """For APIs that need no token."""

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return no headers."""
        return {}

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Raise: there is nothing to refresh."""
        raise CredentialsRejected(
            "The API answers 401, and its connection names no token endpoint.",
            advice="Set login, password and the extra field token_path of the Airflow connection.",
        )


class StaticToken(Auth):
    """A bearer token that was made by hand, and lasts until somebody ends it."""

    def __init__(self, token: str) -> None:
        know(token)
        self._signature = {"Authorization": f"Bearer {token}"}

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the Authorization header."""
        return self._signature

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Raise: nothing can be refreshed."""
        raise CredentialsRejected(
            f"The API turns the token down: {why}", advice="Put a good one into the extra of the Airflow connection."
        )


class RefreshingToken(Auth):
    """A bearer token that is refreshed in time, once for all. A subclass says how a token is had.

    :param backoff: how long to wait for a further token when the API refuses new ones too.
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

        :raises CredentialsRejected: when the token endpoint turns the credentials down.
        :raises ApiUnreachable: when it gives no usable answer.
        """

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the Authorization header; wait for a refresh only when no living token is at hand."""
        token, now = self._token, time.monotonic()
        if token is None or now >= token.expires_at:
            token = await self._refreshed(post)
        elif now >= token.refresh_at and self._refresh is None:
            self._start_refresh(post).add_done_callback(self._postpone_if_failed)
        return {"Authorization": f"Bearer {token.value}"}

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        """Refresh, unless another call already did so since this signature was made."""
        if self._token is not None and signature["Authorization"] == f"Bearer {self._token.value}":
            self._token = None  # it signs no further call
            self.refused += 1
        if self._token is None:
            await self._refreshed(post)

    def learned(self, signature: Mapping[str, str], response: Response, query: Query | None = None) -> None:
        """Learn that tokens are accepted."""
        if response.status not in {None, 401}:
            self.refused = 0

    async def _refreshed(self, post: Exchange) -> Token:
        if self._turned_down is not None and time.monotonic() < self._ask_again_at:
            raise self._turned_down
        # shield: a call that is cancelled must not take the refresh away from all the others.
        return await asyncio.shield(self._refresh or self._start_refresh(post))

    def _start_refresh(self, post: Exchange) -> "asyncio.Task[Token]":
        self._refresh = asyncio.create_task(self._replace(post))
        # Who waits for it learns how it ended; where nobody does any more, that is no error in itself.
        self._refresh.add_done_callback(lambda refresh: refresh.cancelled() or refresh.exception())
        return self._refresh

    def _postpone_if_failed(self, refresh: "asyncio.Task[Token]") -> None:
        """Leave a token endpoint in peace that failed in the background: until half of the remaining life is over.

        A failure is no news yet, as the old token lives. Once it is dead a call waits for a refresh, and raises.
        """
        token, now = self._token, time.monotonic()
        if token is not None and (refresh.cancelled() or refresh.exception() is not None):
            self._token = replace(token, refresh_at=now + (token.expires_at - now) / 2)

    async def _replace(self, post: Exchange) -> Token:
        try:
            if self.refused > 1:  # a new one is worth having at once; when that is refused too, it is not the token
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
    """Say whether a text can be a token, RFC 6750 section 2.1: visible ASCII. All else would break a header."""
    return isinstance(token, str) and token != "" and all("!" <= sign <= "~" for sign in token)
