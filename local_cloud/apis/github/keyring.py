"""Who calls: demo tokens and their owners, and the GitHub App whose installations get a token for an hour."""

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local_cloud.apis.github.demo_tokens import DEMO_TOKENS, NO_SCOPE_TOKEN
from local_cloud.apis.github.limits import NOBODY
from local_cloud.apis.github.people import instant
from local_cloud.apis.github.settings import Dial

JWT_LIFE_S = 600
CLOCK_SKEW_S = 60


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. Limits count by `owner`; ETags are bound to the `token`."""

    owner: str
    token: str = field(repr=False)
    scope: bool = True
    """False: the token may read nothing but the rate limits."""

    @property
    def known(self) -> bool:
        """Whether the call carries a token."""
        return self.owner != NOBODY


APP_ID = "424242"
INSTALLATIONS: Mapping[int, str] = {7_001: "installation-7001", 7_002: "installation-7002"}
"""Installations of the demo App, each an owner of limits of its own."""


class BadJwt(ValueError):
    """An App's JWT that is no good; the message is GitHub's."""


class Keyring:
    """Knows tokens, and issues those of installations."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._installed: dict[str, tuple[str, float]] = {}

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        """The App's key: made when it is first asked for, so that none lies about in a file."""
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    @property
    def app(self) -> dict[str, Any]:
        """What the owner of the App knows: its id, its private key as PEM, its installations."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        return {"app_id": APP_ID, "private_key": private.decode(), "installations": list(INSTALLATIONS)}

    def caller(self, request: web.Request) -> Caller | None:
        """Say who calls; None for a token that is not known, has ended, or was set to be bad."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return Caller(NOBODY, "")
        if scheme.lower() not in {"bearer", "token"} or token in self._dial.current.bad_tokens:
            return None
        if token == NO_SCOPE_TOKEN:
            return Caller("octo-nil", token, scope=False)
        if owner := DEMO_TOKENS.get(token):
            return Caller(owner, token)
        installed, ends = self._installed.get(token, ("", 0.0))
        return Caller(installed, token) if time.time() < ends else None

    def revoke_all(self) -> None:
        """End every installation token."""
        self._installed.clear()

    def check_jwt(self, request: web.Request) -> None:
        """Check that the App itself calls; raises BadJwt with GitHub's words."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise BadJwt("A JSON web token could not be decoded")
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                issuer=APP_ID,
                leeway=CLOCK_SKEW_S,
                options={"require": ["iat", "exp", "iss"]},
            )
        except jwt.ExpiredSignatureError:
            raise BadJwt(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the "
                "assertion expires"
            ) from None
        except jwt.ImmatureSignatureError:
            raise BadJwt(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            ) from None
        except jwt.PyJWTError:
            raise BadJwt("A JSON web token could not be decoded") from None
        if claims["exp"] > time.time() + JWT_LIFE_S + CLOCK_SKEW_S:
            raise BadJwt("'Expiration time' claim ('exp') is too far in the future")

    def install(self, installation: int) -> dict[str, Any]:
        """Issue a token for an hour, in the stateless form of 2026: `ghs_APPID_JWT`, with dots; raises KeyError."""
        owner = INSTALLATIONS[installation]
        ends = int(time.time() + self._dial.current.hour_s) + 1  # `expires_at` has whole seconds
        claims = {"iss": APP_ID, "sub": str(installation), "exp": ends, "jti": secrets.token_urlsafe(24), "rep": "all"}
        head, body, _ = jwt.encode(claims, "x" * 32, algorithm="HS256").split(".")
        signature = base64.urlsafe_b64encode(secrets.token_bytes(256)).decode().rstrip("=")
        token = f"ghs_{APP_ID}_{head}.{body}.{signature}"
        self._installed[token] = (owner, float(ends))
        return {
            "token": token,
            "expires_at": instant(datetime.fromtimestamp(ends, UTC)),
            "permissions": {"metadata": "read"},
            "repository_selection": "all",
        }
