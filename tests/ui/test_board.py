"""The page Posts: its declaration, its rows, and how it looks in a browser."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ui.browser import CHROMIUM, Page, page
from windrow.ui.boards import SQL, boards, declared

BOARD = "/boards/x_posts"
CHARTS = 6
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


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
    assert (SQL.parents[1] / "dags" / f"{board['dag_id']}.py").is_file()


def test_there_is_a_license_for_what_is_not_ours() -> None:
    vendor = Path(__file__).parents[2] / "plugins/windrow/ui/static/vendor"
    text = (vendor / "LICENSES.txt").read_text()

    assert {path.name for path in vendor.glob("*.js")} == {"vega.min.js", "vega-lite.min.js"}
    assert all(path.name in text for path in vendor.glob("*.js"))


# --- rows --------------------------------------------------------------------------------------


def test_rows_come_from_the_marts(fresh: str, filled: Callable[[int], None]) -> None:
    filled(90)

    found = rows(fresh)

    assert found["state"] == "ready"
    (totals,) = found["rows"]["totals"]
    assert totals["posts_month"] == 90
    assert totals["repost_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert sum(row["posts"] for row in found["rows"]["hours"]) == 90
    assert sum(row["posts"] for row in found["rows"]["languages"]) == 90
    assert {row["kind"] for row in found["rows"]["minutes"]} == {"posts", "reposts"}
    assert found["rows"]["hashtags"][0] == {"hashtag": "#ev", "posts": 90}
    assert len(found["rows"]["accounts"]) == 4


def test_tables_without_rows_and_no_tables_are_empty(fresh: str, filled: Callable[[int], None], warehouse: Any) -> None:
    filled(0)
    assert rows(fresh)["state"] == "empty"
    warehouse.delete_dataset("x", delete_contents=True)
    assert rows(fresh)["state"] == "empty"


def test_what_fails_says_why(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT")

    found = rows(fresh)

    assert found["state"] == "failed"
    assert "google_cloud_default" in found["reason"]


def test_a_board_that_is_not_there_is_named(server: str) -> None:
    for path in ("/boards/nonsense/", "/boards/nonsense/data", "/boards/..%2f..%2fx/board"):
        assert requests.get(f"{server}{path}", timeout=20).status_code == 404


# --- in a browser ------------------------------------------------------------------------------


def look(server: str, width: int, scheme: str, picture: Path) -> dict[str, Any]:
    """Open the board, keep a picture, and return what can be measured of it."""

    async def go() -> tuple[dict[str, Any], bytes]:
        async with page() as opened:
            await opened.dress(width, 900, scheme)
            await opened.open(f"{server}{BOARD}/")
            await opened.until("document.documentElement.dataset.ready === 'yes'")
            return await measured(opened), await opened.screenshot()

    found, png = asyncio.run(go())
    picture.write_bytes(png)
    return found


async def measured(opened: Page) -> dict[str, Any]:
    script = """JSON.stringify({
        title: document.querySelector('h1').textContent,
        charts: document.querySelectorAll('.chart svg').length,
        figures: [...document.querySelectorAll('.figure b')].map(one => one.textContent),
        notice: document.getElementById('notice').hidden ? '' : document.getElementById('notice').textContent,
        beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        outside: [...document.querySelectorAll('.chart')].filter(one => one.scrollWidth > one.clientWidth + 1).length,
        foreign: document.querySelectorAll('.chart img, .chart script').length,
        ground: getComputedStyle(document.body).backgroundColor,
        columns: new Set([...document.querySelectorAll('.card:not(.figure)')].map(one => one.offsetLeft)).size,
    })"""
    return json.loads(await opened.value(script)) | {"errors": opened.errors}


@needs_chromium
@pytest.mark.parametrize(("width", "columns"), [(1280, 4), (390, 1)])
@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(18, 22, 28)")])
def test_all_charts_are_drawn_within_the_screen(
    fresh: str, filled: Callable[[int], None], tmp_path: Path, width: int, columns: int, scheme: str, ground: str
) -> None:
    filled(300)

    found = look(fresh, width, scheme, tmp_path / f"board-{width}-{scheme}.png")

    assert found["title"] == "Posts of X"
    assert (found["charts"], len(found["figures"])) == (CHARTS, 5)
    assert "NaN" not in str(found["figures"])
    assert (found["beyond"], found["outside"], found["foreign"]) == (0, 0, 0)
    assert (found["ground"], found["columns"]) == (ground, columns)
    assert (found["notice"], found["errors"]) == ("", [])


@needs_chromium
def test_without_posts_it_says_what_to_do(fresh: str, filled: Callable[[int], None], tmp_path: Path) -> None:
    filled(0)

    found = look(fresh, 390, "light", tmp_path / "board-empty.png")

    assert "No posts yet" in found["notice"]
    assert "Open the DAG x_posts" in found["notice"]
    assert (found["charts"], found["beyond"], found["errors"]) == (0, 0, [])


@needs_chromium
def test_a_failure_keeps_what_was_there_and_says_so(
    fresh: str, filled: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(60)

    async def go() -> dict[str, Any]:
        async with page() as opened:
            await opened.dress(1280, 900, "dark")
            await opened.open(f"{fresh}{BOARD}/")
            await opened.until("document.querySelectorAll('.chart svg').length === 6")
            monkeypatch.delenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT")
            await opened.value("refresh()")
            failed = await measured(opened)
            monkeypatch.undo()
            await opened.value("refresh()")
            return failed | {"after": await measured(opened)}

    found = asyncio.run(go())

    assert "cannot be had" in found["notice"]
    assert "what was there before" in found["notice"]
    assert found["charts"] == CHARTS
    assert found["after"]["notice"] == ""
