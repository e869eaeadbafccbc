"""What the log says under a task that failed."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from windrow.errors import ApiUnreachable, CredentialsRejected
from windrow.operators.failure import ADVICE, explain_failure, explain_retry

UNREACHABLE = ApiUnreachable("The API 'titanic' gave no answer", advice="Check that it runs.")


def told(task_id: str, error: object, caplog: pytest.LogCaptureFixture, explain: Any = explain_failure) -> str:
    """Let a task fail, and give the one line that is logged."""
    caplog.set_level(logging.INFO)
    context = {"task_instance": SimpleNamespace(task_id=task_id), "run_id": "manual__2026-01-02"}
    explain(context | ({} if error is None else {"exception": error}))
    [record] = caplog.records
    return record.getMessage()


def test_an_error_of_ours_is_told_with_its_own_advice(caplog: pytest.LogCaptureFixture):
    line = told("harvest", UNREACHABLE, caplog)
    for part in ("'harvest'", "'manual__2026-01-02'", UNREACHABLE.what, f"What to do: {UNREACHABLE.advice}"):
        assert part in line
    assert line.count("What to do") == 1


@pytest.mark.parametrize("word", ADVICE)
def test_another_error_is_told_with_the_advice_of_its_task(word: str, caplog: pytest.LogCaptureFixture):
    line = told(word, KeyError("oops"), caplog)
    assert "KeyError: 'oops'" in line
    assert line.endswith(f"What to do: {ADVICE[word]}")


@pytest.mark.parametrize(
    ("task_id", "word"),
    [
        ("prepare_landing", "prepare"),
        ("merge_passengers", "merge"),
        ("passengers.merge", "merge"),
        ("load.merge", "merge"),
        ("harvest.check.load_passengers", "load"),
        ("plan.land", "land"),
    ],
)
def test_the_task_counts_and_not_the_group_it_is_in(task_id: str, word: str, caplog: pytest.LogCaptureFixture):
    assert told(task_id, ValueError("x"), caplog).endswith(ADVICE[word])


@pytest.mark.parametrize("task_id", ["send_mail", "explanation", "reload", "Merge"])
def test_an_unknown_task_points_to_the_handbook(task_id: str, caplog: pytest.LogCaptureFixture):
    assert told(task_id, ValueError("x"), caplog).endswith("See docs/operations.md.")


def test_without_an_error_none_is_made_up(caplog: pytest.LogCaptureFixture):
    line = told("merge", None, caplog)
    assert "None" not in line
    assert line.endswith(ADVICE["merge"])


def test_a_failure_is_an_error_and_a_retry_a_warning(caplog: pytest.LogCaptureFixture):
    failed = told("harvest", UNREACHABLE, caplog)
    assert caplog.records[0].levelno == logging.ERROR
    caplog.clear()
    retried = told("harvest", UNREACHABLE, caplog, explain_retry)
    assert caplog.records[0].levelno == logging.WARNING
    assert failed.startswith("FAILED")
    assert "AGAIN" in retried


def test_the_advice_says_of_every_step_what_is_safe():
    steps = {
        "plan",
        "estimate",
        "discover",
        "list",
        "fetch",
        "sweep",
        "harvest",
        "enqueue",
        "drain",
        "land",
        "prepare",
        "load",
        "audit",
        "merge",
        "check",
        "mart",
        "marts",
        "prove",
        "find",
        "register",
        "build",
        "publish",
    }
    assert set(ADVICE) == steps


@pytest.mark.parametrize("text", ["50% of {it} failed: %s %d", "a\nb"])
def test_odd_texts_do_not_break_the_log(text: str, caplog: pytest.LogCaptureFixture):
    assert text in told("merge", CredentialsRejected(text, advice="Mend 100% of it."), caplog)
