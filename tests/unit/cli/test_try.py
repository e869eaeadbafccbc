"""`windrow try` and `windrow plan`, against a real server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local_cloud.apis.github.demo_tokens import POOL
from local_cloud.apis.testing import FakeApi
from tests.scripted_api import Reply, ScriptedApi
from tests.unit.cli.conftest import EXAMPLES, KEY, desk, ticket
from windrow.cli.main import main

DESK = str(EXAMPLES / "desk_tickets.py")
WEATHER = str(EXAMPLES / "weather_days.py")
BONN = 'places=[{"name": "Bonn", "lat": 50.7, "lon": 7.1}, {"name": "Köln", "lat": 50.9, "lon": 6.9}]'


def test_try_makes_two_calls_and_shows_what_becomes_of_them(windrow: Any, scripted: ScriptedApi):
    code, shown = windrow("try", DESK)
    assert code == 0, shown
    assert len(scripted.asked) == 2
    assert "40 rows of 2 answers" in shown
    assert "Ticket 1 ü" in shown
    assert "requester_id  INTEGER             INTEGER" in shown
    assert 'Column("requester_name", "requester.name", Kind.STRING, "..."),' in shown
    assert "97 of 100 calls left" in shown
    assert "desk_tickets: 1 call," in shown
    assert "more pages than these two" in shown
    assert KEY not in shown


def test_try_prints_json(windrow: Any):
    code, shown = windrow("try", DESK, "--json")
    found = json.loads(shown)
    assert (code, len(found["rows"]), found["errors"]) == (0, 40, [])
    assert found["rows"][0]["amount"] == "1.25"
    assert found["extra"] == {"requester.name": 40}
    assert found["limits"]["X-RateLimit-Remaining"] == "97"
    assert not found["cost"]["is_complete"]


def test_try_calls_for_two_elements_where_an_answer_has_one_page(windrow: Any, scripted: ScriptedApi):
    daily = {"time": ["2026-11-20"], "temperature_2m_max": [9.5], "temperature_2m_min": [None], "rain_sum": ["wet"]}
    scripted.answers(Reply({"latitude": 1.0, "longitude": 2.0, "daily": daily}))
    code, shown = windrow("try", WEATHER, "-p", BONN)
    assert (code, len(scripted.asked)) == (1, 2)
    assert "2 rows do not match the columns" in shown or "field 'rain_mm' must be FLOAT" in shown
    assert "2 calls" in shown


@pytest.mark.parametrize(
    ("arguments", "reply", "code", "line"),
    [
        (["try", DESK, "-p", "since=soon"], None, 2, "The param 'since' must be an instant"),
        (["try", DESK], Reply({"error": "bad key"}, 401), 2, "rejected"),
        (["try", DESK], Reply("<html>Log in</html>"), 1, "cannot be used"),
        (["try", DESK], Reply({"results": 3}), 1, "rows at 'results'"),
        (["try", DESK], Reply({}, 429, {"Retry-After": "900"}), 3, "Run the same command again at 20"),
        (["plan", DESK, "-p", "since"], None, 2, "The param 'since' has no value."),
        (["plan", WEATHER], None, 2, "The param 'places' must be a list that is not empty"),
    ],
)
def test_what_is_wrong_is_one_line(
    windrow: Any, scripted: ScriptedApi, folder: Path, arguments: list[str], reply: Reply | None, code: int, line: str
):
    if reply:
        scripted.answers(reply)
    found, shown = windrow(*arguments)
    errors = [each for each in shown.splitlines() if each.startswith("Error: ")] or [shown]
    assert (found, len(errors)) == (code, 1), shown
    assert line in shown
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\n", "declares no stream"),
        ("x = 1\ny = nothing\n", "line 2: NameError: name 'nothing' is not defined"),
        ("def\n", "line 1: SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_loaded(windrow: Any, folder: Path, text: str, line: str):
    (folder / "mine.py").write_text(text)
    code, shown = windrow("try", "mine.py")
    assert code == 2
    assert line in shown


def test_plan_makes_no_call_and_counts(windrow: Any, scripted: ScriptedApi):
    code, shown = windrow("plan", WEATHER, "-p", BONN, "-p", "start_date=2026-11-01", "--json")
    found = json.loads(shown)
    assert (code, found["calls"], found["units"], found["is_complete"], scripted.asked) == (0, 2, {}, True, [])
    assert found["examples"][0].endswith("place=Bonn")


LISTED = '''
from windrow.airflow.dags import harvest_dag
from windrow.declare.stream import Declared, Each
from windrow.model.contract import Column, Kind
from windrow.model.quota import Period, Quota
from windrow.model.table import Table


class Lines(Declared):
    """Lines of orders."""

    dataset = "shop_lines"
    get = "/orders/{order}/lines"
    each = Each("order", listed_by="/orders")
    quotas = (Quota("shop.orders", Period.HOUR, 2, ("/",)),)
    columns = (Column("line", "line", Kind.INTEGER, "Line.", required=True),)
    table = Table(key=("line",), description="Lines.")


dag = harvest_dag(Lines, conn_id="desk")
'''


def test_plan_fetches_lists_if_it_may(windrow: Any, scripted: ScriptedApi, folder: Path):
    (folder / "lines.py").write_text(LISTED)
    scripted.answers(Reply([1, 2, 3, 4, 5]))
    code, shown = windrow("plan", "lines.py")
    assert (code, scripted.asked) == (0, [])
    assert "shop_lines: at least 0 calls" in shown
    assert "depends on the answer to 'orders'" in shown
    assert "--calls" in shown
    code, shown = windrow("plan", "lines.py", "--calls", "1")
    assert (code, scripted.paths) == (0, ["/orders"])
    assert "shop_lines: 5 calls, 5 units of shop.orders." in shown
    assert "Time: 2.0 hours" in shown
    assert "Quota shop.orders: 2 units a hour" in shown


@pytest.mark.parametrize("imports", ["", "from airflow.sdk import Param\n"])
def test_it_needs_no_airflow_and_creates_no_folder(
    folder: Path, scripted: ScriptedApi, environment: dict[str, str], imports: str
):
    scripted.script = desk
    home, root = folder / "home", Path(__file__).resolve().parents[3]
    home.mkdir()
    (folder / "desk.py").write_text(
        Path(DESK).read_text().replace("from windrow.airflow", f"{imports}from windrow.airflow", 1)
    )
    (folder / ".env").write_text(f"AIRFLOW_CONN_DESK='{environment['AIRFLOW_CONN_DESK']}'\n")
    check = (
        "import sys, runpy\n"
        "sys.argv = ['windrow', 'try', sys.argv[1]]\n"
        "try:\n    runpy.run_module('windrow', run_name='__main__')\n"
        "finally:\n    print('AIRFLOW', [name for name in sys.modules if name.split('.')[0] == 'airflow'])\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", check, "desk.py"], cwd=folder, capture_output=True, text=True, check=False,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(root / "plugins")},
    )  # fmt: skip
    assert "40 rows" in shown.stdout, shown.stderr
    assert imports or "AIRFLOW []" in shown.stdout
    assert list(home.iterdir()) == []


def test_plan_of_a_source_that_estimates_its_cost(windrow: Any, environment: dict[str, str], api: FakeApi):
    connection = {"conn_type": "http", "host": f"{api.url}/github", "extra": {"tokens": [*POOL]}}
    environment["AIRFLOW_CONN_GITHUB"] = json.dumps(connection)
    chosen = ("github_users", "-p", 'repositories=["acme/windmill"]')
    code, shown = windrow("plan", *chosen)
    assert (code, "depends on the answer to 'repos/acme/windmill'" in shown) == (0, True), shown
    code, shown = windrow("plan", *chosen, "--calls", "5")
    assert code == 0
    assert "at most" in shown
    assert "with 4 owners of tokens" in shown
    environment["AIRFLOW_CONN_GITHUB"] = json.dumps(connection | {"extra": {"tokens": ["gh-wrong-token"]}})
    code, shown = windrow("plan", *chosen, "--calls", "5")
    assert (code, shown.count("\n"), "has no valid token" in shown) == (2, 1, True), shown


def test_what_an_api_sends_does_not_move_the_cursor(windrow: Any, scripted: ScriptedApi):
    row = ticket(1) | {"subject": "\x1b[2Jclear\nline", "sta\x1btus": "x"}
    scripted.answers(Reply({"results": [row], "next_cursor": None}, headers={"X-RateLimit-Policy": "\xa0wide"}))
    code, shown = windrow("try", DESK)
    assert (code, "\x1b" in shown) == (0, False)
    assert "?[2Jclear line" in shown
    scripted.answers(Reply("<html>\x1b[2J", 400))
    assert "\x1b" not in windrow("try", DESK)[1]


def test_a_reader_that_has_enough_is_no_error(folder: Path, scripted: ScriptedApi, environment: dict[str, str]):
    scripted.script = desk
    root = Path(__file__).resolve().parents[3]
    shown = subprocess.run(
        ["/bin/bash", "-c", f"'{root}/bin/windrow' try {DESK} | true"], cwd=folder, capture_output=True, text=True,
        check=False, env={**environment, "HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert shown.stderr == ""


def test_variables_that_are_not_text(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (folder / ".env").write_bytes(b"AIRFLOW_CONN_DESK='\xff'\n")
    assert main(["try", DESK]) == 2
    assert "Error: .env is not a text in UTF-8" in capsys.readouterr().err
