"""The steps from landed files to a merged table in BigQuery, the same for every stream."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.providers.google.cloud.operators.bigquery import BigQueryCheckOperator
from airflow.sdk import BaseOperator, Context

from windrow.airflow.hooks.bigquery import ask
from windrow.airflow.operators.bigquery import LANDING, LoadOperator, PrepareTableOperator, SqlOperator
from windrow.airflow.operators.defaults import SQL_FOLDER
from windrow.airflow.operators.plausible import require_plausible
from windrow.declare import bigquery
from windrow.declare.include import HELP
from windrow.model.errors import CheckFailed, Misconfigured
from windrow.model.plan import Run
from windrow.model.stream import Stream
from windrow.model.table import Write

PARQUET = {"parquetOptions": {"enableListInference": True}}
"""Without it, BigQuery loads an array as a record with the field ``list``."""


class AuditOperator(BigQueryCheckOperator):
    """Checks the landed records of a run before they are merged, and compares them with earlier runs.

    What is not plausible is a warning, or fails the task if the stream says so and no person has accepted it.

    :param dataset: the dataset of the stream.
    :param contradiction: a query that returns a key with different rows, if there is one; empty for no such check.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of the harvest.
    """

    advice = "The final table was not changed. Compare the failed check with its landing table."

    template_fields = (*BigQueryCheckOperator.template_fields, "contradiction")
    template_fields_renderers = {"sql": "sql", "contradiction": "sql"}  # noqa: RUF012 - Airflow declares it so

    def __init__(
        self, *, dataset: str, contradiction: str = "", mongo_conn_id: str = "mongo_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.contradiction = contradiction
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> None:
        """Check and compare.

        :raises CheckFailed: a key has different rows, or the rows are not plausible.
        """
        super().execute(context)
        for row in ask(self.gcp_conn_id, self.contradiction) if self.contradiction else ():
            shown = ", ".join(f"{name} = {str(value)!r:.60}" for name, value in row.items() if name != "_key")
            raise CheckFailed(
                f"The answer to {row['_key']!r} of {self.dataset} has different rows with one key: {shown}.",
                advice="The final table was not changed. Add a column to 'key' of the table, or name in 'newest_by' "
                "what says which row is newer. Then clear this task with all tasks downstream.",
            )
        require_plausible(Run(self.dataset, context["run_id"], self.dag_id), self.mongo_conn_id)


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
    prepare: BaseOperator = (
        PrepareTableOperator(task_id="prepare_table", dataset=stream.dataset)
        if stream.table is not None
        else SqlOperator(task_id="prepare_table", sql=task("create", bigquery.create))
    )
    return [
        prepare,
        LoadOperator(task_id="load", **load),
        AuditOperator(
            task_id="audit",
            dataset=stream.dataset,
            contradiction=contradiction,
            sql=task("audit", bigquery.audit),
            use_legacy_sql=False,
        ),
        SqlOperator(task_id="merge", sql=task("merge", bigquery.write)),
    ]
