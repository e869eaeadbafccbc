"""Run SQL files as Athena queries. A task waits a few seconds for its query, then defers."""

import re
from typing import Any

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerRunOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from windrow.airflow.hooks.athena import LONGEST_S, Athena, end_of_short, failed, rows
from windrow.airflow.operators.plausible import require_plausible
from windrow.airflow.operators.prove import ProveOperator
from windrow.declare import athena
from windrow.model import registry
from windrow.model.errors import CheckFailed
from windrow.model.plan import Run
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
    """

    advice = "The landed files are kept. Fix the cause, then clear this task with all tasks downstream."

    def __init__(self, *, query: str, title: str, sleep_time: int = POLL_S, **kwargs: Any) -> None:
        super().__init__(
            query=query,
            output_location=RESULTS,
            sleep_time=sleep_time,
            max_polling_attempts=LONGEST_S // sleep_time,
            deferrable=True,
            **kwargs,
        )
        self.title = title

    def execute(self, context: Context) -> str | None:
        """Start the query and wait for it. Defer only if it is not short, because each deferral starts a process.

        :raises StatementFailed: the query failed; the message has Athena's reason.
        :raises WarehouseBusy: the query failed for a temporary reason.
        :raises TaskDeferred: the query takes longer than some seconds.
        """
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


def landed_table(dataset: str, bucket: str, task_id: str) -> AthenaSqlOperator:
    """Make the task that creates the landed table of a dataset. Its columns are those of the contract."""
    stream = type(registry.stream(dataset))
    return AthenaSqlOperator(task_id=task_id, query=athena.create(stream, bucket), title=f"create {dataset}")


class RegisterOperator(AthenaSqlOperator):
    """Adds the landed files of a run to the landed table of a dataset, if its rows are plausible.

    :param dataset: the dataset of the stream.
    :param bucket: the bucket of the files.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of the harvest.
    """

    def __init__(self, *, dataset: str, bucket: str, mongo_conn_id: str = "mongo_default", **kwargs: Any) -> None:
        query = athena.register(type(registry.stream(dataset)), bucket)
        super().__init__(query=query, title=f"register {dataset}", **kwargs)
        self.dataset = dataset
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
        untrue = sorted(name for name, value in row.items() if value != "true")
        if untrue:
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

    :param path: a file below ``include/sql`` that returns one row of ``loaded``, ``merged`` and ``total``.
    :param results: where Athena writes results.
    """

    template_fields = (*ProveOperator.template_fields, "results")

    def __init__(self, *, path: str, results: str = RESULTS, **kwargs: Any) -> None:
        super().__init__(sql=f"{{% include '{path}' %}}", **kwargs)
        self.path = path
        self.results = results

    def warehouse(self) -> dict[str, int]:
        """Run the counting query."""
        (row,) = Athena(self.aws_conn_id, self.results).ask(self.sql)
        return {name: int(value or 0) for name, value in row.items()}

    def more(self, notes: dict[str, Figures]) -> Figures:  # type: ignore[override]
        """Return the folder of the landing, and what was noted about writing to DynamoDB."""
        return {"landed": f"{self.to}/{self.prefix}"} | notes.get("publish", {})
