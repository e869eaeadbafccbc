""".env.example: names what the project reads, nothing else, and can be copied as it is."""

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.providers.google.get_provider_info import get_provider_info
from airflow.providers.mongo.hooks.mongo import MongoHook
from dotenv import dotenv_values

from local_cloud import processes
from local_cloud.settings import Settings
from tests.unit.books import MemoryBook
from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.broker import broker
from windrow.airflow.hooks.cloud_tasks import Endpoint
from windrow.harvest.broker import Broker
from windrow.http.client import Client
from windrow.model.plan import Run
from windrow.sources.titanic.streams import Passengers
from windrow.sources.youtube.streams import VideoDays

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
LINE = re.compile(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
SHARED = {"WINDROW_AIRFLOW_PORT"}
"""Settings of the local cloud that docker compose reads too."""


def names(text: str = EXAMPLE) -> list[str]:
    return [name for name, _ in LINE.findall(text)]


def section(title: str) -> str:
    """Return the part under a heading."""
    (found,) = re.findall(rf"^# --- {title}.*?(?=^# --- |\Z)", EXAMPLE, re.MULTILINE | re.DOTALL)
    return found


def switched_on(text: str = EXAMPLE) -> dict[str, str]:
    """Return the values of a copy whose lines are all switched on, as the local cloud reads them."""
    values = dotenv_values(stream=StringIO(LINE.sub(r"\1=\2", text)))
    return {name: value or "" for name, value in values.items()}


# --- the file ----------------------------------------------------------------------------------


def test_a_copy_sets_nothing() -> None:
    assert dotenv_values(stream=StringIO(EXAMPLE)) == {}


def test_each_variable_is_there_once_and_readable() -> None:
    assert len(names()) == len(set(names()))
    assert switched_on().keys() == set(names())


def test_each_variable_is_explained() -> None:
    for paragraph in EXAMPLE.split("\n\n"):
        if LINE.search(paragraph):
            assert not LINE.match(paragraph), f"no explanation before:\n{paragraph}"


def test_a_secret_has_no_value_to_copy() -> None:
    given = {
        name: value for name, value in switched_on().items() if re.search(r"(PASSWORD|SECRET|KEY|AIRFLOW_TOKEN)$", name)
    }

    assert given.pop("WINDROW_ADMIN_PASSWORD") == "admin"  # of the demo
    assert given == {"WINDROW_CLIENT_SECRET": "", "WINDROW_AIRFLOW_TOKEN": ""}


# --- what the project reads --------------------------------------------------------------------


class Recorder(dict[str, str]):
    """An environment that remembers what was looked up in it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(key)
        return default

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        raise KeyError(key)


def test_all_settings_of_the_local_cloud_are_there(tmp_path: Path) -> None:
    environ = Recorder()

    Settings.load(tmp_path, environ)

    assert len(environ.asked) >= 10
    assert environ.asked <= set(names(section("local cloud")))


def test_the_defaults_of_the_local_cloud_are_right(tmp_path: Path) -> None:
    without = Settings.load(tmp_path, {})
    (tmp_path / ".env").write_text(LINE.sub(r"\1=\2", section("local cloud")), encoding="utf-8")

    read = Settings.load(tmp_path, {})

    assert read.dotenv
    assert dataclasses.replace(read, dotenv={}) == without


def variables_in_the_code() -> Iterator[str]:
    """Find the variables by their names: texts of the code that are nothing but such a name."""
    for folder in ("dags", "plugins", "local_cloud", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and re.fullmatch(r"WINDROW_[A-Z_]*[A-Z]|MONGO_URL", str(node.value)):
                    yield node.value


def test_it_names_the_variables_of_the_code_and_no_others() -> None:
    documented = {name for name in names() if name.startswith("WINDROW_") or name == "MONGO_URL"}

    assert documented == set(variables_in_the_code()) - {processes.MARK}


def test_it_names_the_variables_of_docker_compose_and_no_others() -> None:
    interpolated = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", COMPOSE))  # by compose, or by a shell in a container

    # the proxies reach the containers with the rest of .env
    in_file = set(names(section("docker compose"))) - {"HTTPS_PROXY", "HTTP_PROXY"}
    assert interpolated == SHARED | in_file | {"AIRFLOW_CONN_REDIS_DEFAULT", "X_SUBSCRIPTION"}


# --- connections, here and in docs/clouds.md ---------------------------------------------------


def examples() -> Iterator[str]:
    yield from (value for name, value in switched_on().items() if name.startswith("AIRFLOW_CONN_"))
    yield from re.findall(r"^```json\n(.*?)\n```", (ROOT / "docs/clouds.md").read_text(encoding="utf-8"), re.M | re.S)


def of_type(conn_type: str) -> list[str]:
    return [example for example in examples() if json.loads(example)["conn_type"] == conn_type]


def test_there_are_examples_of_all_connections() -> None:
    kinds = ("google_cloud_platform", "mongo", "http", "redis", "aws", "smtp")
    counts = [len(of_type(conn_type)) for conn_type in kinds]

    assert counts == [5, 3, 14, 2, 2, 1]
    assert sum(counts) == len(list(examples()))


def of_functions() -> list[str]:
    return [example for example in of_type("http") if "service_account" in example]


@pytest.mark.parametrize("example", of_functions())
def test_a_connection_of_a_function_makes_an_endpoint(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FETCH_PASSENGER", example)

    assert Endpoint.of("fetch_passenger").url.startswith("https://")


@pytest.mark.parametrize(
    "example", sorted(set(of_type("http")) - set(of_functions()) - {switched_on()["AIRFLOW_CONN_WINDROW_AIRFLOW"]})
)
def test_an_api_connection_makes_a_client(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TITANIC", example)

    stream = VideoDays() if "youtube" in example else Passengers()
    assert isinstance(ApiHook("titanic").client(stream, MemoryBook()), Client)


@pytest.mark.parametrize("example", [*of_type("redis"), "redis://valkey:6379/?db=1"])
def test_a_redis_connection_makes_a_broker(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", example)

    with broker("redis_default", Run("github_users", "manual")) as made:
        assert isinstance(made, Broker)


@pytest.mark.parametrize("example", of_type("mongo"))
def test_a_mongodb_connection_makes_an_address(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", example)

    hook = MongoHook("mongo_default")

    assert re.fullmatch(r"mongodb(\+srv)?://windrow:change-me@[a-z0-9.]+example[a-z.]+(:27017)?/windrow", hook.uri)
    assert hook.ssl_enabled
    assert hook.extras.keys() <= {"tls", "authSource", "replicaSet"}


@pytest.mark.parametrize("example", of_type("google_cloud_platform"))
def test_a_google_connection_has_fields_that_the_provider_knows(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", example)
    known = {field for kind in get_provider_info()["connection-types"] for field in kind.get("conn-fields", ())}

    hook = BigQueryHook(gcp_conn_id="google_cloud_default")

    assert hook.use_legacy_sql is False
    assert hook.extras["project"] == "my-project"
    assert hook.extras.keys() <= known
    assert "is_anonymous" not in hook.extras
