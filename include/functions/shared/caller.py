"""Who calls: only the service account of the queue may, and it proves itself by an OIDC token of Google's."""

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from google.auth import transport
from google.auth.exceptions import InvalidValue, TransportError
from google.auth.transport.requests import Request
from google.oauth2.id_token import verify_token

GOOGLE_CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
"""X.509 certificates by key id; Google's newer address, v3, shows the same keys in another form."""
_ISSUERS = {"accounts.google.com", "https://accounts.google.com"}
_REMOVED = ".SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in place of a signature that it has checked itself."""
_FRESH_S = 3600.0
"""Certificates as old as this are fetched anew; sooner, if a token comes that they do not fit."""
_UNKNOWN_KEY_S = 10.0
"""... but not if they are newer than this: else every bad token would make a request to the issuer."""
_FETCH_S = 10.0
_SKEW_S = 10
"""How far the clocks of issuer and function may differ."""


class CallerRefused(Exception):
    """The call does not come from the queue. ``status`` is 401, or 403 for somebody else's good token.

    The message never holds any part of the token.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class CertificatesUnavailable(Exception):
    """Nobody's token can be checked now."""


class Callers:
    """Checks callers.

    :param audience: what their tokens must be made for.
    :param service_account: the e-mail address they must prove.
    :param certs_url: where the issuer shows its certificates, in the form of `GOOGLE_CERTS_URL`.
    """

    def __init__(self, audience: str, service_account: str, certs_url: str) -> None:
        self._audience = audience
        self._service_account = service_account
        self._certificates = _Certificates(certs_url)
        # The last good token: a queue sends one many times, and google-auth reads the certificate anew each time.
        self._proven = b""
        self._proven_until = 0.0

    async def check(self, authorization: str | None) -> None:
        """Return if an Authorization header proves that the queue calls.

        :raises CallerRefused: it does not.
        :raises CertificatesUnavailable: it cannot be said.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise CallerRefused(401, "the request carries no bearer token")
        if token.endswith(_REMOVED):
            raise CallerRefused(
                401, "Cloud Run took the signature out of the token: deploy with --allow-unauthenticated (README.md)"
            )
        if hmac.compare_digest(token.encode(), self._proven) and time.time() < self._proven_until:
            return
        await self._certificates.refresh(_FRESH_S)
        try:
            claims = self._claims(token)
        except CallerRefused:
            if not await self._certificates.refresh(_UNKNOWN_KEY_S):
                raise
            claims = self._claims(token)
        if claims.get("iss") not in _ISSUERS:
            raise CallerRefused(403, f"the token is issued by {claims.get('iss')!r:.200}, not by Google")
        if claims.get("email") != self._service_account or claims.get("email_verified") is not True:
            raise CallerRefused(
                403, f"the token proves {claims.get('email')!r:.200}, and {self._service_account!r} may call"
            )
        self._proven, self._proven_until = token.encode(), min(claims["exp"], time.time() + _FRESH_S)

    def _claims(self, token: str) -> Mapping[str, Any]:
        """Return what a good token says."""
        try:
            return verify_token(token, self._certificates, self._audience, self._certificates.url, _SKEW_S)
        except InvalidValue as error:  # expired, for another audience, ...: some claim of it, not itself
            raise CallerRefused(401, f"{error}"[:400]) from None
        except ValueError:  # its text may quote the token
            raise CallerRefused(401, f"no token, or not signed by the keys at {self._certificates.url}") from None


class _Certificates(transport.Request):
    """The issuer's certificates, from memory. google-auth asks for them at every token, and keeps nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._held: transport.Response | None = None
        self._fetched_at = 0.0
        self._fetching = asyncio.Lock()

    async def refresh(self, max_age_s: float) -> bool:
        """Fetch them if they are older than that; say whether they were.

        :raises CertificatesUnavailable: they cannot be had.
        """
        async with self._fetching:
            if self._held is not None and time.monotonic() - self._fetched_at < max_age_s:
                return False
            self._held = await asyncio.to_thread(self._fetch)
            self._fetched_at = time.monotonic()
            return True

    def _fetch(self) -> transport.Response:
        try:
            response = Request()(self.url, timeout=_FETCH_S)
            certificates = json.loads(response.data)
        except (TransportError, ValueError) as error:
            raise CertificatesUnavailable(f"no certificates from {self.url}: {error}") from error
        if response.status != 200 or not isinstance(certificates, dict) or "keys" in certificates:
            raise CertificatesUnavailable(
                f"what {self.url} shows, with status {response.status}, is not like {GOOGLE_CERTS_URL}"
            )
        return response

    def __call__(self, *_args: object, **_kwargs: object) -> transport.Response | None:
        """Answer google-auth's request for them."""
        return self._held
