"""Tokens of an installation of a GitHub App. They are valid for an hour; a JWT of the App is exchanged for each.

The tokens have about 520 characters, with dots; this module treats them as opaque.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson

from windrow.http.auth import Exchange, Token, can_be_sent
from windrow.http.oauth import TokenForm
from windrow.http.pool import Credential
from windrow.model.policy import HTTP_POLICY, Action, ErrorDetail, on
from windrow.model.redact import know
from windrow.model.response import Response

_JWT_LIFE_S = 540
"""GitHub accepts at most ten minutes, by its own clock."""
_SKEW_S = 60
_BUSY = "busy"
_PAUSE_S = 60.0
"""Pause after a secondary rate limit without Retry-After."""


def _error_detail(response: Response) -> ErrorDetail:
    """Distinguish a rate limit from a rejected App: GitHub answers both with 403."""
    wait_s = response.retry_after_s
    if wait_s is not None or b"rate limit" in response.body or b"abuse detection" in response.body:
        return ErrorDetail(_BUSY, _PAUSE_S if wait_s is None else wait_s)
    return ErrorDetail()


_POLICY = HTTP_POLICY.preceded_by(
    on(403, Action.THROTTLE, "secondary rate limit; the credentials of the App are valid", reason=_BUSY),
    error_detail=_error_detail,
)


class InstallationToken(TokenForm):
    """A token of one installation. Each installation has its own rate limits.

    :param app_id: id of the App, or its client id.
    :param private_key: as PEM.
    :raises ValueError: the private key is invalid.
    """

    def __init__(self, app_id: str, private_key: str, installation_id: int, *, name: str, patience_s: float) -> None:
        super().__init__(
            f"/app/installations/{installation_id}/access_tokens",
            {},
            secrets=[private_key],
            name=name,
            patience_s=patience_s,
            policy=_POLICY,
        )
        self._app_id = app_id
        self._private_key = private_key
        try:
            self._jwt()
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ValueError(f"the private_key is invalid ({type(error).__name__})") from None

    async def request(self, post: Exchange, token_url: str) -> Response:
        """Request a token with a JWT of the App."""
        signed = self._jwt()
        know(signed)
        return await post(token_url, headers={"Authorization": f"Bearer {signed}"})

    def token_in(self, response: Response, asked_at: float) -> Token | None:
        """Read the token and its expiry."""
        if response.status != 201:
            return None
        try:
            fields = orjson.loads(response.body)
            value, ends = fields["token"], datetime.fromisoformat(fields["expires_at"])
            lifetime_s = (ends - datetime.now(UTC)).total_seconds()
            return Token.lasting(value, lifetime_s, asked_at) if can_be_sent(value) else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None

    def advice(self, response: Response) -> str:
        """Return the advice for a rejected App."""
        return (
            f"Check app_id, private_key and installation_id in the extra of the Airflow connection '{self._name}', and "
            "that the GitHub App is still installed."
        )

    def _jwt(self) -> str:
        now = int(time.time())
        claims = {"iat": now - _SKEW_S, "exp": now + _JWT_LIFE_S, "iss": self._app_id}
        return jwt.encode(claims, self._private_key, algorithm="RS256")


def credential(given: Mapping[str, Any], *, name: str, patience_s: float) -> Credential:
    """Make the credential of an installation, with its own rate limits.

    :param given: ``app_id``, ``private_key`` and ``installation_id``.
    :raises KeyError: a field is missing. ValueError, TypeError: a field is invalid.
    """
    number = int(given["installation_id"])
    auth = InstallationToken(str(given["app_id"]), str(given["private_key"]), number, name=name, patience_s=patience_s)
    return Credential(auth, f"installation {number} of app {given['app_id']}", f"installation {number}")
