"""A wrong or a missing login of MongoDB or Redis is one clear line, at every entrance, without the password."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from local_cloud import airflow_env
from local_cloud.settings import Settings
from windrow.airflow.hooks.broker import broker
from windrow.airflow.hooks.staging import staging, staging_and_status
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.cli.main import main
from windrow.model.errors import BrokerUnavailable, LoginRejected, StagingUnavailable
from windrow.model.plan import Run
from windrow.sources.x.publisher import __main__ as publisher
from windrow.store.staging import opened
from windrow.store.status import open_status

WRONG = "not-the-password"
NOBODY = "MongoDB rejects the user or the password of "
URLS = {
    "wrong password": (f"windrow:{WRONG}@", "admin", NOBODY),
    "unknown user": (f"somebody:{WRONG}@", "admin", NOBODY),
    "wrong authSource": ("windrow:{right}@", "windrow", NOBODY),
    "no login": ("", "admin", "MongoDB requires a login, and "),
    "no permission": ("reader:{right}@", "admin", "The user of {place} has no permission: not authorized on windrow."),
}
"""Login, authSource, and what the error says."""


def url_of(cloud: Settings, way: str) -> str:
    login, source, _ = URLS[way]
    right = airflow_env.mongo_password(cloud)
    return f"mongodb://{login.format(right=right)}127.0.0.1:{cloud.mongo_port}/windrow?authSource={source}"


@pytest.fixture(scope="module", autouse=True)
def reader(mongo: MongoClient, cloud: Settings) -> None:
    """A user who may use one other database."""
    role = {"role": "readWrite", "db": "elsewhere"}
    mongo.admin.command("createUser", "reader", pwd=airflow_env.mongo_password(cloud), roles=[role])


@pytest.mark.parametrize("way", URLS)
def test_mongodb_says_which_login_is_wrong(cloud: Settings, way: str) -> None:
    place, said = "the variable MONGO_URL", URLS[way][2].format(place="the variable MONGO_URL")
    with opened(url_of(cloud, way), "windrow", place) as state, pytest.raises(StagingUnavailable) as caught:
        state.prepare("ships")
    with open_status(url_of(cloud, way), place=place) as store, pytest.raises(StagingUnavailable) as read:
        store.datasets()

    for error in (caught.value, read.value):
        assert isinstance(error, LoginRejected)
        assert error.what.startswith(said)
        assert place in error.what
        assert not any(secret in f"{error!r} {error}" for secret in (WRONG, airflow_env.mongo_password(cloud)))
    decided = ErrorPolicy().evaluate(caught.value, 1, 3)
    assert "a person must set the right user" in str(decided.reason)


def test_the_stand_in_refuses_what_mongodb_refuses(cloud: Settings) -> None:
    """A user may use another database of its own; SCRAM-SHA-1 and an address without a login are refused."""
    right = airflow_env.mongo_password(cloud)
    base = f"mongodb://reader:{right}@127.0.0.1:{cloud.mongo_port}/?authSource=admin"
    with MongoClient[dict[str, Any]](base) as client:
        assert client.elsewhere.ships.count_documents({}) == 0
    for url in (f"{base}&authMechanism=SCRAM-SHA-1", f"mongodb://127.0.0.1:{cloud.mongo_port}"):
        with MongoClient[dict[str, Any]](url) as client:
            with pytest.raises(OperationFailure):
                client.elsewhere.ships.insert_one({"_id": "a"})
            with pytest.raises(OperationFailure):
                client.elsewhere.ships.find_one()


def of_a_task(_: pytest.MonkeyPatch) -> str:
    with pytest.raises(LoginRejected) as caught, staging("mongo_default", "ships"):
        pass
    return str(caught.value)


def of_operations(_: pytest.MonkeyPatch) -> str:
    with staging_and_status("mongo_default") as (state, store):
        with pytest.raises(LoginRejected) as caught:
            store.datasets()
        with pytest.raises(LoginRejected, match="'mongo_default'"):
            state.notes(Run("ships", "r"))
    return str(caught.value)


def of_the_terminal(_: pytest.MonkeyPatch) -> str:
    out = io.StringIO()
    assert main(["status"], out=out) == 2
    return out.getvalue()


def of_the_publisher(monkeypatch: pytest.MonkeyPatch) -> str:
    said: list[str] = []
    monkeypatch.setattr(publisher.log, "error", lambda text, error: said.append(str(error)))
    monkeypatch.setattr("sys.argv", ["publisher"])
    assert publisher.main() == publisher.FINAL, "a restart does not help"
    return said[0]


@pytest.mark.parametrize(
    ("entrance", "place"),
    [
        (of_a_task, "the Airflow connection 'mongo_default'"),
        (of_operations, "the Airflow connection 'mongo_default'"),
        (of_the_terminal, "AIRFLOW_CONN_MONGO_DEFAULT"),
        (of_the_publisher, "the variable MONGO_URL"),
    ],
)
def test_every_entrance_names_the_connection(
    cloud: Settings, monkeypatch: pytest.MonkeyPatch, entrance: Callable[[pytest.MonkeyPatch], str], place: str
) -> None:
    wrong = airflow_env.mongo_connection(cloud) | {"password": WRONG}
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(wrong))
    given = {
        "X_BEARER_TOKEN": "t",
        "X_RULES": "r",
        "X_PROJECT": "p",
        "X_API_URL": "http://127.0.0.1:1",
        "X_SUBSCRIPTION": "",
    }
    for name, value in (given | {"MONGO_URL": url_of(cloud, "wrong password")}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")

    said = entrance(monkeypatch)

    assert f"MongoDB rejects the user or the password of {place}." in said
    assert "What to do: Set the user and the password there" in said
    assert WRONG not in said


@pytest.mark.parametrize("password", [WRONG, ""])
def test_redis_says_which_login_is_wrong(cloud: Settings, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    fields = {"conn_type": "redis", "host": "127.0.0.1", "port": cloud.redis_port, "password": password}
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps(fields))
    with broker("redis_default", Run("ships", "r")) as queue, pytest.raises(BrokerUnavailable) as caught:
        queue.open()

    assert caught.value.what.startswith("Redis rejects the login of the Airflow connection 'redis_default'")
    assert WRONG not in str(caught.value)
