"""Whether quotas are enough for what running and queued harvests have planned, and what people are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from windrow.harvest.status.facts import DagFact, Facts, RunFact
from windrow.harvest.status.interval import Counts, Interval, State, iso
from windrow.harvest.status.quotas import needs, noted_by
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.watch import Severity, Told, changes, problems
from windrow.store.status import QuotaUse, Summary

pytestmark = pytest.mark.quick
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def hours(later: float) -> str:
    return iso(NOW + timedelta(hours=later))


def run(name: str, *, back_h: float = 1, units: int = 1_000, state: State = State.RUNNING, **changes: Any) -> Interval:
    """A run that has planned 100 calls, of which 50 are missing; without units it has no plan yet."""
    run_id = f"scheduled__{hours(-back_h)}"
    cost = {"plan_only": False, "ways": [{"name": "", "calls": 100, "units": [["shop.day", units]], "hours": 1.0}]}
    cost["ways"][0]["remark"] = ""  # type: ignore[index]
    summary = Summary(name, run_id, name, steps={"cost": cost, "harvest": {"planned": 100}} if units else {})
    counts = Counts(100, 50, 0, 50) if units else Counts()
    of_run = Interval(name, name, run_id, hours(-back_h), state, "why", counts, summary)
    return replace(of_run, fact=RunFact(name, run_id, "running", of_run.due_at), **changes)


def look(
    *runs: Interval,
    left: int = 0,
    next_h: float = 6,
    size: int | None = 1_000,
    closed: bool = False,
    asked: bool = True,
) -> Snapshot:
    """Take a snapshot of runs, all with one quota of 1,000 units a day: 12 hours are left of the day."""
    names = sorted({one.dataset for one in runs})
    streams = tuple(
        Stream(name, (name,), Health.RUNNING, "why", tuple(one for one in runs if one.dataset == name))
        for name in names
    )
    facts = Facts(asked, {name: DagFact(name, next_at=hours(next_h)) for name in names} if asked else {})
    note = {"account": "client", "quotas": [["shop.day", size, "day", "UTC"]]}
    noted = {one: {**note, "conn_id": f"{one.dataset}_api"} for one in noted_by(streams)}
    use = QuotaUse("client", "shop.day", (size or 0) - left, hours(12), closed)
    return Snapshot(hours(0), streams, needs=needs(streams, noted, [use], facts, NOW))


def told(snapshot: Snapshot) -> list[tuple[tuple[str, ...], str]]:
    return [(one.streams, one.cause.partition(" need at least ")[2]) for one in snapshot.attention]


ENOUGH: list[Any] = []
EARLIER = [run("a", back_h=back, state=State.COMPLETE) for back in (8, 15)]
ALONE = [(("a",), "500 units by 2026-11-28 18:00 UTC; 400 are left until 2026-11-29 00:00 UTC")]


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        (look(run("a"), left=400), ALONE),
        (look(run("a"), left=450), ENOUGH),  # it may hold the difference
        (look(run("a"), left=400, next_h=13), ENOUGH),  # the next window begins before
        (look(run("a", units=4_000), left=400, next_h=13), [(
            ("a",), "2,000 units by 2026-11-29 01:00 UTC; 400 are left until 2026-11-29 00:00 UTC, and 1,000 more "
            "before then")]),
        (look(run("a", units=4_000), left=400, next_h=37), ENOUGH),  # two windows begin before
        (look(run("a"), left=400, size=None), ENOUGH),  # nobody knows
        (look(run("a"), left=400, size=None, closed=True), [
            (("a",), "500 units by 2026-11-28 18:00 UTC; 0 are left until 2026-11-29 00:00 UTC")]),
        (look(run("a", state=State.COMPLETE), left=0), ENOUGH),
        (look(run("a", state=State.WAITING), left=400), ALONE),
        (look(replace(run("a"), run_id="plan__1"), left=0), ENOUGH),
        (look(run("a", units=0), run("a", back_h=25, units=500, state=State.COMPLETE), left=400), ALONE),
        (look(run("a", units=0), left=0), ENOUGH),
        (look(run("a"), run("b"), left=600), [
            (("a", "b"), "1,000 units by 2026-11-28 18:00 UTC; 600 are left until 2026-11-29 00:00 UTC")]),
        (look(run("a"), left=400, asked=False), ENOUGH),  # by when is not known
        (look(run("a"), *EARLIER, left=400, asked=False), ALONE),
    ],
)  # fmt: skip
def test_a_quota_must_be_enough_until_the_next_run_is_due(snapshot: Snapshot, expected: list[Any]) -> None:
    assert told(snapshot) == expected


def test_a_deadline_is_before_the_next_run() -> None:
    late = run("a")
    fact = replace(late.fact, deadline_at=hours(3))  # type: ignore[type-var]
    assert told(look(replace(late, fact=fact), left=400, next_h=13)) == [
        (("a",), "500 units by 2026-11-28 15:00 UTC; 400 are left until 2026-11-29 00:00 UTC")
    ]


def test_one_problem_a_quota_is_told_once_and_its_end_too() -> None:
    said, known = [], list[Told]()
    for snapshot in (
        look(run("a"), left=400),
        look(run("a"), run("b"), left=400),
        look(run("b"), left=400),
        look(run("a"), run("b"), left=1_000),
    ):
        found = problems(snapshot, {}, NOW)
        assert all(one.severity is Severity.WARNING for one in found)
        lines, known = changes(found, known, NOW)
        said.append([line.partition(":")[0] for line in lines])
    assert said == [["WARNING"], [], [], ["OVER after 0"]]


def test_who_may_see_one_stream_is_told_of_that_alone() -> None:
    snapshot = look(run("a"), run("b"), left=400).only(lambda dags: set(dags) <= {"b"})
    assert [one.streams for one in snapshot.attention] == [("b",)]
    assert snapshot.sentence.endswith("1 running, 1 quota is not enough.")
    assert "client" not in str([*snapshot.attention, *snapshot.needs])
