"""The parts of the publisher that need no network: settings, pauses, the clock, the watermark."""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.flow import NOON
from windrow.http.client import StreamRefused
from windrow.model.errors import CredentialsRejected, Misconfigured
from windrow.model.response import Response
from windrow.sources.x.publisher.clock import Clock
from windrow.sources.x.publisher.reconnect import Pauses, Reconnect
from windrow.sources.x.publisher.settings import Settings
from windrow.sources.x.publisher.watermark import MARGIN_S, Gap, Watermark
from windrow.sources.x.streams import POLICY

PLUGINS = Path(__file__).parents[5] / "plugins"
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
        ("X_LOG_FORMAT", "xml"),
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


def test_a_refusal_in_the_stream_pauses_as_a_429_does():
    reconnect = Reconnect(Pauses())
    pauses = []
    for _ in range(3):
        reconnect.refused_in_stream()
        pauses.append(reconnect.after_break())

    assert pauses == [60, 120, 240]
    assert reconnect.after_break() == 0.0


def test_a_line_that_arrives_ends_the_row():
    reconnect = Reconnect(Pauses())
    for _ in range(5):
        reconnect.after_break()
        reconnect.after_refusal(refused(503))
    reconnect.arrived()

    assert (reconnect.after_break(), reconnect.after_refusal(refused(503))) == (0.0, 5)


def test_the_end_of_a_window_is_waited_for():
    window = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(time.time() + 5_000)}

    assert Reconnect(Pauses()).after_refusal(refused(429, **window)) == pytest.approx(5_000, abs=5)


def test_a_window_that_ends_in_another_age_is_none():
    window = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "99999999999"}

    assert Reconnect(Pauses()).after_refusal(refused(429, **window)) == Pauses().throttled_first


def test_rules_that_are_missing_are_no_end():
    assert Reconnect(Pauses()).after_refusal(refused(409)) == 5


@pytest.mark.parametrize(
    ("status", "body", "kind", "advice"),
    [
        (401, "{}", CredentialsRejected, "X_BEARER_TOKEN"),
        (402, '{"title": "CreditsDepleted"}', Misconfigured, "credits"),
        (403, '{"detail": "spend cap"}', Misconfigured, "cap"),
        (429, '{"type": "https://api.x.com/2/problems/usage-capped"}', Misconfigured, "cap"),
        (400, '{"detail": "tweet.fields"}', Misconfigured, "Fix the cause in the answer of X"),
    ],
)
def test_what_only_a_person_can_mend_ends_it(status: int, body: str, kind: type[Misconfigured], advice: str):
    with pytest.raises(kind, match=advice) as error:
        Reconnect(Pauses()).after_refusal(refused(status, body))
    assert f"HTTP {status}" in str(error.value)


# --- the clock ---------------------------------------------------------------------------------


def test_the_time_is_that_of_x_and_goes_on():
    clock = Clock()
    assert abs(clock.now() - time.time()) < 1

    clock.set_by({"Date": "Fri, 20 Nov 2026 12:00:00 GMT"})

    first = clock.now()
    assert 0 <= first - NOON.timestamp() < 5
    assert clock.now() > first
    assert abs(clock.instant() - NOON) < timedelta(seconds=5)


@pytest.mark.parametrize("headers", [{}, {"Date": "soon"}])
def test_without_a_date_the_clock_stays(headers: dict[str, str]):
    clock = Clock()
    clock.set_by(headers)

    assert abs(clock.now() - time.time()) < 1


# --- the watermark -----------------------------------------------------------------------------


def reading(since: float = 1000.0) -> Watermark:
    """One whose stream is open, without a gap."""
    watermark = Watermark()
    assert watermark.opened(since, since) is None
    return watermark


def through(watermark: Watermark, heard: float, oldest: float | None = None) -> float | None:
    watermark.move(heard, oldest)
    return watermark.through


def test_before_the_stream_was_ever_open_there_is_no_mark():
    assert through(Watermark(), 1000.0) is None


def test_it_follows_what_was_heard_by_its_margin():
    watermark = reading()

    assert through(watermark, 1500.0) == 1500.0 - MARGIN_S
    assert through(watermark, 1400.0) == 1500.0 - MARGIN_S, "it never goes back"


def test_it_never_passes_what_is_not_acknowledged():
    assert through(reading(), 2000.0, oldest=1200.0) == 1200.0 - MARGIN_S


def test_it_stands_while_the_stream_is_broken_and_until_the_gap_is_filled():
    watermark = Watermark(reached=1000.0)
    assert through(watermark, 2000.0) == 1000.0
    gap = watermark.opened(2000.0, 2000.0)
    assert gap is not None
    assert (gap.since, gap.until) == (1000.0, 2000.0)
    assert through(watermark, 2100.0) == 1000.0

    watermark.filled(gap)

    assert through(watermark, 2200.0) == 2200.0 - MARGIN_S


def test_a_gap_is_filled_while_the_stream_breaks_again():
    watermark = Watermark(reached=1000.0)
    first = watermark.opened(2000.0, 2000.0)
    through(watermark, 2500.0)
    watermark.lost()
    second = watermark.opened(3000.0, 3000.0)
    assert first is not None
    assert second is not None

    watermark.filled(first)

    assert (second.since, second.until) == (2500.0 - MARGIN_S, 3000.0)
    assert through(watermark, 4000.0) == second.since


def test_while_new_rules_do_not_hold_there_is_a_gap():
    watermark = Watermark()
    gap = watermark.opened(1000.0, 1020.0)
    assert gap is not None
    assert (gap.since, gap.until) == (1000.0, 1020.0)
    watermark.lost()

    assert watermark.opened(1010.0, 1010.0) is None, "the first gap has it"
    assert through(watermark, 5000.0) == 1000.0


@pytest.mark.parametrize("now", [1000.0, 999.998, 999.1])
def test_a_break_within_one_second_of_x_is_a_gap_too(now: float):
    """The time of X is in whole seconds, so the second opening may seem to be earlier than the first."""
    watermark = reading(1000.0)
    watermark.lost()

    gap = watermark.opened(now, now)

    assert gap is not None
    assert (gap.since, gap.until) == (1000.0, 1000.0)


@given(st.lists(st.sampled_from(["open", "lose", "fill", "hear"]), max_size=40))
def test_it_never_passes_a_time_in_which_the_stream_was_not_there(events: list[str]):
    watermark, now, is_open = Watermark(reached=0.0), 0.0, False
    waiting: list[Gap] = []
    missed: list[tuple[float, float]] = []
    lost_at = 0.0
    for event in events:
        now += 100.0
        if event == "open" and not is_open:
            is_open = True
            gap = watermark.opened(now, now)
            assert gap is not None
            assert gap.since <= lost_at
            assert gap.until == now
            waiting.append(gap)
            missed.append((lost_at, now))
        elif event == "lose" and is_open:
            is_open, lost_at = False, now
            watermark.lost()
        elif event == "fill" and waiting:
            watermark.filled(waiting.pop(0))
            missed.pop(0)
        mark = through(watermark, now)
        assert mark is not None
        assert mark <= min([now, *(begin for begin, _ in missed), *([] if is_open else [lost_at])])


def test_the_process_needs_no_airflow():
    code = "import sys, windrow.sources.x.publisher.__main__; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(PLUGINS)}, check=False).returncode == 0
