"""The token endpoint, and how long its tokens are good for."""

import base64
import time

import pytest

from local_cloud.apis.testing import FakeApi, Reply
from local_cloud.apis.tokens import DEMO_CLIENT

ID, SECRET = DEMO_CLIENT.client_id, DEMO_CLIENT.client_secret
GRANT = {"grant_type": "client_credentials"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def works(api: FakeApi, token: str) -> bool:
    return api.get("/get_user_list", token).status == 200


def refused_after(api: FakeApi, token: str, seconds: float) -> Reply:
    """Wait until `token` is refused, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while (reply := api.get("/get_user_list", token)).status == 200:
        assert time.monotonic() < deadline, "the token is still good"
        time.sleep(0.01)
    return reply


def test_credentials_in_the_form(api: FakeApi) -> None:
    reply = api.post("/oauth/token", GRANT | {"client_id": ID, "client_secret": SECRET})
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    answer = reply.json()
    assert answer | {"access_token": ""} == {"access_token": "", "token_type": "Bearer", "expires_in": 3600}
    assert works(api, answer["access_token"])


def test_credentials_as_http_basic(api: FakeApi) -> None:
    reply = api.post("/oauth/token", GRANT, basic(ID, SECRET))
    assert reply.status == 200
    assert works(api, reply.json()["access_token"])


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"client_id": ID, "client_secret": "wrong"}, {}),
        ({"client_id": "wrong", "client_secret": SECRET}, {}),
        ({"client_id": ID}, {}),
        ({}, {}),
        ({}, basic(ID, "wrong")),
        ({}, {"Authorization": "Basic !"}),
    ],
)
def test_a_wrong_client_is_refused(api: FakeApi, form: dict[str, str], headers: dict[str, str]) -> None:
    reply = api.post("/oauth/token", GRANT | form, headers)
    assert (reply.status, reply.json()["error"]) == (401, "invalid_client")
    assert (reply.headers["WWW-Authenticate"] is not None) == bool(headers)
    assert SECRET not in reply.body.decode()
    assert api.counters()["tokens_issued"] == 0


@pytest.mark.parametrize(
    ("grant", "error"),
    [({"grant_type": "password"}, "unsupported_grant_type"), ({}, "invalid_request")],
)
def test_a_wrong_grant_is_refused(api: FakeApi, grant: dict[str, str], error: str) -> None:
    reply = api.post("/oauth/token", grant | {"client_id": ID, "client_secret": SECRET})
    assert (reply.status, reply.json()["error"]) == (400, error)


def test_a_token_ends_with_its_lifetime(api: FakeApi) -> None:
    api.faults(token_lifetime_s=1.5)
    answer = api.post("/oauth/token", GRANT, basic(ID, SECRET)).json()
    assert answer["expires_in"] == 1.5
    assert works(api, answer["access_token"])
    reply = refused_after(api, answer["access_token"], 5)
    assert (reply.status, reply.json()["error"]) == (401, "invalid_token")
    assert "expired" in reply.headers["WWW-Authenticate"]


def test_a_new_lifetime_leaves_older_tokens_alone(api: FakeApi) -> None:
    older = api.token()
    api.faults(token_lifetime_s=0.01)
    refused_after(api, api.token(), 5)
    assert works(api, older)


def test_tokens_live_side_by_side_unless_told_otherwise(api: FakeApi) -> None:
    first, second = api.token(), api.token()
    assert works(api, first)
    assert works(api, second)
    api.faults(single_token=True)
    third = api.token()
    assert works(api, third)
    reply = api.get("/get_user_list", first)
    assert reply.status == 401
    assert "unknown" in reply.headers["WWW-Authenticate"]


def test_all_tokens_can_be_revoked(api: FakeApi) -> None:
    token = api.token()
    api.revoke_tokens()
    assert not works(api, token)


def test_the_token_endpoint_fails_by_its_own_switch(api: FakeApi) -> None:
    api.faults(error_share=1, unauthorized_share=1, throttle_share=1, cut_share=1, malformed_share=1)
    assert api.token(), "the switches of API calls leave the token endpoint alone"
    api.faults(token_error_share=1, error_status=503)
    reply = api.post("/oauth/token", GRANT, basic(ID, SECRET))
    assert (reply.status, reply.json()["error"]) == (503, "server_error")


def test_tokens_can_come_late(api: FakeApi) -> None:
    api.faults(token_latency_ms=150)
    started = time.monotonic()
    api.token()
    assert time.monotonic() - started >= 0.149
