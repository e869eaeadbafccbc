"""The page Posts: its declaration, its rows, and what is the same in every browser."""

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local_cloud.conftest import eventually
from tests.ui.conftest import Around, Fill
from windrow.ui import boards as declarations
from windrow.ui.boards import SQL, boards, declared
from windrow.ui.cache import RefreshedCache

BOARD = "/windrow/boards/x_posts"
STATIC = Path(__file__).parents[2] / "plugins/windrow/ui/static"


def rows(server: str) -> dict[str, Any]:
    answer = requests.get(f"{server}{BOARD}/data", timeout=60)
    assert answer.status_code == 200
    return dict(answer.json())


# --- declaration -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", boards())
def test_a_board_names_files_that_there_are_and_draws_queries_that_it_has(name: str) -> None:
    board = declared(name)

    assert board["queries"]
    for file in board["queries"].values():
        assert (SQL / file).is_file()
    assert {chart["query"] for chart in board["charts"]} | {board["figures"]["query"]} == set(board["queries"])
    assert board["stale"]["query"] in board["queries"]
    assert (SQL.parents[1] / "dags" / f"{board['dag_id']}.py").is_file()


def test_there_is_a_license_for_what_is_not_ours() -> None:
    text = (STATIC / "vendor/LICENSES.txt").read_text()

    assert {path.name for path in (STATIC / "vendor").glob("*.js")} == {"vega.min.js", "vega-lite.min.js"}
    assert all(path.name in text for path in (STATIC / "vendor").glob("*.js"))


# --- rows --------------------------------------------------------------------------------------


def test_rows_come_from_the_marts(server: str, filled: Fill) -> None:
    filled(90)

    found = rows(server)

    assert found["state"] == "ready"
    assert found["asked_at"] <= found["now"]
    (totals,) = found["rows"]["totals"]
    assert (totals["posts_day"], totals["posts_month"]) == (90, 90)
    assert totals["repost_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert totals["languages"] == 3, "und is none"
    assert sum(row["posts"] for row in found["rows"]["hours"]) == 90
    assert sum(row["posts"] for row in found["rows"]["languages"]) == 90
    assert {row["kind"] for row in found["rows"]["minutes"]} == {"original", "reposts"}
    assert found["rows"]["hashtags"][0] == {"hashtag": "#ev", "posts": 90}
    assert len(found["rows"]["accounts"]) == 4


def test_figures_of_a_day_do_not_count_what_is_older(server: str, filled: Fill) -> None:
    filled(ages=[3600 * 24 * 5 + 60 * number for number in range(6)])

    (totals,) = rows(server)["rows"]["totals"]

    assert (totals["posts_day"], totals["posts_month"], totals["languages"]) == (0, 6, 0)
    assert totals["repost_share"] is None
    assert totals["newest"] is not None, "by its hour"


def test_tables_without_rows_and_no_tables_are_empty(server: str, filled: Fill, warehouse: Any) -> None:
    filled(0)
    assert rows(server)["state"] == "empty"
    warehouse.delete_dataset("x", delete_contents=True)
    found = rows(server)
    assert found["state"] == "empty"
    assert "BigQuery answered" in found["reason"]


def test_without_a_connection_it_says_where_to_make_one(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT")

    found = rows(server)

    assert found["state"] == "failed"
    assert "google_cloud_default" in found["reason"]
    assert "Admin > Connections" in found["remedy"]


@pytest.mark.usefixtures("away")
def test_a_bigquery_that_is_away_is_told_at_once(server: str) -> None:
    found = rows(server)

    assert (found["state"], found["reason"]) == ("failed", "The API server cannot reach BigQuery (ConnectionError).")


@pytest.mark.usefixtures("silent")
def test_a_bigquery_that_is_silent_is_not_waited_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "PATIENCE_S", 0.5)

    found = rows(server)

    assert found["state"] == "failed"
    assert re.fullmatch(r"The API server cannot reach BigQuery \(\w*Timeout\)\.", found["reason"])


def test_a_board_that_is_not_there_is_named(server: str) -> None:
    for path in ("nonsense/", "nonsense/data", "..%2f..%2fx/board"):
        assert requests.get(f"{server}/windrow/boards/{path}", timeout=20).status_code == 404


@pytest.mark.parametrize(("seconds", "asked"), [(60.0, 1), (0.0, 3)])
def test_an_answer_is_given_again_while_it_is_new(seconds: float, asked: int) -> None:
    calls: list[str] = []
    kept = RefreshedCache(lambda name: calls.append(name) or {"state": "failed"}, seconds=seconds, patience_s=10)

    assert [asyncio.run(kept.answer("x")) for _ in range(3)] == [{"state": "failed"}] * 3
    assert len(calls) == asked


def test_of_many_who_look_at_once_one_asks_and_none_waits_for_long() -> None:
    calls: list[str] = []
    go_on = threading.Event()

    def ask(name: str) -> dict[str, Any]:
        calls.append(name)
        go_on.wait(60)
        return {"number": len(calls)}

    async def look(number: int) -> list[dict[str, Any] | None]:
        return list(await asyncio.gather(*(kept.answer("x") for _ in range(number))))

    kept = RefreshedCache(ask, seconds=0.0, patience_s=0.2)
    assert asyncio.run(look(45)) == [None] * 45, "there is none yet"
    assert calls == ["x"]
    go_on.set()
    eventually(lambda: asyncio.run(look(1)) != [None], "there is one")
    go_on.clear()
    before = len(calls)
    old = asyncio.run(look(45))
    assert old == [{"number": before}] * 45, "what is there, though it is old"
    go_on.set()


def test_many_who_wait_for_bigquery_hold_up_no_other_request(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    """The routes of Airflow run in forty threads of the same server; the page must not take them all."""
    from windrow.ui import app

    here, go_on = threading.Semaphore(0), threading.Event()

    def ask(name: str) -> dict[str, Any]:
        go_on.wait(60)
        return {"state": "empty", "rows": {}, "asked_at": "now"}

    monkeypatch.setattr(app, "answers", RefreshedCache(ask, seconds=60.0, patience_s=60.0))
    monkeypatch.setitem(app.app.dependency_overrides, app.see, here.release)
    with ThreadPoolExecutor(45) as pool:
        looks = [pool.submit(requests.get, f"{around.url}{BOARD}/data", timeout=60) for _ in range(45)]
        for _ in looks:
            assert here.acquire(timeout=30)
        try:
            other = requests.get(f"{around.url}/api/v2/dags/x_posts/dagRuns", timeout=30)
            waiting = sum(not look.done() for look in looks)
        finally:
            go_on.set()
        assert (other.status_code, waiting) == (200, 45)
        assert {look.result().json()["state"] for look in looks} == {"empty"}


def test_rows_that_cannot_be_refreshed_are_shown_with_their_age(server: str, filled: Fill, request: Any) -> None:
    filled(90)
    before = rows(server)
    request.getfixturevalue("away")

    after = rows(server)

    assert (after["state"], after["rows"], after["asked_at"]) == ("ready", before["rows"], before["asked_at"])
    assert after["reason"] == "The API server cannot reach BigQuery (ConnectionError)."


# --- what browsers are told --------------------------------------------------------------------


def test_scripts_are_asked_for_anew_and_pages_are_framed_by_airflow_only(around: Around) -> None:
    page = requests.get(f"{around.url}{BOARD}/", timeout=20)
    script = requests.get(f"{around.url}/windrow/static/board.js", timeout=20)

    assert page.headers["Cache-Control"] == script.headers["Cache-Control"] == "no-cache"
    data = requests.get(f"{around.url}{BOARD}/data", timeout=60)
    assert data.headers["Cache-Control"] == "no-store"
    assert {answer.headers["X-Content-Type-Options"] for answer in (page, script, data)} == {"nosniff"}
    assert "frame-ancestors 'self'" in page.headers["Content-Security-Policy"]
    again = requests.get(script.url, headers={"If-None-Match": script.headers["ETag"]}, timeout=20)
    assert (again.status_code, again.headers["Cache-Control"]) == (304, "no-cache")


def _schemes() -> dict[str, dict[str, str]]:
    text = (STATIC / "board.css").read_text()
    blocks = {"light": r":root \{(.*?)\}", "dark": r":root\[data-scheme=\"dark\"\] \{(.*?)\}"}
    found = {scheme: re.search(block, text, re.DOTALL) for scheme, block in blocks.items()}
    return {
        scheme: dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block.group(1)))
        for scheme, block in found.items()
        if block
    }


def _luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme: str) -> None:
    colours = _schemes()[scheme]
    grounds = colours["ground"], colours["card"]

    for name, ground in product(("text", "quiet", "alarm", "accent"), grounds):
        assert _contrast(colours[name], ground) >= 4.5, name
    for name in ("accent", "second"):
        assert _contrast(colours[name], colours["card"]) >= 3, name


def test_the_contrast_is_the_one_that_the_standard_means() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
