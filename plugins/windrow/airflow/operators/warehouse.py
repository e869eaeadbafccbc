"""The steps from landed files to a merged table in BigQuery, the same for every stream."""

from collections.abc import Callable
from pathlib import Path

from airflow.sdk import BaseOperator

from windrow.airflow.operators.bigquery import LANDING, LoadRunOperator, SqlOperator
from windrow.airflow.operators.defaults import SQL_FOLDER
from windrow.declare import bigquery
from windrow.declare.include import HELP
from windrow.model.errors import Misconfigured
from windrow.model.stream import Stream
from windrow.model.table import Write

PARQUET = {"parquetOptions": {"enableListInference": True}}
"""Without it, BigQuery loads an array as a record with the field ``list``."""


def load_and_merge(stream: type[Stream], land: BaseOperator, *, bucket: str, sql: str = "") -> list[BaseOperator]:
    """Make the tasks ``load`` and ``merge``, to be chained in this order.

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

    is_made = stream.table is not None and stream.table.write is Write.MERGE and not has_file("audit")
    load = LoadRunOperator(
        task_id="load",
        dataset=stream.dataset,
        create="" if stream.table is not None else task("create", bigquery.create),
        audit=task("audit", bigquery.audit),
        contradiction=bigquery.contradiction(stream) if is_made else "",
        bucket=bucket,
        source_objects=land.output["objects"],  # type: ignore[index]
        source_format="PARQUET",
        destination_project_dataset_table=f"{{{{ prefix() }}}}{LANDING}.{stream.dataset}_{{{{ run_id | slug }}}}",
        schema_fields=stream.contract.bigquery_fields,
        autodetect=False,
        write_disposition="WRITE_TRUNCATE",
        extra_config=PARQUET,
    )
    return [load, SqlOperator(task_id="merge", dataset=stream.dataset, sql=task("merge", bigquery.write))]
