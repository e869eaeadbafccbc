"""What integration tests share: buckets and warehouses, through the connections that tasks use."""

import functools
import importlib
import json
import os
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.google.cloud.hooks import bigquery as hooks
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud import airflow_env
from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube.oauth import DEMO_REFRESH_TOKEN
from local_cloud.settings import BUCKET, LOOPBACK, PROJECT_ID, Settings
from tests.integration.tables import AthenaTables, BigQueryTables, Tables
from tests.local_cloud.aws.conftest import clients
from tests.scripted_api import ScriptedApi
from tests.shared_cloud import SharedCloud
from windrow.airflow.hooks import athena
from windrow.airflow.hooks.stores import GcsStore
from windrow.model.table import Warehouse

CONNECTION = "google_cloud_default"
KEY = "a-key-of-the-examples"
"""The key of the connections ``weather``, ``desk`` and ``shop_north``."""
_EMULATORS = Path(__file__).resolve().parents[2] / "local_cloud" / "airflow_settings"


def youtube_connection(api: FakeApi) -> str:
    """Return the Airflow connection to the fake YouTube, as JSON."""
    return json.dumps({
        "conn_type": "http",
        "host": api.url,
        "login": api.client.client_id,
        "password": api.client.client_secret,
        "extra": {"token_path": "/token", "refresh_token": DEMO_REFRESH_TOKEN},
    })


@pytest.fixture(scope="session")
def lake(shared: SharedCloud) -> Settings:
    """S3, DynamoDB, SQS, Athena and MongoDB of the local cloud."""
    return shared.need("aws", "athena", "mongo")


@pytest.fixture(scope="session")
def quick_clients() -> Iterator[None]:
    """Make a client of AWS in milliseconds, as each test makes a dozen: a task, which makes one or two, need not care.

    Botocore reads its description of AWS anew for each session: half a second of CPU, here once for all. To name the
    caller in the user agent, Airflow looks through the sources of all modules in the stack, which below pytest is deep.
    Athena takes seconds for a statement, and its stand-in milliseconds, so here a task looks more often.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        patch.setattr(athena, "LOOK_S", 0.02)
        patch.setattr(AwsGenericHook, "_get_caller", lambda self, *_: "Unknown")
        yield


@pytest.fixture
def store(cloud: Settings, monkeypatch: pytest.MonkeyPatch) -> GcsStore:
    """The bucket, which is made if it is not there. BigQuery is reached by the same connection."""
    connection = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": PROJECT_ID}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(connection))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.gcs_url)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", cloud.bigquery_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT_ID)
    http = HTTPConnection(LOOPBACK, cloud.gcs_port, timeout=10)
    headers = {"Content-Type": "application/json"}
    http.request("POST", f"/storage/v1/b?project={PROJECT_ID}", json.dumps({"name": BUCKET}), headers)
    assert http.getresponse().status in {200, 409}  # 409: it is there
    http.close()
    return GcsStore(BUCKET, CONNECTION)


@pytest.fixture
def connections(cloud: Settings, scripted: ScriptedApi, store: GcsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's connections to the local cloud, and to the scripted API, for DAGs that run in this process."""
    for name, value in airflow_env.airflow_environment(cloud, {}).items():
        if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AWS_")) or "EMULATOR" in name:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(hooks, "build", hooks.build)  # restored at the end
    monkeypatch.syspath_prepend(str(_EMULATORS))
    importlib.import_module("google_clients").keep_on_emulators(os.environ)
    auth = {
        "WEATHER": {"auth": "query_key", "param": "apikey", "api_key": KEY},
        "DESK": {"auth": "header_key", "header": "X-Api-Key", "api_key": KEY},
        "ORDERS": {},
        "SHOP_NORTH": {"auth": "header_key", "header": "X-Api-Key", "api_key": KEY},
        "SHOP_SOUTH": {"auth": "header_key", "header": "X-Api-Key", "api_key": f"{KEY}-of-the-south"},
    }
    for name, extra in auth.items():
        connection = {"conn_type": "http", "host": scripted.url, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


@pytest.fixture
def athena_tables(lake: Settings, quick_clients: None) -> AthenaTables:
    """The tables of Athena."""
    return AthenaTables(*map(clients(lake), ("athena", "glue", "s3")))


@pytest.fixture
def tables(request: pytest.FixtureRequest, cloud: Settings, connections: None) -> Tables:
    """The tables of a warehouse, which is the param; without one, of BigQuery."""
    if getattr(request, "param", Warehouse.BIGQUERY) is Warehouse.ATHENA:
        return request.getfixturevalue("athena_tables")
    options = {"api_endpoint": cloud.bigquery_url}
    return BigQueryTables(bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options))


def rows(client: bigquery.Client, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    return [dict(row) for row in client.query_and_wait(sql)]
