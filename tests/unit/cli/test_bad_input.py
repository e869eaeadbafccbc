"""Every command when something is wrong: one line, its exit code, and nothing half written."""

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


def source(command: str, folder: Path) -> list[str]:
    """Return a source that makes a call: `plan` makes one for a list only."""
    if command != "plan":
        return [DESK]
    (folder / "lines.py").write_text(LINES)
    return ["lines.py", "--calls", "9"]


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - STORE


@pytest.mark.parametrize("command", ["try", "record", "harvest", "plan"])
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
    found, shown = windrow(command, *source(command, folder))
    if command == "harvest" and code == 1:  # it is in the quarantine or a gap, and the run says so
        assert "1 gaps" in shown or "1 answers in quarantine" in shown
        assert written(folder) == {"_manifest.json", "_answers-00000.parquet"}
    else:
        assert shown.count("\n") == 1, shown
        assert shown.startswith("Error: ")
        assert written(folder) <= {"lines.py"}
    assert found == code, shown
    assert KEY not in shown


@pytest.mark.parametrize("command", ["try", "record", "plan"])
def test_ctrl_c_halfway(scripted: ScriptedApi, folder: Path, environment: dict[str, str], command: str):
    started: list[subprocess.Popen[str]] = []

    def script(asked: Asked) -> Reply:
        if len(scripted.asked) == 2:
            os.kill(started[0].pid, signal.SIGINT)
            return Reply({}, 429, {"Retry-After": "50"})  # it would wait
        return desk(asked) if asked.method == "POST" else Reply([1, 2], headers={"Link": '</orders?p=2>; rel="next"'})

    scripted.script = script
    started.append(
        subprocess.Popen(
            [ROOT / "bin/windrow", command, *source(command, folder)],
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
    assert written(folder) <= {"lines.py"}


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


def test_ctrl_c_while_a_consent_is_waited_for(folder: Path, scripted: ScriptedApi):
    url = scripted.url
    urls = ["--host", url, "--authorize-url", f"{url}/authorize", "--token-url", f"{url}/token"]
    process = subprocess.Popen(
        [ROOT / "bin/windrow", "auth", "calendar", *urls, "--client-id", "me", "--no-browser"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    assert process.stderr is not None
    while "/authorize?" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "Error: Interrupted. Nothing was written.\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["try", "plan", "harvest", "record"])
def test_without_a_network(windrow: Any, folder: Path, environment: dict[str, str], command: str):
    environment["AIRFLOW_CONN_DESK"] = json.dumps({"conn_type": "http", "host": "http://127.0.0.1:9"})
    code, shown = windrow(command, *source(command, folder))
    assert (code, shown.count("\n")) == (1, 1), shown
    assert "Cannot connect to host 127.0.0.1:9" in shown
    assert "Clear this task" not in shown, "there is no task"
    assert written(folder) <= {"lines.py"}


@pytest.mark.parametrize(
    ("arguments", "folder_of_files"),
    [
        (["new", "desk_notes"], "dags"),
        (["new", "desk_notes"], "tests"),
        (["record", DESK], "tests"),
        (["harvest", DESK], "data"),
    ],
)
def test_a_folder_that_cannot_be_written(windrow: Any, folder: Path, arguments: list[str], folder_of_files: str):
    (folder / folder_of_files).write_text("a file")
    code, shown = windrow(*arguments)
    assert (code, shown.count("\n")) == (2, 1), shown
    assert "Check the folder and its rights." in shown
    assert written(folder) == {folder_of_files}


CONSENT = [
    "auth",
    "calendar",
    "--host",
    "https://a.example",
    "--authorize-url",
    "https://a.example/a",
    "--client-id",
    "me",
]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["harvst", DESK], "'harvst' is unknown. Did you mean 'harvest'? See `windrow --help`."),
        (["try", DESK, "--jsn"], "'--jsn' is unknown. Did you mean '--json'? See `windrow try --help`."),
        (["record", DESK, "--scurb", "name"], "'--scurb' is unknown. Did you mean '--scrub'?"),
        (["new"], "The following arguments are required: name. See `windrow new --help`."),
        (["plan", DESK, "--calls", "-1"], "Argument --calls: '-1' must be a whole number from 0."),
        (["try", DESK, "--calls", "many"], "Argument --calls: 'many' must be a whole number from 0."),
        (
            [*CONSENT, "--token-url", "https://a.example/t", "--port", "99999"],
            "must be a whole number from 0 to 65,535.",
        ),
        (
            [*CONSENT, "--token-url", "https://a.example/t", "--timeout", "nan"],
            "must be a number of seconds, up to 86,400.",
        ),
        ([*CONSENT, "--token-urk", "x"], "required: --token-url"),
        (["status", "--wach"], "'--wach' is unknown. Did you mean '--watch'?"),
    ],
)
def test_a_wrong_argument(windrow: Any, folder: Path, capsys: Any, arguments: list[str], line: str):
    with pytest.raises(SystemExit) as ended:
        windrow(*arguments)
    shown = capsys.readouterr().err
    assert (ended.value.code, shown.count("\n"), shown.startswith("Error: ")) == (2, 1, True), shown
    assert line in shown
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["try", "plan", "harvest", "record"])
@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (["desk_tickts"], "The dataset 'desk_tickts' does not exist. Did you mean 'desk_tickets'?"),
        (["dags/desk_ticket.py"], "does not exist. Did you mean 'dags/desk_tickets.py'?"),
        (["dags/desk_tickets.py::desk_ticket"], "does not declare 'desk_ticket'. Did you mean 'desk_tickets'?"),
        ([DESK, "-p", "sinc=1"], "The param 'sinc' is unknown. Did you mean 'since'?"),
        ([DESK, "--conn-id", "dsk"], "'dsk' is not set. Did you mean AIRFLOW_CONN_DESK?"),
    ],
    ids=["dataset", "file", "dataset of a file", "param", "connection"],
)
def test_a_wrong_name_gets_the_nearest(windrow: Any, folder: Path, command: str, wrong: list[str], line: str):
    (folder / "dags").mkdir()
    (folder / "dags" / "desk_tickets.py").write_text(Path(DESK).read_text())
    code, shown = windrow(command, *wrong)
    assert (code, shown.count("\n"), written(folder)) == (2, 1, {"desk_tickets.py"}), shown
    assert line in shown


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
