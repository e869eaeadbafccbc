"""Patches are for source that we have looked at: what is installed is known, and anything else is refused."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from local_cloud.airflow_settings.known_source import SOURCES
from local_cloud.testing import ROOT

SETTINGS = ROOT / "local_cloud" / "airflow_settings"
LOCKED = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "requirements.txt", *(ROOT / "requirements").glob("*.txt"))
)
EMULATED = {name: source for name, source in SOURCES.items() if source.patch.startswith("emulators/")}


def environment_of(name: str) -> Path:
    """Return the environment that a patched module runs in."""
    if name not in EMULATED:
        return ROOT / ".venv"
    return ROOT / (".venv-aws" if name.startswith("ministack.") else ".venv-cloud")


def installed(name: str) -> Path:
    (packages,) = environment_of(name).glob("lib/python3.*/site-packages")
    return packages.joinpath(*name.split(".")).with_suffix(".py")


def launched(name: str, folder: Path) -> tuple[str, ...]:
    """Return the command line of the launcher that patches a module. No port: it must not get that far."""
    package = name.partition(".")[0]
    launchers = {"local_bigquery": "bigquery", "gcp_storage_emulator": "gcs", "nx_27017": "mongo", "neosqlite": "mongo"}
    launcher = (launchers | {"functions_framework": "function"}).get(package, package)
    data = ("--host", "127.0.0.1", "--port", "0", "--data-dir", str(folder / "data"))
    python = str(environment_of(name) / "bin" / "python")
    return (python, "-m", f"local_cloud.emulators.{launcher}", *(("serve",) if launcher == "bigquery" else ()), *data)


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_installed_is_known_in_the_version_that_is_locked(name: str) -> None:
    known = SOURCES[name]

    assert hashlib.sha256(installed(name).read_bytes()).hexdigest() in known.sha256
    versions = set(re.findall(rf"^{re.escape(known.package)}==([^\s;]+)", LOCKED, re.MULTILINE))
    assert versions == set(known.version.split(" or "))
    assert len(known.sha256) <= len(versions)
    assert (ROOT / "local_cloud" / known.patch).is_file()


@pytest.mark.parametrize("name", EMULATED)
def test_an_emulator_with_changed_source_does_not_start_and_says_what_to_do(name: str, tmp_path: Path) -> None:
    package = name.partition(".")[0]
    (packages,) = environment_of(name).glob("lib/python3.*/site-packages")
    shutil.copytree(packages / package, tmp_path / package)  # with its compiled files: only one is compiled anew
    changed = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
    changed.write_text(changed.read_text(encoding="utf-8") + "\n# another version\n", encoding="utf-8")

    done = subprocess.run(
        launched(name, tmp_path),
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    known = SOURCES[name]
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    for part in (
        f"{known.package}: local_cloud/{known.patch} was written for another {changed}",
        f"is for is {known.version}; installed: {known.version}",
        "`make setup` installs the right one",
        f"sha256 {hashlib.sha256(changed.read_bytes()).hexdigest()} of {name}",
    ):
        assert part in said


CLIENTS = sorted(SOURCES.keys() - EMULATED.keys())


@pytest.fixture(scope="module")
def refusals() -> dict[str, list[str]]:
    """What an import of each client says, now and later, each in a fork: to import Airflow takes most of the time."""
    script = """
        import dataclasses, importlib, json, os, sys
        import google_clients, known_source
        import airflow.sdk, airflow.providers.common.sql.hooks.sql

        address = "127.0.0.1:1"
        for name in sys.argv[1:]:
            if os.fork():
                assert os.wait()[1] == 0
                continue
            known = dataclasses.replace(known_source.SOURCES[name], sha256=("of another version",))
            known_source.SOURCES = {**known_source.SOURCES, name: known}
            google_clients.keep_on_emulators({"BIGQUERY_EMULATOR_HOST": address, "CLOUD_TASKS_EMULATOR_HOST": address})
            said = []
            for _ in range(2):
                try:
                    importlib.import_module(name)
                except known_source.UnknownSource as error:
                    said.append(str(error))
                else:
                    said.append("imported")
            print("said", json.dumps([name, said]), flush=True)
            os._exit(0)
    """
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-c", textwrap.dedent(script), *CLIENTS],
        env={**os.environ, "PYTHONPATH": f"{SETTINGS}{os.pathsep}{os.environ['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [line.removeprefix("said ") for line in done.stdout.splitlines() if line.startswith("said ")]
    return dict(map(json.loads, lines))


@pytest.mark.parametrize("name", CLIENTS)
def test_airflow_cannot_import_a_google_client_of_unknown_source_now_or_later(
    name: str, refusals: dict[str, list[str]]
) -> None:
    first, second = refusals[name]

    assert re.match(rf"{SOURCES[name].package}: local_cloud/airflow_settings/google_clients\.py was written for", first)
    assert f" of {name} into " in first
    assert first == second
