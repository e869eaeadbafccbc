"""A table of Athena that is built beside the old one, put in its place, and thrown away when newer ones have come.

Athena deletes no file: a CTAS into a folder that is not empty fails, an INSERT adds to what is there, and DROP TABLE
leaves the files. So whoever writes empties first, in the same task: a try that was killed may have left files, and a
retry runs no other task again.
"""

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseOperator, Context

from windrow.airflow.operators.athena import AthenaFileOperator
from windrow.model.errors import CheckFailed

KEPT = 7
"""Builds that stay for a while: queries may still read them, and a person may want to look back."""


class RewriteOperator(AthenaFileOperator):
    """Runs a query that writes files, CTAS or INSERT; run again, it leaves the same files.

    :param folder: where it writes, like ``s3://bucket/folder/``: emptied first.
    :param makes: the table that a CTAS makes, like ``database.table``: forgotten first.
    """

    advice = (
        "Its folder is emptied before it is written, so no row is there twice. Clear this task with all "
        "tasks downstream."
    )
    template_fields = (*AthenaFileOperator.template_fields, "folder", "makes")

    def __init__(self, *, folder: str, makes: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.makes = makes

    def execute(self, context: Context) -> str | None:
        """Empty, then write."""
        if self.makes:
            _forget(_glue(self.aws_conn_id), *self.makes.split("."))
        empty(self.aws_conn_id, self.folder)
        return super().execute(context)


class SwapOperator(AthenaFileOperator):
    """Runs a query that moves a table to a folder, if there is anything in it.

    :param folder: like ``s3://bucket/folder/``.
    """

    advice = "The table that others read was not touched. Clear this group with all tasks downstream."
    template_fields = (*AthenaFileOperator.template_fields, "folder")

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def execute(self, context: Context) -> str | None:
        """Look, then move.

        :raises CheckFailed: nothing is there, as of a build that was thrown away.
        """
        if not _files(S3Hook(aws_conn_id=self.aws_conn_id), self.folder):
            raise CheckFailed(
                f"There is no build in {self.folder}, so the table stays where it is.",
                advice="Clear the task 'build' with all tasks downstream.",
            )
        return super().execute(context)


class ThrowAwayBuildsOperator(BaseOperator):
    """Throws away the builds of a table, files and all, but for the newest and the one that it is.

    :param table: like ``database.table``; its builds are the tables ``database.table_...``.
    :param kept: how many of the newest stay.
    :returns: the names of those that went.
    """

    advice = "The table is in its place. Clear this task: the next run throws away what is left."
    template_fields = ("table", "aws_conn_id")

    def __init__(self, *, table: str, kept: int = KEPT, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.kept = kept
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> list[str]:
        """Delete the files of each, then forget it: killed between, the next run finds it again."""
        database, name = self.table.split(".")
        glue = _glue(self.aws_conn_id)
        in_use = _location(glue.get_table(DatabaseName=database, Name=name)["Table"])
        pages = glue.get_paginator("get_tables").paginate(DatabaseName=database)
        builds = [table for page in pages for table in page["TableList"] if table["Name"].startswith(f"{name}_")]
        # Glue tells whole seconds: of two builds in one second the name decides
        builds.sort(key=lambda build: (build["CreateTime"], build["Name"]), reverse=True)
        gone = [build for build in builds[self.kept :] if _location(build) != in_use]
        for build in gone:
            empty(self.aws_conn_id, _location(build))
            _forget(glue, database, build["Name"])
            self.log.info("Threw away %s.%s at %s.", database, build["Name"], _location(build))
        return [build["Name"] for build in gone]


def empty(aws_conn_id: str | None, folder: str) -> None:
    """Delete all that is in a folder of S3, and nothing beside it."""
    s3 = S3Hook(aws_conn_id=aws_conn_id)
    if files := _files(s3, folder):
        s3.delete_objects(S3Hook.parse_s3_url(folder)[0], files)


def _files(s3: S3Hook, folder: str) -> list[str]:
    bucket, prefix = S3Hook.parse_s3_url(folder)
    return list(s3.list_keys(bucket, prefix=f"{prefix.rstrip('/')}/"))


def _glue(aws_conn_id: str | None) -> Any:  # boto3 makes clients at run time
    return AwsBaseHook(aws_conn_id=aws_conn_id, client_type="glue").get_conn()


def _forget(glue: Any, database: str, table: str) -> None:
    """Drop a table, if it is there. Its files stay."""
    try:
        glue.delete_table(DatabaseName=database, Name=table.lower())
    except glue.exceptions.EntityNotFoundException:
        return


def _location(table: dict[str, Any]) -> str:
    return str(table["StorageDescriptor"]["Location"]).rstrip("/")
