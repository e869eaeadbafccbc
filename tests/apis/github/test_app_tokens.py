"""Installation tokens of a GitHub App, as PyJWT's user asks for them."""

import time
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from local_cloud.apis.testing import Reply
from tests.apis.github.conftest import Github

PATH = "/github/app/installations/7001/access_tokens"


def signed(github: Github, key: Any = None, **changes: Any) -> str:
    app, now = github.api.github_app(), int(time.time())
    claims = {"iat": now - 60, "exp": now + 540, "iss": app["app_id"]} | changes
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key or app["private_key"], algorithm="RS256")


def install(github: Github, token: str, path: str = PATH) -> Reply:
    return github.api.request("POST", path, headers={"User-Agent": "tests", "Authorization": f"Bearer {token}"})


def test_an_installation_gets_a_token_for_an_hour(github: Github) -> None:
    reply = install(github, signed(github))
    assert reply.status == 201
    issued = reply.json()
    assert issued["token"].startswith("ghs_424242_")
    assert issued["token"].count(".") == 2
    assert 500 <= len(issued["token"]) <= 540
    lasts = datetime.fromisoformat(issued["expires_at"]) - datetime.now(UTC)
    assert 3_590 < lasts.total_seconds() <= 3_601
    assert github.get("/repos/tiny/one", issued["token"]).headers["X-RateLimit-Used"] == "1"
    assert list(github.api.github()["windows"]) == ["installation-7001"]
    assert github.api.counters()["tokens_issued"] == 1


def test_it_ends_with_the_hour(github: Github) -> None:
    github.api.github(hour_s=0.5)
    issued = install(github, signed(github)).json()
    ends = datetime.fromisoformat(issued["expires_at"]).timestamp()
    assert github.get("/rate_limit", issued["token"]).status == 200
    while time.time() < ends:
        time.sleep(0.02)
    assert github.get("/rate_limit", issued["token"]).status == 401


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iss": "1"}, "could not be decoded"),
        ({"exp": None}, "could not be decoded"),
        ({"exp": 1_000_000}, "'exp'"),
        ({"exp": 10_000_000_000}, "too far in the future"),
        ({"iat": 10_000_000_000, "exp": 10_000_000_100}, "'iat'"),
    ],
)
def test_a_jwt_that_is_no_good(github: Github, changes: dict[str, Any], words: str) -> None:
    reply = install(github, signed(github, **changes))
    assert reply.status == 401
    assert words in reply.json()["message"]


def test_a_jwt_of_another_key_and_no_jwt(github: Github) -> None:
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    for token in (signed(github, other), "no.jwt", ""):
        assert install(github, token).status == 401


def test_an_unknown_installation(github: Github) -> None:
    for number in ("1", "x"):
        assert install(github, signed(github), PATH.replace("7001", number)).status == 404
