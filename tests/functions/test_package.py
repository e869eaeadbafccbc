"""The package of the function: the same from the same sources, and complete."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from include.functions import package
from tests.functions.harness import PYTHON, ROOT, environment

FUNCTION = ROOT / "include" / "functions" / "fetch_passenger"
LIST = """
import json, main, sys
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if getattr(module, "__file__", None)}))
"""


def test_the_same_sources_make_the_same_zip(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in ("include/functions", "plugins"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*"):
        os.utime(path, (0, time.time() - 1e6))
        path.chmod(0o700)

    package.write_zip(package.contents("fetch_passenger"), tmp_path / "a.zip")
    package.write_zip(package.contents("fetch_passenger", copy), tmp_path / "b.zip")

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_zip_holds_what_is_needed_and_nothing_of_airflow(unpacked: Path, settings: dict[str, str]) -> None:
    listed = subprocess.run(
        [PYTHON, "-c", LIST],
        cwd=unpacked,
        env=environment(unpacked, **settings),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    files = {name: Path(file) for name, file in json.loads(listed.stdout.splitlines()[-1]).items()}
    ours = {
        name: file for name, file in files.items() if ROOT in file.parents and ROOT / ".venv-cloud" not in file.parents
    }
    assert set(ours) == {"loopback_guard", "sitecustomize"}
    assert files["windrow.http.client"].is_relative_to(unpacked)
    assert not {"airflow", "local_cloud"} & files.keys()
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*.py")}
    assert names >= {"main.py", "windrow/sources/titanic/streams.py"}
    assert not [
        name
        for name in names
        if re.match(r"windrow/(airflow|harvest|landing|sources/\w+/(operators|publisher))\b", name)
    ]


@pytest.mark.parametrize(
    ("function", "shared"), [("fetch_passenger", True), ("posts_to_bigquery", True), ("top_tracks", False)]
)
def test_a_function_gets_what_it_shares_with_others_and_no_more(function: str, shared: bool) -> None:
    files = package.contents(function)

    assert ("caller.py" in files) is shared
    assert all(name.startswith("windrow/") for name in files if "/" in name)


def test_the_command_writes_a_folder_and_a_zip_of_it(tmp_path: Path) -> None:
    (tmp_path / "fetch_passenger").mkdir()
    (tmp_path / "fetch_passenger" / "stale.py").touch()

    done = packaged("fetch_passenger", tmp_path)

    with zipfile.ZipFile(tmp_path / "fetch_passenger.zip") as archive:
        zipped = {name: archive.read(name) for name in archive.namelist()}
    folder = tmp_path / "fetch_passenger"
    assert zipped == {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert f"{(tmp_path / 'fetch_passenger.zip').stat().st_size:,} bytes" in done.stdout


def test_a_function_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = packaged("fetch_ship", tmp_path)

    assert done.returncode == 2
    assert "The function 'fetch_ship' does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []


def packaged(function: str, to: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, ROOT / "include" / "functions" / "package.py", function, "--to", to]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def pins(path: Path) -> set[str]:
    return set(re.findall(r"^[a-z][\w.-]*==[\w.]+", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_it_is_deployed_with_what_it_is_tested_with() -> None:
    deployed = pins(FUNCTION / "requirements.txt")

    assert len(deployed) == 6
    assert deployed <= pins(ROOT / "requirements" / "cloud.txt")
    assert deployed - pins(ROOT / "requirements.txt") == {"functions-framework==3.10.2"}
