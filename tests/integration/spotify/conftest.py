"""The AWS side, MongoDB and the fake Spotify, with the connections that the DAGs use."""

import functools
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

from local_cloud import airflow_env, aws_resources
from local_cloud.apis.testing import FakeApi
from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from windrow.airflow.hooks import athena


@pytest.fixture(scope="session")
def lake(shared: SharedCloud) -> Settings:
    """S3, DynamoDB, SQS, Athena and MongoDB of the local cloud."""
    return shared.need("aws", "athena", "mongo")


@pytest.fixture(scope="session", autouse=True)
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
        "dag_run": SimpleNamespace(conf={}, logical_date=None, run_after=datetime.now(UTC)),
        "triggering_asset_events": {},
    }
