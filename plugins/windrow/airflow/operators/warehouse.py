"""The steps from landed files to a merged table in BigQuery, the same for every stream."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from google.cloud.bigquery.table import RowIterator

from windrow.airflow.hooks.bigquery import ask
from windrow.airflow.operators.bigquery import LANDING, LoadOperator, PrepareTableOperator, SqlOperator
from windrow.airflow.operators.defaults import SQL_FOLDER
from windrow.airflow.operators.tables import AuditStep
from windrow.declare import bigquery
from windrow.declare.include import HELP
from windrow.model.errors import Misconfigured
from windrow.model.stream import Stream
from windrow.model.table import Write

PARQUET = {"parquetOptions": {"enableListInference": True}}
"""Without it, BigQuery loads an array as a record with the field ``list``."""


class AuditOperator(AuditStep):
    """See `AuditStep`, in BigQuery."""

    template_fields = (*AuditStep.template_fields, "gcp_conn_id")

    def __init__(self, *, gcp_conn_id: str = "google_cloud_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gcp_conn_id = gcp_conn_id

    def ask(self, sql: str) -> RowIterator:
        """Run a short statement, and return its rows."""
        return ask(self.gcp_conn_id, sql)


def load_and_merge(stream: type[Stream], land: BaseOperator, *, bucket: str, sql: str = "") -> list[BaseOperator]:
    """Make the tasks ``prepare_table``, ``load``, ``audit`` and ``merge``, to be chained in this order.

    The records of a run are loaded into its own landing table, checked there, and merged into the final table.

    :param land: the task that lands the files and returns their names as ``objects``.
    :param bucket: the bucket of the files, without ``gs://``.
    :param sql: folder of SQL files for what is not made from the stream's table, like ``bigquery/shop/orders``: any of
        ``audit.sql`` and ``merge.sql``; without a declared table also ``create.sql``.
    """
    folder = Path(SQL_FOLDER) / sql
    if sql and not folder.is_dir():  # without this, statements made from the table would take the place of the files
        raise Misconfigured(f"There is no folder {folder} with the SQL files of {stream.dataset}.", advice=HELP)

    def has_file(name: str) -> bool:
        return bool(sql) and (folder / f"{name}.sql").exists()

    def task(name: str, made: Callable[[type[Stream]], str]) -> str:
        return f"{{% include '{sql}/{name}.sql' %}}" if has_file(name) or stream.table is None else made(stream)

    load: dict[str, Any] = {
        "dataset": stream.dataset,
        "bucket": bucket,
        "source_objects": land.output["objects"],  # type: ignore[index]
        "source_format": "PARQUET",
        "destination_project_dataset_table": f"{{{{ prefix() }}}}{LANDING}.{stream.dataset}_{{{{ run_id | slug }}}}",
        "schema_fields": stream.contract.bigquery_fields,
        "autodetect": False,
        "write_disposition": "WRITE_TRUNCATE",
        "extra_config": PARQUET,
    }
    is_made = stream.table is not None and stream.table.write is Write.MERGE and not has_file("audit")
    contradiction = bigquery.contradiction(stream) if is_made else ""
    return [
        PrepareTableOperator(
            task_id="prepare_table",
            dataset=stream.dataset,
            sql="" if stream.table is not None else task("create", bigquery.create),
        ),
        LoadOperator(task_id="load", **load),
        AuditOperator(
            task_id="audit",
            dataset=stream.dataset,
            contradiction=contradiction,
            sql=task("audit", bigquery.audit),
        ),
        SqlOperator(task_id="merge", dataset=stream.dataset, sql=task("merge", bigquery.write)),
    ]
