"""Build an Athena table in a new folder, switch the published table to it, and delete old builds.

Athena does not delete files: a CTAS into a folder that is not empty fails, an INSERT adds to the files, and DROP TABLE
keeps them. So each task that writes first empties its folder: a killed try may have left files, and a retry does not
run other tasks again.
"""

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseOperator, Context

from windrow.airflow.operators.athena import AthenaFileOperator
from windrow.model.errors import CheckFailed

KEPT = 7
"""Number of builds to keep: queries may still read them, and a person may want to compare."""


class RewriteOperator(AthenaFileOperator):
    """Runs a query that writes files (CTAS or INSERT). It is safe to run again.

    :param folder: where it writes, like ``s3://bucket/folder/``; emptied first.
    :param makes: the table that a CTAS creates, like ``database.table``; dropped first.
    """

    advice = (
        "The task empties its folder before it writes, so there are no duplicate rows. Clear this task with all "
        "tasks downstream."
    )
    template_fields = (*AthenaFileOperator.template_fields, "folder", "makes")

    def __init__(self, *, folder: str, makes: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.makes = makes

    def execute(self, context: Context) -> str | None:
        """Empty the folder, then write."""
        if self.makes:
            _forget(_glue(self.aws_conn_id), *self.makes.split("."))
        empty(S3Hook(aws_conn_id=self.aws_conn_id), self.folder)
        return super().execute(context)


class SwapOperator(AthenaFileOperator):
    """Runs a query that sets the location of a table to a folder, if the folder is not empty.

    :param folder: like ``s3://bucket/folder/``.
    """

    advice = "The published table was not changed. Clear this group with all tasks downstream."
    template_fields = (*AthenaFileOperator.template_fields, "folder")

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def execute(self, context: Context) -> str | None:
        """Check the folder, then switch the table to it.

        :raises CheckFailed: the folder is empty, for example because the build was deleted.
        """
        if not _files(S3Hook(aws_conn_id=self.aws_conn_id), self.folder):
            raise CheckFailed(
                f"The folder {self.folder} has no build, so the published table was not changed.",
                advice="Clear the task 'build' with all tasks downstream.",
            )
        return super().execute(context)


class ThrowAwayBuildsOperator(BaseOperator):
    """Deletes old builds of a table with their files. It keeps the newest builds and the one in use.

    :param table: like ``database.table``; its builds are the tables ``database.table_...``.
    :param kept: how many of the newest builds to keep.
    :returns: the names of the deleted builds.
    """

    advice = "The table is published. Clear this task; otherwise the next run deletes the remaining builds."
    template_fields = ("table", "aws_conn_id")

    def __init__(self, *, table: str, kept: int = KEPT, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.kept = kept
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> list[str]:
        """Delete the files of each build, then its table, so that a killed task can be repeated."""
        database, name = self.table.split(".")
        glue = _glue(self.aws_conn_id)
        in_use = _location(glue.get_table(DatabaseName=database, Name=name)["Table"])
        pages = glue.get_paginator("get_tables").paginate(DatabaseName=database)
        builds = [table for page in pages for table in page["TableList"] if table["Name"].startswith(f"{name}_")]
        # Glue has whole seconds only: the name decides between two builds of one second
        builds.sort(key=lambda build: (build["CreateTime"], build["Name"]), reverse=True)
        gone = [build for build in builds[self.kept :] if _location(build) != in_use]
        s3 = S3Hook(aws_conn_id=self.aws_conn_id)
        for build in gone:
            empty(s3, _location(build))
            _forget(glue, database, build["Name"])
            self.log.info("Deleted the old build %s.%s at %s.", database, build["Name"], _location(build))
        return [build["Name"] for build in gone]


def empty(s3: S3Hook, folder: str) -> None:
    """Delete all objects in a folder."""
    if files := _files(s3, folder):
        s3.delete_objects(S3Hook.parse_s3_url(folder)[0], files)


def _files(s3: S3Hook, folder: str) -> list[str]:
    bucket, prefix = S3Hook.parse_s3_url(folder)
    return list(s3.list_keys(bucket, prefix=f"{prefix.rstrip('/')}/"))


def _glue(aws_conn_id: str | None) -> Any:  # boto3 makes clients at run time
    return AwsBaseHook(aws_conn_id=aws_conn_id, client_type="glue").get_conn()


def _forget(glue: Any, database: str, table: str) -> None:
    """Drop a table, if it exists. Its files are kept."""
    try:
        glue.delete_table(DatabaseName=database, Name=table.lower())
    except glue.exceptions.EntityNotFoundException:
        return


def _location(table: dict[str, Any]) -> str:
    return str(table["StorageDescriptor"]["Location"]).rstrip("/")
