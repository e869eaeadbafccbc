"""The logic of chaos itself: which incidents a seed gives, and what comparison and findings notice."""

import argparse
from pathlib import Path

import pytest

from chaos import findings
from chaos.cloud import new_folder
from chaos.findings import Finding, Key
from chaos.incidents import KINDS, WORKER, deal
from chaos.truth import compare

pytestmark = pytest.mark.quick
SERVICES = ["mongo", "apis"]
ONCE = ("full disk", "clock", "network")


def test_a_seed_gives_the_same_incidents_and_every_pair_once_before_one_comes_again() -> None:
    pairs = {(kind, name) for kind in KINDS for name in SERVICES} | {("kill", WORKER), ("freeze", WORKER)}
    dealt = deal(SERVICES, 2 * len(pairs), seed=7)

    assert dealt == deal(SERVICES, 2 * len(pairs), seed=7) != deal(SERVICES, 2 * len(pairs), seed=8)
    for half in (dealt[: len(pairs)], dealt[len(pairs) :]):
        assert {(one.kind, one.target) for one in half} == pairs
    assert any(one.calls for one in dealt)
    special = [one.kind for one in deal(SERVICES, 12, seed=7, once=ONCE) if one.kind not in KINDS]
    assert (sorted(special), len(deal(SERVICES, 12, seed=7, once=ONCE))) == (sorted(ONCE), 12)


@pytest.mark.parametrize(("calls", "chosen"), [(True, {"days.harvest", "plan"}), (False, {"load", "prove"})])
def test_an_incident_chooses_a_task_of_its_kind(calls: bool, chosen: set[str]) -> None:
    tasks = ["plan", "days.harvest", "load", "prove"]
    assert {one.choose(tasks) for one in deal(SERVICES, 100, seed=1) if one.calls is calls} == chosen


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([("a", (1,)), ("b", (2,))], "0 lost, 0 duplicated, 0 wrong"),
        ([("a", (1,)), ("b", (2,)), ("extra", (3,))], "0 lost, 0 duplicated, 0 wrong"),
        ([("a", (1,))], "1 lost, 0 duplicated, 0 wrong; lost: ['b']"),
        ([("a", (1,)), ("a", (1,)), ("b", (2,))], "0 lost, 1 duplicated, 0 wrong; duplicated: ['a']"),
        ([("a", (9,)), ("b", (2,))], "0 lost, 0 duplicated, 1 wrong; wrong: [('a', (9,), (1,))]"),
        ([("a", (1,)), ("b", (2,)), ("c", (1,))], "0 lost, 0 duplicated, 1 wrong; wrong: [('c', (1,), None)]"),
    ],
)
def test_the_comparison_notices_what_is_lost_duplicated_and_wrong(found: list, told: str) -> None:
    difference = compare("t", found, {"a": (1,), "b": (2,)}, {"extra": (3,)})
    assert told in str(difference)
    assert difference.is_none is told.endswith("0 wrong")


def task(run: str, index: int = -1) -> Key:
    return ("titanic_passengers", run, "harvest", index)


@pytest.mark.parametrize(
    ("found", "result", "is_good"),
    [
        (findings.of_runs("d", [("manual", "success"), ("backfill", "success")]), "1 backfill success, 1 manual", True),
        (findings.of_runs("d", [("manual", "success"), ("manual", "failed")]), "1 manual failed", False),
        (findings.of_runs("d", [("manual", "success"), ("manual", "running")]), "1 manual running", False),
        (findings.of_runs("d", [("backfill", "queued")]), "1 backfill queued", False),
        (findings.of_runs("d", []), "none", False),
        (findings.of_table(compare("t", [("a", (1,))], {"a": (1,)})), "0 lost, 0 duplicated, 0 wrong", True),
        (findings.of_table(compare("t", [], {"a": (1,)})), "1 lost", False),
        (findings.of_table(compare("t", [("a", (1,))] * 2, {"a": (1,)})), "1 duplicated", False),
        (findings.of_table(compare("t", [("a", (2,))], {"a": (1,)})), "1 wrong", False),
        (findings.of_deadlocks(0, {"a.log": b"all is well"}), "0 counted by PostgreSQL, 0 of 1 logs", True),
        (findings.of_deadlocks(1, {"a.log": b"all is well"}), "1 counted by PostgreSQL", False),
        (findings.of_deadlocks(0, {"a.log": b"", "b.log": b"psycopg2: DeadlockDetected"}), "['b.log']", False),
        (findings.of_tries({task("a"): 1, task("b"): 1}, (), ()), "2 tasks, 0 tried again", True),
        (findings.of_tries({task("a"): 2}, {task("a")}, ()), "1 tried again, 0 of them", True),
        (findings.of_tries({task("a"): 2}, (), {task("a")}), "1 tried again, 0 of them", True),
        (findings.of_tries({task("a"): 3}, {task("a")}, {task("a")}), "1 tried again, 0 of them", True),
        (findings.of_tries({task("a"): 3}, {task("a")}, ()), "titanic_passengers.harvest 1x", False),
        (findings.of_tries({task("a"): 2}, {task("b")}, {task("a", 0)}), "1 of them neither", False),
        (findings.of_tries({}, (), ()), "0 tasks", False),
        (findings.of_schedulers([("one", 159), ("two", 96)]), "159 on one, 96 on two", True),
        (findings.of_schedulers([("one", 255)]), "255 on one", False),
        (findings.of_schedulers([]), "none", False),
    ],
)
def test_a_finding_is_good_only_if_all_is_as_it_has_to_be(found: Finding, result: str, is_good: bool) -> None:
    assert result in found.result
    assert found.is_good is is_good
    assert str(found).startswith("| " if is_good else "PROBLEM "), found


def test_a_campaign_does_not_start_with_the_data_of_an_earlier_one(tmp_path: Path) -> None:
    assert new_folder(str(tmp_path)) == tmp_path
    assert new_folder(str(tmp_path / "new")) == tmp_path / "new"
    (tmp_path / "var").mkdir()
    with pytest.raises(argparse.ArgumentTypeError, match="earlier campaign; delete it"):
        new_folder(str(tmp_path))
