"""OAuth 2.0 (RFC 6749): access tokens from a token endpoint."""

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

import orjson

from windrow.http.auth import LIFETIME_S, Exchange, RefreshingToken, Token, can_be_sent
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.model.policy import HTTP_POLICY, Action, Backoff, ResponsePolicy
from windrow.model.redact import know
from windrow.model.response import Response


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
            asked_at = time.monotonic()  # the endpoint counts from some moment after this
            response = await self.request(post, self._token_url)
            token = self.token_in(response, asked_at)
            if token is not None:
                return token
            failures += 1
            decision = self._policy.judge(response)
            if decision.action in {Action.REFUSE, Action.FORBID, Action.REFRESH, Action.MISSING}:
                raise CredentialsRejected(
                    f"The token endpoint of '{self._name}' ({self._token_url}) rejected the credentials: "
                    f"{self._told(response)}",
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
            await asyncio.sleep(max(self._backoff.pause_s(failures), asked_s))

    async def request(self, post: Exchange, token_url: str) -> Response:
        """Send one request to the endpoint."""
        return await post(token_url, self._form, headers=self._headers)

    def token_in(self, response: Response, asked_at: float) -> Token | None:
        """Read the token in a response (RFC 6749 section 5.1); None without a usable token."""
        return _token_in(response, asked_at)

    def advice(self, response: Response) -> str:
        """Return the advice for rejected credentials."""
        return (
            "Check login and password (client id and client secret) and token_path (in the extra) "
            f"of the Airflow connection '{self._name}'."
        )

    def _told(self, response: Response) -> str:
        """Describe the response. The body of a successful status is left out, because it may have a token."""
        if response.status is not None and response.status < 400:
            return f"HTTP {response.status} without a usable token"
        return response.summary


class ClientCredentials(TokenForm):
    """The OAuth 2.0 client credentials grant, RFC 6749 section 4.4, with the secret in the form."""

    def __init__(self, token_url: str, client_id: str, client_secret: str, **settings: Any) -> None:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        super().__init__(token_url, form, secrets=[client_secret], **settings)


class BasicClientCredentials(TokenForm):
    """The OAuth 2.0 client credentials grant with id and secret in HTTP Basic, RFC 6749 section 2.3.1."""

    def __init__(self, token_url: str, client_id: str, client_secret: str, **settings: Any) -> None:
        signature = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()).decode()
        settings["headers"] = {"Authorization": f"Basic {signature}"}
        super().__init__(
            token_url, {"grant_type": "client_credentials"}, secrets=[client_secret, signature], **settings
        )


class RefreshToken(TokenForm):
    """The OAuth 2.0 refresh token grant, RFC 6749 section 6: a person has given consent once.

    The endpoint may return a new refresh token (Google's usually does not); it is ignored and the one of the Airflow
    connection stays in use, because a task cannot change connections.
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
        """Distinguish a revoked consent (``invalid_grant``, RFC 6749 section 5.2) from a wrong client."""
        if b"invalid_grant" in response.body:
            return (
                "The consent was revoked or has expired. Ask the owner of the account to give consent again, and set "
                f"the new refresh_token in the extra of the Airflow connection '{self._name}' (see docs/clouds.md). "
                "Then clear this task with all tasks downstream; all answers so far are staged."
            )
        return super().advice(response)


def _token_in(response: Response, asked_at: float) -> Token | None:
    """Read the token in a response (RFC 6749 section 5.1); None without a usable token."""
    if response.status != 200:
        return None
    try:
        fields = orjson.loads(response.body)
        value, lifetime = fields["access_token"], fields.get("expires_in")
        lifetime_s = LIFETIME_S if lifetime is None else float(lifetime)  # optional in RFC 6749
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return Token.lasting(value, lifetime_s, asked_at) if can_be_sent(value) else None
