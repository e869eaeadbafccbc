"""Tokens by OAuth 2.0: asked for as the RFC has it, in time, and in no message."""

import asyncio
import json
import pickle
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from cryptography.fernet import Fernet

from local_cloud.apis.testing import FakeApi
from tests import scripted_api
from tests.faults.consent_process import FernetSeal
from tests.unit.books import MemoryBook
from windrow.http.auth import Auth, Exchange, Token
from windrow.http.client import Client, Limits
from windrow.http.consent import Claim, Consent, ConsentState
from windrow.http.oauth import BasicClientCredentials, ClientCredentials, RefreshToken, TokenForm
from windrow.model.answer import Answer
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited, WindrowError
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.response import Response

SECRET = "s3cr3t-of-the-client"
TOKEN = "t0k3n-that-opens-doors"
CONSENT = "1//0c0nsent of-an+owner/of=a-channel"
QUICK = Backoff(base_s=0.001, cap_s=0.002, attempts=4)


class Endpoint:
    """A token endpoint whose answers a test scripts; the last one stays."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def post(self, url: str, form: Mapping[str, str], **_: object) -> Response:
        self.asked.append((url, dict(form)))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def credentials(backoff: Backoff = QUICK) -> ClientCredentials:
    return ClientCredentials("/oauth/token", "me", SECRET, name="titanic", backoff=backoff)


def consent(backoff: Backoff = QUICK) -> RefreshToken:
    return consent_flow(MemoryBook(), Fernet.generate_key(), backoff)


def consent_flow(book: MemoryBook, key: bytes, backoff: Backoff = QUICK) -> RefreshToken:
    consent = Consent(book, FernetSeal(key), "me", CONSENT)
    return RefreshToken("/oauth/token", "me", SECRET, consent, name="titanic", backoff=backoff)


TRANSIENT = ("internal_failure", "server_error", "temporarily_unavailable")
"""What token endpoints answer while they are in trouble, some of them with status 400."""

FLOWS = pytest.mark.parametrize("flow", [credentials, consent])
"""For what all flows with a form have in common."""


def issued(**fields: object) -> Response:
    return Response(
        200, json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 100} | fields).encode()
    )


def granted(endpoint: Endpoint, flow: Callable[[], TokenForm] = credentials) -> Token:
    return asyncio.run(flow().grant(endpoint.post))


def test_the_grant_is_asked_for_as_the_rfc_has_it():
    endpoint = Endpoint(issued())
    assert granted(endpoint).value == TOKEN
    form = {"grant_type": "client_credentials", "client_id": "me", "client_secret": SECRET}
    assert endpoint.asked == [("/oauth/token", form)]


def test_a_consent_is_turned_into_a_token_as_the_rfc_has_it():
    endpoint = Endpoint(issued())
    assert granted(endpoint, consent).value == TOKEN
    form = {"grant_type": "refresh_token", "client_id": "me", "client_secret": SECRET, "refresh_token": CONSENT}
    assert endpoint.asked == [("/oauth/token", form)]


@FLOWS
def test_the_signature_is_the_bearer_token(flow: Callable[[], TokenForm]):
    endpoint = Endpoint(issued())
    signed = asyncio.run(flow().signature(endpoint.post))
    assert signed == {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("fields", "lifetime_s"),
    [
        *[({}, 100), ({"expires_in": "100"}, 100), ({"expires_in": 0.5}, 0.5), ({"expires_in": None}, 3_600)],
        *[({"expires_in": nonsense}, 3_600) for nonsense in (0, -1, "nan", "inf")],
    ],
)
def test_the_lifetime_is_what_the_endpoint_says(fields: dict[str, object], lifetime_s: float):
    now = time.monotonic()
    assert granted(Endpoint(issued(**fields))).expires_at == pytest.approx(now + lifetime_s, abs=0.5)


def test_without_a_lifetime_an_hour_is_assumed():
    now = time.monotonic()
    answer = Response(200, json.dumps({"access_token": TOKEN}).encode())
    assert granted(Endpoint(answer)).expires_at == pytest.approx(now + 3_600, abs=0.5)


def test_the_life_of_a_token_begins_before_it_arrives():
    """The endpoint counts from when it made the token: a slow answer must not make it seem to live longer."""

    async def slow(url: str, form: Mapping[str, str], **_: object) -> Response:
        await asyncio.sleep(0.2)
        return issued(expires_in=1)

    asked = time.monotonic()
    made = asyncio.run(credentials().grant(slow))
    assert made.expires_at <= asked + 1.1


@pytest.mark.parametrize(
    "trouble",
    [
        Response(trouble="ConnectionResetError"),
        *[Response(400, json.dumps({"error": error}).encode()) for error in TRANSIENT],
        Response(500),
        Response(501),
        Response(503, b"busy"),
        Response(429),
        Response(408),
        Response(200),
        Response(200, b"<html>"),
        Response(200, b"null"),
        Response(200, b"[]"),
        Response(200, b'"token"'),
        Response(200, b"{}"),
        Response(200, b'{"access_token": null}'),
        Response(200, b'{"access_token": ""}'),
        Response(200, b'{"access_token": {}}'),
        Response(200, b'{"access_token": "t", "expires_in": "soon"}'),
        Response(200, b'{"access_token": "t", "expires_in": [1]}'),
    ],
)
@FLOWS
def test_an_answer_that_is_no_token_is_asked_again(flow: Callable[[], TokenForm], trouble: Response):
    endpoint = Endpoint(trouble, trouble, issued())
    assert granted(endpoint, flow).value == TOKEN
    assert len(endpoint.asked) == 3


@FLOWS
def test_an_error_that_comes_with_success_is_an_error(flow: Callable[[], TokenForm]):
    endpoint = Endpoint(Response(200, b'{"error":"bad_code"}'))
    with pytest.raises(CredentialsRejected, match="HTTP 200 without a usable token, error 'bad_code'"):
        granted(endpoint, flow)
    assert len(endpoint.asked) == 1


@FLOWS
@pytest.mark.parametrize("status", [307, 400, 401, 403, 404])
def test_credentials_that_are_turned_down_are_not_sent_again(flow: Callable[[], TokenForm], status: int):
    endpoint = Endpoint(Response(status, b'{"error":"invalid_client"}'))
    with pytest.raises(CredentialsRejected) as rejected:
        granted(endpoint, flow)
    assert len(endpoint.asked) == 1
    for word in (
        "'titanic'",
        "/oauth/token",
        str(status),
        "invalid_client" if status >= 400 else "without a usable token",
    ):
        assert word in rejected.value.what
    assert "password" in rejected.value.advice


@pytest.mark.parametrize("grant", [ClientCredentials, BasicClientCredentials])
def test_a_scope_that_the_endpoint_refuses_is_named(grant: type[ClientCredentials | BasicClientCredentials]):
    endpoint = Endpoint(Response(400, b'{"error":"invalid_scope"}'))
    flow = grant("/oauth/token", "me", SECRET, fields={"scope": "ships:read all"}, name="titanic")
    with pytest.raises(CredentialsRejected, match="rejected the scope 'ships:read all': HTTP 400") as rejected:
        asyncio.run(flow.grant(endpoint.post))
    assert "Set a scope" in rejected.value.advice
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("status", [400, 401])
def test_a_consent_that_is_gone_fails_at_once_and_says_who_has_to_do_what(status: int):
    """RFC 6749 section 5.2, as Google words it."""
    body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    endpoint = Endpoint(Response(status, json.dumps(body).encode()))
    with pytest.raises(CredentialsRejected, match=r"'titanic'.*expired or revoked") as rejected:
        granted(endpoint, consent)
    assert len(endpoint.asked) == 1
    for word in ("consent again", "'titanic'", "docs/clouds.md", "clear this task"):
        assert word in rejected.value.advice


def test_a_consent_is_not_blamed_for_a_wrong_client():
    with pytest.raises(CredentialsRejected) as rejected:
        granted(Endpoint(Response(401, b'{"error":"invalid_client"}')), consent)
    assert "consent" not in rejected.value.advice


def test_client_credentials_speak_of_no_consent():
    with pytest.raises(CredentialsRejected) as rejected:
        granted(Endpoint(Response(400, b'{"error":"invalid_grant"}')))
    assert "consent" not in rejected.value.advice


@FLOWS
def test_after_the_last_attempt_the_endpoint_counts_as_unreachable(flow: Callable[[], TokenForm]):
    endpoint = Endpoint(Response(503, b"busy"))
    with pytest.raises(ApiUnreachable, match=r"'titanic'.*4 attempts.*HTTP 503 busy"):
        granted(endpoint, flow)
    assert len(endpoint.asked) == 4


def test_the_endpoint_is_left_alone_as_long_as_it_wants():
    started = time.monotonic()
    granted(
        Endpoint(Response(429, headers={"Retry-After": "0.1"}), Response(503, headers={"Retry-After": "0.1"}), issued())
    )
    assert time.monotonic() - started >= 0.2


def test_after_the_last_attempt_nothing_is_waited_for():
    endpoint = Endpoint(Response(503, headers={"Retry-After": "2.0"}))

    async def scenario() -> None:
        with pytest.raises(ApiUnreachable):
            async with asyncio.timeout(1):
                await credentials(Backoff(attempts=1)).grant(endpoint.post)

    asyncio.run(scenario())


def test_a_wait_of_hours_is_not_waited_for_in_place():
    """As for every other call: the task defers and gives its slot back."""
    endpoint = Endpoint(Response(429, headers={"Retry-After": "7200.0"}))

    async def scenario() -> None:
        with pytest.raises(RateLimited):
            async with asyncio.timeout(1):
                await credentials().grant(endpoint.post)

    asyncio.run(scenario())


# --- processes that share a consent ------------------------------------------------------------


@pytest.mark.parametrize("minutes", [-3, 3])
def test_a_refresh_of_a_machine_whose_clock_differs_is_waited_for(minutes: int):
    """Else both use the refresh token, and the endpoint may end the consent."""
    key = Fernet.generate_key()

    class Slow(MemoryBook):
        looks = 0

        def consent(self, consent: str) -> ConsentState:
            self.looks += 1
            started_at = datetime.now(UTC) + timedelta(minutes=minutes)
            if self.looks == 1:
                claim = Claim(1, 1, "another machine", started_at, started_at + timedelta(seconds=60))
                assert self.claim_refresh(consent, claim)
            if self.looks == 2:
                times = {"refresh_at": time.time() + 60, "expires_at": time.time() + 90}
                tokens = {"refresh_token": "an0th3r-c0ns3nt", "access_token": "t0k3n-of-an0th3r", **times}
                assert self.save_refresh(consent, 1, FernetSeal(key).seal(json.dumps(tokens)), by="another machine")
            return super().consent(consent)

    endpoint = Endpoint(issued())
    signed = asyncio.run(consent_flow(Slow(), key).signature(endpoint.post))
    assert signed == {"Authorization": "Bearer t0k3n-of-an0th3r"}
    assert endpoint.asked == []


def test_a_claim_of_yesterday_is_not_waited_for():
    book, key = MemoryBook(), Fernet.generate_key()
    flow = consent_flow(book, key)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    book.claim_refresh(flow._consent._id, Claim(1, 1, "killed", yesterday, yesterday + timedelta(seconds=60)))

    async def scenario() -> None:
        async with asyncio.timeout(5):
            assert await flow.signature(Endpoint(issued()).post) == {"Authorization": f"Bearer {TOKEN}"}

    asyncio.run(scenario())


# --- a client that ends while a token is refreshed ---------------------------------------------


def test_a_refresh_is_not_cut_off_between_the_call_and_the_storing_of_its_answer():
    """The endpoint may have ended the old refresh token already."""
    book, key = MemoryBook(), Fernet.generate_key()
    sent: list[str] = []

    async def scenario() -> None:
        reached, opened = asyncio.Event(), asyncio.Event()

        async def post(url: str, form: Mapping[str, str], **_: object) -> Response:
            sent.append(form["refresh_token"])
            reached.set()
            await opened.wait()
            return issued(refresh_token="an0th3r-c0ns3nt")

        ending, next_one = (consent_flow(book, key) for _ in range(2))
        call = asyncio.create_task(ending.signature(post))
        await reached.wait()
        call.cancel()
        closing = asyncio.create_task(ending.close())
        await asyncio.sleep(0)
        opened.set()
        await closing
        assert await next_one.signature(post) == {"Authorization": f"Bearer {TOKEN}"}
        await next_one.rejected({"Authorization": f"Bearer {TOKEN}"}, post)

    asyncio.run(scenario())
    assert sent == [CONSENT, "an0th3r-c0ns3nt"]


@FLOWS
def test_a_client_that_ends_does_not_wait_for_the_next_attempt(flow: Callable[[Backoff], TokenForm]):
    auth = flow(Backoff(base_s=1e6, cap_s=1e6))

    async def scenario() -> None:
        reached = asyncio.Event()

        async def post(url: str, form: Mapping[str, str], **_: object) -> Response:
            reached.set()
            return Response(503)

        call = asyncio.create_task(auth.signature(post))
        await reached.wait()
        async with asyncio.timeout(5):
            await auth.close()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(scenario())


def test_the_client_ends_its_auth_before_its_connections():
    class Last(RefreshToken):
        status: int | None = None

        async def close(self) -> None:
            self.status = (await self.post("/token", {})).status

        async def signature(self, post: Exchange, *_: object) -> Mapping[str, str]:
            self.post = post
            return {}

    auth = Last("/token", "me", SECRET, Consent(MemoryBook(), FernetSeal(Fernet.generate_key()), "me", CONSENT))
    with scripted_api.running() as api:

        async def scenario() -> None:
            async with Client(api.url, auth) as client:
                await client.ask(Query.of("/items"), lambda query, answer: answer)

        asyncio.run(scenario())
    assert auth.status == 200


# --- secrets -----------------------------------------------------------------------------------


@FLOWS
def test_objects_do_not_show_what_they_keep(flow: Callable[[], TokenForm]):
    auth = flow()
    asyncio.run(auth.signature(Endpoint(issued()).post))
    for kept in (auth, Token.lasting(TOKEN, 100)):
        for shown in (repr(kept), str(kept), f"{kept}"):
            assert SECRET not in shown
            assert CONSENT not in shown
            assert TOKEN not in shown


@pytest.mark.parametrize(
    "answer",
    [
        Response(trouble="ClientConnectorError: refused"),
        Response(401, b'{"error":"invalid_client"}'),
        Response(400, json.dumps({"error": f"no client has the secret {SECRET}"}).encode()),
        Response(503, f"could not log me:{SECRET} in".encode()),
        Response(400, json.dumps({"error": "invalid_grant", "given": CONSENT}).encode()),
        Response(400, f"grant_type=refresh_token&{urlencode({'refresh_token': CONSENT})}".encode()),
        Response(400, (json.dumps({"padding": "x" * 160, "secret": SECRET})).encode()),  # cut in its middle
        Response(400, (json.dumps({"padding": "x" * 150, "refresh_token": CONSENT})).encode()),
        issued(expires_in="soon"),
        Response(201, issued().body),
        Response(200, issued().body[:-1]),
    ],
)
@FLOWS
def test_errors_do_not_show_it_either(flow: Callable[[], TokenForm], answer: Response):
    with pytest.raises(WindrowError) as raised:
        granted(Endpoint(answer), flow)
    error = raised.value
    shown = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    secrets = [SECRET[:12], TOKEN]
    secrets += [CONSENT[:12], urlencode({"": CONSENT})[1:13]] if flow is consent else []
    for text in (*shown, pickle.dumps(error).decode("latin-1")):
        for secret in secrets:
            assert secret not in text


# --- over the wire -----------------------------------------------------------------------------


def harvested(api: FakeApi, auth: Auth, calls: int, lull: Callable[[int], None] = lambda turn: None) -> Client:
    """Ask the fake API for its list in waves of 16 calls; every call must be answered."""

    async def scenario() -> Client:
        async with Client(api.url, auth, name="titanic", limits=Limits(connections=16)) as client:
            for turn in range(calls // 16):
                lull(turn)
                settled = await asyncio.gather(
                    *(client.ask(Query.of("/get_user_list"), lambda query, answer: answer) for _ in range(16))
                )
                assert all(isinstance(each, Answer) for each in settled)
            return client

    return asyncio.run(scenario())


def of(api: FakeApi, secret: str | None = None) -> ClientCredentials:
    return ClientCredentials("/oauth/token", api.client.client_id, secret or api.client.client_secret, name="titanic")


def test_with_a_real_api_tokens_are_replaced_before_they_die(api: FakeApi, monkeypatch: pytest.MonkeyPatch):
    """The client's clock is fast, so that no stall of a busy machine is as long as a token lives with the API."""
    since, fast = time.monotonic(), SimpleNamespace(monotonic=lambda: since + 40 * (time.monotonic() - since))
    monkeypatch.setattr("windrow.http.auth.time", fast)
    monkeypatch.setattr("windrow.http.oauth.time", fast)
    api.faults(token_lifetime_s=20, latency_ms=30)
    client = harvested(api, of(api), 16 * 40)
    assert client.events["http_401"] == 0
    assert client.refreshes >= 2
    assert api.counters()["tokens_issued"] == client.refreshes


def test_with_a_real_api_revoked_tokens_are_replaced_once(api: FakeApi):
    api.faults(latency_ms=5)
    client = harvested(api, of(api), 64, lull=lambda turn: api.revoke_tokens() if turn == 2 else None)
    assert 1 <= client.events["http_401"] <= 16
    assert api.counters()["tokens_issued"] == client.refreshes == 2


def test_with_a_real_api_a_wrong_secret_is_told_and_not_shown(api: FakeApi):
    with pytest.raises(CredentialsRejected, match="'titanic'") as rejected:
        harvested(api, of(api, SECRET), 16)
    assert SECRET not in "".join(traceback.format_exception(rejected.value))
    assert api.counters()["tokens_issued"] == 0
