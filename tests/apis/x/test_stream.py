"""The filtered stream, as a plain client sees it."""

import json
import time
from contextlib import suppress
from http.client import HTTPException

import pytest

from local_cloud.apis.testing import FakeApi
from tests.apis.x import spec
from tests.apis.x.bench import RULES, SIGNED, STREAM, X
from tests.local_cloud.conftest import eventually
from windrow.sources.x.streams import stream


def test_posts_that_match_a_rule_come_with_the_rule(x: X) -> None:
    (rule,) = x.add_rules("tesla", tag="cars").json()["data"]
    with x.stream() as lines:
        x.make(60)
        matching = set(x.ids("tesla"))
        wanted = [lines.post() for _ in range(x.admin("GET")["sent_posts"])]

    assert 30 < len(wanted) < 60  # a share is off topic
    assert all(line["matching_rules"] == [{"id": rule["id"], "tag": "cars"}] for line in wanted)
    assert all("tesla" in line["data"]["text"].lower() for line in wanted)
    assert {line["data"]["id"] for line in wanted} <= matching


@pytest.mark.parametrize("words", ["tweet", "post"])
def test_a_line_is_as_the_specification_promises_with_all_that_the_source_asks_for(x: X, words: str) -> None:
    x.scene(vocabulary=words, repost_share=0.3, edit_share=0.3, long_share=0.5)
    x.add_rules("tesla", tag="cars")
    x.make(10)  # for the later ones to refer to
    with x.stream(**dict(stream(usernames=True).params)) as lines:
        x.make(60)
        found = [lines.post() for _ in range(x.admin("GET")["sent_posts"])]

    for line in found:
        spec.check(line, spec.line(words))
    seen = {name for line in found for name in line["data"]}
    names = ("author_id", "created_at", "entities", f"note_{words}", "public_metrics", f"referenced_{words}s")
    assert set(names) <= seen
    assert any(len(line["data"][f"edit_history_{words}_ids"]) == 2 for line in found)
    assert [user["id"] for user in found[-1]["includes"]["users"]] == [found[-1]["data"]["author_id"]]


def test_fields_come_only_if_they_are_asked_for_and_a_long_text_is_cut(x: X) -> None:
    x.scene(long_share=1)
    x.add_rules("tesla")
    with x.stream() as lines:
        x.make(20)
        post = lines.post()["data"]

    assert set(post) == {"id", "text", "edit_history_tweet_ids"}
    assert len(post["text"]) <= 280


def test_a_parameter_that_the_stream_does_not_declare_is_refused(x: X) -> None:
    x.add_rules("tesla")
    for query in ("post.fields=id", "tweet.fields=note_post", "max_results=10"):
        reply = x.api.request("GET", f"{STREAM}?{query}", headers=SIGNED)
        assert reply.status == 400
        spec.check(reply.json(), spec.PROBLEM)


def test_an_idle_stream_has_a_heart(x: X) -> None:
    x.add_rules("tesla")
    x.scene(heartbeat_s=0.1)
    with x.stream() as lines:
        assert [lines.next() for _ in range(3)] == [b""] * 3


def test_a_silent_stream_has_none(x: X) -> None:
    x.add_rules("tesla")
    x.scene(heartbeat_s=0.05, silent=True)
    with x.stream() as lines:
        x.make(5)
        lines.response.fp.raw._sock.settimeout(0.5)  # type: ignore[union-attr]
        with pytest.raises((TimeoutError, HTTPException)):
            lines.next()


def test_the_rate_of_posts_can_be_set(x: X) -> None:
    before = x.admin("GET")["made"]
    x.scene(rate_per_s=200)
    began = time.monotonic()
    eventually(lambda: x.admin("GET")["made"] - before >= 200, "200 are made")
    made, took = x.admin("GET")["made"] - before, time.monotonic() - began

    assert made <= 200 * took + 20


def test_lines_can_come_twice(x: X) -> None:
    x.scene(duplicate_share=1)
    x.add_rules("tesla")
    with x.stream() as lines:
        x.make(10)
        assert lines.post() == lines.post()


def test_one_connection_at_a_time(x: X) -> None:
    x.add_rules("tesla")
    with x.stream():
        second = x.api.request("GET", STREAM, headers=SIGNED)
        assert second.status == 429
        assert second.json()["connection_issue"] == "TooManyConnections"
    eventually(lambda: not x.admin("GET")["connected"], "it has seen the end")
    with x.stream():
        pass


def test_a_stream_without_rules_is_a_conflict(x: X) -> None:
    reply = x.api.request("GET", STREAM, headers=SIGNED)

    assert (reply.status, reply.json()["connection_issue"]) == (409, "RuleConfigurationIssue")


@pytest.mark.parametrize(
    ("reason", "status", "told"),
    [
        ("credits", 402, "CreditsDepleted"),
        ("spend_cap", 403, "spend cap"),
        ("usage_cap", 429, "usage-capped"),
        ("no_rules", 409, "RuleConfigurationIssue"),
        ("unavailable", 503, "Unavailable"),
    ],
)
def test_it_refuses_for_a_reason(x: X, reason: str, status: int, told: str) -> None:
    x.add_rules("tesla")
    x.scene(refuse=reason)

    reply = x.api.request("GET", STREAM, headers=SIGNED)

    assert reply.status == status
    assert told in reply.body.decode()


def test_the_51st_connect_in_a_quarter_of_an_hour_is_too_many(x: X) -> None:
    replies = [x.api.request("GET", STREAM, headers=SIGNED) for _ in range(51)]  # without rules: 409

    assert {reply.status for reply in replies[:50]} == {409}
    assert replies[50].status == 429
    assert replies[50].headers["x-rate-limit-remaining"] == "0"
    assert 0 < int(replies[50].headers["x-rate-limit-reset"]) - time.time() <= 900


def test_the_server_can_end_a_stream_with_its_reason(x: X) -> None:
    x.add_rules("tesla")
    with x.stream() as lines:
        x.admin("POST", "/end?kind=UpstreamOperationalDisconnect")
        (error,) = lines.post()["errors"]
        with pytest.raises(EOFError):
            lines.next()

    assert error["disconnect_type"] == "UpstreamOperationalDisconnect"
    assert x.api.counters()["routes"][f"GET {STREAM}"]["by_status"] == {"200": 1}


def test_the_server_can_break_a_stream(x: X) -> None:
    x.add_rules("tesla")
    with x.stream() as lines:
        x.admin("POST", "/cut")
        with pytest.raises((EOFError, HTTPException, ConnectionError)):
            lines.next()

    assert x.api.counters()["routes"][f"GET {STREAM}"]["cut"] == 1


def test_a_slow_reader_is_disconnected(x: X) -> None:
    x.add_rules("tesla")
    x.scene(line_limit=5)
    with x.stream() as lines:
        x.make(400)
        found = []
        with suppress(EOFError):
            while True:
                found.append(lines.post())

    assert found[-1]["errors"][0]["disconnect_type"] == "SlowReader"


def test_any_line_can_be_sent(x: X) -> None:
    x.add_rules("tesla")
    with x.stream() as lines:
        x.send('{"data": {"id"', '{"delete": {}}')
        assert [lines.next(), lines.next()] == [b'{"data": {"id"', b'{"delete": {}}']


def test_a_client_that_leaves_is_counted_so(x: X) -> None:
    x.add_rules("tesla")
    with x.stream():
        pass

    eventually(lambda: x.api.counters()["totals"]["abandoned"] == 1, "it is gone")
    assert x.api.counters()["totals"]["in_flight"] == 0


def test_faults_of_all_apis_touch_the_stream_too(x: X, api: FakeApi) -> None:
    x.add_rules("tesla")
    api.faults(error_share=1, error_status=503)

    assert api.request("GET", STREAM, headers=SIGNED).status == 503


# --- rules and the token -----------------------------------------------------------------------


def test_rules_are_listed_and_deleted(x: X) -> None:
    assert "data" not in x.api.request("GET", RULES, headers=SIGNED).json()
    made = x.add_rules("tesla -is:retweet", "#EV lang:de OR #FSD")
    assert made.status == 201
    assert made.json()["meta"]["summary"]["created"] == 2

    listed = x.api.request("GET", RULES, headers=SIGNED).json()
    spec.check(listed, spec.RULES)
    spec.check(made.json(), spec.RULES)
    first, second = listed["data"]
    deleted = x.api.request("POST", RULES, json.dumps({"delete": {"ids": [first["id"], "7"]}}), SIGNED).json()

    assert deleted["meta"]["summary"] == {"deleted": 1, "not_deleted": 1}
    assert x.api.request("GET", RULES, headers=SIGNED).json()["data"] == [second]


def test_a_rule_that_is_there_is_told_in_the_body_of_a_200(x: X) -> None:
    x.add_rules("tesla")
    again = x.add_rules("tesla")

    assert again.status == 200
    assert again.json()["errors"][0]["title"] == "DuplicateRule"
    assert again.json()["meta"]["summary"]["not_created"] == 1


@pytest.mark.parametrize("value", ["", "-tesla", "place_country:US tesla", "x" * 1025])
def test_a_bad_rule_is_refused(x: X, value: str) -> None:
    reply = x.add_rules(value)

    assert reply.status == 400
    assert reply.json()["meta"]["summary"]["invalid"] == 1


def test_a_body_that_is_no_rules_is_refused(x: X) -> None:
    for body in ("", "[]", '{"add": 7}', '{"delete": {}}'):
        assert x.api.request("POST", RULES, body, SIGNED).status == 400


def test_conditions_hold_together_and_or_divides_them(x: X) -> None:
    x.scene(repost_share=0.5)
    x.make(300)
    of = {query: set(x.ids(query)) for query in ("tesla", "is:retweet tesla", "tesla -is:retweet", "tesla lang:de")}

    assert of["tesla"] == of["is:retweet tesla"] | of["tesla -is:retweet"]
    assert not of["is:retweet tesla"] & of["tesla -is:retweet"]
    assert set(x.ids("tesla lang:de OR tesla is:retweet")) == of["tesla lang:de"] | of["is:retweet tesla"]


def test_a_rule_can_need_its_time(x: X) -> None:
    x.scene(rule_delay_s=60)
    x.add_rules("tesla")
    with x.stream():
        x.make(20)

    assert x.admin("GET")["sent_lines"] == 0


def test_a_reset_begins_the_window_of_rule_changes_anew(x: X) -> None:
    replies = [x.add_rules(f"tesla {number}") for number in range(101)]
    assert [reply.status == 429 for reply in replies] == [False] * 100 + [True]

    x.admin("DELETE")

    assert x.add_rules("tesla").status == 201


def test_without_the_token_nothing_is_served(x: X) -> None:
    for headers in ({}, {"Authorization": "Bearer other"}):
        reply = x.api.request("GET", STREAM, headers=headers)
        assert (reply.status, reply.json()["title"]) == (401, "Unauthorized")


def test_the_token_is_the_same_until_it_is_revoked(x: X) -> None:
    basic = {"Authorization": "Basic d2luZHJvdy1kZW1vOndpbmRyb3ctZGVtby1zZWNyZXQ="}
    first = x.api.post("/oauth2/token", {"grant_type": "client_credentials"}, basic).json()
    assert first == x.api.post("/oauth2/token", {"grant_type": "client_credentials"}, basic).json()
    assert first.keys() == {"token_type", "access_token"}  # no end is told

    x.admin("DELETE", "/token")

    assert x.api.request("GET", RULES, headers=SIGNED).status == 401
    assert x.api.post("/oauth2/token", {"grant_type": "client_credentials"}, basic).json() != first


def test_a_wrong_key_is_a_403_of_the_old_shape(x: X) -> None:
    reply = x.api.post("/oauth2/token", {"grant_type": "client_credentials"}, {"Authorization": "Basic eDp5"})

    assert (reply.status, reply.json()["errors"][0]["code"]) == (403, 99)


def test_a_bad_scene_is_refused_and_changes_nothing(x: X) -> None:
    before = x.admin("GET")["scene"]
    for bad in ('{"rate_per_s": -1}', '{"nonsense": 1}', "no json", "[]"):
        assert x.api.request("PUT", "/_admin/x/scene", bad).status == 400

    assert x.admin("GET")["scene"] == before
