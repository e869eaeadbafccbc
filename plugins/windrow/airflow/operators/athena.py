"""SQL files as queries of Athena. A task waits a few seconds for its query, then defers."""

import re
from typing import Any

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerRunOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from windrow.airflow.hooks.athena import LONGEST_S, Athena, end_of_short, failed, rows
from windrow.airflow.operators.prove import ProveOperator
from windrow.model.errors import CheckFailed
from windrow.store.staging import Figures

RESULTS = "s3://{{ var.value.windrow_s3_bucket }}/athena-results/"
"""Where Athena writes results. A lifecycle rule of the bucket may delete what is older than some days."""
_QUERY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
POLL_S = 2
"""Seconds between two looks at a query, by the triggerer."""
CRAWLER_ROLE = "{{ var.value.get('windrow_glue_role', 'AWSGlueServiceRole-windrow') }}"


class AthenaFileOperator(AthenaOperator):
    """Runs an SQL file, a template below ``include/sql``, as one query of Athena.

    The file is included when the task runs, so the Rendered Templates page shows the SQL that was sent. No client
    request token is given: a cleared task has to run its query again, and files are written so that this is right.

    :param path: like ``athena/shop/orders/build.sql``.
    """

    advice = "The landed files stay. Clear this task with all tasks downstream once Athena takes the statement."

    def __init__(self, *, path: str, sleep_time: int = POLL_S, **kwargs: Any) -> None:
        super().__init__(
            query=f"{{% include '{path}' %}}",
            output_location=RESULTS,
            sleep_time=sleep_time,
            max_polling_attempts=LONGEST_S // sleep_time,
            deferrable=True,
            **kwargs,
        )
        self.path = path

    def execute(self, context: Context) -> str | None:
        """Start the query, and wait for it: in place for a short one, as to defer starts a process more.

        :raises StatementFailed: it did not succeed, with Athena's reason.
        :raises TaskDeferred: it takes longer than some seconds.
        """
        try:
            return super().execute(context)
        except TaskDeferred:
            query_id = self.query_execution_id or ""
            state = end_of_short(self.hook, query_id)
            if state is None:
                raise
        if state != "SUCCEEDED":
            raise failed(self.hook, query_id, self.path)
        return self.execute_complete(context, {"status": "success", "value": query_id})

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Go on when the query has ended.

        :raises StatementFailed: it did not succeed, with Athena's reason.
        """
        message = str((event or {}).get("message", ""))
        named = _QUERY_ID.search(message)
        if (event or {}).get("status") != "success" and named:
            raise failed(self.hook, named[0], self.path)
        return str(super().execute_complete(context, event))


def sql(
    path: str, task_id: str = "", *, kind: type[AthenaFileOperator] = AthenaFileOperator, **options: Any
) -> AthenaFileOperator:
    """Make the task that runs a file below ``include/sql/athena``, named after the file unless it has a name."""
    return kind(task_id=task_id or path.rpartition("/")[2], path=f"athena/{path}.sql", **options)


class AthenaCheckOperator(AthenaFileOperator):
    """Runs a query whose one row has to hold nothing but true."""

    advice = (
        "The check changes nothing. Look at the table that it names, then clear this group with all tasks downstream."
    )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Look at the row.

        :raises CheckFailed: a column is not true; the message names each.
        """
        query_id = super().execute_complete(context, event)
        (row,) = rows(self.hook, query_id)
        untrue = sorted(name for name, value in row.items() if value != "true")
        if untrue:
            raise CheckFailed(
                f"{self.path} does not hold: {', '.join(untrue)}.",
                advice="Look at the table that it names. The table that others read was not touched.",
            )
        return query_id


class CrawlOperator(GlueCrawlerRunOperator):
    """Lets a Glue crawler look at folders of Parquet files, and enter what it finds into a database.

    It is made, or brought up to date, by the task itself.

    :param database: where it enters tables and partitions; also the crawler's name.
    :param paths: the folders, one table each.
    :param role: the name of the IAM role that it reads with.
    :param wanted: "True" to run it; otherwise the task is skipped.
    """

    advice = "The landed files stay; nothing depends on what a crawler finds. Clear this task."
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
        """Make it, start it, and wait by deferring.

        :raises AirflowSkipException: it is not wanted.
        """
        if str(self.wanted) != "True":
            raise AirflowSkipException("The param 'crawl' is off.")
        config = {
            "Name": self.crawler_name,
            "Role": self.role,
            "DatabaseName": self.database,
            "Targets": {"S3Targets": [{"Path": path, "Exclusions": ["**/_manifest.json"]} for path in self.paths]},
        }
        self.hook.update_crawler(**config) if self.hook.has_crawler(self.crawler_name) else self.hook.create_crawler(
            **config
        )
        return str(super().execute(context))


class ProveInAthenaOperator(ProveOperator):
    """A receipt whose warehouse is Athena.

    :param path: a file below ``include/sql`` that gives one row of ``loaded``, ``merged`` and ``total``.
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
        """Return where the run landed, what was written to DynamoDB, and how long that took from a request."""
        return {"landed": f"{self.to}/{self.prefix}"} | notes.get("publish", {})
