"""Replay: what a mended reader can read leaves the quarantine, all else stays."""

import json
from datetime import UTC, datetime

import pytest

from tests.shop import Orders
from windrow.harvest.replay import replay
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.staging import Staging

RUN = Run("shop_orders", "manual__2026-01-02")
STREAM = Orders()
NOW = datetime(2026, 1, 2, tzinfo=UTC)
GOOD = {"Number": "A-21171", "Total": 7.25}


def rejected(name: str, body: str | None = None, status: int = 200) -> Rejected:
    query = Query.of("/order", {"number": name})
    return Rejected(query, status, body or json.dumps(GOOD | {"Number": name}), "the reader was broken", NOW)


def test_an_answer_that_can_be_read_now_is_staged_and_released(staging: Staging):
    one, other = rejected("one"), rejected("other")
    staging.reject(RUN, [(0, one), (3, other)])
    assert replay(staging, RUN, STREAM) == 2
    assert staging.quarantined(RUN) == []
    assert staging.settled(RUN, 0) == {one.query.key: Outcome.ANSWERED}
    assert staging.settled(RUN, 3) == {other.query.key: Outcome.ANSWERED}


def test_it_is_staged_word_for_word(staging: Staging):
    one = rejected("one")
    plan = staging.save_plan(RUN, [one.query])
    staging.reject(RUN, [(0, one)])
    replay(staging, RUN, STREAM)
    assert staging.answers(staging.chunk(plan.run, 0)) == [Answer(one.query, Outcome.ANSWERED, 200, one.body, NOW)]


@pytest.mark.parametrize(
    "stays",
    [
        rejected("one", json.dumps(GOOD)),  # about somebody else
        rejected("one", json.dumps({"Number": "one"})),
        rejected("one", "<html>"),
        rejected("one", "null"),
        rejected("one", json.dumps(GOOD | {"Number": "one"}), status=400),  # the API refused the query
        rejected("one", json.dumps(GOOD | {"Number": "one"}), status=500),
        rejected("one", json.dumps(GOOD | {"Number": "one"}), status=0),
    ],
)
def test_all_else_stays_in_the_quarantine(staging: Staging, stays: Rejected):
    staging.reject(RUN, [(0, stays)])
    assert replay(staging, RUN, STREAM) == 0
    assert staging.quarantined(RUN) == [(0, stays)]
    assert staging.settled(RUN, 0) == {}


def test_one_that_stays_does_not_hold_up_the_others(staging: Staging):
    staging.reject(RUN, [(0, rejected("a", "<html>")), (0, rejected("b")), (0, rejected("c", "[]"))])
    assert replay(staging, RUN, STREAM) == 1
    assert [one.query.key for _, one in staging.quarantined(RUN)] == [
        "order?number=a", "order?number=c"
    ]  # fmt: skip


def test_doing_it_again_changes_nothing(staging: Staging):
    staging.reject(RUN, [(0, rejected("one"))])
    assert [replay(staging, RUN, STREAM) for _ in range(3)] == [1, 0, 0]


def test_another_run_is_left_alone(staging: Staging):
    other = Run(RUN.dataset, "another")
    staging.reject(other, [(0, rejected("one"))])
    assert replay(staging, RUN, STREAM) == 0
    assert len(staging.quarantined(other)) == 1


def test_killed_in_between_an_answer_is_in_both_places_and_not_in_none(staging: Staging):
    class Killed(Staging):
        def release(self, run: Run, key: str) -> None:
            raise StagingUnavailable("killed", advice="")

    one = rejected("one")
    staging.reject(RUN, [(0, one)])
    with pytest.raises(StagingUnavailable):
        replay(Killed(staging._client, staging._database.name), RUN, STREAM)
    assert staging.settled(RUN, 0) == {one.query.key: Outcome.ANSWERED}
    assert len(staging.quarantined(RUN)) == 1
    assert replay(staging, RUN, STREAM) == 0, "it is staged"
    assert staging.quarantined(RUN) == []
    assert staging.settled(RUN, 0) == {one.query.key: Outcome.ANSWERED}
