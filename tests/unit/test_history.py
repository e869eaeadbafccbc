"""The history of a stream: each day of a year has one state, and changes between runs are named."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from windrow.harvest.history import changed, events, weeks
from windrow.harvest.status.facts import RunFact
from windrow.harvest.status.interval import Counts, Interval, State
from windrow.store.events import Event as Act
from windrow.store.summary import Summary

TODAY = date(2026, 11, 28)  # a Saturday


def run(day: date, state: State = State.COMPLETE, *, hour: int = 1, by: str = "") -> Interval:
    at = f"{day}T{hour:02d}:00:00.000+00:00"
    fact = RunFact("shop", f"run {at}", "success", at, by=by)
    return Interval("orders", "shop", fact.run_id, at, state, state.value, Counts(10, 10, gaps=3), fact=fact)


def test_each_day_has_the_state_of_its_worst_interval() -> None:
    monday = TODAY - timedelta(days=12)
    intervals = [
        run(monday),
        run(monday, State.INCOMPLETE, hour=2),
        run(monday + timedelta(days=2), State.GAPS),
        run(monday + timedelta(days=2), hour=2),
        run(TODAY + timedelta(days=1)),
    ]

    found = weeks(intervals, {monday - timedelta(days=1), monday + timedelta(days=3), TODAY}, TODAY)

    days = [day for week in found for day in week]
    assert [len(week) for week in found] == [7, 6], "from Monday to Sunday, and to today"
    assert (days[0].date, days[-1].date) == (monday, TODAY), "nothing was wanted before the first run"
    assert {n: day.state for n, day in enumerate(days) if day.state is not State.NOT_DUE} == {
        0: State.INCOMPLETE, 2: State.GAPS, 3: State.MISSING,
    }  # fmt: skip
    assert len(days[0].intervals) == 2


@pytest.mark.parametrize("years", [0, 1, 3])
def test_a_calendar_is_a_year_at_most(years: int) -> None:
    found = weeks([run(TODAY - timedelta(days=365 * years))], (), TODAY)
    assert sum(map(len, found)) == min(365 * years, 370) + 1
    assert weeks([], {TODAY}, TODAY) == []


def code(**changes: Any) -> Mapping[str, Any]:
    return {
        "version": "1",
        "bundle": "abc",
        "columns": [["id", "STRING"]],
        "quotas": [["day", "10 per day"]],
        **changes,
    }


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (code(), []),
        (code(version="2"), ["Windrow changed from 1 to 2"]),
        (code(bundle=""), ["the DAG bundle changed from abc to unknown"]),
        (
            code(columns=[["id", "INTEGER"], ["b", "DATE"]]),
            ["column b was added: DATE", "column id changed from STRING to INTEGER"],
        ),
        (code(columns=[]), ["column id was removed"]),
        (code(quotas=[["day", "5 per day"]]), ["quota day changed from 10 per day to 5 per day"]),
    ],
)  # fmt: skip
def test_a_change_says_from_what_to_what(after: Mapping[str, Any], says: list[str]) -> None:
    assert changed(code(), after) == says


def test_events_are_runs_of_people_accepted_gaps_and_changes() -> None:
    def noted(number: int, **steps: Any) -> Summary:
        return Summary("orders", str(number), times={"code": f"2026-11-{number:02d}"} if steps else {}, steps=steps)

    summaries = [
        noted(12, code=code(version="2")),
        noted(11),
        noted(10, code=code()),
        noted(13, code=code(version="2")),
    ]
    intervals = [run(TODAY, by="ada"), run(TODAY - timedelta(days=1)), run(TODAY - timedelta(days=2), State.GAPS)]

    acts = [Act("orders", datetime(2026, 11, 27, tzinfo=UTC), "bo", "replay", "2 answers", "both were read")]

    found = events(intervals, summaries, acts)

    assert [(one.at[:10], one.by, one.text) for one in found] == [
        ("2026-11-28", "ada", "started a run (complete)"),
        ("2026-11-27", "bo", "replay 2 answers: both were read"),
        ("2026-11-26", "", "3 gaps accepted by the params of the run"),
        ("2026-11-12", "", "Windrow changed from 1 to 2"),
    ]
    assert len(events(intervals * 100, summaries)) == 50
