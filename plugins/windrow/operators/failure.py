"""What the log says under a red task, for the person who reads it at 3 a.m."""

import logging

from airflow.sdk import Context

from windrow.errors import WindrowError
from windrow.redact import blot

log = logging.getLogger(__name__)

_NOTHING_YET = "Nothing was fetched yet. Clear this task with all tasks downstream once the cause is gone."
_MERGED = "The final table is merged. Clear this task with all tasks downstream."
ADVICE = {
    "plan": _NOTHING_YET,
    "cost": _NOTHING_YET,
    "dispatch": _NOTHING_YET,
    "known": _NOTHING_YET,
    "names": "The artists of all other names are harvested. Mend these, and trigger a new run.",
    "may": _NOTHING_YET,
    "choose": _NOTHING_YET,
    "workers": _NOTHING_YET,
    "harvest": "All answers so far are in MongoDB. Clear this task with all tasks downstream: only what is missing "
    "is asked again.",
    "estimate": _NOTHING_YET,
    "discover": "Pages that were listed are in MongoDB. Clear this task with all tasks downstream: it goes on there.",
    "list": "Pages that were listed are in MongoDB. Clear this task with all tasks downstream: it goes on there.",
    "fetch": "All answers so far are in MongoDB. Clear this task with all tasks downstream: only what is missing is "
    "asked again.",
    "sweep": "All answers so far are in MongoDB. Clear this task with all tasks downstream: only what is missing is "
    "asked again.",
    "enqueue": "A task has the name of its query, so enqueueing twice adds nothing. Clear this task with all tasks "
    "downstream.",
    "drain": "All answers so far are in MongoDB; the queue goes on meanwhile. Clear this task to wait again.",
    "pull": "Nothing is acknowledged yet: the messages come again. Clear this task with all tasks downstream.",
    "acknowledge": "The final table is merged; messages that are not acknowledged come again, and are merged by their "
    "key. Clear this task.",
    "land": "All answers are in MongoDB. Clear this task with all tasks downstream; no call is made again.",
    "prepare": "The landed files stay. Clear this task with all tasks downstream once the warehouse lets it.",
    "load": "The landed files stay, and a load replaces its table whole. Clear this task with all tasks downstream "
    "once BigQuery takes the files.",
    "audit": "The final table was not touched. Compare the failed check with the landing table it names.",
    "register": "The landed files stay. Clear this task with all tasks downstream once Athena takes the statement.",
    "build": "The table that others read was not touched. Clear this task with all tasks downstream.",
    "features": "The top tracks go on with the audio features of earlier runs. Clear this task.",
    "days": "The day's folder is emptied before it is written. Clear this task with all tasks downstream.",
    "crawl": "The landed files stay; nothing depends on what a crawler finds. Clear this task.",
    "table": "A table is built beside the old one, which others read until it is swapped. Clear this group with all "
    "tasks downstream.",
    "export": "The table is built. Clear this task with all tasks downstream.",
    "locate": "Nothing was changed: this only finds the files of a run. Clear this task with all tasks downstream.",
    "copy": "Files are copied whole, under the same names. Clear this task with all tasks downstream.",
    "agree": "Nothing was changed: the two warehouses hold what they held. Compare the metric that the log names.",
    "publish": "Items are replaced whole, and only by newer ones. Clear this task with all tasks downstream.",
    "find": "Requests are in the table artist_requests. Clear this task: those that are open are taken up again.",
    "merge": "A merge takes effect whole or not at all. Clear this task with all tasks downstream.",
    "check": "The final table is merged, the marts are those of the last good run.",
    "coverage": _MERGED,
    "mart": _MERGED,
    "marts": _MERGED,
    "prove": "The final table and the marts are written. Clear this task once the cause is gone.",
}
"""By a word of a task's id: what is safe, and what to do."""


def explain_failure(context: Context) -> None:
    """Log what failed, with what is safe and what to do. An ``on_failure_callback``."""
    log.error("FAILED: %s", story(context))


def explain_retry(context: Context) -> None:
    """Log the same for a task that is going to be tried again. An ``on_retry_callback``."""
    log.warning("WILL BE TRIED AGAIN: %s", story(context))


def story(context: Context) -> str:
    """Say what failed, what is safe, and what to do, in one line."""
    task_id = context["task_instance"].task_id
    error = context.get("exception")
    if isinstance(error, WindrowError):
        what, advice = error.what, error.advice
    else:
        what = f"{type(error).__name__}: {error}" if error else "It did not tell why."
        advice = _advice(task_id)
    return blot(f"task '{task_id}' of run '{context['run_id']}'. {what} | What to do: {advice}")


def _advice(task_id: str) -> str:
    """Find what is safe under a task, for errors that bring no advice of their own."""
    words = [word for part in reversed(task_id.split(".")) for word in part.split("_")]  # its groups come last
    return next((ADVICE[word] for word in words if word in ADVICE), "See docs/operations.md.")
