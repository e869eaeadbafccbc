"""Run SQL as Athena queries. A task waits a few seconds for its query, then defers.

`load_and_merge` makes the steps from landed files to a merged table, the same for every declared stream.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerRunOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from windrow.airflow.hooks.athena import LONGEST_S, Athena, Row, end_of_short, failed, rows, workgroup
from windrow.airflow.operators.base import WATERMARK
from windrow.airflow.operators.plausible import require_plausible
from windrow.airflow.operators.prove import ProveOperator
from windrow.airflow.operators.tables import LoadStep, untrue_of
from windrow.declare import athena
from windrow.model import registry
from windrow.model.errors import CheckFailed
from windrow.model.plan import Run
from windrow.model.stream import Stream
from windrow.model.table import Write
from windrow.store.staging import Figures

RESULTS = "s3://{{ var.value.windrow_s3_bucket }}/athena-results/"
"""Where Athena writes results. A lifecycle rule of the bucket may delete old ones."""
_QUERY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
POLL_S = 2
"""Seconds between two status checks of a query by the triggerer."""
CRAWLER_ROLE = "{{ var.value.get('windrow_glue_role', 'AWSGlueServiceRole-windrow') }}"


class AthenaSqlOperator(AthenaOperator):
    """Runs SQL, a template, as one query of Athena.

    No client request token is sent: a cleared task must run its query again, and all queries are safe to run again.

    :param query: one statement.
    :param title: what messages call the query.
    :param dataset: the dataset of the stream, for log lines.
    """

    advice = "The landed files are kept. Fix the cause, then clear this task with all tasks downstream."

    def __init__(self, *, query: str, title: str, dataset: str = "", sleep_time: int = POLL_S, **kwargs: Any) -> None:
        super().__init__(
            query=query,
            output_location=RESULTS,
            sleep_time=sleep_time,
            max_polling_attempts=LONGEST_S // sleep_time,
            deferrable=True,
            **kwargs,
        )
        self.title = title
        self.dataset = dataset

    def execute(self, context: Context) -> str | None:
        """Start the query and wait for it. Defer only if it is not short, because each deferral starts a process.

        :raises StatementFailed: the query failed; the message has Athena's reason.
        :raises WarehouseBusy: the query failed for a temporary reason.
        :raises TaskDeferred: the query takes longer than some seconds.
        """
        self.workgroup = workgroup(self.hook)
        try:
            return super().execute(context)
        except TaskDeferred:
            query_id = self.query_execution_id or ""
            state = end_of_short(self.hook, query_id)
            if state is None:
                raise
        if state != "SUCCEEDED":
            raise failed(self.hook, query_id, self.title)
        return self.execute_complete(context, {"status": "success", "value": query_id})

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Continue after the query has ended.

        :raises StatementFailed: the query failed; the message has Athena's reason.
        :raises WarehouseBusy: the query failed for a temporary reason.
        """
        message = str((event or {}).get("message", ""))
        named = _QUERY_ID.search(message)
        if (event or {}).get("status") != "success" and named:
            raise failed(self.hook, named[0], self.title)
        return str(super().execute_complete(context, event))


class AthenaFileOperator(AthenaSqlOperator):
    """Runs an SQL file, a template below ``include/sql``, as one query of Athena.

    The file is included when the task runs, so the Rendered Templates page shows the SQL that was sent.

    :param path: like ``athena/shop/orders/build.sql``.
    """

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(query=f"{{% include '{path}' %}}", title=path, **kwargs)
        self.path = path


class AthenaScriptOperator(AthenaSqlOperator):
    """Runs statements, templates, one after the other. A repetition runs all of them again.

    :param queries: the statements.
    """

    template_fields = (*AthenaSqlOperator.template_fields, "queries")
    template_fields_renderers = {**AthenaSqlOperator.template_fields_renderers, "queries": "sql"}  # noqa: RUF012 - Airflow declares it so

    def __init__(self, *, queries: Sequence[str], **kwargs: Any) -> None:
        super().__init__(query=queries[0], **kwargs)
        self.queries = list(queries)

    def execute(self, context: Context, place: int = 0) -> str | None:
        """Run the statements from a place on. See `AthenaSqlOperator.execute`."""
        query_id: str | None = None
        for number, query in enumerate(self.queries[place:], place):
            self.query = query
            try:
                query_id = super().execute(context)
            except TaskDeferred as deferral:
                deferral.kwargs = {"place": number}
                raise
        return query_id

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None, place: int | None = None) -> str:
        """Continue after a statement has ended, where the task was deferred with those that follow."""
        query_id = super().execute_complete(context, event)
        if place is not None and place + 1 < len(self.queries):
            return str(self.execute(context, place + 1))
        return query_id


class LoadRunOperator(LoadStep):
    """See `LoadStep`, in Athena: the landed files of a run become a partition of the landed table.

    It also creates the databases of the landed and of the final table, and the landed table, whose columns are always
    those of the contract.

    :param bucket: the S3 bucket of the files, without ``s3://``.
    :param results: where Athena writes results.
    """

    template_fields = (*LoadStep.template_fields, "register", "landed", "final", "aws_conn_id", "results")
    template_fields_renderers = {**LoadStep.template_fields_renderers, "register": "sql"}  # noqa: RUF012 - Airflow declares it so

    def __init__(
        self, *, dataset: str, bucket: str, aws_conn_id: str = "aws_default", results: str = RESULTS, **kwargs: Any
    ) -> None:
        stream = type(registry.stream(dataset))
        create = [*athena.databases(stream), athena.create(stream, bucket), athena.create_final(stream, bucket)]
        super().__init__(dataset=dataset, create=create, **kwargs)
        self.register = [athena.unregister(stream), athena.register(stream, bucket)]
        self.landed, self.final = athena.landed(stream, "`"), athena.final(stream, "`")
        self.aws_conn_id = aws_conn_id
        self.results = results

    def ask(self, sql: str) -> Iterator[Row]:
        """Run a short statement, and return its rows."""
        return self._athena.ask(sql)

    def changes(self) -> list[str]:
        """Return the statements that bring the final table to the contract.

        :raises SchemaConflict: a column of the table does not match the contract.
        """
        existing = self._table(self.final)["StorageDescriptor"]["Columns"]
        return athena.changes(registry.stream(self.dataset), self.final, existing)

    def prepare(self) -> list[str]:
        """Create or change the tables.

        :raises SchemaConflict: a column of the final table does not match the contract.
        """
        statements = super().prepare()
        stream, landed = type(registry.stream(self.dataset)), self._table(self.landed)
        if not athena.has_columns(stream, landed["StorageDescriptor"]["Columns"]):
            # Hive has no statement for every change; past partitions keep their columns
            self.log.info("The columns of %s become those of the contract.", self.landed)
            described = {**landed["StorageDescriptor"], "Columns": athena.columns(stream)}
            table = {name: landed[name] for name in _TABLE if landed.get(name)} | {"StorageDescriptor": described}
            self._glue.update_table(DatabaseName=self.landed.strip("`").split("`.`")[0], TableInput=table)
        return statements

    def load(self, context: Context) -> None:
        """Make the partition, in place of one that an earlier try has made."""
        for statement in self.register:
            self.ask(statement)

    def _table(self, name: str) -> dict[str, Any]:
        database, table = name.strip("`").split("`.`")
        return dict(self._glue.get_table(DatabaseName=database, Name=table)["Table"])

    # one client for all statements: to make one, boto3 reads its description of AWS, which takes 0.1 s of CPU

    @cached_property
    def _athena(self) -> Athena:
        return Athena(self.aws_conn_id, self.results)

    @cached_property
    def _glue(self) -> Any:  # boto3 makes clients at run time
        return AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type="glue").get_conn()


_TABLE = ("Name", "Description", "Owner", "Retention", "PartitionKeys", "TableType", "Parameters")
"""What Glue accepts of a table that it returned. Source: Glue's API, TableInput."""


def load_and_merge(stream: type[Stream], *, bucket: str) -> list[BaseOperator]:
    """Make the tasks ``load`` and ``merge``, to be chained.

    The landed files of a run are a partition of the landed table. They are checked there, and merged into the final
    table.

    :param bucket: the S3 bucket of the files, without ``s3://``.
    :raises ValueError: a column has the name of a partition, or there are too many columns for Athena.
    """
    dataset, write = stream.dataset, athena.write(stream)
    is_merged = stream.table is not None and stream.table.write is Write.MERGE
    contradiction = athena.contradiction(stream) if is_merged else ""
    load = LoadRunOperator(
        task_id="load", dataset=dataset, bucket=bucket, audit=athena.audit(stream), contradiction=contradiction
    )
    athena.check_length(stream, [*load.create, *write, contradiction])
    return [
        load,
        AthenaScriptOperator(
            task_id="merge", title=f"merge of {dataset}", dataset=dataset, queries=write, max_active_tis_per_dag=1
        ),
    ]


def databases(dataset: str, task_id: str) -> AthenaScriptOperator:
    """Make the task that creates the databases of a dataset: of its landed table, and of what is made from it."""
    queries = athena.databases(type(registry.stream(dataset)))
    return AthenaScriptOperator(task_id=task_id, queries=queries, title=f"databases of {dataset}", dataset=dataset)


def landed_table(dataset: str, bucket: str, task_id: str) -> AthenaSqlOperator:
    """Make the task that creates the landed table of a dataset. Its columns are those of the contract."""
    stream = type(registry.stream(dataset))
    return AthenaSqlOperator(
        task_id=task_id, query=athena.create(stream, bucket), title=f"create {dataset}", dataset=dataset
    )


class RegisterOperator(AthenaSqlOperator):
    """Adds the landed files of a run to the landed table of a dataset, if its rows are plausible.

    :param dataset: the dataset of the stream.
    :param bucket: the bucket of the files.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of the harvest.
    """

    def __init__(self, *, dataset: str, bucket: str, mongo_conn_id: str = "mongo_default", **kwargs: Any) -> None:
        query = athena.register(type(registry.stream(dataset)), bucket)
        super().__init__(query=query, title=f"register {dataset}", dataset=dataset, **kwargs)
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> str | None:
        """Compare the rows with earlier runs, then start the query.

        :raises CheckFailed: the rows are not plausible; see `require_plausible`.
        """
        require_plausible(Run(self.dataset, context["run_id"], self.dag_id), self.mongo_conn_id)
        return super().execute(context)


def register(dataset: str, bucket: str, task_id: str = "register") -> RegisterOperator:
    """Make the task that adds the landed files of a run to the landed table of a dataset."""
    return RegisterOperator(task_id=task_id, dataset=dataset, bucket=bucket)


def sql(
    path: str, task_id: str = "", *, kind: type[AthenaFileOperator] = AthenaFileOperator, **options: Any
) -> AthenaFileOperator:
    """Make the task that runs a file below ``include/sql/athena``. Its default id is the name of the file."""
    return kind(task_id=task_id or path.rpartition("/")[2], path=f"athena/{path}.sql", **options)


class AthenaCheckOperator(AthenaFileOperator):
    """Runs a query that returns one row, in which every column must be true."""

    advice = (
        "The check does not change data. Inspect the table that it reads, then clear this group with all tasks "
        "downstream."
    )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Check the row.

        :raises CheckFailed: columns are not true; the message lists them.
        """
        query_id = super().execute_complete(context, event)
        (row,) = rows(self.hook, query_id)
        if untrue := untrue_of(row):
            raise CheckFailed(
                f"The check {self.path} failed: {', '.join(untrue)}.",
                advice="Inspect the table that this SQL file reads. The published table was not changed.",
            )
        return query_id


class CrawlOperator(GlueCrawlerRunOperator):
    """Runs a Glue crawler on folders of Parquet files. It adds the tables that it finds to a database.

    The task creates or updates the crawler.

    :param database: the Glue database for tables and partitions; also the name of the crawler.
    :param paths: the folders, one for each table.
    :param role: the name of the crawler's IAM role.
    :param wanted: "True" to run the crawler; otherwise the task is skipped.
    """

    advice = "The landed files are kept, and no task needs the result of the crawler. Clear this task."
    template_fields = (*GlueCrawlerRunOperator.template_fields, "paths", "role", "wanted")

    def __init__(
        self, *, database: str, paths: list[str], wanted: str, role: str = CRAWLER_ROLE, **kwargs: Any
    ) -> None:
        super().__init__(crawler_name=database, poll_interval=POLL_S, deferrable=True, **kwargs)
        self.database = database
        self.paths = paths
        self.role = role
        self.wanted = wanted

    def execute(self, context: Context) -> str:
        """Create the crawler, start it, and wait in the triggerer.

        :raises AirflowSkipException: ``wanted`` is not "True".
        """
        if str(self.wanted) != "True":
            raise AirflowSkipException("Skipped because the param 'crawl' is false.")
        config = {
            "Name": self.crawler_name,
            "Role": self.role,
            "DatabaseName": self.database,
            "Targets": {"S3Targets": [{"Path": path, "Exclusions": ["**/_*"]} for path in self.paths]},
        }
        self.hook.update_crawler(**config) if self.hook.has_crawler(self.crawler_name) else self.hook.create_crawler(
            **config
        )
        return str(super().execute(context))


class ProveInAthenaOperator(ProveOperator):
    """Writes and checks the receipt of a run whose warehouse is Athena.

    :param sql: a query of Athena, or the path of a file below ``include/sql``, that returns one row of ``loaded``,
        ``merged`` and ``total``; without it, it is made from the stream.
    :param results: where Athena writes results.
    """

    template_fields = (*ProveOperator.template_fields, "results")

    def __init__(self, *, dataset: str, sql: str = "", results: str = RESULTS, **kwargs: Any) -> None:
        sql = sql or athena.prove(type(registry.stream(dataset)))
        super().__init__(dataset=dataset, sql=sql, **kwargs)
        self.results = results

    def table(self, rows: int | None) -> Any:
        """Return the final table for OpenLineage. See `ProveOperator`."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        return openlineage.athena_table(self.aws_conn_id, self.stream, rows)

    def warehouse(self) -> Figures:
        """Run the counting query."""
        (row,) = Athena(self.aws_conn_id, self.results).ask(self.sql)
        mark = row.pop(WATERMARK, None)
        counts: Figures = {name: int(value or 0) for name, value in row.items()}
        return counts | ({WATERMARK: _not_later(mark)} if mark else {})

    def more(self, notes: dict[str, Figures]) -> Figures:  # type: ignore[override]
        """Return the folder of the landing, and what was noted about writing to DynamoDB."""
        return {"landed": f"{self.to}/{self.prefix}"} | notes.get("publish", {})


def _not_later(mark: str) -> str:
    """Return a watermark that is not after its record: Athena rounds an instant to milliseconds, also up."""
    return mark if len(mark) == _DATE else f"{datetime.fromisoformat(mark) - timedelta(milliseconds=1)}+00"


_DATE = len("2026-11-20")
