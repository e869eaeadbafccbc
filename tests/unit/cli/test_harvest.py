"""`windrow harvest` and `windrow.frame`: the engine on a laptop, also killed and interrupted."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import windrow as library
from tests.scripted_api import Asked, Reply, ScriptedApi
from tests.unit.cli.conftest import EXAMPLES, KEY, desk
from windrow.model.errors import BadParameter, ManifestMissing

DESK = str(EXAMPLES / "desk_tickets.py")
WEATHER = str(EXAMPLES / "weather_days.py")
PLACES = [{"name": f"Place {number}", "lat": number, "lon": 1} for number in range(60)]
ALL = ("-p", f"places={json.dumps(PLACES)}", "-p", "start_date=2026-11-01", "-p", "end_date=2026-11-01")


def weather(asked: Asked) -> Reply:
    daily = {"time": ["2026-11-01"], "temperature_2m_max": [9.5], "temperature_2m_min": [None], "rain_sum": [0]}
    return Reply({"latitude": float(dict(asked.params)["latitude"]), "longitude": 1.0, "daily": daily})


def test_harvest_writes_parquet_and_frame_reads_it(windrow: Any, scripted: ScriptedApi, folder: Path):
    code, shown = windrow("harvest", DESK)
    assert code == 0, shown
    assert "complete" in shown
    assert "45 records in 1 files" in shown
    found = library.frame("desk_tickets")
    assert (len(found), found["amount"][0], found["_key"].nunique()) == (45, Decimal("1.250000000"), 1)
    assert KEY.encode() not in (folder / "data" / "windrow.sqlite").read_bytes()
    (run,) = (one.name for one in (folder / "data/desk/tickets").iterdir())
    run_id = json.loads((folder / "data/desk/tickets" / run / "_manifest.json").read_text())["run_id"]
    for at in (folder / "data", (folder / "data").as_uri()):
        assert library.frame("desk_tickets", run=run_id, at=at).equals(found)
    assert (folder / "data/windrow.sqlite").stat().st_mode & 0o077 == 0


def test_the_next_run_continues_at_the_watermark(windrow: Any, scripted: ScriptedApi):
    assert windrow("harvest", DESK)[0] == 0
    assert windrow("harvest", DESK)[0] == 0
    since = [json.loads(asked.body)["filter"]["updated_since"] for asked in scripted.asked]
    assert since == ["2020-01-01T00:00:00Z"] * 3 + ["2026-11-02T00:40:00Z"] * 3


def test_frame_says_what_there_is(windrow: Any, folder: Path):
    with pytest.raises(BadParameter, match=r"desk_tickets has no landed run in data.*windrow harvest desk_tickets"):
        library.frame("desk_tickets")
    windrow("harvest", DESK)
    with pytest.raises(BadParameter, match=r"desk_ticket has no landed run in data. Did you mean 'desk_tickets'"):
        library.frame("desk_ticket")
    with pytest.raises(BadParameter, match=r"has no landed run 'other' in data.*local_"):
        library.frame("desk_tickets", run="other")
    (manifest,) = folder.rglob("_manifest.json")
    run_id = json.loads(manifest.read_text())["run_id"]
    manifest.unlink()
    with pytest.raises(ManifestMissing, match="is not complete"):
        library.frame("desk_tickets", run=run_id)


def stopped(folder: Path, environment: dict[str, str], scripted: ScriptedApi, sign: int) -> subprocess.Popen[str]:
    """Start a harvest that gets a signal when its twentieth call arrives."""
    started: list[subprocess.Popen[str]] = []

    def script(asked: Asked) -> Reply:
        if len(scripted.asked) == 20:
            os.kill(started[0].pid, sign)
        return weather(asked)

    scripted.script = script
    root = Path(__file__).resolve().parents[3]
    started.append(
        subprocess.Popen(
            [sys.executable, "-m", "windrow", "harvest", WEATHER, *ALL],
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "HOME": str(folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(root / "plugins")},
        )
    )
    started[0].wait(60)
    return started[0]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_harvest_that_is_stopped_continues(
    windrow: Any, scripted: ScriptedApi, folder: Path, environment: dict[str, str], sign: int
):
    process = stopped(folder, environment, scripted, sign)
    _out, err = process.communicate()
    if sign == signal.SIGINT:
        assert process.returncode == 130, err
        assert "Run the same command again: it makes only the missing calls." in err
    before = len(scripted.asked)
    assert before < 60
    scripted.script = weather
    code, shown = windrow("harvest", WEATHER, *ALL)
    assert code == 0, shown
    called = Counter(dict(asked.params)["latitude"] for asked in scripted.asked)
    assert len(called) == 60
    repeated = sum(called.values()) - 60
    assert repeated == 0 if sign == signal.SIGINT else repeated <= 32, "no more than were in flight"
    found = library.frame("weather_days")
    assert (len(found), set(found["day"])) == (60, {date(2026, 11, 1)})
    assert [one.name for one in (folder / "data").rglob(".*")] == []


def test_a_run_that_is_not_complete_is_not_mixed_with_another(windrow: Any, scripted: ScriptedApi):
    scripted.answers(Reply("<html>", 400))
    code, shown = windrow("harvest", WEATHER, *ALL[:1], f"places={json.dumps(PLACES[:1])}")
    assert (code, "NOT complete" in shown, "1 answers in quarantine" in shown) == (1, True, True), shown
    code, shown = windrow("harvest", WEATHER, "-p", 'places=[{"name": "Bonn", "lat": 1, "lon": 2}]')
    assert code == 2
    assert "is not complete, and has other params" in shown
    assert "--new" in shown
    scripted.script = weather
    code, shown = windrow("harvest", WEATHER, "--new", "-p", 'places=[{"name": "Bonn", "lat": 1, "lon": 2}]')
    assert code == 0, shown


def test_a_wrong_connection_leaves_nothing(windrow: Any, folder: Path, environment: dict[str, str]):
    environment["AIRFLOW_CONN_DESK"] = "{"
    assert windrow("harvest", DESK)[0] == 2
    assert list(folder.iterdir()) == []
    assert desk(Asked("GET", "", (), {}, "")).status == 401
