"""What is safe and what to do when a task fails: the table of docs/operations.md, for pages and terminals."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple


class Row(NamedTuple):
    """One row of the table: patterns of task ids separated by blanks, what is safe, and what to do."""

    tasks: str
    safe: str
    do: str


ROWS = (
    Row(
        "plan plan_*",
        "nothing was fetched",
        "fix the cause, then clear `plan`. A wrong param cannot be changed in a run: trigger a new one",
    ),
    Row(
        "harvest more_workers",
        "every answer so far",
        "wait for the retry, or clear `harvest`: it makes only the missing calls",
    ),
    Row("estimate discover list_members", "pages that were listed", "as for `plan`"),
    Row("fetch sweep", "every answer so far", "as for `harvest`: clear `sweep`, which makes all missing calls"),
    Row("land", "all answers", "fix the cause, then clear `land`: it makes no call"),
    Row(
        "prepare_* load",
        "all answers, all landed files",
        "fix the cause, then clear `land` (writes the files again) or `load`. If a check failed, the final table is "
        "untouched: look at the landing table; correct the source or the check first",
    ),
    Row(
        "publish answer",
        "items are replaced completely, by newer ones only; all other items are written",
        "wait for the retry; increase the capacity; a refused item is in the log",
    ),
    Row(
        "merge check coverage mart*",
        "a merge happens completely or not at all",
        "fix the cause, then clear `merge`",
    ),
    Row("prove prove_*", "everything", "do what the message says for each count"),
)
OTHER = Row(
    "*", "all answers that were staged", "read the last line of the task's log, fix the cause, then clear the task"
)
"""For tasks that the table does not have."""


def row(task_ids: Sequence[str]) -> Row:
    """Return the row of the first of these tasks that has one; the group of a task does not matter."""
    for task_id in task_ids:
        name = task_id.rsplit(".", 1)[-1]
        for one in ROWS:
            if any(fnmatchcase(name, pattern) for pattern in one.tasks.split()):
                return one
    return OTHER
