"""Addresses of buckets. What a store does is tested against a real server in tests/integration."""

import json

import pytest

from windrow.airflow.hooks.stores import GcsStore, open_store
from windrow.model.errors import BadParameter, ConnectionUnusable


@pytest.fixture
def gcp(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps({"conn_type": "google_cloud_platform"}))
    return "cloud"


@pytest.mark.parametrize("bucket", ["windrow-landing", "a.b.example", "b_1"])
def test_an_address_opens_its_bucket(gcp: str, bucket: str):
    store = open_store(f"gs://{bucket}", gcp)
    assert isinstance(store, GcsStore)
    assert store._bucket == bucket


@pytest.mark.parametrize(
    "to",
    [
        "",
        "gs://",
        "gs:/b",
        "gs:b",
        "b",
        "://b",
        "s3://",
        "s3://b/x",
        "file:///b",
        "gs://b/",
        "gs://b/folder",
        "gs:///b",
    ],
)
def test_what_is_no_address_of_a_bucket_is_refused(gcp: str, to: str):
    with pytest.raises(BadParameter, match="not the URL of a bucket") as refused:
        open_store(to, gcp)
    assert repr(to) in refused.value.what
    assert "gs://bucket" in refused.value.advice


def test_a_connection_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AIRFLOW_CONN_CLOUD", raising=False)
    with pytest.raises(ConnectionUnusable, match="'cloud'"):
        open_store("gs://b", "cloud")
