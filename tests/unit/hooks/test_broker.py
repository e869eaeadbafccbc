"""An Airflow connection of Redis, turned into a broker."""

import json
from typing import Any

import pytest

from local_cloud.ports import find_free
from windrow.airflow.hooks.broker import broker
from windrow.model.errors import BrokerUnavailable, ConnectionUnusable
from windrow.model.plan import Run

RUN = Run("github_users", "manual")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda **fields: monkeypatch.setenv("AIRFLOW_CONN_QUEUE", json.dumps({"conn_type": "redis"} | fields))


def test_a_connection_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AIRFLOW_CONN_QUEUE", raising=False)
    with pytest.raises(ConnectionUnusable, match="Airflow connection 'queue' does not exist"), broker("queue", RUN):
        pass


@pytest.mark.parametrize("fields", [{}, {"host": "h", "extra": {"db": "one"}}])
def test_a_connection_that_lacks_something(connect: Any, fields: dict[str, Any]):
    connect(**fields)
    with pytest.raises(ConnectionUnusable, match="has no host, or 'db' in its extra"), broker("queue", RUN):
        pass


def test_a_server_that_is_not_there_shows_when_it_is_used(connect: Any):
    (port,) = find_free(1)
    connect(host="127.0.0.1", port=port, password="s3cret")
    with broker("queue", RUN) as made, pytest.raises(BrokerUnavailable) as unavailable:
        made.open()
    assert "one task continues from there" in str(unavailable.value)
    assert "s3cret" not in str(unavailable.value)
