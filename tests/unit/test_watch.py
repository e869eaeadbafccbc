"""What people are told of problems: once, again when it is worse, and that it is over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.harvest.status.interval import Counts, Interval, State, iso
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.watch import Problem, Severity, Told, Undelivered, changes, message, not_taken, problems
from windrow.store.reports import Reason
from windrow.store.summary import Summary

pytestmark = pytest.mark.quick
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def interval(
    back_h: float, state: State = State.COMPLETE, *, rows: int | None = None, scheduled: bool = True
) -> Interval:
    at = iso(NOW - timedelta(hours=back_h))
    run_id = f"{'scheduled' if scheduled else 'manual'}__{at}"
    steps = {} if rows is None else {"profile": {"rows": rows}}
    summary = Summary("shop_orders", run_id, steps=steps)
    return Interval("shop_orders", "shop_orders", run_id, at, state, "why", Counts(), summary)


def stream(*intervals: Interval, health: Health = Health.COMPLETE, name: str = "shop_orders") -> Stream:
    return Stream(name, (name,), health, "why", intervals)


def causes(*streams: Stream, reasons: tuple[Reason, ...] = (), **expiries: int) -> list[str]:
    snapshot = Snapshot(iso(NOW), streams=streams, reasons=reasons)
    return [one.cause for one in problems(snapshot, expiries, NOW)]


@pytest.mark.parametrize(
    ("newest_h", "expected"),
    [(1, []), (25, []), (35.9, []), (36, ["late|shop_orders"]), (300, ["late|shop_orders"])],
)
def test_data_is_late_half_a_period_after_the_next_run_was_due(newest_h: float, expected: list[str]) -> None:
    assert causes(stream(*(interval(newest_h + 24 * day) for day in range(5)))) == expected


def test_runs_by_hand_and_paused_dags_are_never_late() -> None:
    by_hand = [interval(100 + 24 * day, scheduled=False) for day in range(5)]
    assert causes(stream(*by_hand)) == []
    assert causes(stream(*(interval(100 + 24 * day) for day in range(5)), health=Health.PAUSED)) == []
    assert causes(stream(interval(100), interval(124))) == []  # two runs are no period


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((0, 5_000, 4_000, 6_000), ["empty|shop_orders"]),
        ((1, 5_000, 4_000, 6_000), []),
        ((0, 5, 4, 6), []),
        ((0, 0, 0, 0), []),
        ((0, 5_000), []),
    ],
)
def test_no_row_where_there_were_thousands(rows: tuple[int, ...], expected: list[str]) -> None:
    assert causes(stream(*(interval(1 + 24 * day, rows=one) for day, one in enumerate(rows)))) == expected


def test_a_credential_that_ends_is_named_with_its_connection() -> None:
    assert causes(shop=15, crm=14, old=-2) == ["credential|old", "credential|crm"]
    found = problems(Snapshot(iso(NOW)), {"old": -2, "crm": 14}, NOW)
    assert [one.severity for one in found] == [Severity.ERROR, Severity.WARNING]
    assert "'old' has ended" in found[0].text


def test_attention_of_a_person_is_a_problem_and_a_wait_is_none() -> None:
    failed = replace(interval(1, State.INCOMPLETE), needs_person=True)
    assert causes(stream(failed, health=Health.ACTION)) == ["attention|Action required|why"]
    assert causes(stream(interval(1, State.WAITING), health=Health.WAITING)) == []


def test_a_store_that_is_away_is_the_only_problem() -> None:
    snapshot = Snapshot(iso(NOW), streams=(stream(interval(1)),), error="MongoDB did not answer.", advice="Start it.")
    assert [(one.cause, one.text) for one in problems(snapshot, {"old": 0}, NOW)] == [
        ("watch", "MongoDB did not answer.")
    ]


def problem(cause: str = "a", severity: Severity = Severity.WARNING, level: int = 0) -> Problem:
    return Problem(cause, severity, f"text of {cause}", "do it", level)


def test_a_problem_is_told_once_then_that_it_is_worse_then_that_it_is_over() -> None:
    lines, told = changes([problem()], [], NOW)
    assert lines == ["WARNING: text of a | What to do: do it | Cause: a"]
    lines, told = changes([problem()], told, NOW + timedelta(minutes=10))
    assert lines == []
    lines, told = changes([problem(severity=Severity.ERROR)], told, NOW + timedelta(minutes=20))
    assert lines == ["WORSE: text of a | What to do: do it | Cause: a"]
    lines, told = changes([problem()], told, NOW + timedelta(minutes=30))  # better, and not over
    assert lines == []
    lines, told = changes([], told, NOW + timedelta(hours=1))
    assert (lines, told) == (["OVER after 1:00:00: text of a"], [])


def broken(*names: str, stopped_by: str = "") -> Snapshot:
    """Return a snapshot in which a person must act on these streams, all of one connection."""
    failed = replace(interval(1, State.INCOMPLETE), why=f"{len(names):,} calls differ", needs_person=True)
    if stopped_by:
        steps = {"failure": {"stopped_by": stopped_by, "error": "HTTP 401", "task_id": "harvest"}}
        failed = replace(failed, summary=Summary("any", "run", steps=steps, times={"failure": iso(NOW)}))
    streams = [replace(stream(failed, health=Health.ACTION, name=name), connections=("shop",)) for name in names]
    return Snapshot(iso(NOW), streams=tuple(streams))


@pytest.mark.parametrize(
    ("stopped_by", "expected"),
    [
        ("CredentialsRejected", ["ERROR", "", "", "", "OVER"]),
        ("CountsDisagree", ["ERROR", "WORSE", "WORSE", "", "OVER"]),
        ("", ["ERROR", "WORSE", "WORSE", "", "OVER"]),
    ],
)
def test_a_cause_that_reaches_more_streams_is_not_over(stopped_by: str, expected: list[str]) -> None:
    told: list[Told] = []
    said = []
    for names in ("a", "ab", "abc", "bc", ""):
        found = problems(broken(*names, stopped_by=stopped_by), {}, NOW)
        lines, told = changes(found, told, NOW)
        said.append(" ".join(line.split()[0].strip(":") for line in lines))
    assert said == expected


def test_a_snooze_is_of_the_streams_that_its_user_knew() -> None:
    _, (told,) = changes(problems(broken("a"), {}, NOW), [], NOW)
    snoozed = [replace(told, snoozed_until=iso(NOW + timedelta(hours=2)), snoozed_by="sasha")]
    assert changes(problems(broken("a"), {}, NOW), snoozed, NOW)[0] == []
    lines, (after,) = changes(problems(broken("a", "b"), {}, NOW), snoozed, NOW)
    assert [line.split(".")[0] for line in lines] == ["WORSE: Action required: a, b"]
    assert after.snoozed_by == "sasha"


def test_nothing_is_over_while_the_state_is_unknown() -> None:
    _, told = changes([problem("a")], [], NOW)
    unknown = problems(Snapshot(iso(NOW), error="MongoDB did not answer."), {}, NOW)
    lines, told = changes(unknown, told, NOW)
    assert [line.split(":")[0] for line in lines] == ["ERROR"]
    lines, _ = changes([problem("a")], told, NOW + timedelta(hours=1))
    assert lines == ["OVER after 1:00:00: MongoDB did not answer."]


def test_a_growing_quarantine_is_told_when_it_has_doubled() -> None:
    told: list[Told] = []
    said = []
    for count in (1, 1, 2, 3, 4, 7, 8, 5, 8, 16):
        reasons = (Reason("shop_orders", "run", "reason", 200, count, "", ""),)
        found = problems(Snapshot(iso(NOW), reasons=reasons), {}, NOW)
        lines, told = changes(found, told, NOW)
        said += [count for _ in lines]
    assert said == [1, 2, 4, 8, 16]


def test_a_snoozed_problem_is_silent_until_then() -> None:
    snoozed = [Told("a", "text of a", iso(NOW), 1, 0, iso(NOW + timedelta(hours=2)), "sasha")]
    lines, told = changes([problem(severity=Severity.ERROR)], snoozed, NOW + timedelta(hours=1))
    assert (lines, told[0].snoozed_by) == ([], "sasha")
    lines, told = changes([problem()], told, NOW + timedelta(hours=3))
    assert lines == ["STILL: text of a | What to do: do it | Cause: a"]
    assert told[0].snoozed_until == ""
    assert changes([problem()], told, NOW + timedelta(hours=4))[0] == []


def test_a_problem_that_was_over_before_its_snooze_ends_is_told_as_over_once() -> None:
    snoozed = [Told("a", "text of a", iso(NOW), 1, 0, iso(NOW + timedelta(days=2)), "sasha")]
    lines, told = changes([], snoozed, NOW + timedelta(hours=1))
    assert (lines, told) == (["OVER after 1:00:00: text of a"], [])


@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True), max_size=12))
def test_whatever_comes_and_goes_each_begin_and_each_end_is_told_once(checks: list[list[str]]) -> None:
    told: list[Told] = []
    began = ended = 0
    before: set[str] = set()
    for number, names in enumerate([*checks, []]):
        lines, told = changes([problem(name) for name in names], told, NOW + timedelta(minutes=number))
        assert sum(line.startswith("WARNING") for line in lines) == len(set(names) - before)
        assert sum(line.startswith("OVER") for line in lines) == len(before - set(names))
        began, ended = began + len(set(names) - before), ended + len(before - set(names))
        before = set(names)
    assert began == ended
    assert told == []


def test_a_message_is_bounded() -> None:
    assert message([f"line {number}" for number in range(1_000)]).splitlines()[-1] == "and 980 more"


def test_what_a_channel_does_not_take_is_bounded() -> None:
    record: Undelivered | None = None
    for number in range(30):
        record = not_taken(record, "chat", [f"line {number} {each}" for each in range(40)], NOW)
        assert len(record.lines) <= 100
        assert len(record.lines) + record.given_up == 40 * (number + 1)
        assert bool(record.lines) == (number < 17), "three hours of checks"
