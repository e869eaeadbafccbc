"""Tables that are built beside the old ones: written again, swapped in, thrown away."""
# ruff: noqa: S608 - names of tables are made up here

import uuid
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from local_cloud import aws_resources
from local_cloud.settings import LAKE, Settings
from windrow.airflow.hooks.athena import Athena
from windrow.airflow.operators.builds import RewriteOperator, SwapOperator, ThrowAwayBuildsOperator, empty
from windrow.model.errors import CheckFailed

RESULTS = f"s3://{LAKE}/results/"


class TaskInstance:
    """What an operator of Athena tells about its query."""

    def xcom_push(self, **_: object) -> None: ...


CONTEXT: Any = {"ti": TaskInstance()}


def ask(sql: str) -> list[dict[str, str | None]]:
    return list(Athena("aws_default", RESULTS).ask(sql))


def run(operator: Any, sql: str) -> None:
    """Run an operator until its query has ended."""
    operator.query, operator.output_location = sql, RESULTS
    operator.execute(CONTEXT)
    assert operator.hook.check_query_status(operator.query_execution_id) == "SUCCEEDED"


@pytest.fixture
def database(lake: Settings) -> str:
    name = f"builds_{uuid.uuid4().hex[:8]}"
    ask(f"CREATE DATABASE {name}")
    return name


def rewrite(folder: str, makes: str = "") -> RewriteOperator:
    return RewriteOperator(task_id="build", path="athena/some.sql", folder=folder, makes=makes)


def make_build(table: str, number: int) -> str:
    """Build a table of one row; return its folder."""
    folder = f"s3://{LAKE}/{table.replace('.', '/')}/run={number}/"
    place = f"format = 'PARQUET', external_location = '{folder}'"
    sql = f"CREATE TABLE {table}_{number} WITH ({place}) AS SELECT {number} AS n"
    run(rewrite(folder, f"{table}_{number}"), sql)
    return folder


def make_table(table: str, location: str) -> None:
    ask(f"CREATE EXTERNAL TABLE {table} (n int) STORED AS PARQUET LOCATION '{location}'")


def test_an_insert_that_is_tried_again_leaves_each_row_once(database: str):
    folder = f"s3://{LAKE}/{database}/days/"
    make_table(f"{database}.days", folder)
    for _ in range(2):
        run(rewrite(folder), f"INSERT INTO {database}.days SELECT 1")
    assert ask(f"SELECT n FROM {database}.days") == [{"n": "1"}]


def test_a_build_that_is_tried_again_takes_the_place_of_the_first(database: str):
    table = f"{database}.tracks"
    make_build(table, 1)
    make_build(table, 1)
    assert ask(f"SELECT n FROM {table}_1") == [{"n": "1"}]


def test_a_folder_is_emptied_and_its_neighbours_are_not(lake: Settings):
    s3, name = aws_resources.client(lake, "s3"), uuid.uuid4().hex
    for key in (f"{name}/dt=1/a", f"{name}/dt=1/b/c", f"{name}/dt=10/a"):
        s3.put_object(Bucket=LAKE, Key=key, Body=b"")
    empty(S3Hook("aws_default"), f"s3://{LAKE}/{name}/dt=1")
    empty(S3Hook("aws_default"), f"s3://{LAKE}/{name}/dt=1/")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=LAKE, Prefix=name)["Contents"]] == [f"{name}/dt=10/a"]


def test_a_table_is_moved_to_a_build_and_never_to_an_empty_folder(database: str):
    table = f"{database}.tracks"
    first, second = make_build(table, 1), make_build(table, 2)
    make_table(table, first)

    def swap(folder: str) -> None:
        sql = f"ALTER TABLE {table} SET LOCATION '{folder}'"
        run(SwapOperator(task_id="swap", path="athena/some.sql", folder=folder), sql)

    swap(second)
    assert ask(f"SELECT n FROM {table}") == [{"n": "2"}]
    empty(S3Hook("aws_default"), first)
    with pytest.raises(CheckFailed, match="has no build"):
        SwapOperator(task_id="swap", path="athena/some.sql", folder=first).execute(CONTEXT)
    assert ask(f"SELECT n FROM {table}") == [{"n": "2"}]


def test_old_builds_are_thrown_away_but_never_the_one_in_use(lake: Settings, database: str):
    table = f"{database}.tracks"
    folders = [make_build(table, number) for number in range(4)]
    make_table(table, folders[0])
    throw_away = ThrowAwayBuildsOperator(task_id="throw_away", table=table, kept=2)

    assert throw_away.execute({}) == ["tracks_1"]
    assert throw_away.execute({}) == []

    assert ask(f"SELECT n FROM {table}") == [{"n": "0"}]
    tables = aws_resources.client(lake, "s3")
    left = tables.list_objects_v2(Bucket=LAKE, Prefix=f"{database}/tracks/")["Contents"]
    assert {one["Key"].split("/")[2] for one in left} == {"run=0", "run=2", "run=3"}
    assert {row["n"] for number in (2, 3) for row in ask(f"SELECT n FROM {table}_{number}")} == {"2", "3"}
