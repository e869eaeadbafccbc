"""What the log says under a task that failed."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.sdk import BaseOperator

from windrow.airflow.operators.athena import ProveInAthenaOperator
from windrow.airflow.operators.failure import ADVICE, explain_failure, explain_retry
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.model.errors import ApiUnreachable, CredentialsRejected

UNREACHABLE = ApiUnreachable("The API 'titanic' gave no answer", advice="Check that it runs.")


def told(
    task_id: str,
    error: object,
    caplog: pytest.LogCaptureFixture,
    explain: Any = explain_failure,
    *,
    operator: type | None = None,
) -> str:
    """Let a task fail, and give the one line that is logged."""
    caplog.set_level(logging.INFO)
    task = operator and object.__new__(operator)
    context = {"task_instance": SimpleNamespace(task_id=task_id), "run_id": "manual__2026-01-02", "task": task}
    explain(context | ({} if error is None else {"exception": error}))
    [record] = caplog.records
    return record.getMessage()


def test_an_error_of_ours_is_told_with_its_own_advice(caplog: pytest.LogCaptureFixture):
    line = told("harvest", UNREACHABLE, caplog)
    for part in ("'harvest'", "'manual__2026-01-02'", UNREACHABLE.what, f"What to do: {UNREACHABLE.advice}"):
        assert part in line
    assert line.count("What to do") == 1


class Named(BaseOperator):
    advice = "Look at the name."


class Unnamed(Named): ...


class Loads(GCSToBigQueryOperator): ...


class Unknown(BaseOperator): ...


@pytest.mark.parametrize(
    ("operator", "advice"),
    [
        (Named, Named.advice),
        (Unnamed, Named.advice),
        (HarvestOperator, HarvestOperator.advice),
        (ProveInAthenaOperator, ProveOperator.advice),
        (GCSToBigQueryOperator, ADVICE["GCSToBigQueryOperator"]),
        (Loads, ADVICE["GCSToBigQueryOperator"]),
        (Unknown, "See docs/operations.md."),
        (None, "See docs/operations.md."),
    ],
)
def test_another_error_is_told_with_the_advice_of_its_operator(
    operator: type | None, advice: str, caplog: pytest.LogCaptureFixture
):
    line = told("merge", KeyError("oops"), caplog, operator=operator)
    assert "KeyError: 'oops'" in line
    assert line.endswith(f"What to do: {advice}")


def test_without_an_error_none_is_made_up(caplog: pytest.LogCaptureFixture):
    line = told("merge", None, caplog, operator=HarvestOperator)
    assert "None" not in line
    assert line.endswith(HarvestOperator.advice)


def test_a_failure_is_an_error_and_a_retry_a_warning(caplog: pytest.LogCaptureFixture):
    failed = told("harvest", UNREACHABLE, caplog)
    assert caplog.records[0].levelno == logging.ERROR
    caplog.clear()
    retried = told("harvest", UNREACHABLE, caplog, explain_retry)
    assert caplog.records[0].levelno == logging.WARNING
    assert failed.startswith("FAILED")
    assert "WILL BE RETRIED" in retried


@pytest.mark.parametrize("text", ["50% of {it} failed: %s %d", "a\nb"])
def test_odd_texts_do_not_break_the_log(text: str, caplog: pytest.LogCaptureFixture):
    assert text in told("merge", CredentialsRejected(text, advice="Mend 100% of it."), caplog)
