"""Installation tokens of a GitHub App: the JWT, and what the endpoint answers."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from windrow.http.auth import Token
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited
from windrow.model.policy import Backoff
from windrow.model.response import Response
from windrow.sources.github.app_token import InstallationToken

KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
LONG = "ghs_424242_" + ".".join(["x" * 160] * 3)


class Endpoint:
    """Answers in turn, and notes what it was asked."""

    def __init__(self, *answers: Response) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, Any, Mapping[str, str]]] = []

    async def __call__(
        self, url: str, form: Any = None, *, headers: Mapping[str, str] | None = None, method: str = "POST"
    ) -> Response:
        self.asked.append((f"{method} {url}", form, headers or {}))
        return self._answers.pop(0)


def issued(lifetime_s: float = 3_600, **fields: Any) -> Response:
    ends = datetime.now(UTC) + timedelta(seconds=lifetime_s)
    body = {"token": LONG, "expires_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}"} | fields
    return Response(201, orjson.dumps(body))


def granted(endpoint: Endpoint) -> Token:
    auth = InstallationToken("424242", PEM, 7001, name="github", patience_s=5)
    auth._backoff = Backoff(base_s=0.001, attempts=3)
    return asyncio.run(auth.grant(endpoint))


def test_the_app_signs_for_its_installation() -> None:
    endpoint = Endpoint(issued())
    token = granted(endpoint)
    assert token.value == LONG
    assert token.expires_at - time.monotonic() == pytest.approx(3_600, abs=60)
    ((address, form, headers),) = endpoint.asked
    assert (address, form) == ("POST /app/installations/7001/access_tokens", None)
    claims = jwt.decode(headers["Authorization"].removeprefix("Bearer "), KEY.public_key(), ["RS256"], issuer="424242")
    assert claims["iat"] <= time.time() - 55
    assert 0 < claims["exp"] - time.time() <= 600
    assert claims["exp"] - claims["iat"] <= 600


def test_it_is_asked_again_when_the_endpoint_stumbles() -> None:
    endpoint = Endpoint(Response(502), Response(trouble="cut"), issued())
    assert granted(endpoint).value == LONG
    assert len(endpoint.asked) == 3


def test_a_limit_at_the_endpoint_is_no_refusal_of_the_app() -> None:
    assert granted(Endpoint(Response(403, b"{}", {"Retry-After": "0"}), issued())).value == LONG
    with pytest.raises(RateLimited) as limited:
        granted(Endpoint(Response(403, b'{"message":"You have exceeded a secondary rate limit"}')))
    assert 50 < limited.value.retry_at.timestamp() - time.time() <= 60


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refusal_names_what_to_check_and_no_secret(status: int) -> None:
    with pytest.raises(CredentialsRejected, match="installation_id") as rejected:
        granted(Endpoint(Response(status, b'{"message":"A JSON web token could not be decoded"}')))
    assert "could not be decoded" in str(rejected.value)
    assert "PRIVATE KEY" not in str(rejected.value)


@pytest.mark.parametrize("answer", [Response(201, b"{}"), Response(201, b"no"), issued(expires_at="soon")])
def test_an_answer_without_a_token_is_none(answer: Response) -> None:
    with pytest.raises(ApiUnreachable, match="returned no token in 3 attempts"):
        granted(Endpoint(*[answer] * 3))


@pytest.mark.parametrize("key", ["", "-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_told_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="private_key is invalid"):
        InstallationToken("1", key, 7001, name="github", patience_s=5)
