"""OAuth 2.0 (RFC 6749): access tokens from a token endpoint."""

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

import orjson

from windrow.http.auth import LIFETIME_S, Exchange, RefreshingToken, Token, can_be_sent
from windrow.http.consent import Claim, Consent, Turn
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.model.policy import HTTP_POLICY, Action, Backoff, ResponsePolicy
from windrow.model.redact import know
from windrow.model.response import Response

_TRANSIENT = {"internal_failure", "server_error", "temporarily_unavailable"}
"""Errors that a token endpoint may send with any status, and that a retry may end."""


class TokenForm(RefreshingToken):
    """A token from a token endpoint, requested with a form. A subclass defines the form.

    :param token_url: absolute, or a path below the base URL of the API.
    :param form: the form to send.
    :param headers: headers to send.
    :param secrets: values that must not appear in messages.
    :param name: name of the credentials in messages: the id of the Airflow connection.
    :param patience_s: the longest pause to wait inside the task, if the endpoint asks for one.
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
        self._scope = form.get("scope", "")
        know(*secrets)
        self._name = name
        self._patience_s = patience_s
        self._policy = policy

    async def grant(self, post: Exchange) -> Token:
        """Request a token, with retries.

        :raises RateLimited: the endpoint asks for a pause longer than ``patience_s``.
        """
        failures = 0
        while True:
            token, response = await self.attempt(post)
            if token is not None:
                return token
            failures += 1
            await asyncio.sleep(self._pause_s(response, failures))

    async def attempt(self, post: Exchange) -> tuple[Token | None, Response]:
        """Request a token once."""
        asked_at = time.monotonic()  # the endpoint counts from some moment after this
        response = await self.request(post, self._token_url)
        return self.token_in(response, asked_at), response

    def _pause_s(self, response: Response, failures: int) -> float:
        """Return how long to wait after a response without a token.

        :raises CredentialsRejected: a retry does not help.
        :raises ApiUnreachable: this was the last attempt.
        """
        decision = self._policy.judge(response)
        error = error_code(response)
        passes = error in _TRANSIENT or (response.status or 500) >= 500
        refused = decision.action in {Action.REFUSE, Action.FORBID, Action.REFRESH, Action.MISSING}
        if not passes and (refused or (error and response.status == 200)):  # some endpoints send errors with 200
            raise CredentialsRejected(
                f"The token endpoint of '{self._name}' ({self._token_url}) rejected the "
                f"{self.blamed(error)}: {self._told(response)}",
                advice=self.advice(response),
            )
        if failures >= self._backoff.attempts:
            raise ApiUnreachable(
                f"The token endpoint of '{self._name}' ({self._token_url}) returned no token in {failures} "
                f"attempts. Last response: {self._told(response)}",
                advice="Check that the service is running, and that host, port and token_path (in the extra) of "
                f"the Airflow connection '{self._name}' are correct.",
            )
        asked_s = decision.wait_s or 0.0
        if asked_s > self._patience_s:
            raise RateLimited.for_s(asked_s, f"The token endpoint of '{self._name}' asks to wait")
        return max(self._backoff.pause_s(failures), asked_s)

    async def request(self, post: Exchange, token_url: str) -> Response:
        """Send one request to the endpoint."""
        return await post(token_url, self._form, headers=self._headers)

    def token_in(self, response: Response, asked_at: float) -> Token | None:
        """Read the token in a response (RFC 6749 section 5.1); None without a usable token."""
        return _token_in(response, asked_at)

    def blamed(self, error: str) -> str:
        """Return what the endpoint rejected, for messages."""
        return f"scope {self._scope!r}" if error == "invalid_scope" and self._scope else "credentials"

    def advice(self, response: Response) -> str:
        """Return the advice for rejected credentials."""
        if error_code(response) == "invalid_scope":
            return f"Set a scope that this client may use in the extra of the Airflow connection '{self._name}'."
        return (
            "Check login and password (client id and client secret), token_path and token_auth (in the extra) "
            f"of the Airflow connection '{self._name}'."
        )

    def _told(self, response: Response) -> str:
        """Describe the response. The body of a successful status is left out, because it may have a token."""
        if response.status is not None and response.status < 400:
            error = error_code(response)
            return f"HTTP {response.status} without a usable token{f', error {error[:80]!r}' if error else ''}"
        return response.summary


class ClientCredentials(TokenForm):
    """The OAuth 2.0 client credentials grant, RFC 6749 section 4.4, with the secret in the form.

    :param fields: more fields of the form, such as ``scope`` and ``audience``.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        fields: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        super().__init__(token_url, form | dict(fields or {}), secrets=[client_secret], **settings)


class BasicClientCredentials(TokenForm):
    """The same with id and secret in HTTP Basic, RFC 6749 section 2.3.1."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        fields: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        headers, secrets = basic(client_id, client_secret)
        form = {"grant_type": "client_credentials"} | dict(fields or {})
        super().__init__(token_url, form, headers=headers, secrets=secrets, **settings)


class RefreshToken(TokenForm):
    """The OAuth 2.0 refresh token grant, RFC 6749 section 6: a person has given consent once.

    The endpoint may return a new refresh token, which ends the old one. It is stored before the access token is used.

    :param client_secret: empty for a public client, which has none.
    :param with_basic: send id and secret in HTTP Basic.
    :param fields: more fields of the form, such as ``scope``.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        consent: Consent,
        *,
        with_basic: bool = False,
        fields: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        headers, secrets = basic(client_id, client_secret)
        form = {"grant_type": "refresh_token"} | dict(fields or {})
        if not with_basic:
            headers = {}
            form |= {"client_id": client_id} | ({"client_secret": client_secret} if client_secret else {})
        super().__init__(token_url, form, headers=headers, secrets=secrets, **settings)
        self._consent = consent
        self._used = ""
        self._unanswered: Claim | None = None
        self._exchanging = asyncio.Lock()

    async def attempt(self, post: Exchange) -> tuple[Token | None, Response]:
        """Refresh once, or take the token of another process that has just refreshed."""
        while True:
            turn = await self._consent.turn(self._used)
            if isinstance(turn, Token):
                self._used = turn.value
                return turn, Response()
            async with self._exchanging:
                token, response = await self._exchange(post, turn)
            if token is not None or error_code(response) != "invalid_grant" or not await self._consent.is_over(turn):
                return token, response

    async def close(self) -> None:
        """End a refresh, but not between the call and the storing of its answer: that could lose the consent."""
        async with self._exchanging:
            await super().close()

    async def _exchange(self, post: Exchange, turn: Turn) -> tuple[Token | None, Response]:
        """Use the refresh token of a turn, and store what the endpoint returns."""
        asked_at = time.monotonic()
        form = {**self._form, "refresh_token": turn.refresh_token}
        response = await post(self._token_url, form, headers=self._headers)
        token = self.token_in(response, asked_at)
        self._unanswered = turn.unanswered
        if token is not None:
            if not await self._consent.save(turn, token, _refresh_token_in(response) or turn.refresh_token):
                return None, Response(trouble="another process was faster")
            self._used = token.value
        elif error_code(response) or 400 <= (response.status or 0) < 500:  # others may have taken effect
            await self._consent.release(turn.claim)
        return token, response

    def advice(self, response: Response) -> str:
        """Distinguish a consent that has ended (``invalid_grant``, RFC 6749 section 5.2) from a wrong client."""
        if error_code(response) != "invalid_grant":
            return super().advice(response)
        lost = self._unanswered
        cause = (
            f"A refresh was started at {lost.started_at:%Y-%m-%d %H:%M:%S} UTC by {lost.by}, and its answer was not "
            "stored: the process was killed, or the connection broke. The endpoint may have replaced the refresh token "
            "then, and the old one is no longer valid."
            if lost
            else "The consent was revoked or has expired."
        )
        return (
            f"{cause} Ask the owner of the account to give consent again, and set the new refresh_token in the extra "
            f"of the Airflow connection '{self._name}' (see docs/clouds.md). Then clear this task with all tasks "
            "downstream; all answers so far are staged."
        )


class AuthorizationCode(TokenForm):
    """The OAuth 2.0 authorization code grant, RFC 6749 section 4.1, with PKCE (RFC 7636): once, when a person consents.

    :param client_secret: empty for a public client, which has none.
    :param fields: ``code``, ``redirect_uri`` and ``code_verifier``.
    """

    refresh_token = ""
    """What the endpoint returned for later; empty before, or if it returned none."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        with_basic: bool = False,
        fields: Mapping[str, str],
        **settings: Any,
    ) -> None:
        headers, secrets = basic(client_id, client_secret)
        form = {"grant_type": "authorization_code", "client_id": client_id} | dict(fields)
        if not with_basic:
            headers = {}
            form |= {"client_secret": client_secret} if client_secret else {}
        secrets += [fields["code"], fields["code_verifier"]]
        super().__init__(token_url, form, headers=headers, secrets=secrets, **settings)

    def token_in(self, response: Response, asked_at: float) -> Token | None:
        """Read the token, and keep the refresh token."""
        self.refresh_token = _refresh_token_in(response)
        know(self.refresh_token)
        return super().token_in(response, asked_at)

    def blamed(self, error: str) -> str:
        """Return what the endpoint rejected: a code is valid once, for some minutes."""
        return "authorization code" if error == "invalid_grant" else super().blamed(error)

    def advice(self, response: Response) -> str:
        """Return the advice for a rejected code or client."""
        return "Check the client id, the client secret and the redirect URI of the client. Then run the command again."


def basic(client_id: str, client_secret: str) -> tuple[dict[str, str], list[str]]:
    """Return the header with id and secret, form-encoded first, and the secrets in it."""
    encoded = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}, [client_secret, encoded]


def error_code(response: Response) -> str:
    """Return the error of a token endpoint (RFC 6749 section 5.2); empty without one."""
    error = _fields(response).get("error")
    return error if isinstance(error, str) else ""


def _fields(response: Response) -> dict[str, Any]:
    try:
        fields = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _refresh_token_in(response: Response) -> str:
    """Return the new refresh token of a response; empty without one."""
    token = _fields(response).get("refresh_token")
    return token if isinstance(token, str) else ""


def _token_in(response: Response, asked_at: float) -> Token | None:
    """Read the token in a response (RFC 6749 section 5.1); None without a usable token."""
    if response.status != 200:
        return None
    try:
        fields = _fields(response)
        value, lifetime = fields["access_token"], fields.get("expires_in")
        lifetime_s = LIFETIME_S if lifetime is None else float(lifetime)  # optional in RFC 6749
    except (KeyError, TypeError, ValueError):
        return None
    return Token.lasting(value, lifetime_s, asked_at) if can_be_sent(value) else None
