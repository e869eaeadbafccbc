"""Answers are kept word for word."""

import dataclasses
from datetime import UTC, datetime

import pytest

from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.query import Query

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_outcomes_are_stored_under_these_words():
    # Documents in MongoDB hold them: another word would make staged answers unreadable.
    stored = {"ANSWERED": "answered", "PARTIAL": "partial", "MISSING": "gap", "ERASED": "erased"}
    assert {outcome.name: outcome.value for outcome in Outcome} == stored
    assert [Outcome(outcome.value) for outcome in Outcome] == list(Outcome)


@pytest.mark.parametrize("body", ['{"n":1.0}', '{"n": 123456789012345678901234567890}', '{"a":1,"a":2}', ""])
def test_a_body_is_kept_as_it_came(body: str):
    assert Answer(Query.of("/a"), Outcome.ANSWERED, 200, body, NOW).body == body


@pytest.mark.parametrize(
    "one",
    [Answer(Query.of("/a"), Outcome.MISSING, 404, "", NOW), Rejected(Query.of("/a"), 200, "<", "invalid JSON", NOW)],
)
def test_what_was_answered_cannot_be_changed(one: Answer | Rejected):
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.body = "other"  # type: ignore[misc]
