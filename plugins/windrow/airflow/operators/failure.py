"""Log what failed in a task, what is safe, and what to do."""

import logging

from airflow.sdk import Context
from jinja2 import TemplateNotFound

from windrow.airflow.cloud_errors import rule_of, text_of
from windrow.airflow.hooks.staging import staging
from windrow.declare.include import HELP, include_folder
from windrow.model.errors import StagingUnavailable, WindrowError
from windrow.model.plan import Run
from windrow.model.redact import blot

log = logging.getLogger(__name__)

_LONGEST = 600
"""Characters of an error that are stored."""
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


def note_failure(context: Context) -> None:
    """Store what failed for the Harvest page and the terminal. Use it as ``on_failure_callback``.

    Only for tasks with a dataset: those of a warehouse have none, and their logs are in Airflow.
    """
    task, error = context.get("task"), context.get("exception")
    dataset, conn_id = getattr(task, "dataset", ""), getattr(task, "mongo_conn_id", "")
    if not dataset or not conn_id or isinstance(error, StagingUnavailable):
        return
    what, advice = explain(context)
    figures = {
        "task_id": context["task_instance"].task_id,
        "error": what[:_LONGEST],
        "advice": advice[:_LONGEST],
        "stopped_by": type(error).__name__ if error else None,
    }
    run = Run(dataset, context["run_id"], getattr(task, "dag_id", ""))
    try:
        with staging(conn_id, dataset) as state:
            state.note(run, f"failure {figures['task_id']}", figures)
    except WindrowError as trouble:
        log.warning("The failure could not be stored for the Harvest page: %s", trouble)


def story(context: Context) -> str:
    """Return one line with what failed, what is safe, and what to do."""
    what, advice = explain(context)
    return (
        f"task '{context['task_instance'].task_id}' of run '{blot(context['run_id'])}'. {what} | What to do: {advice}"
    )


def explain(context: Context) -> tuple[str, str]:
    """Return what failed, and what is safe and to do, without known secrets."""
    error = context.get("exception")
    if isinstance(error, WindrowError):
        return blot(error.what), blot(error.advice)
    if isinstance(error, TemplateNotFound):
        return f"The SQL file {error.name} was not found below {include_folder() / 'sql'}.", HELP
    what = f"{type(error).__name__}: {text_of(error)}" if error else "Airflow reported no error."
    advice = _advice(type(context.get("task") or getattr(context["task_instance"], "task", None)))
    if rule := rule_of(error):
        what, advice = f"{what} ({rule})", f"{rule.do} {advice}"
    return blot(what), blot(advice)


def _advice(operator: type) -> str:
    """Return the advice of the operator's class, or of its nearest base class, for errors without advice."""
    said = (vars(kind).get("advice") or ADVICE.get(kind.__name__) for kind in operator.__mro__)
    return str(next(filter(None, said), ADVICE["BaseOperator"]))
