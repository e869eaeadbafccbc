"""The wheel of `make package`, with what it requires and nothing else: without Airflow."""

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import windrow
from tests.repo.test_make import MAKE, ROOT

IMPORTS = """
import pkgutil
from importlib import import_module, util
from windrow.model import registry
assert registry.streams() and util.find_spec("airflow") is None
for layer in ("model", "http", "connect", "store", "landing", "declare", "cli"):
    for module in pkgutil.iter_modules(import_module(f"windrow.{layer}").__path__, f"windrow.{layer}."):
        import_module(module.name)
import windrow.testing, windrow.landing.frame
"""
PLACES = 'places=[{"name": "Bonn", "lat": 50.7, "lon": 7.1}]'


def required(requirements: Iterable[str] | None, found: dict[str, metadata.Distribution]) -> None:
    """Add the distributions of this environment that are required without an extra, and what they require."""
    for text in requirements or ():
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found[name] = metadata.distribution(name)
            required(found[name].requires, found)


def test_the_wheel_runs_with_what_it_requires(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    made = subprocess.run(
        [MAKE, "--no-print-directory", "package"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = (ROOT / "build" / "dist").glob("*.whl")
    assert wheel.name == f"windrow-{windrow.__version__}-py3-none-any.whl"

    venv, home = tmp_path / "venv", tmp_path / "home"
    home.mkdir()
    uv = ROOT / ".venv-uv" / "bin" / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", venv / "bin/python", wheel], check=True
    )
    (packages,) = venv.glob("lib/*/site-packages")
    (own,) = metadata.distributions(name="windrow", path=[str(packages)])
    found: dict[str, metadata.Distribution] = {}
    required(own.requires, found)
    for distribution in found.values():
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (packages / top).symlink_to(distribution.locate_file(top))

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=home, env={"HOME": str(home)}, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = venv / "bin" / "windrow"
    assert run(command, "--version") == f"windrow {windrow.__version__}\n"
    assert "exit codes" in run(command, "harvest", "--help")
    run(venv / "bin" / "python", "-c", IMPORTS)
    (home / ".env").write_text('AIRFLOW_CONN_WEATHER={"conn_type": "http", "host": "https://archive.example.com"}\n')
    assert "weather_days: 1 call" in run(command, "plan", ROOT / "docs/examples/weather_days.py", "-p", PLACES)
    assert [path.name for path in home.iterdir()] == [".env"], "no ~/airflow"
    with ZipFile(wheel) as files:
        names = files.namelist()
    for needed in ("ui/harvest/templates/base.html", "ui/static/vendor/vega.min.js", "airflow/dags.py"):
        assert f"windrow/{needed}" in names
    assert not [name for name in names if "__pycache__" in name]
