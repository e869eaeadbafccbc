"""Token flows: sign every attempt with a token that is alive, and refresh it once for all calls in flight.

Why this is more than a header: tokens die in the middle of a harvest. Refreshing on the first 401 with many
calls in flight makes as many refreshes, and an API whose new token ends the old one then refuses them all.
Here one refresh at most is under way; it starts *before* the token dies, while calls go on with the old one.
"""

import asyncio
import base64
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import quote_plus

import orjson

from windrow.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.policy import HTTP_POLICY, Action, Backoff, ResponsePolicy
from windrow.query import Query
from windrow.response import Response


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


_LEFT_ALONE_S = 60.0
"""For so long credentials that were turned down are not sent again: each call in flight would send them once more."""
_DEFAULT_LIFETIME_S = 3600.0
"""For token endpoints that leave ``expires_in`` out, or say nothing by it; RFC 6749 section 5.1 only recommends it."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. Both instants are seconds of the monotonic clock of this process."""

    value: str = field(repr=False)
    refresh_at: float
    expires_at: float

    @classmethod
    def lasting(cls, value: str, lifetime_s: float, since: float | None = None) -> "Token":
        """Make a token that lives ``lifetime_s`` from ``since`` (now) and is refreshed in its last quarter.

        The margin is at most a minute: enough for calls in flight to end, little of an hour to lose.
        """
        since = time.monotonic() if since is None else since
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

    def learned(self, signature: Mapping[str, str], response: Response) -> None:  # noqa: B027 - most have no use for it
        """Learn how an attempt ended, whatever came of it: called once for each signature."""

    def spent(self, signature: Mapping[str, str], wait_s: float | None) -> bool:
        """Learn that the quota behind a signature is used up; say whether another one can sign in its place."""
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

    def learned(self, signature: Mapping[str, str], response: Response) -> None:
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
            self._token = await self.grant(post)
            self.refreshes += 1
            return self._token
        except CredentialsRejected as error:
            self._turned_down, self._ask_again_at = error, time.monotonic() + _LEFT_ALONE_S
            raise
        finally:
            self._refresh = None


class TokenForm(RefreshingToken):
    """A token that a form posted to a token endpoint is answered with. A subclass says what is in the form.

    :param token_url: absolute, or a path below the API's base URL.
    :param form: what is posted.
    :param headers: sent with it.
    :param secrets: texts that no message may show.
    :param name: what messages call the credentials: the id of the Airflow connection.
    :param patience_s: the longest pause that is waited for in place when the endpoint asks for one.
    """

    def __init__(
        self,
        token_url: str,
        form: Mapping[str, str],
        *,
        secrets: Sequence[str],
        headers: Mapping[str, str] | None = None,
        name: str = "api",
        patience_s: float = 60.0,
        backoff: Backoff | None = None,
        policy: ResponsePolicy = HTTP_POLICY,
    ) -> None:
        super().__init__(backoff)
        self._token_url = token_url
        self._form = form
        self._headers = headers
        self._secrets = [written.encode() for secret in secrets for written in (secret, quote_plus(secret))]
        self._name = name
        self._patience_s = patience_s
        self._policy = policy

    async def grant(self, post: Exchange) -> Token:
        """Ask the token endpoint, as often as the backoff allows.

        :raises RateLimited: it wants more patience than ``patience_s``.
        """
        failures = 0
        while True:
            asked_at = time.monotonic()  # the endpoint counts from some moment after this
            response = await self.request(post, self._token_url)
            token = self.token_in(response, asked_at)
            if token is not None:
                return token
            failures += 1
            verdict = self._policy.judge(response)
            if verdict.action in {Action.REFUSE, Action.REFRESH, Action.GAP}:
                raise CredentialsRejected(
                    f"The token endpoint of '{self._name}' ({self._token_url}) turns the credentials down: "
                    f"{self._told(response)}",
                    advice=self.advice(response),
                )
            if failures >= self._backoff.attempts:
                raise ApiUnreachable(
                    f"The token endpoint of '{self._name}' ({self._token_url}) gave no token in {failures} attempts; "
                    f"the last: {self._told(response)}",
                    advice="Check that the service runs and that host, port and the extra field token_path of the "
                    f"Airflow connection '{self._name}' are right.",
                )
            asked_s = verdict.wait_s or 0.0
            if asked_s > self._patience_s:
                raise RateLimited.for_s(asked_s, f"The token endpoint of '{self._name}' wants to be left alone")
            await asyncio.sleep(max(self._backoff.pause_s(failures), asked_s))

    async def request(self, post: Exchange, token_url: str) -> Response:
        """Ask the endpoint once."""
        return await post(token_url, self._form, headers=self._headers)

    def token_in(self, response: Response, asked_at: float) -> Token | None:
        """Read RFC 6749 section 5.1, or None when this is no token."""
        return _token_in(response, asked_at)

    def advice(self, response: Response) -> str:
        """Say what to do about credentials that were turned down."""
        return (
            "Check login and password (client id and secret) and the extra field token_path "
            f"of the Airflow connection '{self._name}'."
        )

    def _told(self, response: Response) -> str:
        """Say what the endpoint answered. A good status without a usable token may hold one all the same."""
        if response.status is not None and response.status < 400:
            return f"HTTP {response.status} without a usable token"
        body = response.body  # of which the summary shows the beginning: no secret may be cut in two
        for secret in self._secrets:
            body = body.replace(secret, b"***")
        return replace(response, body=body).summary


class ClientCredentials(TokenForm):
    """The OAuth 2.0 client credentials grant, RFC 6749 section 4.4, with the secret in the form."""

    def __init__(self, token_url: str, client_id: str, client_secret: str, **settings: Any) -> None:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        super().__init__(token_url, form, secrets=[client_secret], **settings)


class BasicClientCredentials(TokenForm):
    """The OAuth 2.0 client credentials grant with id and secret by HTTP Basic, RFC 6749 section 2.3.1."""

    def __init__(self, token_url: str, client_id: str, client_secret: str, **settings: Any) -> None:
        signature = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()).decode()
        settings["headers"] = {"Authorization": f"Basic {signature}"}
        super().__init__(
            token_url, {"grant_type": "client_credentials"}, secrets=[client_secret, signature], **settings
        )


class RefreshToken(TokenForm):
    """The OAuth 2.0 refresh token grant, RFC 6749 section 6: a person has consented once, for a long time.

    The endpoint may answer with a new refresh token (Google's does not, as a rule); the one of the Airflow
    connection stays in use, as a task has no right to rewrite connections.
    """

    def __init__(self, token_url: str, client_id: str, client_secret: str, refresh_token: str, **settings: Any) -> None:
        form = {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_token": refresh_token,
        }
        super().__init__(token_url, form, secrets=[client_secret, refresh_token], **settings)

    def advice(self, response: Response) -> str:
        """Tell a consent that is gone (``invalid_grant``, RFC 6749 section 5.2) from a wrong client."""
        if b"invalid_grant" in response.body:
            return (
                "The consent was revoked or has run out. Have the owner of the account consent again, and put the new "
                f"refresh token into the extra of the Airflow connection '{self._name}' (docs/clouds.md says how). "
                "Then clear this task with all tasks downstream; what was answered is staged."
            )
        return super().advice(response)


def _token_in(response: Response, asked_at: float) -> Token | None:
    """Read RFC 6749 section 5.1, or None when this is no token."""
    if response.status != 200:
        return None
    try:
        fields = orjson.loads(response.body)
        value, lifetime = fields["access_token"], fields.get("expires_in")
        lifetime_s = _DEFAULT_LIFETIME_S if lifetime is None else float(lifetime)
        if not 0 < lifetime_s < math.inf:  # taken at its word, each call would fetch a token of its own
            lifetime_s = _DEFAULT_LIFETIME_S
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return Token.lasting(value, lifetime_s, asked_at) if isinstance(value, str) and value else None
