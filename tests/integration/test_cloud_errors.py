"""Errors of the cloud services as they arrive over HTTP, through the real clients, up to the decision of Airflow."""

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.amazon.aws.hooks.glue_crawler import GlueCrawlerHook
from airflow.sdk.definitions.retry_policy import RetryAction

from tests.scripted_api import Reply, ScriptedApi
from windrow.airflow.hooks import stores
from windrow.airflow.hooks.athena import Athena
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.bigquery import LoadOperator, SqlOperator
from windrow.airflow.operators.failure import story
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.model.errors import StatementFailed, WarehouseBusy

GOOGLE, AWS = "google_cloud_default", "aws_default"
LOADER = functools.cache(botocore.session.create_loader)


@pytest.fixture(autouse=True)
def connections(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead every client to the scripted server, and let each call once."""
    config = {"retries": {"total_max_attempts": 1}}
    aws = {"endpoint_url": scripted.url, "region_name": "us-east-1", "config_kwargs": config}
    for conn_id, connection in {
        GOOGLE: {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "p"}},
        AWS: {"conn_type": "aws", "login": "a", "password": "b", "extra": aws},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", scripted.url)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", scripted.url)
    monkeypatch.setattr(stores, "GCS_TRIED_S", 0.1)
    # as in spotify/conftest.py: a client of AWS takes a second otherwise
    monkeypatch.setattr(botocore.session, "create_loader", LOADER)
    monkeypatch.setattr(AwsGenericHook, "_get_caller", lambda self, *_: "Unknown")


def google(status: int, reason: str, message: str = "-") -> Reply:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return Reply({"error": error}, status, {"Content-Type": "application/json"})


def aws(status: int, code: str) -> Reply:
    return Reply({"__type": code, "message": "-"}, status)


def s3(status: int, code: str) -> Reply:
    return Reply(f"<Error><Code>{code}</Code><Message>-</Message></Error>", status)


def execute(operator: Any) -> None:
    now = datetime.now(UTC)
    instance = SimpleNamespace(try_number=1, xcom_push=lambda **_: None, dag_id="d", task_id="t", start_date=now)
    run = SimpleNamespace(run_after=now, logical_date=None, start_date=now)
    operator.execute({"ti": instance, "task_instance": instance, "run_id": "r", "dag_run": run})


def merge() -> None:
    execute(SqlOperator(task_id="merge", sql="SELECT 1"))


def load() -> None:
    execute(
        LoadOperator(
            task_id="load",
            bucket="b",
            source_objects=["o"],
            source_format="PARQUET",
            destination_project_dataset_table="d.t",
            autodetect=None,
        )
    )


def put_to_gcs() -> None:
    open_store("gs://b", GOOGLE).put("o", b"x")


def put_to_s3() -> None:
    open_store("s3://b", GOOGLE).put("o", b"x")


def get_item() -> None:
    DynamoTable(AWS, "t", key="k").get("a")


def get_crawler() -> None:
    GlueCrawlerHook(aws_conn_id=AWS).has_crawler("c")


def ask_athena() -> None:
    Athena(AWS, "s3://b/results/").ask("SELECT 1")


@pytest.mark.parametrize(
    ("call", "reply", "wanted", "says"),
    [
        (merge, google(400, "jobBackendError"), RetryAction.RETRY, "BigQuery jobBackendError"),
        (merge, google(400, "invalidQuery"), RetryAction.FAIL, "Fix the SQL or its table"),
        (load, google(400, "jobRateLimitExceeded"), RetryAction.RETRY, "BigQuery jobRateLimitExceeded"),
        (load, google(403, "accessDenied"), RetryAction.FAIL, "Give the account of the Airflow connection"),
        (put_to_gcs, google(429, "rateLimitExceeded"), RetryAction.RETRY, "too many requests"),
        (put_to_gcs, google(503, "backendError"), RetryAction.RETRY, "the service is not available"),
        (put_to_gcs, google(403, "forbidden"), RetryAction.FAIL, "Give the account of the Airflow connection"),
        (put_to_s3, s3(503, "SlowDown"), RetryAction.RETRY, "S3 SlowDown"),
        (put_to_s3, s3(403, "AccessDenied"), RetryAction.FAIL, "in the IAM policy"),
        (get_item, aws(400, "ProvisionedThroughputExceededException"), RetryAction.RETRY, "no capacity left"),
        (get_item, aws(400, "ResourceNotFoundException"), RetryAction.FAIL, "Check the names"),
        (get_crawler, aws(400, "ConcurrentModificationException"), RetryAction.RETRY, "Glue ConcurrentModification"),
        (get_crawler, aws(400, "InvalidInputException"), RetryAction.FAIL, "Check the value that the message names"),
        (ask_athena, aws(400, "TooManyRequestsException"), RetryAction.RETRY, "too many requests"),
        (ask_athena, aws(400, "InvalidRequestException"), RetryAction.FAIL, "Check the value that the message names"),
    ],
)
def test_a_temporary_error_is_tried_again_and_another_says_what_to_do(
    scripted: ScriptedApi, call: Callable[[], None], reply: Reply, wanted: RetryAction, says: str
):
    scripted.answers(reply)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each client has errors of its own
        call()
    assert scripted.asked, raised.value
    assert ErrorPolicy().evaluate(raised.value, 1, 3).action is wanted
    task = SimpleNamespace(task_id="t")
    line = story({"task_instance": task, "run_id": "r", "exception": raised.value})  # type: ignore[typeddict-item]
    assert says in line
    assert ("temporary" in line) == (wanted is RetryAction.RETRY)


@pytest.mark.parametrize(
    ("status", "raises"),
    [
        ({"StateChangeReason": "HIVE_CANNOT_OPEN_SPLIT: ... Slow Down (Status Code: 503)"}, WarehouseBusy),
        ({"StateChangeReason": "Rate exceeded (Service: AWSGlue; Status Code: 400)"}, WarehouseBusy),
        ({"StateChangeReason": "INTERNAL_ERROR_QUERY_ENGINE"}, WarehouseBusy),
        ({"StateChangeReason": "Query exhausted resources at this scale factor"}, WarehouseBusy),
        ({"StateChangeReason": "Encountered too many errors talking to a worker node."}, WarehouseBusy),
        ({"StateChangeReason": "-", "AthenaError": {"Retryable": True}}, WarehouseBusy),
        ({"StateChangeReason": "SYNTAX_ERROR", "AthenaError": {"Retryable": False}}, StatementFailed),
        ({"StateChangeReason": "Query was cancelled", "State": "CANCELLED"}, StatementFailed),
    ],
)
def test_a_failed_query_of_athena_is_judged_by_its_reason(
    scripted: ScriptedApi, status: dict[str, Any], raises: type[Exception]
):
    query = {"QueryExecutionId": "q", "Status": {"State": "FAILED"} | status}
    scripted.answers(Reply({"QueryExecutionId": "q", "QueryExecution": query}))
    with pytest.raises(raises) as raised:
        ask_athena()
    wanted = RetryAction.FAIL if raises is StatementFailed else RetryAction.DEFAULT
    assert ErrorPolicy().evaluate(raised.value, 1, 3).action is wanted
