"""Run SQL files as BigQuery jobs."""

from typing import Any

from airflow.providers.google.cloud.operators.bigquery import (
    BigQueryCreateEmptyDatasetOperator,
    BigQueryInsertJobOperator,
)
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

from windrow.airflow.hooks.bigquery import limit

LANDING = "windrow_landing"
"""Dataset of the landing tables."""
_LANDING_DAYS = 7
"""Each run has its own landing table; a week is enough to inspect it, and to clear a task of its run."""
_LOCATION = "{{ conn.google_cloud_default.extra_dejson.get('location', 'US') }}"


def prepare_datasets(dataset: str) -> list[BigQueryCreateEmptyDatasetOperator]:
    """Make the tasks that create the landing dataset and the dataset of a DAG, in the location of the connection."""
    expires = {"defaultTableExpirationMs": str(_LANDING_DAYS * 24 * 3600 * 1000)}
    return [
        BigQueryCreateEmptyDatasetOperator(
            task_id=f"prepare_{task}",
            dataset_id=name,
            dataset_reference={"location": _LOCATION} | extra,
            if_exists="ignore",
        )
        for task, name, extra in (("landing", LANDING, expires), ("dataset", dataset, {}))
    ]


class _Limited:
    """Limits every call of an operator's client, from its first one on, which hands over the job.

    Airflow's ``execution_timeout`` alone would not do: it cancels the job then, which is a call like the others.
    """

    def _submit_job(self, hook: Any, job_id: str) -> Any:
        return super()._submit_job(limit(hook), job_id)  # type: ignore[misc]


class LoadOperator(_Limited, GCSToBigQueryOperator):
    """Loads files of a bucket into a table. No call waits for ever."""


class SqlFileOperator(_Limited, BigQueryInsertJobOperator):
    """Runs an SQL file, a template below ``include/sql``, as one BigQuery job.

    The file is included when the task runs, so the Rendered Templates page shows the SQL that was sent.

    The job runs again when the task is cleared. Airflow's durable jobs keep the id of a finished job, so a cleared
    task would succeed without running it; therefore they are off. The SQL files are safe to run twice.

    Only one run at a time executes the task: a backfill has several concurrent runs, and BigQuery aborts one of two
    jobs that change the same table.

    :param path: like ``bigquery/shop/orders/merge.sql``.
    """

    advice = "The statement is atomic: no partial change was made. Clear this task with all tasks downstream."

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(
            configuration={"query": {"query": f"{{% include '{path}' %}}", "useLegacySql": False}},
            durable=False,
            **{"max_active_tis_per_dag": 1, **kwargs},
        )
        self.path = path
