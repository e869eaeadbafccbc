"""The AWS side, MongoDB and the fake Spotify, with the connections that the DAGs use."""

import json
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from local_cloud import airflow_env, aws_resources
from local_cloud.apis.testing import FakeApi
from local_cloud.settings import Settings


@pytest.fixture(scope="session")
def dynamodb(lake: Settings, quick_clients: None) -> Any:
    return aws_resources.client(lake, "dynamodb")


@pytest.fixture(scope="session")
def sqs(lake: Settings, quick_clients: None) -> Any:
    return aws_resources.client(lake, "sqs")


@pytest.fixture
def spotify(api: FakeApi) -> FakeApi:
    api.request("DELETE", "/_admin/spotify")
    return api


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, lake: Settings, dynamodb: Any, spotify: FakeApi) -> None:
    """Set what the local cloud sets for Airflow, with a database and tables as good as new."""
    _, port = spotify.address
    settings = Settings(root=lake.root, var=lake.var, **ports_of(lake) | {"api_port": port})
    environment = airflow_env.airflow_environment(settings, {})
    mongo = json.loads(environment["AIRFLOW_CONN_MONGO_DEFAULT"]) | {"schema": f"test_{uuid.uuid4().hex}"}
    environment["AIRFLOW_CONN_MONGO_DEFAULT"] = json.dumps(mongo)
    for name, value in environment.items():
        if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AWS_")):
            monkeypatch.setenv(name, value)
    for table, key in aws_resources.TABLES.items():
        for item in dynamodb.scan(TableName=table)["Items"]:
            dynamodb.delete_item(TableName=table, Key={key: item[key]})


def ports_of(settings: Settings) -> dict[str, int]:
    return {name: value for name, value in vars(settings).items() if name.endswith("_port")}


@pytest.fixture
def context() -> dict[str, Any]:
    """What the operators read of a task's context."""
    return {
        "run_id": f"test__{uuid.uuid4().hex}",
        "params": {},
        "dag_run": SimpleNamespace(
            conf={}, logical_date=None, run_after=datetime.now(UTC), run_type=SimpleNamespace(value="manual")
        ),
        "triggering_asset_events": {},
    }
