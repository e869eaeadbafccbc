"""One local cloud with Airflow for all end-to-end tests: each module has a DAG, and leaves healthy APIs behind."""

import os
from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from local_cloud import airflow_env
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import BUCKET, PROJECT_ID
from local_cloud.testing import running
from tests.e2e.system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("e2e")
    refusals = folder / "beyond_loopback.log"
    os.environ["BEYOND_LOOPBACK_LOG"] = str(refusals)
    with running(None, folder / "var") as settings:
        del os.environ["BEYOND_LOOPBACK_LOG"]
        anonymous = AnonymousCredentials()
        yield System(
            settings,
            AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password),
            bigquery.Client(PROJECT_ID, anonymous, client_options={"api_endpoint": settings.bigquery_url}),
            storage.Client(PROJECT_ID, anonymous, client_options={"api_endpoint": settings.gcs_url}).bucket(BUCKET),
        )
    assert not refusals.exists(), f"something reached beyond this machine:\n{refusals.read_text()}"
