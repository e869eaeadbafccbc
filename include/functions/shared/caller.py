"""Check the caller: only the service account of the queue may call, with an OIDC token of Google."""

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from google.auth import transport
from google.auth.exceptions import InvalidValue, TransportError
from google.auth.transport.requests import Request
from google.oauth2.id_token import verify_token

log = logging.getLogger(__name__)

GOOGLE_CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
"""X.509 certificates by key id; v3 of this URL has the same keys in another format."""
_ISSUERS = {"accounts.google.com", "https://accounts.google.com"}
_REMOVED = ".SIGNATURE_REMOVED_BY_GOOGLE"
"""Cloud Run replaces a signature with this after it has checked it."""
_FRESH_S = 3600.0
"""Certificates are fetched again after this time; earlier if a token does not match them."""
_UNKNOWN_KEY_S = 10.0
"""... but not more often than this: otherwise every invalid token would cause a request to the issuer."""
_KEPT_S = 24 * 3600.0
"""While the issuer fails, the last certificates are used until they are this old. Google's are valid for weeks."""
_FETCH_S = 10.0
_SKEW_S = 10
"""How far the clocks of issuer and function may differ."""


class CallerRefused(Exception):
    """The call does not come from the queue. ``status`` is 401, or 403 for a valid token of another caller.

    The message never contains a part of the token.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class CertificatesUnavailable(Exception):
    """No token can be checked, because there are no certificates."""


class Callers:
    """Checks callers.

    :param audience: the audience that tokens must have.
    :param service_account: the e-mail address that tokens must have.
    :param certs_url: the URL of the issuer's certificates, in the format of `GOOGLE_CERTS_URL`.
    """

    def __init__(self, audience: str, service_account: str, certs_url: str) -> None:
        self._audience = audience
        self._service_account = service_account
        self._certificates = _Certificates(certs_url)
        # The last valid token: a queue sends one many times, and google-auth would parse the certificate each time.
        self._proven = b""
        self._proven_until = 0.0

    async def check(self, authorization: str | None) -> None:
        """Check that an Authorization header comes from the queue.

        :raises CallerRefused: it does not.
        :raises CertificatesUnavailable: there are no certificates to check it.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise CallerRefused(401, "the request has no bearer token")
        if token.endswith(_REMOVED):
            raise CallerRefused(
                401, "Cloud Run removed the signature of the token. Deploy with --allow-unauthenticated (see README.md)"
            )
        if hmac.compare_digest(token.encode(), self._proven) and time.monotonic() < self._proven_until:
            return
        await self._certificates.refresh(_FRESH_S)
        try:
            claims = self._claims(token)
        except CallerRefused:
            if not await self._certificates.refresh(_UNKNOWN_KEY_S):
                raise
            claims = self._claims(token)
        if claims.get("iss") not in _ISSUERS:
            raise CallerRefused(403, f"the issuer of the token is {claims.get('iss')!r:.200}, not Google")
        if claims.get("email") != self._service_account or claims.get("email_verified") is not True:
            raise CallerRefused(
                403, f"the token is of {claims.get('email')!r:.200}, but only {self._service_account!r} may call"
            )
        left_s = min(claims["exp"] - time.time(), _FRESH_S)
        self._proven, self._proven_until = token.encode(), time.monotonic() + left_s

    def _claims(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a valid token."""
        try:
            return verify_token(token, self._certificates, self._audience, self._certificates.url, _SKEW_S)
        except InvalidValue as error:  # expired, wrong audience, ...: the text has a claim, not the token
            raise CallerRefused(401, f"{error}"[:400]) from None
        except ValueError:  # its text may contain the token
            raise CallerRefused(
                401, f"the token is invalid, or not signed with the keys of {self._certificates.url}"
            ) from None


class _Certificates(transport.Request):
    """A cache of the issuer's certificates. google-auth requests them for every token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._held: transport.Response | None = None
        self._fetched_at = 0.0
        self._failed_at = -math.inf
        self._fetching = asyncio.Lock()

    async def refresh(self, max_age_s: float) -> bool:
        """Fetch the certificates if they are older than ``max_age_s``; return whether they were fetched.

        If that fails, certificates of the last day stay in use, and are not fetched again for some seconds.

        :raises CertificatesUnavailable: they could not be fetched, and there are none of the last day.
        """
        async with self._fetching:
            now = time.monotonic()
            age_s = now - self._fetched_at
            usable = self._held is not None and age_s < _KEPT_S
            if usable and (age_s < max_age_s or now - self._failed_at < _UNKNOWN_KEY_S):
                return False
            try:
                self._held = await asyncio.to_thread(self._fetch)
            except CertificatesUnavailable as error:
                if not usable:
                    raise
                self._failed_at = now
                log.warning("Using certificates that are %.0f h old, for up to 24 h: %s", age_s / 3600, error)
                return False
            self._fetched_at = time.monotonic()
            return True

    def _fetch(self) -> transport.Response:
        try:
            response = Request()(self.url, timeout=_FETCH_S)
            certificates = json.loads(response.data)
        except (TransportError, ValueError) as error:
            raise CertificatesUnavailable(f"fetching the certificates from {self.url} failed: {error}") from error
        if response.status != 200 or not isinstance(certificates, dict) or "keys" in certificates:
            raise CertificatesUnavailable(
                f"{self.url} answered {response.status} and does not have the format of {GOOGLE_CERTS_URL}"
            )
        return response

    def __call__(self, *_args: object, **_kwargs: object) -> transport.Response | None:
        """Answer the request of google-auth from the cache."""
        return self._held
