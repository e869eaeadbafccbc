"""The token endpoint of Google, and which APIs its tokens open."""

import base64

import pytest

from local_cloud.apis.testing import FakeApi
from local_cloud.apis.tokens import DEMO_CLIENT
from local_cloud.apis.youtube.oauth import DEMO_REFRESH_TOKEN

CLIENT = {"client_id": DEMO_CLIENT.client_id, "client_secret": DEMO_CLIENT.client_secret}
GRANT = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN}
CHANNELS = {"part": "id", "mine": "true"}


def opens_youtube(api: FakeApi, token: str) -> bool:
    return api.get("/youtube/v3/channels", token, **CHANNELS).status == 200


def test_a_refresh_token_is_turned_into_an_access_token(api: FakeApi) -> None:
    reply = api.post("/token", CLIENT | GRANT)
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    answer = reply.json()
    assert answer.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    assert "yt-analytics.readonly" in answer["scope"]
    assert opens_youtube(api, answer["access_token"])
    assert api.counters()["tokens_issued"] == 1


def test_the_client_may_come_as_http_basic(api: FakeApi) -> None:
    basic = base64.b64encode(":".join(CLIENT.values()).encode()).decode()
    assert api.post("/token", GRANT, {"Authorization": f"Basic {basic}"}).status == 200


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_id": "someone"}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"refresh_token": "another"}, 400, "invalid_grant"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "unsupported_grant_type"),
    ],
)
def test_what_is_wrong_is_told(api: FakeApi, change: dict[str, str], status: int, error: str) -> None:
    reply = api.post("/token", CLIENT | GRANT | change)
    assert (reply.status, reply.json()["error"]) == (status, error)
    assert not {DEMO_REFRESH_TOKEN, DEMO_CLIENT.client_secret} & set(reply.body.decode().split('"'))
    assert api.counters()["tokens_issued"] == 0


def test_consent_can_be_taken_back_and_given_again(api: FakeApi) -> None:
    token = api.google_token()
    api.youtube(consent=False)
    reply = api.post("/token", CLIENT | GRANT)
    assert reply.status == 400
    assert reply.json() == {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    assert not opens_youtube(api, token)
    api.youtube(consent=True)
    assert not opens_youtube(api, token), "what was revoked stays so"
    assert opens_youtube(api, api.google_token())


def test_a_token_opens_the_apis_of_its_family_only(api: FakeApi) -> None:
    google, titanic = api.google_token(), api.token()
    assert opens_youtube(api, google)
    assert not opens_youtube(api, titanic)
    assert api.get("/get_user_list", titanic).status == 200
    assert api.get("/get_user_list", google).status == 401


def test_taking_consent_back_leaves_other_tokens_alone(api: FakeApi) -> None:
    titanic = api.token()
    api.youtube(consent=False)
    assert api.get("/get_user_list", titanic).status == 200


def test_all_tokens_can_be_revoked_at_once(api: FakeApi) -> None:
    google, titanic = api.google_token(), api.token()
    api.revoke_tokens()
    assert not opens_youtube(api, google)
    assert api.get("/get_user_list", titanic).status == 401


def test_one_token_at_a_time_means_one_of_a_family(api: FakeApi) -> None:
    api.faults(single_token=True)
    titanic, first = api.token(), api.google_token()
    second = api.google_token()
    assert (opens_youtube(api, first), opens_youtube(api, second)) == (False, True)
    assert api.get("/get_user_list", titanic).status == 200


def test_the_lifetime_is_that_of_the_fault(api: FakeApi) -> None:
    api.faults(token_lifetime_s=0.05)
    answer = api.post("/token", CLIENT | GRANT).json()
    assert answer["expires_in"] == 0.05
    deadline = 200
    while opens_youtube(api, answer["access_token"]):
        deadline -= 1
        assert deadline, "the token never ends"


def test_the_endpoint_fails_by_its_own_switch(api: FakeApi) -> None:
    api.faults(error_share=1, throttle_share=1, cut_share=1)
    assert api.google_token()
    api.faults(token_error_share=1, error_status=503)
    reply = api.post("/token", CLIENT | GRANT)
    assert (reply.status, reply.json()["error"]) == (503, "internal_failure")
    totals = api.counters()["totals"]
    assert totals["requests"] == 0, "calls for tokens are none of the API"
