"""The chaos campaign's own logic: which incidents a seed gives, and what its comparison notices."""

import pytest

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
