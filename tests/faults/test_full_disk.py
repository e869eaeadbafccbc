"""A disk that is really full, for a bucket and for each warehouse: the line of the task says so, and nothing is lost.

The service has a small file system of its own, in a user namespace, so that no root is needed.
"""

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
import requests
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.sdk.definitions.retry_policy import RetryAction
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud import airflow_env, aws_resources
from local_cloud.services import select, table
from local_cloud.settings import LAKE, PROJECT_ID, Settings
from local_cloud.testing import free_settings
from windrow.airflow.hooks import stores
from windrow.airflow.hooks.athena import Athena
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.stores import GcsStore, S3Store
from windrow.airflow.operators.failure import story
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.landing.files import ObjectStore
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.staging import opened

GOOGLE, AWS = "google_cloud_default", "aws_default"
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = 'mount -t tmpfs -o size=24m windrow "$0" && exec "$@"'
OLD, NEW = b"old" * 1_000, b"new" * 100_000
MANY = "SELECT n, REPEAT('y', 1000) FROM UNNEST(GENERATE_ARRAY(1, 9000)) AS n"


def has_namespaces() -> bool:
    tried = ["true"] if sys.platform != "linux" else [*NAMESPACE, "true"]
    with contextlib.suppress(OSError):
        return sys.platform == "linux" and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    return False


pytestmark = pytest.mark.skipif(not has_namespaces(), reason="this machine allows no user namespaces")


class Disk:
    """The file system of a process."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._ballast = Path(f"/proc/{pid}/root{folder}/ballast")

    def fill(self, *, spare: int = 0) -> None:
        """Leave so many bytes."""
        for piece in (bytes(1 << 16), bytes(1)):
            with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
                while True:
                    file.write(piece)
        os.truncate(self._ballast, self._ballast.stat().st_size - spare)

    def free(self) -> None:
        self._ballast.unlink()


@contextlib.contextmanager
def running(name: str, settings: Settings, *, small: bool = True) -> Iterator[Disk]:
    """Run a service of the local cloud until the block ends; its folder is a small file system."""
    (service,) = select(table(settings, os.environ), [name])
    folder, log = settings.var / name, settings.var / f"{name}.log"
    folder.mkdir(parents=True)
    command = [*NAMESPACE, "sh", "-c", MOUNT, str(folder), *service.argv] if small else [*service.argv]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, env=dict(service.environment), cwd=settings.root, stdout=output, stderr=output
        ) as process,
    ):
        try:
            while not service.healthy(datetime.now(UTC)):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield Disk(folder, process.pid)
        finally:
            process.terminate()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A local cloud that does not run yet, and the connections to it."""
    settings = free_settings(tmp_path / "var")
    options = {"region_name": "us-east-1", "config_kwargs": {"retries": {"total_max_attempts": 1}}}
    options["service_config"] = {name: {"endpoint_url": settings.athena_url} for name in ("athena", "glue")}
    for conn_id, connection in {
        GOOGLE: {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": PROJECT_ID}},
        AWS: {"conn_type": "aws", "login": "a", "password": "b", "extra": {"endpoint_url": settings.aws_url} | options},
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", settings.gcs_url)
    monkeypatch.setattr(stores, "GCS_TRIED_S", 0.2)
    # as in integration/conftest.py: each client of AWS takes a second otherwise
    monkeypatch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
    monkeypatch.setattr(AwsGenericHook, "_get_caller", lambda self, *_: "Unknown")
    return settings


def says_full(call: Callable[[], Any], *, retried: RetryAction = RetryAction.RETRY) -> None:
    """Expect the error of a task whose line names what is full, and that is tried again."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each client has errors of its own
        call()
    instance = SimpleNamespace(task_id="t", task=None)
    line = story({"task_instance": instance, "run_id": "r", "exception": raised.value})  # type: ignore[typeddict-item]
    assert "its disk is full" in line, line
    assert "What to do: Free space on this disk" in line
    assert ErrorPolicy().evaluate(raised.value, 1, 3).action is retried


def fills_a_bucket(store: ObjectStore, disk: Disk) -> None:
    store.put("kept", OLD)
    disk.fill()
    says_full(lambda: store.put("new", NEW))
    says_full(lambda: store.put_file("file", io.BytesIO(NEW)))
    assert store.get("kept") == OLD
    disk.free()
    store.put("new", NEW)
    store.put_file("file", io.BytesIO(NEW))
    assert {name: store.get(name) for name in store.names("")} == {"kept": OLD, "new": NEW, "file": NEW}


def test_a_bucket_of_cloud_storage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with running("gcs", settings) as disk:
        made = requests.post(f"{settings.gcs_url}/storage/v1/b?project={PROJECT_ID}", json={"name": LAKE}, timeout=10)
        assert made.status_code == 200
        store = GcsStore(LAKE, GOOGLE)
        fills_a_bucket(store, disk)
        disk.fill()
        says_full(lambda: store.put("kept", NEW))
        assert store.get("kept") == OLD, "until all of the new object is written, the old one stays"
        disk.free()
        disk.fill(spare=len(NEW) * 3 // 2)  # the upload arrives, but there is no room for the object
        monkeypatch.setattr(stores, "GCS_TRIED_S", 1.5)  # so its client sends it again
        says_full(lambda: store.put_file("later", io.BytesIO(NEW)))
        disk.free()
        store.put_file("later", io.BytesIO(NEW))
        assert store.get("later") == NEW


def test_a_bucket_of_s3_with_athena_and_dynamodb(settings: Settings) -> None:
    item, other = ({"artist_id": key, "fetched_at": "2026-01-01", "name": "n" * 1_000} for key in "ab")
    with running("aws", settings) as disk, running("athena", settings, small=False):
        aws_resources.ensure(settings)
        fills_a_bucket(S3Store(LAKE, AWS), disk)
        items = DynamoTable(AWS, "top_tracks", key="artist_id")
        athena = Athena(AWS, f"s3://{LAKE}/results/")
        assert [*athena.ask("SELECT 1 AS x")] == [{"x": "1"}]
        items.put([item])
        disk.fill()
        says_full(lambda: items.put([other]))
        says_full(lambda: [*athena.ask("SELECT 2 AS x")], retried=RetryAction.DEFAULT)
        assert items.get("a") == item
        disk.free()
        items.put([other])
        assert sorted(one["artist_id"] for one in items.all()) == ["a", "b"]
        assert [*athena.ask("SELECT 2 AS x")] == [{"x": "2"}]


def test_bigquery(settings: Settings) -> None:
    with running("bigquery", settings) as disk:
        options = {"api_endpoint": settings.bigquery_url}
        client = bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options)
        client.create_dataset("d")

        def run(sql: str) -> list[Any]:
            return [tuple(row) for row in client.query(sql).result(timeout=60)]

        run("CREATE TABLE d.t AS SELECT 0 AS n, 'x' AS x")
        for _ in range(2):  # the second time its jobs find no room either
            disk.fill()
            says_full(lambda: run(f"INSERT INTO d.t {MANY}"))
        disk.free()
        assert run("SELECT COUNT(*) FROM d.t") == [(1,)]
        run(f"INSERT INTO d.t {MANY}")
        assert run("SELECT COUNT(*), COUNT(DISTINCT n), MAX(n) FROM d.t") == [(9001, 9001, 9000)]


def test_mongodb(settings: Settings) -> None:
    run, queries = Run("ships", "r"), [Query.of("/ship", {"name": str(number)}) for number in range(3)]
    answers = [
        (0, Answer(query, Outcome.ANSWERED, 200, str(number) * 1_000_000, datetime(2026, 1, 1, tzinfo=UTC)))
        for number, query in enumerate(queries)
    ]
    with running("mongo", settings) as disk, opened(airflow_env.mongo_url(settings), "windrow") as staging:
        staging.save_plan(run, queries)
        staging.stage(run, answers[:1])
        disk.fill()
        with pytest.raises(StagingUnavailable) as raised:
            staging.stage(run, answers[1:])
        assert raised.value.what.startswith("The disk of MongoDB is full"), raised.value
        assert "Free space on the disk of MongoDB" in raised.value.advice
        disk.free()
        staging.stage(run, answers[1:])
        assert staging.answers(staging.chunk(run, 0)) == [answer for _, answer in answers]
