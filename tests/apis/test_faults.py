"""Every fault, seen on the wire by a plain client."""

import json
import socket
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urlencode

import pytest

from local_cloud.apis.faults import BadFault, Faults, fate
from local_cloud.apis.testing import FakeApi, running

BY_NAME = "/get_user_by_name"
NOT_JSON = (json.JSONDecodeError, UnicodeDecodeError)  # a body can be cut inside a letter


def statuses(api: FakeApi, token: str, names: list[str]) -> list[int]:
    return [api.get(BY_NAME, token, name=name).status for name in names]


def raw(api: FakeApi, token: str, name: str) -> bytes:
    """Ask on a bare socket, and give everything the server sent before it closed."""
    with socket.create_connection(api.address, timeout=10) as sock:
        sock.sendall(
            f"GET {BY_NAME}?{urlencode({'name': name})} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
        return received


class TestSwitches:
    def test_they_are_changed_one_by_one_and_reset_together(self, api: FakeApi) -> None:
        healthy = api.request("GET", "/_admin/faults").json()
        assert api.faults(error_share=0.25)["error_share"] == 0.25
        assert api.faults(latency_ms=3) == healthy | {"error_share": 0.25, "latency_ms": 3}
        api.heal()
        assert api.request("GET", "/_admin/faults").json() == healthy

    @pytest.mark.parametrize(
        ("fault", "bad"),
        [
            ("error_share", 1.5),
            ("throttle_share", -0.1),
            ("cut_share", "0.5"),
            ("malformed_share", True),
            ("missing_field_share", None),
            ("error_status", 404),
            ("retry_after", "soon"),
            ("retry_after", "http-date:x"),
            ("retry_after", -1),
            ("latency_ms", -1),
            ("token_lifetime_s", 0),
            ("token_lifetime_s", None),
            ("requests_per_second", 0),
            ("unknown_fields", 1),
            ("single_token", "yes"),
            ("sticky", []),
            ("sticky", {"a": 200}),
            ("sticky", {"a": "slow"}),
            ("seed", 1.5),
            ("error_rate", 0.5),
        ],
    )
    def test_a_bad_one_is_named_and_changes_nothing(self, api: FakeApi, fault: str, bad: Any) -> None:
        before = api.request("GET", "/_admin/faults").body
        reply = api.request("PUT", "/_admin/faults", json.dumps({"unauthorized_share": 1, fault: bad}))
        assert (reply.status, reply.json()["error"]) == (400, "bad_fault")
        assert fault in reply.json()["message"]
        assert api.request("GET", "/_admin/faults").body == before

    @pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "NaN"])
    def test_what_is_no_json_object_is_refused(self, api: FakeApi, body: str) -> None:
        assert api.request("PUT", "/_admin/faults", body).status == 400

    def test_not_a_number_is_no_share(self) -> None:
        with pytest.raises(BadFault, match="error_share"):
            Faults().changed({"error_share": float("nan")})

    def test_admin_routes_know_no_faults(self, api: FakeApi) -> None:
        api.faults(error_share=1, cut_share=1, latency_ms=60_000, requests_per_second=0.001)
        assert api.request("GET", "/_admin/health").json() == {"status": "ok"}


class TestRefusals:
    @pytest.mark.parametrize("status", [500, 503])
    def test_server_errors(self, api: FakeApi, token: str, names: list[str], status: int) -> None:
        api.faults(error_share=1, error_status=status)
        reply = api.get(BY_NAME, token, name=names[0])
        assert (reply.status, reply.json()["error"]) == (status, "server_error")

    def test_a_storm_of_401_refuses_good_tokens(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(unauthorized_share=1)
        reply = api.get(BY_NAME, token, name=names[0])
        assert (reply.status, reply.json()["error"]) == (401, "invalid_token")
        assert "invalid_token" in reply.headers["WWW-Authenticate"]

    @pytest.mark.parametrize(("setting", "header"), [(None, None), (2, "2"), (0.25, "0.25")])
    def test_throttled(
        self, api: FakeApi, token: str, names: list[str], setting: float | None, header: str | None
    ) -> None:
        api.faults(throttle_share=1, retry_after=setting)
        reply = api.get(BY_NAME, token, name=names[0])
        assert (reply.status, reply.json()["error"]) == (429, "rate_limited")
        assert reply.headers["Retry-After"] == header

    def test_throttled_until_an_instant(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(throttle_share=1, retry_after="http-date:90")
        header = api.get(BY_NAME, token, name=names[0]).headers["Retry-After"]
        assert header.endswith(" GMT")
        ahead = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        assert 80 < ahead <= 90

    def test_the_rate_limit_lets_a_burst_pass_and_then_refills(
        self, api: FakeApi, token: str, names: list[str]
    ) -> None:
        api.faults(requests_per_second=5)
        started = time.monotonic()
        replies = [api.get(BY_NAME, token, name=name) for name in names[:60]]
        passed = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status == 429]
        assert 5 <= len(passed) <= 5 + 5 * (time.monotonic() - started)
        assert len(passed) + len(refused) == 60
        assert {reply.headers["Retry-After"] for reply in refused} == {"1"}
        deadline = time.monotonic() + 5
        while api.get(BY_NAME, token, name=names[0]).status != 200:
            assert time.monotonic() < deadline, "the limit never lets a call pass again"
            time.sleep(0.02)

    def test_sticky_names_fail_each_time_and_others_never(self, api: FakeApi, token: str, names: list[str]) -> None:
        gone, down, garbled, fine = names[:4]
        api.faults(sticky={gone: 404, down: 500, garbled: "malformed"})
        for _ in range(3):
            assert statuses(api, token, [gone, down, garbled, fine]) == [404, 500, 200, 200]
            with pytest.raises(NOT_JSON):
                api.get(BY_NAME, token, name=garbled).json()
        assert api.get(BY_NAME, name=down).status == 401, "a call without token does not get that far"


class TestTiming:
    def test_slow_answers(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(latency_ms=150)
        started = time.monotonic()
        assert api.get(BY_NAME, token, name=names[0]).status == 200
        assert time.monotonic() - started >= 0.149


class TestBrokenConnections:
    def test_both_kinds_of_cut(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(cut_share=1)
        received = [raw(api, token, name) for name in names[:30]]
        silent = [answer for answer in received if not answer]
        started = [answer for answer in received if answer]
        assert len(silent) >= 5
        assert len(started) >= 5
        for answer in started:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            (length,) = (
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            assert 0 < len(body) < length
        assert api.counters()["totals"]["cut"] == 30

    def test_an_http_client_sees_them_as_errors(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(cut_share=1)
        seen = set()
        for name in names[:20]:
            with pytest.raises((RemoteDisconnected, IncompleteRead)) as broken:
                api.get(BY_NAME, token, name=name)
            seen.add(broken.type)
        assert seen == {RemoteDisconnected, IncompleteRead}


class TestWrongBodies:
    def test_malformed(self, api: FakeApi, token: str, names: list[str]) -> None:
        whole = {name: api.get(BY_NAME, token, name=name).body for name in names[:30]}
        api.faults(malformed_share=1)
        shortened = 0
        for name, right in whole.items():
            reply = api.get(BY_NAME, token, name=name)
            assert reply.status == 200
            with pytest.raises(NOT_JSON):
                reply.json()
            shortened += right.startswith(reply.body)
        assert 5 <= shortened <= 25, "some are cut short, the others are no JSON at all"

    def test_missing_field(self, api: FakeApi, token: str, names: list[str]) -> None:
        whole = {name: api.get(BY_NAME, token, name=name).json() for name in names[:30]}
        api.faults(missing_field_share=1)
        gone = set()
        for name, right in whole.items():
            answer = api.get(BY_NAME, token, name=name).json()
            (field,) = right.keys() - answer.keys()
            assert answer == {key: value for key, value in right.items() if key != field}
            gone.add(field)
        assert len(gone) >= 5, "it is not always the same field"

    def test_unknown_fields(self, api: FakeApi, token: str, names: list[str]) -> None:
        right = api.get(BY_NAME, token, name=names[0]).json()
        api.faults(unknown_fields=True)
        answer = api.get(BY_NAME, token, name=names[0]).json()
        assert answer.keys() > right.keys()
        assert {key: answer[key] for key in right} == right
        assert len(api.get("/get_user_list", token).json()) > 1

    def test_a_list_sent_twice(self, api: FakeApi, token: str) -> None:
        right = api.get("/get_user_list", token).json()["users"]
        api.faults(duplicate_list=True)
        assert api.get("/get_user_list", token).json()["users"] == right * 2

    def test_an_empty_list(self, api: FakeApi, token: str) -> None:
        api.faults(empty_list=True)
        assert api.get("/get_user_list", token).json() == {"users": []}


class TestChance:
    def test_a_share_is_about_that_share(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(error_share=0.3)
        assert 60 <= statuses(api, token, names[:300]).count(500) <= 120

    def test_a_run_is_repeated_whatever_the_order_of_its_calls(self, names: list[str]) -> None:
        asked = names[:60]
        faults = {"error_share": 0.2, "throttle_share": 0.2, "unauthorized_share": 0.1}
        with running(**faults) as one, running(**faults) as other:
            first = dict(zip(asked, statuses(one, one.token(), asked), strict=True))
            backwards = asked[::-1]
            second = dict(zip(backwards, statuses(other, other.token(), backwards), strict=True))
            assert first == second
            assert len(set(first.values())) == 4
            other.reset()
            assert dict(zip(asked, statuses(other, other.token(), asked), strict=True)) == first
            other.faults(seed=1)
            other.reset()
            assert dict(zip(asked, statuses(other, other.token(), asked), strict=True)) != first

    def test_asking_again_is_drawn_again(self, api: FakeApi, token: str, names: list[str]) -> None:
        api.faults(error_share=0.5)
        assert {api.get(BY_NAME, token, name=names[0]).status for _ in range(20)} == {200, 500}

    def test_one_switch_leaves_the_draws_of_the_others_alone(self) -> None:
        keys = [str(number) for number in range(200)]
        alone, both = Faults(error_share=0.3), Faults(error_share=0.3, cut_share=0.5, malformed_share=0.5)
        assert [fate(alone, "route", key, 1).error for key in keys] == [
            fate(both, "route", key, 1).error for key in keys
        ]


# --- one API at a time -------------------------------------------------------------------------------


def test_faults_of_one_api_leave_the_others_healthy(api: FakeApi) -> None:
    own, google = api.token(), api.google_token()

    def statuses() -> tuple[int, int]:
        channels = api.get("/youtube/v3/channels", google, part="id", mine="true")
        return api.get("/get_user_list", own).status, channels.status

    api.faults(api="youtube", error_share=1, error_status=503)
    assert statuses() == (200, 503)
    api.heal(api="titanic")
    assert statuses() == (200, 503)
    api.heal(api="youtube")
    assert statuses() == (200, 200)


def test_counters_and_tokens_of_one_api_leave_the_others_alone(api: FakeApi) -> None:
    own, google = api.token(), api.google_token()
    for _ in range(3):
        api.get("/get_user_list", own)
    api.get("/youtube/v3/channels", google, part="id", mine="true")
    assert api.counters(api="titanic")["totals"]["requests"] == 3
    assert api.counters(api="youtube")["totals"]["requests"] == 1
    assert api.counters(api="youtube")["tokens_issued"] == 1
    assert api.counters()["totals"]["requests"] == 4
    assert set(api.counters(api="x")["routes"]) <= set(api.counters()["routes"])
    api.reset(api="youtube")
    assert api.counters(api="youtube")["totals"]["requests"] == 0
    assert api.counters(api="titanic")["totals"]["requests"] == 3
    api.revoke_tokens(api="youtube")
    assert api.get("/youtube/v3/channels", google, part="id", mine="true").status == 401
    assert api.get("/get_user_list", own).status == 200


def test_different_faults_are_shown_one_api_at_a_time(api: FakeApi) -> None:
    api.faults(api="github", latency_ms=1)
    shown = api.request("GET", "/_admin/faults")
    assert (shown.status, shown.json()["error"]) == (409, "different_faults")
    assert api.faults(api="github")["latency_ms"] == 1
    assert api.faults(api="x")["latency_ms"] == 0

    common = api.faults(seed=7)
    assert common["seed"] == 7, "a change of all is made, and said, though they differ otherwise"
    assert "latency_ms" not in common
    assert (api.faults(api="github")["seed"], api.faults(api="github")["latency_ms"]) == (7, 1)


@pytest.mark.parametrize(("name", "instead"), [("github", "bad_tokens"), ("x", "DELETE /_admin/x/token")])
def test_tokens_that_come_from_elsewhere_are_not_said_to_be_revoked(api: FakeApi, name: str, instead: str) -> None:
    with pytest.raises(ValueError, match=f"400.*{instead}"):
        api.revoke_tokens(api=name)


@pytest.mark.parametrize(("method", "path"), [("GET", "faults"), ("POST", "reset"), ("DELETE", "tokens")])
def test_an_api_that_does_not_exist_is_named(api: FakeApi, method: str, path: str) -> None:
    reply = api.request(method, f"/_admin/{path}?api=facebook")
    assert reply.status == 400
    assert reply.body == b"there is no API 'facebook'; the APIs are titanic, youtube, github, spotify, x"
