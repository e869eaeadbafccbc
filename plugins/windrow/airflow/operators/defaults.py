"""Defaults for every DAG of the project. A DAG may override each of them."""

from datetime import timedelta
from functools import cache
from typing import Any

from airflow.sdk import Context, Variable

from windrow.airflow.operators.alert import EmailAlert, WebhookAlert
from windrow.airflow.operators.failure import explain_failure, explain_retry, note_failure
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.declare.include import include_folder
from windrow.model.logs import begin
from windrow.model.plan import Run, slug


def name_run(context: Context) -> None:
    """Add the run, and the stream if the task has one, to each further line of the task's log."""
    begin(Run(getattr(context["task"], "dataset", ""), context["run_id"]))


TASK_DEFAULTS: dict[str, Any] = {
    "owner": "windrow",
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=2),
    "retry_policy": ErrorPolicy(),
    "on_execute_callback": name_run,
    "on_failure_callback": [explain_failure, note_failure, WebhookAlert(), EmailAlert()],
    "on_retry_callback": explain_retry,
}
"""For ``default_args``. The time limit is for what is inherited from Airflow's providers, some of which waits for an
answer for ever; the longest step seen takes minutes. A `HarvestStep` has none: it limits each wait, and may take
days. Only where it is mapped it has to say so itself, as Airflow then takes the defaults first."""

SQL_FOLDER = str(include_folder() / "sql")
"""For ``template_searchpath``: paths of SQL files are relative to it."""


@cache
def prefix() -> str:
    """Return the Airflow variable ``windrow_prefix``, with which the names of all datasets and databases begin.

    So a development and a production Airflow can share a project. A process asks for it once: SQL names it for each
    table, and each time Airflow's API would be asked.
    """
    return str(Variable.get("windrow_prefix", default=""))


TEMPLATES: dict[str, Any] = {
    "template_searchpath": SQL_FOLDER,
    "user_defined_filters": {"slug": slug},
    "user_defined_macros": {"prefix": prefix},
}
"""For the arguments of a DAG: what its templates and SQL files use."""
