"""Log what failed in a task, what is safe, and what to do."""

import logging

from airflow.sdk import Context

from windrow.airflow.cloud_errors import rule_of
from windrow.model.errors import WindrowError
from windrow.model.redact import blot

log = logging.getLogger(__name__)

ADVICE = {
    "BigQueryCreateEmptyDatasetOperator": "The landed files are kept. Check that the account may create BigQuery "
    "datasets, then clear this task with all tasks downstream.",
    "GCSToBigQueryOperator": "The landed files are kept, and a load replaces the complete table. Fix the cause, then "
    "clear this task with all tasks downstream.",
    "BigQueryCheckOperator": "The check does not change data. Compare it with its table, then clear this task with all "
    "tasks downstream.",
    "BigQueryColumnCheckOperator": "The check does not change data. Compare it with its table, then clear this task "
    "with all tasks downstream.",
    "S3ToGCSOperator": "Copying again overwrites the same files. Clear this task with all tasks downstream.",
    "PythonOperator": "Fix the cause, then clear this task with all tasks downstream.",
    "BaseOperator": "See docs/operations.md.",
}
"""Advice by the class name of an operator of Airflow or of a provider. Our own operators have it as ``advice``."""


def explain_failure(context: Context) -> None:
    """Log what failed, what is safe, and what to do. Use it as ``on_failure_callback``."""
    log.error("FAILED: %s", story(context))


def explain_retry(context: Context) -> None:
    """Log the same for a task that Airflow will retry. Use it as ``on_retry_callback``."""
    log.warning("WILL BE RETRIED: %s", story(context))


def story(context: Context) -> str:
    """Return one line with what failed, what is safe, and what to do."""
    instance = context["task_instance"]
    task_id = instance.task_id
    error = context.get("exception")
    if isinstance(error, WindrowError):
        what, advice = error.what, error.advice
    else:
        what = f"{type(error).__name__}: {error}" if error else "Airflow reported no error."
        advice = _advice(type(context.get("task") or getattr(instance, "task", None)))
        rule = rule_of(error)
        if rule:
            what, advice = f"{what} ({rule})", f"{rule.do} {advice}"
    return blot(f"task '{task_id}' of run '{context['run_id']}'. {what} | What to do: {advice}")


def _advice(operator: type) -> str:
    """Return the advice of the operator's class, or of its nearest base class, for errors without advice."""
    said = (vars(kind).get("advice") or ADVICE.get(kind.__name__) for kind in operator.__mro__)
    return str(next(filter(None, said), ADVICE["BaseOperator"]))
