"""What the tasks of a harvest report to OpenLineage. A run of a DAG that reports: integration/test_warehouses.py."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from windrow.airflow import openlineage
from windrow.airflow.operators.acknowledge import AcknowledgeOperator
from windrow.airflow.operators.defaults import prefix
from windrow.airflow.operators.pull import PullOperator
from windrow.landing.files import Manifest, Part
from windrow.model import registry

ROOT = Path(__file__).resolve().parents[3]
BATCH = {"dataset": "x_posts", "subscription": "x-posts", "to": "gs://lake", "prefix": "x/posts/dt=2026-11-28/run=r"}
FILES = ("gs://lake", "x/posts")


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    google = {"conn_type": "google_cloud_platform", "extra": {"project": "windrow", "is_anonymous": True}}
    mongo = {"conn_type": "mongo", "host": "mongo", "port": 27017, "login": "me", "password": "s3cret-mongo"}
    shop = {"conn_type": "http", "host": "https://api.shop.test/v2/", "password": "s3cret-token"}
    for name, found in {"GOOGLE_CLOUD_DEFAULT": google, "MONGO_DEFAULT": mongo, "SHOP": shop}.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(found))
    monkeypatch.setenv("AIRFLOW_VAR_WINDROW_PREFIX", "dev_")
    prefix.cache_clear()
    yield
    prefix.cache_clear()


def names(found: list[Any]) -> list[tuple[str, str]]:
    return [(one.namespace, one.name) for one in found]


def test_a_batch_of_messages_comes_from_its_subscription() -> None:
    with DAG("x_posts", schedule=None):
        pull = PullOperator(task_id="pull", **BATCH)
    part = Part("x/posts/part-00000.parquet", 3, 1000, "")
    pull._manifest = Manifest("x_posts", "r", answers=3, gaps=0, unreadable=0, records=3, parts=(part,))
    found = pull.get_openlineage_facets_on_complete(None)
    assert names(found.inputs) == [("pubsub", "subscription:windrow:x-posts")]
    assert names(found.outputs) == [FILES]
    counted = found.outputs[0].outputFacets["outputStatistics"]
    assert (counted.rowCount, counted.size, counted.fileCount) == (3, 1000, 1)


@pytest.mark.parametrize("figures", [{}, {"agrees": False, "exported": 3, "loaded": 3, "merged": 2}])
def test_the_receipt_of_a_batch_is_reported_also_when_it_does_not_add_up(figures: dict[str, Any]) -> None:
    with DAG("x_posts", schedule=None):
        task = AcknowledgeOperator(task_id="acknowledge", sql="SELECT 1", **BATCH)
    task._figures = figures
    found = task.get_openlineage_facets_on_complete(SimpleNamespace(run_id="r"))
    assert (names(found.inputs), names(found.outputs)) == ([FILES], [("bigquery", "windrow.dev_x.posts")])
    assert found.outputs[0].facets["schema"].fields[0].name == "post_id"
    if not figures:
        assert (found.run_facets, found.outputs[0].outputFacets) == ({}, {})
        return
    receipt = found.run_facets["windrow_receipt"]
    assert (receipt.agrees, receipt.merged, receipt.planned, receipt.run) == (False, 2, None, "r")
    assert found.outputs[0].outputFacets["outputStatistics"].rowCount == 2


def test_an_endpoint_is_a_path_without_parameters_and_secrets() -> None:
    for dataset in registry.streams():
        found = openlineage.endpoint("shop", registry.stream(dataset))
        assert found.namespace == "https://api.shop.test"
        assert found.name.startswith("/v2/")
        assert not {"?", "&", "=", "@"} & set(found.name), dataset
    answers = openlineage.answers("mongo_default", registry.stream("titanic_passengers"))
    assert (answers.namespace, answers.name) == ("mongodb://mongo:27017", "windrow.titanic_passengers")
    assert openlineage.endpoint("shop", registry.stream("titanic_passengers")).name == "/v2/get_user_by_name"


def test_the_schema_in_the_repository_has_the_counts() -> None:
    schema = json.loads((ROOT / "deploy/openlineage/receipt-run-facet.json").read_text(encoding="utf-8"))
    assert schema["$id"] == openlineage.SCHEMA
    assert {*openlineage.COUNTS, "stream", "run"} == {name for name in schema["properties"] if name[0] != "_"}


def test_nothing_imports_the_module_before_the_provider_asks() -> None:
    for file in (ROOT / "plugins").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body if "openlineage" in text else ():
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert "openlineage" not in named, file
            assert getattr(node, "module", "") != "windrow.airflow.openlineage", file
