"""SQL files as BigQuery jobs."""

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
"""A landing table is of one run; a week is enough to look at it, and to clear a task of its run."""
_LOCATION = "{{ conn.google_cloud_default.extra_dejson.get('location', 'US') }}"


def prepare_datasets(dataset: str) -> list[BigQueryCreateEmptyDatasetOperator]:
    """Make the tasks that make sure of the landing dataset and of a DAG's own, where the connection says."""
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

    The job is never taken for done because it was done before: Airflow's durable jobs keep the id of a finished
    job when a task is cleared, and the cleared task would end green without doing anything. Files run here are
    written so that doing them twice changes nothing.

    One run at a time: a backfill has several runs at once, and BigQuery breaks off one of two jobs that change the
    same table.

    :param path: like ``bigquery/shop/orders/merge.sql``.
    """

    advice = "A statement takes effect whole or not at all. Clear this task with all tasks downstream."

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(
            configuration={"query": {"query": f"{{% include '{path}' %}}", "useLegacySql": False}},
            durable=False,
            **{"max_active_tis_per_dag": 1, **kwargs},
        )
        self.path = path
