"""Run SQL files as BigQuery jobs."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from airflow.providers.google.cloud.operators.bigquery import (
    BigQueryCreateEmptyDatasetOperator,
    BigQueryInsertJobOperator,
)
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.sdk import Context
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.bigquery import Client, Dataset, SchemaField
from google.cloud.bigquery.table import RowIterator, Table

from windrow.airflow.hooks.bigquery import ask, connect, limit
from windrow.airflow.operators.tables import LoadStep
from windrow.declare import bigquery as made
from windrow.model import registry

LANDING = "windrow_landing"
"""Dataset of the landing tables."""
_LANDING_MS = 7 * 24 * 3600 * 1000
"""Each run has its own landing table; a week is enough to inspect it, and to clear a task of its run."""
_ONE_AT_A_TIME = {"max_active_tis_per_dag": 1}
_LOCATION = "{{ conn.google_cloud_default.extra_dejson.get('location', 'US') }}"


def prepare_datasets(dataset: str) -> list[BigQueryCreateEmptyDatasetOperator]:
    """Make the tasks that create the landing dataset and the dataset of a DAG, in the location of the connection.

    For a table that no `LoadRunOperator` loads.
    """
    expires = {"defaultTableExpirationMs": str(_LANDING_MS)}
    return [
        BigQueryCreateEmptyDatasetOperator(
            task_id=f"prepare_{task}",
            dataset_id=f"{{{{ prefix() }}}}{name}",
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
    """Loads files of a bucket into a table. No call waits for ever.

    :param dataset: the dataset of the stream, for log lines.
    """

    def __init__(self, *, dataset: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset


class SqlOperator(_Limited, BigQueryInsertJobOperator):
    """Runs SQL, a template, as one BigQuery job.

    The job runs again when the task is cleared. Airflow's durable jobs keep the id of a finished job, so a cleared
    task would succeed without running it; therefore they are off. The SQL files are safe to run twice.

    Only one run at a time executes the task, and one of its mapped tasks: a backfill has several concurrent runs, and
    BigQuery aborts one of two jobs that change the same table, and queues 20 at most.

    :param sql: one statement, or a script.
    :param dataset: the dataset of the stream, for log lines.
    """

    advice = "The statement is atomic: no partial change was made. Clear this task with all tasks downstream."

    def __init__(self, *, sql: str, dataset: str = "", **kwargs: Any) -> None:
        super().__init__(
            configuration={"query": {"query": sql, "useLegacySql": False}},
            durable=False,
            **{**_ONE_AT_A_TIME, **kwargs},
        )
        self.dataset = dataset

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map it; mapped tasks take turns too. Airflow does not ask the constructor for that."""
        return super().partial(**{**_ONE_AT_A_TIME, **kwargs})


class SqlFileOperator(SqlOperator):
    """Runs an SQL file, a template below ``include/sql``, as one BigQuery job.

    The file is included when the task runs, so the Rendered Templates page shows the SQL that was sent.

    :param path: like ``bigquery/shop/orders/merge.sql``.
    """

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(sql=f"{{% include '{path}' %}}", **kwargs)
        self.path = path


class LoadRunOperator(LoadStep, LoadOperator):
    """See `LoadStep`, in BigQuery. It also creates the datasets of the landing and of the final table.

    :param create: the statement that creates the table, if it is not made from the table of the stream. Then the
        columns of an existing table are not compared with the contract.
    """

    template_fields = (
        *(name for name in LoadOperator.template_fields if name != "schema_fields"),  # hundreds of texts, no templates
        *(*LoadStep.template_fields, "table", "landing", "dataset_location"),
    )
    template_fields_renderers = {**LoadOperator.template_fields_renderers, **LoadStep.template_fields_renderers}  # noqa: RUF012 - Airflow declares it so

    def __init__(self, *, dataset: str, create: str = "", **kwargs: Any) -> None:
        stream = registry.stream(dataset)
        super().__init__(dataset=dataset, create=[create or made.create(stream)], **kwargs)
        self.is_made = not create
        self.table = made.final(stream)
        self.landing = f"{{{{ prefix() }}}}{LANDING}"
        self.dataset_location = _LOCATION

    def ask(self, sql: str) -> RowIterator:
        """Run a short statement, and return its rows."""
        return ask(self._client, sql)

    def changes(self) -> list[str]:
        """Return the statements that bring the table to the contract.

        :raises SchemaConflict: a column of the table does not match the contract.
        """
        if not self.is_made:
            return []
        existing = [field.to_api_repr() for field in self._found().schema]
        return made.changes(registry.stream(self.dataset), self.table, existing)

    def prepare(self) -> list[str]:
        """Create the datasets; create or change the table.

        :raises SchemaConflict: a column of the table does not match the contract.
        """
        self._create_datasets()
        statements = super().prepare()
        has_records = self.is_made and any(column.columns for column in registry.stream(self.dataset).contract.columns)
        if has_records and (more := self._extended()):
            self.log.info("RECORDs of the contract of %s have new fields; %s gets them.", self.dataset, self.table)
            table = self._found()
            table.schema = [SchemaField.from_api_repr(dict(field)) for field in more]
            try:
                self._client.update_table(table, ["schema"])
            except GoogleAPICallError:  # another account of the same table may have been quicker
                if self._extended():
                    raise
        return statements

    def load(self, context: Context) -> None:
        """Load the files. With Airflow's ``default_deferrable``, the task defers, and `execute_complete` continues."""
        LoadOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Continue after the load has ended.

        :raises CheckFailed: see `check`.
        """
        super().execute_complete(context, event)
        self.check(context)

    def _extended(self) -> list[Mapping[str, Any]] | None:
        existing = [field.to_api_repr() for field in self._found().schema]
        return made.extended(registry.stream(self.dataset), self.table, existing)

    def _create_datasets(self) -> None:
        client = self._client
        for name, expires_ms in ((self.landing, _LANDING_MS), (self.table.strip("`").partition(".")[0], None)):
            dataset = Dataset(f"{client.project}.{name}")
            dataset.location = self.dataset_location
            dataset.default_table_expiration_ms = expires_ms
            client.create_dataset(dataset, exists_ok=True)

    def _found(self) -> Table:
        return self._client.get_table(self.table.strip("`"))

    @cached_property
    def _client(self) -> Client:
        return connect(self.gcp_conn_id)
