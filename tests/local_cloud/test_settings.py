from pathlib import Path

import pytest

from local_cloud.airflow_env import SMALL_MACHINE
from local_cloud.errors import SettingsError
from local_cloud.settings import PORT_DEFAULTS, Settings


def test_the_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, {})

    assert settings.var == tmp_path / "var"
    assert settings.airflow_url == "http://127.0.0.1:8080"
    assert settings.gcs_url == "http://127.0.0.1:28401"
    assert settings.mongo_address == "mongodb://127.0.0.1:28404"
    assert settings.passengers_csv is None


def test_the_environment_wins_over_dotenv_and_dotenv_over_the_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WINDROW_MONGO_PORT=2001\nWINDROW_REDIS_PORT='2002'\n# WINDROW_GCS_PORT=1\n")

    settings = Settings.load(tmp_path, {"WINDROW_MONGO_PORT": "3001"})

    assert (settings.mongo_port, settings.redis_port, settings.gcs_port) == (3001, 2002, 28401)


def test_an_absolute_folder_stays_where_it_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"

    assert Settings.load(tmp_path / "root", {"WINDROW_VAR": str(elsewhere)}).var == elsewhere


@pytest.mark.parametrize("variable", PORT_DEFAULTS)
@pytest.mark.parametrize("value", ["0", "65536", "-1", "80.5", "http", "٣٣٣٣"])
def test_a_bad_port_names_variable_value_and_origin(tmp_path: Path, variable: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"{variable}={value}\n", encoding="utf-8")

    with pytest.raises(
        SettingsError, match=rf"^{variable} must be a port from 1 to 65535, not '{value}' \(from \.env\)"
    ):
        Settings.load(tmp_path, {})


def test_a_bad_port_of_the_environment_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"WINDROW_API_PORT must be .*'x' \(from the environment\)"):
        Settings.load(tmp_path, {"WINDROW_API_PORT": "x"})


def test_two_services_on_one_port_are_named_both(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WINDROW_REDIS_PORT=28404\n")

    with pytest.raises(
        SettingsError,
        match=r"WINDROW_MONGO_PORT \(the default\) and WINDROW_REDIS_PORT \(from \.env\) are both 28404",
    ):
        Settings.load(tmp_path, {})


def test_passengers_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"WINDROW_PASSENGERS_CSV is 'no\.csv'.*does not exist"):
        Settings.load(tmp_path, {"WINDROW_PASSENGERS_CSV": "no.csv"})


def test_passengers_are_found_from_the_project_folder(tmp_path: Path) -> None:
    (tmp_path / "titanic.csv").touch()

    settings = Settings.load(tmp_path, {"WINDROW_PASSENGERS_CSV": "titanic.csv"})

    assert settings.passengers_csv == tmp_path / "titanic.csv"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AIRFLOW_CONN_MONGO_DEFAULT=mongodb://me:hush@db\n")

    settings = Settings.load(tmp_path, {"WINDROW_ADMIN_PASSWORD": "hush"})

    assert settings.admin_password == "hush"
    assert "hush" not in repr(settings)


def test_a_dag_that_is_switched_on_gets_its_trigger_within_five_minutes() -> None:
    """Only when its file is parsed: what goes through `AirflowApi` asks for that, a user of the UI may have to wait."""
    assert int(SMALL_MACHINE["AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"]) <= 300
