"""JSON Web Tokens that are signed with the private key of a service account (RFC 7523)."""

import time
import uuid
from typing import Any

import jwt

from windrow.http.auth import Exchange, RefreshingToken, Token
from windrow.http.oauth import TokenForm, error_code
from windrow.model.redact import know
from windrow.model.response import Response

_LIFETIME_S = 3600.0
_SKEW_S = 10
"""How far the clock of the API may be behind."""
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Signer:
    """Makes signed tokens.

    :param issuer: the claim ``iss``: the e-mail address or the id of the account.
    :param private_key: PEM.
    :param claims: more claims, such as ``aud`` and ``scope``.
    :param key_id: id of the key, for the header ``kid``; empty for none.
    :raises ValueError: the key is invalid, or does not fit the algorithm.
    """

    def __init__(
        self, issuer: str, private_key: str, claims: dict[str, str], *, key_id: str = "", algorithm: str = "RS256"
    ) -> None:
        know(private_key)
        self.scope = claims.get("scope", "")
        self._claims = {"iss": issuer, **claims}
        self._headers = {"kid": key_id} if key_id else None
        self._algorithm = algorithm
        try:
            self._key = jwt.get_algorithm_by_name(algorithm).prepare_key(private_key)
            self.sign()
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as error:
            raise ValueError(f"it is not a PEM private key for {algorithm} ({type(error).__name__})") from None

    def sign(self) -> str:
        """Return a new token. It is valid for an hour."""
        now = int(time.time()) - _SKEW_S
        claims = {**self._claims, "iat": now, "exp": now + int(_LIFETIME_S), "jti": uuid.uuid4().hex}
        signed = jwt.encode(claims, self._key, algorithm=self._algorithm, headers=self._headers)
        know(signed)
        return signed


class JwtGrant(TokenForm):
    """The JWT bearer grant, RFC 7523 section 2.1: a signed token is exchanged for an access token."""

    def __init__(self, token_url: str, signer: Signer, **settings: Any) -> None:
        super().__init__(token_url, {"grant_type": _GRANT}, secrets=[], **settings)
        self._scope = signer.scope
        self._signer = signer

    async def request(self, post: Exchange, token_url: str) -> Response:
        """Send a new signed token."""
        return await post(token_url, {**self._form, "assertion": self._signer.sign()})

    def advice(self, response: Response) -> str:
        """Return the advice for a rejected account."""
        if error_code(response) == "invalid_scope":
            return super().advice(response)
        return (
            "Check login, private_key, key_id, audience, subject and token_path of the Airflow connection "
            f"'{self._name}', and the clock of this machine."
        )


class SelfSigned(RefreshingToken):
    """A signed token that is itself the bearer token."""

    def __init__(self, signer: Signer) -> None:
        super().__init__()
        self._signer = signer

    async def grant(self, post: Exchange) -> Token:
        """Sign a new token."""
        return Token.lasting(self._signer.sign(), _LIFETIME_S - _SKEW_S)
