import json
import re
from collections import Counter
from pathlib import Path

import pytest

from local_cloud.airflow_env import airflow_environment, write_passwords
from local_cloud.airflow_settings.known_source import SOURCES
from local_cloud.services import AIRFLOW, AIRFLOW_API, CLOUD, DATABASE, STAGES, select, table
from local_cloud.settings import PORT_DEFAULTS, Settings
from local_cloud.supervisord import make_socket_folder, remove_socket_folder, socket_path, write_configuration
from local_cloud.testing import ROOT, free_settings

GOOGLE = "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return free_settings(tmp_path / "var")


def test_every_port_variable_belongs_to_one_service(settings: Settings) -> None:
    used = Counter(port.variable for service in table(settings, {}) for port in service.ports)

    assert used == dict.fromkeys(PORT_DEFAULTS, 1)


def test_emulators_come_first_then_the_api_server(settings: Settings) -> None:
    stages = [service.stage for service in table(settings, {})]

    assert stages == sorted(stages, key=STAGES.index)
    assert stages[-4:] == [AIRFLOW_API, AIRFLOW, AIRFLOW, AIRFLOW]
    assert stages[0] == DATABASE
    assert set(stages[1:-4]) == {CLOUD}


def test_an_unknown_service_is_refused_with_those_there_are(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"Unknown service: mango\. Services: postgres, mongo, redis, gcs"):
        select(table(settings, {}), {"mango", "redis"})


def test_emulators_see_nothing_of_the_users_environment(settings: Settings) -> None:
    environ = {"PATH": "/bin", "GROUPS": "x", "STORAGE_EMULATOR_HOST": "http://elsewhere", "HOME": "/home/me"}

    (bigquery,) = select(table(settings, environ), {"bigquery"})

    assert bigquery.environment["PATH"] == "/bin"
    assert bigquery.environment["HOME"].startswith(str(settings.var))
    assert not {"GROUPS", "STORAGE_EMULATOR_HOST"} & set(bigquery.environment)


def test_passengers_are_handed_to_the_api(settings: Settings, tmp_path: Path) -> None:
    with_csv = free_settings(settings.var, passengers_csv=tmp_path / "p.csv")

    (apis,) = select(table(with_csv, {}), {"apis"})

    assert apis.argv[-2:] == ("--passengers", str(tmp_path / "p.csv"))
    assert "--passengers" not in select(table(settings, {}), {"apis"})[0].argv


def test_connections_point_at_the_emulators(settings: Settings) -> None:
    environment = airflow_environment(settings, {})

    titanic = json.loads(environment["AIRFLOW_CONN_TITANIC"])
    assert (titanic["host"], titanic["port"]) == ("127.0.0.1", settings.api_port)
    assert json.loads(environment[GOOGLE])["extra"]["is_anonymous"] is True
    assert environment["BIGQUERY_EMULATOR_HOST"] == settings.bigquery_url
    assert environment["CLOUD_TASKS_EMULATOR_HOST"] == f"127.0.0.1:{settings.cloud_tasks_port}"
    assert environment["AIRFLOW_VAR_WINDROW_BUCKET"] == "windrow-landing"


def test_the_users_connections_win_the_environment_over_dotenv(settings: Settings) -> None:
    mine = free_settings(
        settings.var,
        dotenv={"AIRFLOW_CONN_MONGO_DEFAULT": "mongodb://dotenv", "AIRFLOW_VAR_WINDROW_BUCKET": "dotenv"},
    )

    environment = airflow_environment(mine, {"AIRFLOW_CONN_MONGO_DEFAULT": "mongodb://environ"})

    assert environment["AIRFLOW_CONN_MONGO_DEFAULT"] == "mongodb://environ"
    assert environment["AIRFLOW_VAR_WINDROW_BUCKET"] == "dotenv"


def test_a_google_connection_of_the_user_is_not_led_to_the_emulators(settings: Settings) -> None:
    environment = airflow_environment(settings, {GOOGLE: "google-cloud-platform://"})

    assert environment[GOOGLE] == "google-cloud-platform://"
    assert not [name for name in environment if name.endswith("EMULATOR_HOST")]


def test_airflow_never_asks_a_proxy_for_loopback(settings: Settings) -> None:
    environment = airflow_environment(settings, {"NO_PROXY": "corp.example", "HTTP_PROXY": "http://proxy"})

    assert environment["NO_PROXY"] == "corp.example,127.0.0.1,localhost"
    assert environment["no_proxy"] == "127.0.0.1,localhost"


def test_airflows_secrets_stay_the_same(settings: Settings) -> None:
    first, second = airflow_environment(settings, {}), airflow_environment(settings, {})

    assert first == second
    assert len(first["AIRFLOW__CORE__FERNET_KEY"]) == 44


def test_nothing_that_holds_a_secret_is_readable_by_others(settings: Settings) -> None:
    write_configuration(settings, table(settings, {}))
    write_passwords(settings)

    files = [path for path in settings.var.rglob("*") if path.is_file() and path.parent != settings.var]
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert len(files) == len(table(settings, {})) + 6  # supervisord.conf, four of secrets, passwords
    assert not any("windrow-demo-secret" in repr(service) for service in table(settings, {}))


def test_the_user_has_the_password_that_was_chosen(tmp_path: Path) -> None:
    chosen = free_settings(tmp_path / "var", admin_password="over the sea")

    file = airflow_environment(chosen, {})["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    write_passwords(chosen)

    assert json.loads(Path(file).read_text()) == {"admin": "over the sea"}


def test_each_service_is_described_and_so_is_what_it_rests_on(settings: Settings) -> None:
    text = (ROOT / "local_cloud" / "README.md").read_text(encoding="utf-8")
    what_it_is, rests_on = (rows(part) for part in text.split("## What the stand-ins rest on"))

    assert what_it_is.keys() == rests_on.keys() == {service.name for service in table(settings, {})}
    assert all(len(row) == 5 and all(row) for row in rests_on.values())


def test_what_a_stand_in_rests_on_is_what_is_locked_and_patched() -> None:
    text = (ROOT / "local_cloud" / "README.md").read_text(encoding="utf-8")
    rests_on = rows(text.partition("## What the stand-ins rest on")[2]).values()
    locks = (ROOT / "requirements.txt", *(ROOT / "requirements").glob("*.txt"))
    locked = {line.split(" ")[0] for lock in locks for line in lock.read_text(encoding="utf-8").splitlines()}

    named = [pair for row in rests_on for pair in re.findall(r"([a-z][\w-]+) (\d[\w.]+)", row[1])]
    assert len(named) >= 12
    assert not [pair for pair in named if "==".join(pair) not in locked]
    patches = {path for row in rests_on for path in re.findall(r"`(\w+/\w+\.py)`", row[3])}
    assert patches == {source.patch for source in SOURCES.values()}


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of the first table of services, by each name in the first cell."""
    lines = re.search(r"^\| service .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {name: row for row in cells for name in re.findall(r"`([\w-]+)`", row[0])}


def test_the_socket_of_a_deep_folder_is_elsewhere_and_always_the_same(tmp_path: Path) -> None:
    deep = free_settings(tmp_path / ("d" * 120) / "var")

    path = socket_path(deep)

    assert len(str(path)) <= 90
    assert path == socket_path(deep)
    assert path != socket_path(free_settings(tmp_path / ("d" * 120) / "other"))
    make_socket_folder(deep)
    assert path.parent.stat().st_mode & 0o077 == 0
    remove_socket_folder(deep)
    assert not path.parent.exists()
