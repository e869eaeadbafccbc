"""SQL files as BigQuery jobs."""

from typing import Any

from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator


class SqlFileOperator(BigQueryInsertJobOperator):
    """Runs an SQL file, a template below ``include/sql``, as one BigQuery job.

    The file is included when the task runs, so the Rendered Templates page shows the SQL that was sent.

    The job is never taken for done because it was done before: Airflow's durable jobs keep the id of a finished
    job when a task is cleared, and the cleared task would end green without doing anything. Files run here are
    written so that doing them twice changes nothing.

    :param path: like ``bigquery/titanic/passengers/merge.sql``.
    """

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(
            configuration={"query": {"query": f"{{% include '{path}' %}}", "useLegacySql": False}},
            durable=False,
            **kwargs,
        )
        self.path = path
