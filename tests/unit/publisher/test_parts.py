"""The parts of the publisher that need no network: settings, pauses, the watermark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.client import StreamRefused
from windrow.errors import CredentialsRejected, Misconfigured
from windrow.publisher.reconnect import Pauses, Reconnect
from windrow.publisher.settings import Settings
from windrow.publisher.watermark import MARGIN_S, Watermark
from windrow.response import Response
from windrow.sources.x import POLICY

GOOD = {"X_BEARER_TOKEN": "AAAA", "X_RULES": "tesla", "X_PROJECT": "p", "MONGO_URL": "mongodb://user:secret@m"}

# --- settings ----------------------------------------------------------------------------------


def test_settings_have_defaults():
    settings = Settings.read(GOOD)

    assert settings.rules == {"x-posts": "tesla"}
    assert (settings.api_url, settings.topic, settings.subscription) == ("https://api.x.com", "x-posts", "x-posts")
    assert not settings.usernames
    assert "AAAA" not in repr(settings)
    assert "secret" not in repr(settings)


def test_rules_can_be_several_by_their_tags():
    assert Settings.read(GOOD | {"X_RULES": '{"a": "tesla lang:de", "b": "#EV"}'}).rules == {
        "a": "tesla lang:de",
        "b": "#EV",
    }


@pytest.mark.parametrize("name", GOOD)
def test_a_variable_that_is_missing_is_named(name: str):
    with pytest.raises(Misconfigured, match=name):
        Settings.read(GOOD | {name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X_RULES", '{"a": 7}'),
        ("X_RULES", '{"a": '),
        ("X_RULES", "{}"),
        ("X_RULES", "x" * 513),
        ("X_API_URL", "api.x.com"),
        ("X_USERNAMES", "maybe"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(name: str, value: str):
    with pytest.raises(Misconfigured, match=name):
        Settings.read(GOOD | {name: value})


# --- pauses ------------------------------------------------------------------------------------


def refused(status: int, body: str = "{}", **headers: str) -> StreamRefused:
    response = Response(status, body.encode(), headers)
    return StreamRefused("x", response, POLICY.judge(response))


def test_the_first_reconnect_is_immediate_and_the_next_ones_grow_evenly():
    reconnect = Reconnect(Pauses())

    assert [reconnect.after_break() for _ in range(4)] == [0.0, 0.25, 0.5, 0.75]
    assert max(reconnect.after_break() for _ in range(100)) == 16.0


def test_refusals_double_to_their_limits():
    reconnect = Reconnect(Pauses())

    assert [reconnect.after_refusal(refused(503)) for _ in range(8)] == [5, 10, 20, 40, 80, 160, 320, 320]
    assert [reconnect.after_refusal(refused(429)) for _ in range(3)] == [60, 120, 240]


def test_a_line_that_arrives_ends_the_row():
    reconnect = Reconnect(Pauses())
    for _ in range(5):
        reconnect.after_break()
        reconnect.after_refusal(refused(503))
    reconnect.arrived()

    assert (reconnect.after_break(), reconnect.after_refusal(refused(503))) == (0.0, 5)


def test_the_end_of_a_window_is_waited_for():
    window = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "99999999999"}

    assert Reconnect(Pauses()).after_refusal(refused(429, **window)) > 1e9


def test_rules_that_are_missing_are_no_end():
    assert Reconnect(Pauses()).after_refusal(refused(409)) == 5


@pytest.mark.parametrize(
    ("status", "body", "kind", "advice"),
    [
        (401, "{}", CredentialsRejected, "X_BEARER_TOKEN"),
        (402, '{"title": "CreditsDepleted"}', Misconfigured, "credits"),
        (403, '{"detail": "spend cap"}', Misconfigured, "cap"),
        (429, '{"type": "https://api.x.com/2/problems/usage-capped"}', Misconfigured, "cap"),
    ],
)
def test_what_only_a_person_can_mend_ends_it(status: int, body: str, kind: type[Misconfigured], advice: str):
    with pytest.raises(kind, match=advice) as error:
        Reconnect(Pauses()).after_refusal(refused(status, body))
    assert f"HTTP {status}" in str(error.value)


# --- the watermark -----------------------------------------------------------------------------


def test_it_follows_what_was_heard_by_its_margin():
    watermark = Watermark(1000.0, broken=False)

    assert watermark.move(1500.0, None) == 1500.0 - MARGIN_S
    assert watermark.move(1400.0, None) == 1500.0 - MARGIN_S, "it never goes back"


def test_it_never_passes_what_is_not_acknowledged():
    watermark = Watermark(1000.0, broken=False)

    assert watermark.move(2000.0, oldest=1200.0) == 1200.0 - MARGIN_S


def test_it_stands_while_the_stream_is_broken_and_until_the_gap_is_filled():
    watermark = Watermark(1000.0)
    assert watermark.move(2000.0, None) == 1000.0
    watermark.opened(2000.0)
    assert watermark.move(2100.0, None) == 1000.0

    watermark.filled(2000.0)

    assert watermark.move(2200.0, None) == 2200.0 - MARGIN_S


def test_a_gap_that_was_filled_while_another_opened_is_not_closed():
    watermark = Watermark(1000.0)
    watermark.opened(2000.0)
    watermark.lost()
    watermark.filled(2000.0)
    watermark.opened(3000.0)
    watermark.filled(2000.0)

    assert watermark.move(4000.0, None) == 1000.0


@given(st.lists(st.sampled_from(["open", "lose", "fill", "hear"]), max_size=40))
def test_it_never_passes_a_time_in_which_the_stream_was_not_there(events: list[str]):
    watermark, now, opened_at = Watermark(0.0), 0.0, None
    unfilled_from: float | None = 0.0
    for event in events:
        now += 100.0
        if event == "open" and opened_at is None:
            opened_at = now
            watermark.opened(now)
        elif event == "lose" and opened_at is not None:
            unfilled_from = now if unfilled_from is None else unfilled_from
            opened_at = None
            watermark.lost()
        elif event == "fill" and opened_at is not None:
            watermark.filled(opened_at)
            unfilled_from = None
        through = watermark.move(now, None)
        assert through <= now
        if unfilled_from is not None:
            assert through <= unfilled_from
