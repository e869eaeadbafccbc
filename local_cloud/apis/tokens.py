"""Access tokens: the store that knows which are good, and the OAuth 2 token endpoint that issues them."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import BasicAuth, web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.faults import FaultSwitch

REALM = "windrow"


@dataclass(frozen=True)
class Client:
    """A client of the token endpoint."""

    client_id: str
    client_secret: str = field(repr=False)


DEMO_CLIENT = Client("windrow-demo", "windrow-demo-secret")
"""The client known unless another is given; its secret opens nothing but this fake."""


class TokenStore:
    """The access tokens issued so far for one family of APIs, and when each ends."""

    def __init__(self, switch: FaultSwitch) -> None:
        self._switch = switch
        self._ends: dict[str, float] = {}

    def grant(self) -> dict[str, Any]:
        """Make a token; give it as RFC 6749 section 5.1 has it, with its lifetime in seconds."""
        lifetime = self._switch.current.token_lifetime_s
        if self._switch.current.single_token:
            self._ends.clear()
        token = secrets.token_urlsafe(24)
        self._ends[token] = time.monotonic() + lifetime
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(lifetime) if lifetime == int(lifetime) else lifetime,
        }

    def state(self, token: str) -> Literal["good", "expired", "unknown"]:
        """Say whether a token is good. An expired one is remembered, a revoked one is unknown."""
        end = self._ends.get(token)
        if end is None:
            return "unknown"
        return "good" if time.monotonic() < end else "expired"

    def revoke_all(self) -> None:
        """Forget every token."""
        self._ends.clear()

    def authorize(self, request: web.Request) -> web.Response | None:
        """Refuse a request without a good bearer token, as RFC 6750 has it; None: it may pass."""
        token = bearer_token(request)
        if not token:
            return unauthorized("the request carries no bearer token", challenge=f'Bearer realm="{REALM}"')
        state = self.state(token)
        return None if state == "good" else unauthorized(f"the access token is {state}")


def bearer_token(request: web.Request) -> str:
    """Give the bearer token of a request; empty when it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def unauthorized(message: str, challenge: str | None = None) -> web.Response:
    """Refuse with 401; `message` also tells the challenge why, unless another challenge is given."""
    challenge = challenge or f'Bearer realm="{REALM}", error="invalid_token", error_description="{message}"'
    return json_response({"error": "invalid_token", "message": message}, 401, {"WWW-Authenticate": challenge})


class TokenEndpoint:
    """`POST /oauth/token`: client credentials for a bearer token, as RFC 6749 has it."""

    def __init__(self, client: Client, store: TokenStore, counters: Counters) -> None:
        self._client = client
        self._store = store
        self._counters = counters

    def endpoint(self) -> Endpoint:
        """Describe the route."""
        return Endpoint(
            api="oauth",
            method="POST",
            path="/oauth/token",
            answer=self.answer,
            refuse=lambda status, message: token_refused(status, "server_error", message),
            issues_tokens=True,
        )

    async def answer(self, request: web.Request) -> web.Response:
        """Issue a token, or say what is wrong with the request."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        grant = form.get("grant_type")
        if not grant:
            return token_refused(400, "invalid_request", "the form field grant_type is missing")
        if grant != "client_credentials":
            return token_refused(400, "unsupported_grant_type", "grant_type must be client_credentials")
        header = request.headers.get("Authorization")
        if claimed_client(header, form) != self._client:
            challenge = {"WWW-Authenticate": f'Basic realm="{REALM}"'} if header else {}
            return token_refused(401, "invalid_client", "the client id or its secret is wrong", challenge)
        self._counters.tokens_issued += 1
        return json_response(self._store.grant(), headers={"Cache-Control": "no-store"})


def claimed_client(header: str | None, form: Mapping[str, str]) -> Client | None:
    """Say who a request claims to be, by HTTP Basic or else by the form; None: it doesn't say."""
    if header is None:
        return Client(form.get("client_id", ""), form.get("client_secret", ""))
    try:
        basic = BasicAuth.decode(header, encoding="utf-8")
    except ValueError:
        return None
    return Client(basic.login, basic.password)


def token_refused(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Refuse at a token endpoint, as RFC 6749 section 5.2 has it."""
    payload = {"error": error, "error_description": message}
    return json_response(payload, status, {"Cache-Control": "no-store"} | (headers or {}))
