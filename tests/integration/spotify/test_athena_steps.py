"""Steps on Athena and S3, over real connections: landing, statements that fail, checks, the crawler's wish, parity."""
# ruff: noqa: S608 - names of tables are made up here

import io
import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from botocore.exceptions import ClientError

from local_cloud import aws_resources
from local_cloud.settings import LAKE, Settings
from windrow.airflow.hooks.athena import Athena, rows
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import S3Store, open_store
from windrow.airflow.operators.athena import (
    AthenaCheckOperator,
    AthenaFileOperator,
    AthenaScriptOperator,
    AthenaSqlOperator,
    CrawlOperator,
)
from windrow.airflow.operators.defaults import SQL_FOLDER
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.landing.files import Manifest
from windrow.landing.parts import Landing
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import BadParameter, CheckFailed, ConnectionUnusable, StatementFailed
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.sources.spotify.parity import LocateLandingOperator, _agree
from windrow.sources.spotify.streams import TopTracks

RESULTS = f"s3://{LAKE}/results/"


def athena() -> Athena:
    return Athena("aws_default", RESULTS)


def event_of(sql: str, operator: AthenaFileOperator) -> dict[str, str]:
    """Run a query to its end, and make the event that the provider's trigger makes of it."""
    query_id = operator.hook.run_query(sql, {"Catalog": "AwsDataCatalog"}, {"OutputLocation": RESULTS})
    if operator.hook.poll_query_status(query_id, sleep_time=0.1) == "SUCCEEDED":
        return {"status": "success", "value": query_id}
    return {"status": "error", "message": f"Error while waiting for query {query_id} to complete: Waiter ..."}


# --- S3 ----------------------------------------------------------------------------------------


def test_a_bucket_of_s3_is_a_store():
    store = open_store(f"s3://{LAKE}", "google_cloud_default")
    assert isinstance(store, S3Store)
    folder = uuid.uuid4().hex
    store.put(f"{folder}/a", b"one")
    store.put(f"{folder}/a", b"two")
    store.put(f"{folder}/b", b"")
    assert store.get(f"{folder}/a") == b"two"
    assert store.get(f"{folder}/none") is None
    assert store.names(f"{folder}/") == [f"{folder}/a", f"{folder}/b"]
    store.delete(f"{folder}/a")
    store.delete(f"{folder}/a")
    assert store.names(folder) == [f"{folder}/b"]
    data = bytes(17 * 1024 * 1024)  # more than one piece
    store.put_file(f"{folder}/c", io.BytesIO(data))
    assert store.get_file(f"{folder}/c", back := io.BytesIO())
    assert back.getvalue() == data
    assert not store.get_file(f"{folder}/d", back)


def test_a_bucket_that_is_not_there_is_told():
    store = open_store("s3://nowhere-at-all", "google_cloud_default")
    for act in (
        lambda: store.put("a", b""),
        lambda: store.put_file("a", io.BytesIO()),
        lambda: store.get("a"),
        lambda: store.get_file("a", io.BytesIO()),
        lambda: store.names(""),
    ):
        with pytest.raises(ConnectionUnusable, match="The bucket 'nowhere-at-all' does not exist"):
            act()


def test_queries_run_in_the_workgroup_of_the_connection(monkeypatch, context):
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"]["workgroup"] = "nightly"
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    operator = AthenaSqlOperator(task_id="one", query="SELECT 1", title="one")
    for act in (lambda: athena().ask("SELECT 1"), lambda: operator.execute(context)):
        with pytest.raises(ClientError, match="WorkGroup nightly is not found"):
            act()


def test_staged_answers_land_in_s3_and_athena_reads_them():
    run = Run(TopTracks.dataset, f"test__{uuid.uuid4().hex}")
    query = Query.of(f"/artists/{'1' * 22}/top-tracks")
    body = '{"tracks": [null, {"id": "t", "name": "T", "duration_ms": 5, "artists": [], "album": {}}]}'
    folder = f"landed/{uuid.uuid4().hex}"
    with staging("mongo_default", run.dataset) as state:
        plan = state.save_plan(run, [query])
        state.stage(run, [(0, Answer(query, Outcome.ANSWERED, 200, body, datetime.now(UTC)))])
        store = open_store(f"s3://{LAKE}", "google_cloud_default")
        assert Landing(state, TopTracks(), store, folder).land(plan).records == 1
    assert Manifest.read(store, folder).records == 1
    name = f"t{uuid.uuid4().hex[:8]}"
    for sql in (
        "CREATE DATABASE IF NOT EXISTS steps",
        f"CREATE EXTERNAL TABLE steps.{name} (track_id string, rank bigint, `_extra` string) STORED AS PARQUET "
        f"LOCATION 's3://{LAKE}/{folder}/'",
    ):
        list(athena().ask(sql))
    assert list(athena().ask(f"SELECT track_id, rank FROM steps.{name}")) == [{"track_id": "t", "rank": "1"}]
    landed = (Path(SQL_FOLDER) / "athena/spotify_landed/top_tracks/landed.sql").read_text()
    nulls = landed.partition("SELECT count_if")[2].partition(" FROM ")[0]
    assert list(athena().ask(f"SELECT count_if{nulls} AS nulls FROM steps.{name}")) == [{"nulls": "1"}]


# --- statements --------------------------------------------------------------------------------


def test_a_statement_that_fails_says_why_and_is_not_tried_again():
    operator = AthenaFileOperator(task_id="build", path="athena/some.sql")
    with pytest.raises(StatementFailed, match=r"of athena/some\.sql ended with state FAILED: TABLE.*missing") as told:
        operator.execute_complete({}, event_of("SELECT x FROM steps.missing", operator))
    assert ErrorPolicy().evaluate(told.value, 1, 3).action is RetryAction.FAIL
    with pytest.raises(StatementFailed, match="TABLE_NOT_FOUND"):
        athena().ask("SELECT x FROM steps.missing")


class TaskInstance:
    """What an operator of Athena tells about its query."""

    def xcom_push(self, **_: object) -> None: ...


def started(operator: AthenaFileOperator, sql: str) -> str | None:
    operator.query, operator.output_location = sql, RESULTS
    return operator.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


def test_a_short_query_is_waited_for_in_place():
    operator = AthenaCheckOperator(task_id="check", path="athena/check.sql")
    assert started(operator, "SELECT 1 = 1 AS a") == operator.query_execution_id
    with pytest.raises(CheckFailed, match="failed: a"):
        started(operator, "SELECT 1 = 2 AS a")
    with pytest.raises(StatementFailed, match=r"of athena/check\.sql ended with state FAILED: TABLE.*missing"):
        started(operator, "SELECT x FROM steps.missing")


def test_a_long_query_is_deferred(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windrow.airflow.hooks.athena.SHORT_S", 0.0)
    operator = AthenaFileOperator(task_id="count", path="athena/some.sql")
    values = ", ".join(f"({n})" for n in range(700))
    tables = ", ".join(f"(VALUES {values}) AS t{n} (n{n})" for n in range(3))
    with pytest.raises(TaskDeferred) as deferred:
        started(operator, f"SELECT COUNT(*) FROM {tables} WHERE n0 + n1 + n2 = 700")
    assert deferred.value.method_name == "execute_complete"
    operator.hook.stop_query(operator.query_execution_id)


def test_statements_run_in_order_also_after_a_deferral(monkeypatch: pytest.MonkeyPatch):
    name = f"script_{uuid.uuid4().hex[:8]}"
    queries = [f"CREATE DATABASE {name}", f"CREATE VIEW {name}.v AS SELECT 7 AS x"]
    operator = AthenaScriptOperator(task_id="load", title="load", queries=[*queries, f"SELECT x FROM {name}.v"])
    operator.output_location = RESULTS
    context: Any = {"ti": TaskInstance()}
    monkeypatch.setattr("windrow.airflow.operators.athena.end_of_short", lambda *_: None)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    monkeypatch.undo()
    query_id = operator.query_execution_id or ""
    operator.hook.poll_query_status(query_id, sleep_time=0.1)
    event = {"status": "success", "value": query_id}
    last = getattr(operator, deferred.value.method_name)(context, event, **(deferred.value.kwargs or {}))
    assert list(rows(operator.hook, last)) == [{"x": "7"}]
    with pytest.raises(StatementFailed, match=r"of load ended with state FAILED: .*already exists"):
        operator.execute(context)


def test_a_check_names_what_does_not_hold():
    operator = AthenaCheckOperator(task_id="check", path="athena/check.sql")
    assert operator.execute_complete({}, event_of("SELECT TRUE AS a, 1 = 1 AS b", operator))
    with pytest.raises(CheckFailed, match="failed: b, c"):
        operator.execute_complete({}, event_of("SELECT TRUE AS a, 1 = 2 AS b, NULLIF(TRUE, TRUE) AS c", operator))


def test_rows_come_page_by_page():
    values = ", ".join(f"({n})" for n in range(1500))
    found = list(athena().ask(f"SELECT n FROM (VALUES {values}) AS t (n) ORDER BY n"))
    assert [int(row["n"] or 0) for row in found] == list(range(1500))


# --- the crawler -------------------------------------------------------------------------------


def test_a_crawler_runs_only_when_it_is_wanted(lake: Settings):
    crawl = CrawlOperator(task_id="crawl", database="crawled", paths=[f"s3://{LAKE}/x/"], wanted="False")
    with pytest.raises(AirflowSkipException):
        crawl.execute({})
    with pytest.raises(ClientError, match="does not exist"):
        crawl.hook.get_conn().get_crawler(Name="crawled")


# --- parity ------------------------------------------------------------------------------------

LANDING = "s3://lake/spotify/artists/dt=2026-01-02/run=scheduled_1"


@pytest.mark.parametrize("by_event", [True, False])
def test_the_landing_is_that_of_the_event_or_of_the_param(by_event: bool):
    event = SimpleNamespace(extra={"landed": LANDING})
    context: dict[str, Any] = {
        "params": {"landed": None if by_event else LANDING},
        "triggering_asset_events": {"asset": [event]} if by_event else {},
    }
    assert LocateLandingOperator(task_id="locate").execute(context) == {
        "bucket": "lake",
        "prefix": "spotify/artists/dt=2026-01-02/run=scheduled_1",
        "dt": "2026-01-02",
        "run": "scheduled_1",
    }


def test_a_run_about_no_landing_is_refused():
    with pytest.raises(BadParameter, match="is not the folder of a landing"):
        LocateLandingOperator(task_id="locate").execute({"params": {}, "triggering_asset_events": {}})


@pytest.mark.parametrize(
    ("other", "agrees"),
    [
        ({"n": "3000000", "mean": "41.1666670"}, True),
        ({"n": "3000000", "mean": "4.1166667e1"}, True),
        ({"n": "3000000", "mean": "41.2"}, False),
        ({"n": "3000000", "mean": ""}, False),
        ({"n": "3000001", "mean": "41.166667"}, False),
        ({"n": "3000000"}, False),
    ],
)
def test_counts_are_the_same_and_means_agree_to_a_millionth_part(other: dict[str, str], agrees: bool):
    assert _agree({"n": "3000000", "mean": "41.166667"}, other) is agrees


def test_the_resources_are_made_once(lake: Settings):
    aws_resources.ensure(lake)
    assert aws_resources.client(lake, "dynamodb").list_tables()["TableNames"] == sorted(aws_resources.TABLES)
