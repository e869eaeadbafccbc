"""The steps from landed files to a merged table in BigQuery, the same for every stream."""

from typing import Any

from airflow.providers.google.cloud.operators.bigquery import BigQueryCheckOperator
from airflow.sdk import BaseOperator

from windrow.airflow.operators.bigquery import LANDING, LoadOperator, SqlFileOperator
from windrow.model.stream import Stream

PARQUET = {"parquetOptions": {"enableListInference": True}}
"""Without it, BigQuery loads an array as a record with the field ``list``."""


class AuditOperator(BigQueryCheckOperator):
    """Checks the landed records of a run before they are merged."""

    advice = "The final table was not changed. Compare the failed check with its landing table."


def load_and_merge(stream: type[Stream], land: BaseOperator, *, bucket: str, sql: str) -> list[BaseOperator]:
    """Make the tasks ``prepare_table``, ``load``, ``audit`` and ``merge``, to be chained in this order.

    The records of a run are loaded into its own landing table, checked there, and merged into the final table.

    :param land: the task that lands the files and returns their names as ``objects``.
    :param bucket: the bucket of the files, without ``gs://``.
    :param sql: folder of the table's SQL files, like ``bigquery/shop/orders``.
    """
    load: dict[str, Any] = {
        "bucket": bucket,
        "source_objects": land.output["objects"],  # type: ignore[index]
        "source_format": "PARQUET",
        "destination_project_dataset_table": f"{LANDING}.{stream.dataset}_{{{{ run_id | slug }}}}",
        "schema_fields": stream.contract.bigquery_fields,
        "autodetect": False,
        "write_disposition": "WRITE_TRUNCATE",
        "extra_config": PARQUET,
    }
    return [
        SqlFileOperator(task_id="prepare_table", path=f"{sql}/create.sql"),
        LoadOperator(task_id="load", **load),
        AuditOperator(task_id="audit", sql=f"{sql}/audit.sql", use_legacy_sql=False),
        SqlFileOperator(task_id="merge", path=f"{sql}/merge.sql"),
    ]
