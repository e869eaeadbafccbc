"""Services that take a connection and then say nothing, or stop in the middle: every wait for one has an end."""

import asyncio
import contextlib
import functools
import importlib
import io
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import botocore.session
import grpc
import pytest
import requests
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.providers.amazon.aws.triggers.athena import AthenaTrigger
from airflow.providers.google.cloud.hooks.tasks import CloudTasksHook
from airflow.providers.google.cloud.operators.bigquery import BigQueryCheckOperator
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from botocore.exceptions import BotoCoreError
from google.api_core.exceptions import DeadlineExceeded, RetryError
from google.api_core.retry import Retry
from google.cloud.bigquery.retry import DEFAULT_RETRY
from google.cloud.pubsub_v1.types import PublisherOptions
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from windrow.airflow.hooks import bigquery, broker, cloud_tasks, pubsub, stores
from windrow.airflow.hooks.athena import Athena, failed
from windrow.airflow.hooks.cloud_tasks import Endpoint, Rates, TaskQueue
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.pubsub import Subscription
from windrow.airflow.hooks.sqs import Queue
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators import alert
from windrow.airflow.operators.alert import EmailAlert, WebhookAlert
from windrow.airflow.operators.athena import CrawlOperator
from windrow.airflow.operators.bigquery import LoadOperator, SqlFileOperator, prepare_datasets
from windrow.airflow.operators.builds import ThrowAwayBuildsOperator
from windrow.airflow.operators.prove import count_in_warehouse
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.airflow.triggers.pubsub import MessagesWaiting
from windrow.model.errors import BrokerUnavailable, Unanswered
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.queue_task import Call
from windrow.sources.spotify.recorder import RequestsTrigger
from windrow.sources.x.publisher import outlet
from windrow.ui import boards

FUNCTIONS = Path(__file__).resolve().parents[2] / "include" / "functions"
RUN = Run("shop_orders", "manual")
CONN = "silent"
LIMIT_S = 0.1
PATIENCE_S = 5.0
"""Far below each limit as it is without this module's settings, and far above what they ask for."""
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
GRPC = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The first frame of a server of HTTP/2."""
LOADER = functools.cache(botocore.session.create_loader)

pytestmark = pytest.mark.timeout(PATIENCE_S)


class Silent:
    """Takes connections, says the same beginning on each, and then nothing."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning
        self._ear = socket.create_server(("127.0.0.1", 0))
        self._links: list[socket.socket] = []
        self.port = self._ear.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._ear.accept()
                self._links.append(link)
                link.sendall(self._beginning)

    @property
    def asked(self) -> int:
        return len(self._links)

    def close(self) -> None:
        for one in (self._ear, *self._links):
            one.close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Silent]]:
    """Make a silent server, and lead every client to it. Limits are as long as a test can wait."""
    servers: list[Silent] = []

    def start(beginning: bytes) -> Silent:
        server = Silent(beginning)
        servers.append(server)
        google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "p"}}
        config = {"connect_timeout": LIMIT_S, "read_timeout": LIMIT_S, "retries": {"total_max_attempts": 1}}
        aws = {"endpoint_url": server.url, "region_name": "us-east-1", "config_kwargs": config}
        mail = {"from_email": "a@b.c", "to": "d@e.f", "disable_ssl": True, "disable_tls": True}
        at = {"host": "127.0.0.1", "port": server.port}
        for conn_id, connection in {
            CONN: google,
            "aws": {"conn_type": "aws", "login": "a", "password": "b", "extra": aws},
            "redis": {"conn_type": "redis", **at},
            "redis_tls": {"conn_type": "redis", **at, "extra": {"ssl": True}},
            alert.WEBHOOK: {"conn_type": "http", "host": server.url},
            alert.EMAIL: {"conn_type": "smtp", **at, "extra": mail | {"timeout": 1, "retry_limit": 0}},
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{server.port}")
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        client = CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        monkeypatch.setattr(CloudTasksHook, "get_conn", lambda self: client)
        return server

    # as in spotify/conftest.py: a client of AWS takes a second otherwise
    monkeypatch.setattr(botocore.session, "create_loader", LOADER)
    monkeypatch.setattr(AwsGenericHook, "_get_caller", lambda self, *_: "Unknown")
    for module, name in (
        (bigquery, "CALL_S"),
        (boards, "PATIENCE_S"),
        (broker, "_TIMEOUT_S"),
        (cloud_tasks, "CALL_S"),
        (pubsub, "CALL_S"),
        (outlet, "CALL_S"),
        (stores, "GCS_CALL_S"),
        (stores, "GCS_TRIED_S"),
        (alert, "TIMEOUT_S"),
    ):
        assert getattr(module, name) > 1
        monkeypatch.setattr(module, name, LIMIT_S)
    monkeypatch.setattr(DEFAULT_RETRY, "_timeout", LIMIT_S)  # BigQuery's own ten minutes, which operators hand over
    yield start
    for server in servers:
        server.close()


def context() -> dict[str, Any]:
    instance = SimpleNamespace(
        try_number=1, xcom_push=lambda **_: None, dag_id="d", task_id="t", start_date=datetime.now(UTC)
    )
    run = SimpleNamespace(run_after=datetime.now(UTC), logical_date=None, start_date=datetime.now(UTC))
    return {"ti": instance, "task_instance": instance, "run_id": "r", "dag_run": run, "exception": ValueError("no")}


def execute(operator: Any) -> None:
    operator.execute(context())


def redis(conn_id: str) -> None:
    with broker.broker(conn_id, RUN) as queue:
        queue.open()


def enqueue() -> None:
    call = Call(RUN, 0, Query.of("/items"))
    TaskQueue(CONN, "l", "q").enqueue([call], Endpoint("http://127.0.0.1:1", "a@b.c", "x"))


def sql_file() -> SqlFileOperator:
    operator = SqlFileOperator(task_id="sql", path="x.sql", gcp_conn_id=CONN)
    operator.configuration["query"]["query"] = "SELECT 1"
    return operator


def cancel() -> None:
    """Do what Airflow does with a task that has run too long."""
    operator = sql_file()
    with contextlib.suppress(RetryError):
        execute(operator)
    operator.on_kill()


def load() -> LoadOperator:
    return LoadOperator(
        task_id="load",
        gcp_conn_id=CONN,
        bucket="b",
        source_objects=["o"],
        source_format="PARQUET",
        destination_project_dataset_table="d.t",
        autodetect=None,
    )


async def publish() -> None:
    """Publish, with a shorter patience than the client's own ten minutes."""
    publisher = outlet.Outlet("p", "t")
    publisher._client.publisher_options = PublisherOptions(retry=Retry(timeout=LIMIT_S), timeout=LIMIT_S)
    await publisher.publish(b"post", 0.0)
    await publisher._settled.wait()
    publisher.check()


async def prepare_outlet() -> None:
    await asyncio.to_thread(outlet.Outlet("p", "t").prepare, "s")


class Nothing:
    """Where a watcher stores messages: no message comes here."""

    def is_waiting(self) -> bool:
        return False

    def handle(self, messages: object) -> bool:
        raise AssertionError(messages)


async def watch() -> None:
    async with await SqsHook(aws_conn_id="aws").get_async_conn() as client:
        await anext(RequestsTrigger("q")._stored(client, Nothing()))


async def wait_for_query() -> None:
    async for _ in AthenaTrigger("id", waiter_delay=1, waiter_max_attempts=3, aws_conn_id="aws").run():
        pass


def s3() -> Any:
    return open_store("s3://b", CONN, "aws")


def gcs() -> Any:
    return open_store("gs://b", CONN)


CALLS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    "redis": (b"+O", lambda: redis("redis")),
    "redis, TLS": (b"\x16\x03", lambda: redis("redis_tls")),
    "gcs put": (HTTP, lambda: gcs().put("o", b"data")),
    "gcs get": (HTTP, lambda: gcs().get("o")),
    "gcs put file": (HTTP, lambda: gcs().put_file("o", io.BytesIO(b"data"))),
    "gcs get file": (HTTP, lambda: gcs().get_file("o", io.BytesIO())),
    "gcs names": (HTTP, lambda: gcs().names("")),
    "gcs delete": (HTTP, lambda: gcs().delete("o")),
    "s3 put": (HTTP, lambda: s3().put("o", b"data")),
    "s3 get": (HTTP, lambda: s3().get("o")),
    "s3 put file": (HTTP, lambda: s3().put_file("o", io.BytesIO(b"data"))),
    "s3 get file": (HTTP, lambda: s3().get_file("o", io.BytesIO())),
    "s3 names": (HTTP, lambda: s3().names("")),
    "s3 delete": (HTTP, lambda: s3().delete("o")),
    "athena": (HTTP, lambda: list(Athena("aws", "s3://b/").ask("SELECT 1"))),
    "athena, triggerer": (HTTP, lambda: asyncio.run(wait_for_query())),
    "glue": (HTTP, lambda: execute(ThrowAwayBuildsOperator(task_id="t", table="d.t", aws_conn_id="aws"))),
    "glue crawler": (
        HTTP,
        lambda: execute(
            CrawlOperator(task_id="c", database="d", paths=["s3://b/"], wanted="True", role="r", aws_conn_id="aws")
        ),
    ),
    "dynamodb get": (HTTP, lambda: DynamoTable("aws", "t", key="k").get("a")),
    "dynamodb put": (HTTP, lambda: DynamoTable("aws", "t", key="k").put([{"k": "a", "fetched_at": "2026"}])),
    "sqs": (HTTP, lambda: Queue("aws", "q")),
    "sqs, triggerer": (HTTP, lambda: asyncio.run(watch())),
    "bigquery, count": (HTTP, lambda: count_in_warehouse(CONN, "SELECT 1")),
    "bigquery, board": (HTTP, lambda: boards.rows("x_posts", CONN)),
    "bigquery, SQL file": (HTTP, lambda: execute(sql_file())),
    "bigquery, load": (HTTP, lambda: execute(load())),
    "bigquery, cancel": (HTTP, cancel),
    "pubsub acknowledge": (GRPC, lambda: Subscription(CONN, "s").acknowledge(["a"])),
    "pubsub lease": (GRPC, lambda: Subscription(CONN, "s").lease(["a"], 9)),
    "cloud tasks, prepare": (GRPC, lambda: TaskQueue(CONN, "l", "q").prepare(Rates())),
    "cloud tasks, enqueue": (GRPC, enqueue),
    "cloud tasks, state": (GRPC, lambda: TaskQueue(CONN, "l", "q").state()),
    "cloud tasks, is it empty": (GRPC, lambda: TaskQueue(CONN, "l", "q").is_empty()),
    "publisher, prepare": (GRPC, lambda: asyncio.run(prepare_outlet())),
    "publisher, publish": (GRPC, lambda: asyncio.run(publish())),
}
THEIRS = (DeadlineExceeded, RetryError, requests.RequestException, BotoCoreError)
OURS = {"redis": BrokerUnavailable, "redis, TLS": BrokerUnavailable}
OURS |= {"publisher, prepare": Unanswered, "publisher, publish": Unanswered}


ONE_CLIENT = ("s3 put", "s3 names", "s3 delete", "athena", "glue", "dynamodb", "sqs")
"""What differs little from "s3 get": boto's calls all end in one function."""


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        (name, stops)
        for name in CALLS
        for stops in ("at once", "in the middle")
        if stops == "at once" or not name.startswith(ONE_CLIENT)
    ],
)
def test_a_call_to_a_silent_service_ends_with_an_error_that_is_tried_again(silent: Any, name: str, stops: str):
    beginning, call = CALLS[name]
    server = silent(beginning if stops == "in the middle" else b"")
    with pytest.raises(OURS.get(name, THEIRS)) as raised:
        call()
    assert server.asked
    assert ErrorPolicy().evaluate(raised.value, 1, 3).action is not RetryAction.FAIL


def test_a_query_of_athena_that_does_not_end_is_tried_again():
    told = {"QueryExecution": {"Status": {"State": "RUNNING"}}}
    error = failed(mock.Mock(**{"get_query_info.return_value": told}), "id")
    assert "its state is still RUNNING" in str(error)
    assert ErrorPolicy().evaluate(error, 1, 3).action is not RetryAction.FAIL


def test_a_silent_pubsub_has_no_messages(silent: Any):
    server = silent(GRPC)
    assert Subscription(CONN, "s").pull(1, LIMIT_S, 9) == []
    with mock.patch("windrow.airflow.triggers.pubsub._LOOK_S", LIMIT_S):
        assert MessagesWaiting(subscription="s", gcp_conn_id=CONN).look() is False
    assert server.asked


@pytest.mark.parametrize(("kind", "beginning"), [(WebhookAlert, b""), (WebhookAlert, HTTP), (EmailAlert, b"220 ")])
def test_a_silent_receiver_of_alerts_is_told_in_the_log(silent: Any, kind: Any, beginning: bytes, caplog, capsys):
    server = silent(beginning)
    kind().notify(context())
    assert server.asked
    assert "Sending the alert" in caplog.text + capsys.readouterr().out


# Airflow's own limit and that of pytest-timeout are the same signal: the one of pytest is a thread here.
@pytest.mark.timeout(30, method="thread")
@pytest.mark.parametrize(
    "make",
    [
        lambda: BigQueryCheckOperator(
            task_id="t", sql="SELECT 1", use_legacy_sql=False, gcp_conn_id=CONN, location="US"
        ),
        lambda: prepare_datasets("d")[0],
    ],
)
def test_what_has_no_limit_of_its_own_is_ended_by_that_of_the_task(silent: Any, make: Any, monkeypatch: Any):
    server = silent(b"")
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", os.environ[f"AIRFLOW_CONN_{CONN.upper()}"])
    with pytest.raises(AirflowTaskTimeout) as raised, timeout(0.5):
        execute(make())
    assert server.asked
    assert ErrorPolicy().evaluate(raised.value, 1, 3).action is not RetryAction.FAIL


@pytest.mark.parametrize("beginning", [b"", HTTP])
def test_the_functions_do_not_wait_for_ever(silent: Any, beginning: bytes, monkeypatch: Any):
    server = silent(beginning)
    for folder in ("shared", "posts_to_bigquery"):
        monkeypatch.syspath_prepend(FUNCTIONS / folder)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # the functions' modules have names that others have, too
    caller, environment, writer = map(importlib.import_module, ("caller", "environment", "writer"))
    monkeypatch.setattr(caller, "_FETCH_S", LIMIT_S)
    monkeypatch.setattr(writer, "_TIMEOUT_S", LIMIT_S)
    variables = {"BIGQUERY_TABLE": "project-a.d.t", "BIGQUERY_URL": server.url, "BIGQUERY_ANONYMOUS": "1"}
    with pytest.raises(writer.NotWritten, match="did not answer"):
        writer.Writer(environment.Environment.read(variables))._insert([])
    with pytest.raises(caller.CertificatesUnavailable):
        caller._Certificates(server.url)._fetch()
    assert server.asked == 2
