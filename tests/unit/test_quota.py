"""Windows of quotas, and what a connection may state about them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windrow.model.quota import Period, Quota, restated

PACIFIC = ZoneInfo("America/Los_Angeles")
PERIODS = [
    *map(
        Period.of,
        ("second", "minute", "hour", "day", "pacific_day", "day Asia/Kolkata", "month", "month Europe/Berlin"),
    )
]
instants = st.timedeltas(timedelta(0), timedelta(days=40_000)).map(
    lambda since: datetime(1990, 1, 1, tzinfo=UTC) + since
)


# --- windows -----------------------------------------------------------------------------------


@given(window=st.sampled_from(PERIODS), instant=instants)
@example(window=Period.PACIFIC_DAY, instant=datetime(2026, 3, 8, 8, tzinfo=UTC))
@example(window=Period.PACIFIC_DAY, instant=datetime(2026, 11, 2, 8, tzinfo=UTC))
def test_every_instant_is_in_its_window_and_windows_meet(window: Period, instant: datetime):
    start, end = window.bounds(instant)
    assert start <= instant < end
    assert (start.tzinfo, end.tzinfo) == (UTC, UTC)
    tick = timedelta(microseconds=1)
    assert window.bounds(start) == window.bounds(end - tick) == (start, end)
    assert window.bounds(start - tick)[1] == start
    assert window.bounds(end)[0] == end


@given(instant=instants, hours=st.integers(-12, 14))
def test_the_zone_of_an_instant_does_not_matter(instant: datetime, hours: int):
    elsewhere = instant.astimezone(timezone(timedelta(hours=hours)))
    assert all(window.bounds(elsewhere) == window.bounds(instant) for window in PERIODS)


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Period.MINUTE, "2026-06-15T19:59:00", "2026-06-15T20:00:00"),
        (Period.HOUR, "2026-06-15T19:00:00", "2026-06-15T20:00:00"),
        (Period.PACIFIC_DAY, "2026-06-15T07:00:00", "2026-06-16T07:00:00"),
        (Period("second"), "2026-06-15T19:59:59", "2026-06-15T20:00:00"),
        (Period("day"), "2026-06-15T00:00:00", "2026-06-16T00:00:00"),
        (Period("day", "Asia/Kolkata"), "2026-06-15T18:30:00", "2026-06-16T18:30:00"),
        (Period("month", "Europe/Berlin"), "2026-05-31T22:00:00", "2026-06-30T22:00:00"),
    ],
)
def test_windows_are_as_long_as_their_names_say(window: Period, start: str, end: str):
    found = window.bounds(datetime(2026, 6, 15, 19, 59, 59, 999_999, tzinfo=UTC))
    assert [bound.isoformat() for bound in found] == [f"{start}+00:00", f"{end}+00:00"]


@pytest.mark.parametrize(
    ("day", "hours", "ends_at"),
    [
        ("2026-03-07", 24, "2026-03-08T08:00:00+00:00"),
        ("2026-03-08", 23, "2026-03-09T07:00:00+00:00"),
        ("2026-03-09", 24, "2026-03-10T07:00:00+00:00"),
        ("2026-10-31", 24, "2026-11-01T07:00:00+00:00"),
        ("2026-11-01", 25, "2026-11-02T08:00:00+00:00"),
        ("2026-11-02", 24, "2026-11-03T08:00:00+00:00"),
    ],
)
def test_the_days_when_the_clocks_change_have_23_and_25_hours(day: str, hours: int, ends_at: str):
    start, end = Period.PACIFIC_DAY.bounds(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=PACIFIC))
    assert (end - start, end.isoformat()) == (timedelta(hours=hours), ends_at)


# --- what a connection states ------------------------------------------------------------------


def daily(units: int | None) -> Quota:
    return Quota("data", Period.PACIFIC_DAY, units, ("/v3",))


QUOTAS = (daily(10_000), Quota("reports", Period.MINUTE, 720, ("/v2",)))


def test_a_connection_may_add_a_quota_with_a_time_zone():
    mine = {"units": 1_000, "per": "month Europe/Berlin", "paths": ["/v1/"]}
    found = restated(QUOTAS, {"mine": mine})
    assert found == [*QUOTAS, Quota("mine", Period("month", "Europe/Berlin"), 1_000, ("/v1/",))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, QUOTAS),
        ({"data": {}}, QUOTAS),
        ({"data": {"units": 5}}, (daily(5), QUOTAS[1])),
        ({"data": {"units": None}}, (daily(None), QUOTAS[1])),
        ({"reports": {"per": "hour"}}, (QUOTAS[0], Quota("reports", Period.HOUR, 720, ("/v2",)))),
        (
            {"reports": {"per": "pacific_day", "units": 1}, "data": {"units": 2}},
            (daily(2), Quota("reports", Period.PACIFIC_DAY, 1, ("/v2",))),
        ),
    ],
)
def test_a_connection_may_state_other_units_and_windows(given: Any, expected: tuple[Quota, ...]):
    assert restated(QUOTAS, given) == list(expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dtaa": {"units": 5}}, r"unknown quota 'dtaa'. Known quotas: \['data', 'reports'\]"),
        ({"data": 5}, "must look like"),
        ({"data": None}, "must look like"),
        ({"data": ["units"]}, "must look like"),
        ({"data": {"unit": 5}}, "must look like"),
        ({"data": {"units": 5, "until": "noon"}}, "must look like"),
        *[({"data": {"units": bad}}, "whole number above 0") for bad in (0, -1, 1.5, "5", True, False, [], {})],
        *[
            ({"data": {"per": bad}}, "is invalid, .*: a period must be")
            for bad in ("week", "", None, 5, True, ["hour"], {})
        ],
        *[({"data": {"per": f"day {zone}"}}, "unknown time zone") for zone in ("Nowhere/City", "../etc", "utc+1")],
        ({"mine": {"units": 5, "per": "day"}}, "A new quota needs 'units', 'per' and 'paths'"),
        *[({"data": {"paths": bad}}, "must be a list") for bad in ("/v1", [], [""], [5], {})],
    ],
)
def test_a_statement_that_cannot_be_meant_is_refused(given: Any, said: str):
    with pytest.raises(ValueError, match=said):
        restated(QUOTAS, given)
