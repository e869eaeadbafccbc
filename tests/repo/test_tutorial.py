"""docs/your-own-api.md, followed to the letter in a copy of this repository. Only the host of the API differs."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.scripted_api import ScriptedApi
from tests.unit.cli.conftest import KEY, desk

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "your-own-api.md"
FILES = {"DeskTickets(Declared)": "dags/desk_tickets.py", "def test_records": "tests/sources/test_desk_tickets.py"}
"""Where the code of the page goes, by a part of it."""


def copy(folder: Path) -> Path:
    """Copy what git knows of, and use the environments that are set up."""
    listed = subprocess.run(
        ["/usr/bin/git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for environment in (".venv", ".venv-cloud", ".venv-aws", ".venv-uv"):
        (folder / environment).symlink_to(ROOT / environment)
    return folder


def test_the_tutorial_works_as_it_is_written(tmp_path: Path, scripted: ScriptedApi) -> None:
    scripted.script = desk
    folder, home, began = copy(tmp_path / "windrow"), tmp_path / "home", time.monotonic()
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
    environment |= {"HOME": str(home)}
    shown = ""
    for kind, code in re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if kind == "dotenv":
            (folder / ".env").write_text(code.replace("https://desk.example.com", scripted.url))
        elif kind == "sh":
            ran = subprocess.run(
                ["/bin/bash", "-euc", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{code}\n{ran.stdout}\n{ran.stderr}"
            shown += ran.stdout
        elif kind == "python" and "windrow.frame" in code:
            counted = f"{code.rstrip()}.pipe(lambda found: print('FRAME', len(found)))\n"
            ran = subprocess.run(
                [folder / ".venv/bin/python", "-c", counted], cwd=folder, capture_output=True, text=True, check=False,
                env=environment | {"PYTHONPATH": str(folder / "plugins")},
            )  # fmt: skip
            assert "FRAME 45" in ran.stdout, ran.stderr
        elif kind == "python":
            (place,) = (path for part, path in FILES.items() if part in code)
            assert (folder / place).exists(), "windrow new has written it"
            (folder / place).write_text(code)
        else:
            for line in code.splitlines():
                assert line in shown, f"the page shows {line!r}, but the command does not"
    assert shown.count("1 passed") == 2
    assert KEY not in shown
    assert "Ann" not in (folder / "tests/sources/desk_tickets.json").read_text()
    assert list(home.iterdir()) == [], "no folder ~/airflow"
    assert time.monotonic() - began < 15 * 60
