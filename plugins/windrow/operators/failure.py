"""What the log says under a red task, for the person who reads it at 3 a.m."""

import logging

from airflow.sdk import Context

from windrow.errors import WindrowError

log = logging.getLogger(__name__)

ADVICE = {
    "plan": "Nothing was fetched yet. Clear this task with all tasks downstream once the cause is gone.",
    "harvest": "All answers so far are in MongoDB. Clear this task with all tasks downstream: only what is missing "
    "is asked again.",
    "land": "All answers are in MongoDB. Clear this task with all tasks downstream; no call is made again.",
    "prepare": "The landed files stay. Clear this task with all tasks downstream once BigQuery lets it.",
    "load": "The landed files stay, and a load replaces its table whole. Clear this task with all tasks downstream "
    "once BigQuery takes the files.",
    "audit": "The final table was not touched. Compare the failed check with the landing table it names.",
    "merge": "A merge takes effect whole or not at all. Clear this task with all tasks downstream.",
    "check": "The final table is merged, the marts are those of the last good run.",
    "marts": "The final table is merged. Clear this task with all tasks downstream.",
    "prove": "The message above says which counts differ and which task to clear.",
}
"""By the first word of a task's id within its group: what is safe, and what to do."""


def explain(context: Context) -> None:
    """Log what failed, with what is safe and what to do. An ``on_failure_callback``."""
    task_id = context["task_instance"].task_id
    error = context.get("exception")
    what = error.what if isinstance(error, WindrowError) else f"{type(error).__name__}: {error}"
    advice = error.advice if isinstance(error, WindrowError) else ""
    safe = next((ADVICE[word] for word in task_id.replace(".", "_").split("_") if word in ADVICE), "")
    log.error(
        "FAILED: task '%s' of run '%s'. %s | What to do: %s",
        task_id,
        context["run_id"],
        what,
        " ".join(filter(None, (advice, safe))) or "See docs/operations.md.",
    )
