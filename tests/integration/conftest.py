"""What integration tests share: the bucket, through the connection that tasks use."""

import json
from http.client import HTTPConnection

import pytest

from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube.oauth import DEMO_REFRESH_TOKEN
from local_cloud.settings import BUCKET, LOOPBACK, PROJECT_ID, Settings
from windrow.airflow.hooks.stores import GcsStore

CONNECTION = "google_cloud_default"


def youtube_connection(api: FakeApi) -> str:
    """Return the Airflow connection to the fake YouTube, as JSON."""
    return json.dumps({
        "conn_type": "http",
        "host": api.url,
        "login": api.client.client_id,
        "password": api.client.client_secret,
        "extra": {"token_path": "/token", "refresh_token": DEMO_REFRESH_TOKEN},
    })


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
