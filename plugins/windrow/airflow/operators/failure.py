"""What the log says under a red task, for the person who reads it at 3 a.m."""

import logging

from airflow.sdk import Context

from windrow.model.errors import WindrowError
from windrow.model.redact import blot

log = logging.getLogger(__name__)

ADVICE = {
    "BigQueryCreateEmptyDatasetOperator": "The landed files stay. Clear this task with all tasks downstream once "
    "BigQuery lets it make the dataset.",
    "GCSToBigQueryOperator": "The landed files stay, and a load replaces its table whole. Clear this task with all "
    "tasks downstream once BigQuery takes the files.",
    "BigQueryCheckOperator": "The check changes nothing. Compare it with the table that it reads, then clear this task "
    "with all tasks downstream.",
    "BigQueryColumnCheckOperator": "The check changes nothing. Compare it with the table that it reads, then clear "
    "this task with all tasks downstream.",
    "S3ToGCSOperator": "Files are copied whole, under the same names. Clear this task with all tasks downstream.",
    "PythonOperator": "Clear this task with all tasks downstream once the cause is gone.",
    "BaseOperator": "See docs/operations.md.",
}
"""By the name of a class of Airflow or of a provider: what is safe, and what to do. Our own have it as ``advice``."""


def explain_failure(context: Context) -> None:
    """Log what failed, with what is safe and what to do. An ``on_failure_callback``."""
    log.error("FAILED: %s", story(context))


def explain_retry(context: Context) -> None:
    """Log the same for a task that is going to be tried again. An ``on_retry_callback``."""
    log.warning("WILL BE TRIED AGAIN: %s", story(context))


def story(context: Context) -> str:
    """Say what failed, what is safe, and what to do, in one line."""
    instance = context["task_instance"]
    task_id = instance.task_id
    error = context.get("exception")
    if isinstance(error, WindrowError):
        what, advice = error.what, error.advice
    else:
        what = f"{type(error).__name__}: {error}" if error else "It did not tell why."
        advice = _advice(type(context.get("task") or getattr(instance, "task", None)))
    return blot(f"task '{task_id}' of run '{context['run_id']}'. {what} | What to do: {advice}")


def _advice(operator: type) -> str:
    """Say what is safe, for errors that bring no advice of their own: what its class says, or the next one above."""
    said = (vars(kind).get("advice") or ADVICE.get(kind.__name__) for kind in operator.__mro__)
    return str(next(filter(None, said), ADVICE["BaseOperator"]))
