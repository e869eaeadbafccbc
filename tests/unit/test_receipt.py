"""The receipt: it agrees exactly when every count is the same, and else names the count and the task to clear."""

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.landing.files import Manifest
from windrow.landing.receipt import Receipt, Staged, as_text
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import CountsDisagree
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging

RUN = Run("titanic_passengers", "manual__2026-01-02")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def receipt(
    *,
    planned: int = 10,
    answered: int = 10,
    gaps: int = 0,
    quarantined: int = 0,
    answers: int = 10,
    unreadable: int = 0,
    records: int = 10,
    loaded: int = 10,
    merged: int = 10,
    max_gaps: int = 0,
    partial: int = 0,
    left_out: int = 0,
    one_record_an_answer: bool = True,
) -> Receipt:
    """A receipt whose counts agree, but for what a test changes."""
    return Receipt(
        Plan(RUN, 2 * planned, planned, 1),
        Staged(answered, gaps, quarantined, partial=partial),
        Manifest(RUN.dataset, RUN.run_id, answers, gaps, unreadable, records, (), left_out),
        loaded,
        merged,
        total=1_000,
        max_gaps=max_gaps,
        one_record_an_answer=one_record_an_answer,
    )


# --- does it agree? ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"answered": 8, "answers": 8, "records": 8, "loaded": 8, "merged": 8, "gaps": 2, "max_gaps": 2},
        {"answered": 8, "answers": 8, "records": 8, "loaded": 8, "merged": 8, "gaps": 2, "max_gaps": 5},
        {"one_record_an_answer": False, "records": 25, "loaded": 25, "merged": 25},
        {"planned": 0, "answered": 0, "answers": 0, "records": 0, "loaded": 0, "merged": 0},
        {"planned": 11, "gaps": 1, "partial": 2, "left_out": 3, "max_gaps": 6},
    ],
)
def test_counts_that_agree(changes: dict[str, int]):
    proven = receipt(**changes)
    assert proven.disagreements() == []
    assert proven.figures()["agrees"] is True
    proven.prove()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"planned": 12}, ["2 of 12 planned", "'harvest'", "'land'"]),
        ({"planned": 12, "quarantined": 2}, ["2 of 12 planned", "2 of them are in the quarantine"]),
        ({"planned": 13, "gaps": 3, "max_gaps": 2}, ["3 of 13 queries", "accepts 2", "max_gaps"]),
        ({"partial": 2, "max_gaps": 1}, ["2 gaps", "accepts 1", "2 answers lack their last pages", "max_gaps"]),
        ({"left_out": 2, "max_gaps": 1}, ["2 gaps", "accepts 1", "2 records cannot be read", "max_gaps"]),
        ({"answered": 7, "planned": 7}, ["7 answers are staged and 10 of them are landed", "'land'"]),
        ({"answered": 11, "planned": 11}, ["11 answers are staged and 10 of them are landed", "'land'"]),
        ({"answered": 12, "planned": 12, "unreadable": 2}, ["2 staged answers could not be read", "'land'"]),
        ({"records": 9, "loaded": 9, "merged": 9}, ["10 answers gave 9 records", "reader"]),
        ({"records": 11, "loaded": 11, "merged": 11}, ["10 answers gave 11 records", "reader"]),
        ({"loaded": 9, "merged": 9}, ["10 records are landed and 9 are in the landing table", "'load'"]),
        ({"loaded": 11, "merged": 11}, ["10 records are landed and 11 are in the landing table", "'load'"]),
        ({"merged": 9}, ["10 records are in the landing table and 9 of them in the final table", "'merge'"]),
    ],
)
def test_one_count_that_differs_gives_one_point_with_the_task_to_clear(changes: dict[str, int], words: list[str]):
    torn = receipt(**changes)
    [point] = torn.disagreements()
    assert [word for word in words if word not in point] == []
    assert torn.figures()["agrees"] is False


@given(
    st.fixed_dictionaries({
        name: st.sampled_from([9, 10, 11]) for name in ("planned", "answered", "answers", "records", "loaded", "merged")
    }),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 1),
    st.booleans(),
)
def test_it_agrees_exactly_when_it_should(
    counts: dict[str, int], gaps: int, max_gaps: int, unreadable: int, one_record_an_answer: bool
):
    agrees = (
        counts["planned"] == counts["answered"] + gaps
        and gaps <= max_gaps
        and not unreadable
        and counts["answered"] == counts["answers"]
        and (counts["answers"] == counts["records"] or not one_record_an_answer)
        and counts["records"] == counts["loaded"] == counts["merged"]
    )
    drawn = receipt(
        **counts, gaps=gaps, max_gaps=max_gaps, unreadable=unreadable, one_record_an_answer=one_record_an_answer
    )
    assert (drawn.disagreements() == []) == agrees


def test_several_points_are_all_told_in_one_error():
    torn = receipt(planned=12, loaded=9, merged=8)
    with pytest.raises(CountsDisagree) as raised:
        torn.prove()
    for word in ("titanic_passengers", repr(RUN.run_id), "(1) 2 of 12", "(2) 10 records", "(3) 9 records"):
        assert word in raised.value.what


def test_no_more_missing_queries_are_in_the_quarantine_than_are_missing():
    """The quarantine also holds staged answers that the landing could not read: those are not missing."""
    torn = receipt(planned=11, answered=10, quarantined=3, answers=8, unreadable=2, records=8, loaded=8, merged=8)
    assert "1 of 11 planned" in torn.disagreements()[0]
    assert "3 of them" not in torn.disagreements()[0]


def test_the_error_names_some_of_the_queries():
    gaps = receipt(planned=11, gaps=1)
    torn = dataclasses.replace(gaps, staged=dataclasses.replace(gaps.staged, examples=("'a?b=c': no such thing",)))
    with pytest.raises(CountsDisagree, match=r"'a\?b=c': no such thing"):
        torn.prove()


# --- figures -----------------------------------------------------------------------------------


def test_figures_are_the_counts():
    figures = receipt(planned=12, gaps=1, quarantined=1, records=9, loaded=8, merged=7).figures()
    counts = {
        "listed": 24,
        "planned": 12,
        "staged": 10,
        "gaps": 1,
        "quarantined": 1,
        "exported": 9,
        "loaded": 8,
        "merged": 7,
        "table": 1_000,
    }
    assert figures | counts == figures


def test_all_tries_of_the_harvest_are_added_up():
    notes = {
        "harvest 2026-01-01": {
            "sent": 10,
            "retried": 2,
            "throttled": 1,
            "unchanged": 7,
            "tokens": 1,
            "units": [["day", 20]],
            "seconds": 1.25,
            "state": "interrupted",
        },
        "harvest 2026-01-02": {
            "sent": 5,
            "retried": 0,
            "throttled": 0,
            "unchanged": 1,
            "tokens": 1,
            "units": [["day", 6], ["search", 1]],
            "seconds": 0.5,
            "state": "ended",
        },
        "receipt": {"sent": 99},
    }
    figures = receipt().figures(notes)
    added = {"sent": 15, "retried": 2, "throttled": 1, "unchanged": 8, "tokens": 2, "harvest_seconds": 1.75}
    assert figures | added == figures
    assert figures["units"] == [("day", 26), ("search", 1)]
    assert "26 of day, 1 of search" in as_text(figures)


def test_calls_of_flows_are_added_and_an_answer_left_out_of_the_plan_is_told():
    counts = {"sent": 12, "retried": 1, "throttled": 0, "unchanged": 2, "tokens": 1}
    figures = receipt().figures({"flow 2026-01-01": counts, "scope": {"first": "x"}})
    assert figures | counts | {"harvest_seconds": 0} == figures
    whole = receipt(quarantined=2)
    assert replace(whole, staged=replace(whole.staged, looked_up=2)).disagreements() == whole.disagreements()
    (told,) = set(replace(whole, staged=replace(whole.staged, left_out=2)).disagreements()) - set(whole.disagreements())
    assert "2 answers that the plan was to be made from" in told


def test_calls_that_a_queue_made_are_told_as_its_own():
    notes = {
        "enqueue": {"enqueued": 10, "waiting": 1, "seconds": 1.5},
        "drain": {"settled": 9, "quarantined": 0, "given_up": 1, "seconds": 2.0},
    }
    figures = receipt().figures(notes)
    assert (figures["enqueued"], figures["given_up"], figures["harvest_seconds"]) == (10, 1, 3.5)
    assert "sent" not in figures


def test_without_a_harvest_nothing_was_sent():
    figures = receipt().figures()
    assert (figures["sent"], figures["tokens"], figures["harvest_seconds"]) == (0, 0, 0)


def test_the_text_is_one_aligned_line_a_figure():
    text = as_text({"agrees": True, "harvest_seconds": 1234.5, "planned": 1_000_000, "state": "ended"})
    assert text.splitlines() == [
        "  agrees           True",
        "  harvest seconds  1,234.5",
        "  planned          1,000,000",
        "  state            ended",
    ]


# --- counting in MongoDB -----------------------------------------------------------------------


def answer(query: Query, outcome: Outcome = Outcome.ANSWERED) -> Answer:
    return Answer(query, outcome, 200 if outcome is Outcome.ANSWERED else 404, "{}", NOW)


def test_staged_queries_are_counted_by_outcome(staging: Staging):
    queries = [Query.of("/a", {"n": str(number)}) for number in range(2_500)]
    plan = staging.save_plan(RUN, queries)
    settled = [(place // 1_000, answer(query)) for place, query in enumerate(queries) if place % 100]
    gaps = [
        (place // 1_000, answer(query, Outcome.MISSING)) for place, query in enumerate(queries) if place % 500 == 100
    ]
    rejected = [(0, Rejected(queries[0], 200, "<", "invalid JSON", NOW))]
    staging.stage(RUN, settled)
    staging.stage(RUN, gaps)
    staging.reject(RUN, rejected)
    counted = Staged.count(staging, plan)
    assert (counted.answered, counted.gaps, counted.quarantined) == (2_475, 5, 1)
    assert "'a?n=100': HTTP 404 {}" in counted.examples
    assert 1 <= len(counted.examples) <= 5


def test_a_gap_says_what_the_api_answered_and_a_partial_answer_what_is_missing(staging: Staging):
    blocked, short = Query.of("/a"), Query.of("/b")
    plan = staging.save_plan(RUN, [blocked, short])
    staging.stage(RUN, [(0, Answer(blocked, Outcome.MISSING, 451, '{"block": {"reason": "dmca"}}', NOW))])
    staging.stage(RUN, [(0, Answer(short, Outcome.PARTIAL, 403, "[{}]", NOW, next_link="b?page=2"))])
    counted = Staged.count(staging, plan)
    assert (counted.answered, counted.gaps, counted.partial) == (1, 1, 1)
    assert sorted(counted.examples) == [
        """'a': HTTP 451 {"block": {"reason": "dmca"}}""",
        "'b': the rows from page 'b?page=2' on are missing (HTTP 403)",
    ]


def test_what_is_no_longer_planned_does_not_count(staging: Staging):
    kept, dropped = Query.of("/kept"), Query.of("/dropped")
    staging.stage(RUN, [(0, answer(kept)), (0, answer(dropped)), (0, answer(Query.of("/gone"), Outcome.MISSING))])
    counted = Staged.count(staging, staging.save_plan(RUN, [kept]))
    assert (counted.answered, counted.gaps) == (1, 0)


def test_other_runs_do_not_count(staging: Staging):
    query = Query.of("/a")
    plan = staging.save_plan(RUN, [query])
    other = Run(RUN.dataset, "another")
    staging.stage(other, [(0, answer(query))])
    staging.reject(other, [(0, Rejected(query, 200, "<", "invalid JSON", NOW))])
    assert Staged.count(staging, plan) == Staged(0, 0, 0)
