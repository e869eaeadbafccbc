"""Gives runs whose id says so to Celery. Airflow finds this module by the entry point in the folder beside it."""

from airflow.models import TaskInstance
from airflow.policies import hookimpl

CELERY_RUN = "celery__"
"""What the id of such a run begins with."""


@hookimpl
def task_instance_mutation_hook(task_instance: TaskInstance) -> None:
    """Choose the executor, which no DAG file names."""
    if (task_instance.run_id or "").startswith(CELERY_RUN):
        task_instance.executor = "CeleryExecutor"
