"""Every command that calls the API, when that goes wrong: one line, its exit code, and nothing half written."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from tests.unit.cli.conftest import EXAMPLES, KEY, desk

ROOT = Path(__file__).resolve().parents[3]
DESK = str(EXAMPLES / "desk_tickets.py")
STORE = {"windrow.sqlite", "windrow.sqlite-wal", "windrow.sqlite-shm"}


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - STORE


@pytest.mark.parametrize("command", ["try", "record", "harvest"])
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply({"error": "bad key"}, 401), 2),
        (Reply({"error": "no"}, 403), 1),
        (Reply("<html>Log in</html>", headers={"Content-Type": "text/html"}), 1),
        (Reply({"results": []}, 404), 1),
        (Reply("", 302, {"Location": "https://elsewhere.example.com/login"}), 1),
        (Reply({}, 429, {"Retry-After": "900"}), 3),
    ],
    ids=["key", "forbidden", "html", "missing", "redirect", "wait"],
)
def test_an_answer_that_is_none(
    windrow: Any, scripted: ScriptedApi, folder: Path, command: str, reply: Reply, code: int
):
    scripted.answers(reply)
    found, shown = windrow(command, DESK)
    if command == "harvest" and code == 1:  # it is in the quarantine or a gap, and the run says so
        assert "1 gaps" in shown or "1 answers in quarantine" in shown
        assert written(folder) == {"_manifest.json", "_answers-00000.parquet"}
    else:
        assert shown.count("\n") == 1, shown
        assert shown.startswith("Error: ")
        assert written(folder) == set()
    assert found == code, shown
    assert KEY not in shown


@pytest.mark.parametrize("command", ["record", "plan"])
def test_ctrl_c_halfway(scripted: ScriptedApi, folder: Path, environment: dict[str, str], command: str):
    started: list[subprocess.Popen[str]] = []

    def script(asked: Asked) -> Reply:
        if len(scripted.asked) == 2:
            os.kill(started[0].pid, signal.SIGINT)
            return Reply({}, 429, {"Retry-After": "50"})  # it would wait
        return desk(asked) if asked.method == "POST" else Reply([1, 2], headers={"Link": '</orders?p=2>; rel="next"'})

    scripted.script = script
    source, *more = [DESK] if command != "plan" else ["lines.py", "--calls", "9"]
    (folder / "lines.py").write_text(LINES)
    started.append(
        subprocess.Popen(
            [ROOT / "bin/windrow", command, source, *more],
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        )
    )
    out, err = started[0].communicate(timeout=60)
    assert (started[0].returncode, out) == (130, ""), err
    assert err == "Error: Interrupted. Nothing was written.\n"
    assert written(folder) == {"lines.py"}


LINES = """
from windrow.declare.stream import Declared
from windrow.model.contract import Column, Kind
from windrow.model.query import Query


class Lines(Declared):
    dataset = "desk_lines"
    get = "/orders"
    columns = (Column("line", "line", Kind.INTEGER, "Line.", required=True),)

    def plan(self, request):
        yield Query.of("/orders")
        yield Query.of("/orders", {"p": "2"})
"""


@pytest.mark.parametrize("command", ["try", "plan", "harvest", "record"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("host", ""), ("host", "http://"), ("port", "x"), ("extra", "{"), ("extra", {"auth": "bearr"}), ("extra", [])],
)
def test_a_connection_that_is_wrong(
    windrow: Any, folder: Path, environment: dict[str, str], command: str, name: str, value: object
):
    environment["AIRFLOW_CONN_DESK"] = json.dumps(json.loads(environment["AIRFLOW_CONN_DESK"]) | {name: value})
    code, shown = windrow(command, DESK)
    assert (code, shown.count("\n"), written(folder)) == (2, 1, set()), shown
    assert "desk" in shown


def test_a_file_that_imports_airflow_where_there_is_none(windrow: Any, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "airflow.sdk", None)
    (folder / "tasks.py").write_text("from airflow.sdk import DAG\n")
    code, shown = windrow("try", "tasks.py")
    assert (code, shown.count("\n")) == (2, 1)
    assert "tasks.py imports Airflow, which is not installed here" in shown
