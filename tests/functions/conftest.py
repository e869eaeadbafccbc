"""The Cloud Function as it is deployed: unpacked from its zip, and served by functions-framework."""

import os
import threading
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from include.functions import package
from local_cloud import airflow_env
from local_cloud.apis import testing as fake_api
from local_cloud.settings import Settings
from tests.functions.harness import ACCOUNT, AUDIENCE, Function, Issuer, ask_for, serving
from windrow.model.plan import Run
from windrow.model.queue_task import Call
from windrow.store.staging import Staging


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip as it is deployed, unpacked."""
    folder = tmp_path_factory.mktemp("function")
    package.write_zip(package.contents("fetch_passenger"), folder / "function.zip")
    with zipfile.ZipFile(folder / "function.zip") as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="session")
def database() -> str:
    return f"test_{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def settings(cloud: Settings, api_server: fake_api.FakeApi, issuer: Issuer, database: str) -> dict[str, str]:
    """What the environment of a good function says."""
    return {
        "MONGO_URL": os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud),
        "MONGO_DATABASE": database,
        "API_URL": api_server.url,
        "API_CLIENT_ID": api_server.client.client_id,
        "API_CLIENT_SECRET": api_server.client.client_secret,
        "API_TOKEN_PATH": "/oauth/token",
        "OIDC_AUDIENCE": AUDIENCE,
        "OIDC_SERVICE_ACCOUNT": ACCOUNT,
        "OIDC_CERTS_URL": issuer.url,
    }


@pytest.fixture(scope="session")
def function(unpacked: Path, issuer: Issuer, settings: dict[str, str]) -> Iterator[Function]:
    with serving(unpacked, issuer, settings) as served:
        yield served


@pytest.fixture
def staging(mongo: MongoClient, database: str) -> Staging:
    """The staging that the function writes to."""
    return Staging(mongo, database)


@pytest.fixture
def run() -> Run:
    return Run("titanic_passengers", f"manual__{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def names(api_server: fake_api.FakeApi) -> list[str]:
    """The passengers that the API knows."""
    api_server.heal()  # whatever the test before has left
    return sorted(set(api_server.get("/get_user_list", api_server.token()).json()["users"]))


@pytest.fixture
def call(run: Run, names: list[str]) -> Call:
    return ask_for(run, names[0])
