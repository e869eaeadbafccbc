"""How the page Posts looks and behaves in a browser, in each of its states. Pictures stay in pytest's tmp_path."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import airflow
import pytest

from tests.ui.browser import Page, page
from tests.ui.conftest import SANDBOX, Around, Fill
from windrow.ui import boards

BOARD = "/windrow/boards/x_posts/"
HEADINGS = [
    "Posts a minute",
    "Posts an hour",
    "Share of reposts by hour",
    "Languages",
    "Hashtags",
    "Accounts",
]
SCREENS = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])


MEASURE = """JSON.stringify((() => {
    const all = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility({checkOpacity: true}));
    const screen = document.documentElement.clientWidth;
    const right = (one) => one.getBoundingClientRect().right;
    const bars = all('.full .mark-rect path').map((one) => one.getBBox());
    return {
        state: document.documentElement.dataset.state,
        title: document.querySelector('h1').textContent,
        status: document.getElementById('status').textContent,
        headings: all('#charts h2').map((one) => one.textContent),
        periods: all('.period').map((one) => one.textContent),
        labels: all('.chart').map((one) => one.getAttribute('aria-label')),
        figures: all('.figure b').map((one) => one.textContent),
        texts: all('.chart text').map((one) => one.textContent),
        charts: all('.chart svg').length,
        notice: all('.notice h2, .notice div p, .notice a, .notice button').map((one) => one.innerText.trim()),
        axis: Math.max(0, ...all('.full .role-axis-domain line').map((one) => one.getBBox().width)),
        tallest: Math.max(0, ...bars.map((one) => one.height)),
        bars: bars.filter((one) => one.height > 0).map((one) => one.width),
        beyond: document.documentElement.scrollWidth - screen,
        cut: [
            ...all('.chart text, .chart path').filter((one) => right(one) > right(one.closest('.chart')) + 1),
            ...all('.chart text').filter((one) => one.getBoundingClientRect().left < one.closest('.chart').getBoundingClientRect().left - 1),
            ...all('.figure b, .notice p, h1').filter((one) => right(one) > screen || one.scrollWidth > one.clientWidth + 1),
        ].map((one) => one.outerHTML),
        small: all('.chart text').filter((one) => parseFloat(getComputedStyle(one).fontSize) < 12).length,
        foreign: all('.card img, .card script').length,
        ground: getComputedStyle(document.body).backgroundColor,
        columns: new Set(all('#charts .card').map((one) => one.offsetLeft)).size,
        height: document.documentElement.scrollHeight,
    };
})())"""  # noqa: E501 - not Python
GROUNDS = {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 28)"}


async def measured(opened: Page) -> dict[str, Any]:
    return json.loads(await opened.value(MEASURE)) | {"errors": opened.errors}


async def keep(opened: Page, picture: Path) -> None:
    await asyncio.to_thread(picture.write_bytes, await opened.screenshot())


async def looked(opened: Page, times: int = 1) -> None:
    """Wait until the page has asked so many times."""
    await opened.until(f"Number(document.documentElement.dataset.looks) >= {times}")


async def look_again(opened: Page) -> None:
    """Have the page ask now, as when one comes back to its tab."""
    before = int(await opened.value("document.documentElement.dataset.looks"))
    await opened.value("document.dispatchEvent(new Event('visibilitychange'))")
    await looked(opened, before + 1)


def visit(url: str, width: int, scheme: str, do: Callable[[Page], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Open a page on such a screen, and do something with it."""

    async def go() -> dict[str, Any]:
        async with page() as opened:
            await opened.dress(width, 900, scheme)
            await opened.open(url)
            return await do(opened)

    return asyncio.run(go())


def look(server: str, width: int, scheme: str, picture: Path) -> dict[str, Any]:
    """Open the board, keep a picture, and return what can be measured of it."""

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        await keep(opened, picture)
        return await measured(opened)

    return visit(f"{server}{BOARD}", width, scheme, do)


def assert_fits(found: dict[str, Any], scheme: str) -> None:
    assert (found["beyond"], found["cut"], found["small"], found["foreign"]) == (0, [], 0, 0)
    assert found["ground"] == GROUNDS[scheme]
    assert found["errors"] == []


# --- ready -------------------------------------------------------------------------------------


@SCREENS
def test_much_is_drawn_within_the_screen(server: str, filled: Fill, tmp_path: Path, width: int, scheme: str) -> None:
    filled(600)

    found = look(server, width, scheme, tmp_path / f"much-{width}-{scheme}.png")

    assert (found["state"], found["title"], found["notice"]) == ("ready", "Posts of X", [])
    assert (found["headings"], found["charts"]) == (HEADINGS, len(HEADINGS))
    assert found["figures"][1:3] == ["600", "600"]
    assert found["columns"] == (4 if width == 1280 else 1)
    assert "Updated " in found["status"]
    assert "every 15 s" in found["status"]
    assert {"original", "reposts", "#ev", "ada", "English", "unknown"} <= set(found["texts"])
    assert_fits(found, scheme)


@pytest.mark.parametrize(
    ("minutes", "window", "width"),
    [(1, 30, 1280), (5, 30, 390), (58, 60, 390), (118, 120, 1280), (118, 120, 390)],
)
def test_a_bar_is_as_wide_as_its_minute(
    server: str, filled: Fill, tmp_path: Path, minutes: int, window: int, width: int
) -> None:
    filled(ages=[60 * (number // 3) + 5 for number in range(3 * minutes)])

    found = look(server, width, "light", tmp_path / f"minutes-{minutes}-{width}.png")

    minute = found["axis"] / window
    assert found["axis"] > 0.8 * width - 40
    assert len(found["bars"]) >= minutes
    assert found["tallest"] > 90, "it stands on the axis; two thirds are original"
    assert found["bars"] == pytest.approx([minute - min(1, 0.15 * minute)] * len(found["bars"]), abs=0.1)
    assert found["periods"][0] == {30: "last 30 minutes", 60: "last 60 minutes", 120: "last 2 hours"}[window]
    assert_fits(found, "light")


def test_times_are_those_of_airflow_s_clock(server: str, filled: Fill, tmp_path: Path) -> None:
    filled(60)

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        await opened.value("localStorage.setItem('timezone', JSON.stringify('Asia/Kolkata'))")
        await opened.open(f"{server}{BOARD}")
        await opened.until("document.documentElement.dataset.zone === 'Asia/Kolkata'")
        await looked(opened)
        return await measured(opened)

    found = visit(f"{server}{BOARD}", 1280, "light", do)

    assert "Asia/Kolkata" in found["status"]
    hours = [text for text in found["texts"] if text[:3] in {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}]
    assert hours
    assert all(text.endswith(":30") for text in hours), "an hour of UTC begins there at half past"


def is_label(text: str, name: str) -> bool:
    """Whether a text is a name, or its beginning: how much of a name has room depends on the font."""
    return text == name or (text.endswith("…") and len(text) > 3 and name.startswith(text.removesuffix("…")))


def test_what_people_write_stays_text(server: str, filled: Fill, tmp_path: Path) -> None:
    filled(60)
    over = "(() => { const {x, y} = %s.getBoundingClientRect(); return [x + 3, y + 3]; })()"

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        found = await measured(opened)
        await opened.value("[...document.querySelectorAll('.third')].at(-1).scrollIntoView()")
        bars = "[...[...document.querySelectorAll('.third')].at(-1).querySelectorAll('.mark-rect path')]"
        tips = []
        for at in range(await opened.value(f"{bars}.length")):
            await opened.point(*await opened.value(over % f"{bars}[{at}]"))
            await opened.until("!document.getElementById('tip').hidden")
            tips.append(await opened.value("document.getElementById('tip').innerText"))
        await keep(opened, tmp_path / "tip.png")
        within = await opened.value("document.querySelectorAll('#tip script, #tip img').length")
        await opened.value(
            "document.body.insertAdjacentHTML('beforeend', '<img src=/nothing onerror=\"window.hit = 1\">');"
            "new Promise((done) => document.body.lastChild.addEventListener('error', done))"
        )
        return found | {"tips": tips, "within": within, "hit": await opened.value("window.hit")}

    found = visit(f"{server}{BOARD}", 1280, "light", do)

    for name in ("<script>alert(1)</script>", "#<img/src=x/onerror=alert(1)>", "#__proto__", "constructor"):
        assert any(is_label(text, name) for text in found["texts"]), f"{name} is drawn, or as much as has room"
        assert any(f"{name} " in label for label in found["labels"]), f"{name} is said whole"
    long = "a_very_long_account_name_that_never_seems_to_end"
    assert long not in found["texts"]
    assert any(is_label(text, long) for text in found["texts"])
    assert any(f"{long} 15" in label for label in found["labels"])
    assert [tip.split() for tip in found["tips"] if "<" in tip] == [
        ["account", "<script>alert(1)</script>", "posts", "15"]
    ]
    assert (found["within"], found["foreign"]) == (0, 0)
    assert found["hit"] is None, "and if markup got in, its scripts would not run"


def test_a_failure_keeps_what_was_there_and_one_can_try_at_once(
    server: str, filled: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(60)

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        with monkeypatch.context() as patch:
            patch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
            await look_again(opened)
            failed = await measured(opened)
            await keep(opened, tmp_path / "failed-later.png")
        await opened.press("Tab")
        await opened.press("Enter")
        await looked(opened, 3)
        return failed | {"after": await measured(opened)}

    found = visit(f"{server}{BOARD}", 1280, "dark", do)

    assert found["notice"][0] == "Updating the board failed"
    assert found["notice"][3] == "The charts below show older data. The page retries automatically."
    assert found["status"].startswith("Not up to date: data of ")
    assert found["charts"] == len(HEADINGS)
    assert (found["after"]["state"], found["after"]["notice"]) == ("ready", [])


def test_new_rows_come_without_a_jump(server: str, filled: Fill) -> None:
    filled(60)

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        await opened.value("document.querySelectorAll('.chart svg').forEach((one) => { one.dataset.seen = 'yes'; })")
        await opened.value("scrollTo(0, 150)")
        await opened.value("""
            window.heights = new Set();
            new MutationObserver(() => heights.add(document.documentElement.scrollHeight))
                .observe(document.body, {subtree: true, childList: true, attributes: true});
        """)
        before = await measured(opened)
        filled(120)
        await look_again(opened)
        after = await measured(opened)
        seen = await opened.value("document.querySelectorAll('.chart svg[data-seen]').length")
        heights = await opened.value("[...heights]")
        return {"before": before, "after": after, "seen": seen, "heights": heights, "y": await opened.value("scrollY")}

    found = visit(f"{server}{BOARD}", 1280, "light", do)

    assert (found["before"]["figures"][1], found["after"]["figures"][1]) == ("60", "120")
    assert found["before"]["labels"] != found["after"]["labels"]
    assert found["seen"] == len(HEADINGS), "the pictures are the same ones, with other rows"
    assert found["heights"] == [found["before"]["height"]]
    assert found["y"] == 150


def test_charts_are_told_in_words_and_keys_reach_what_there_is_to_do(server: str, filled: Fill) -> None:
    filled(ages=[90_000.0, 4000.0])

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        await opened.press("Tab")
        focus = await opened.value("document.activeElement.textContent")
        live = await opened.value("document.querySelector('.notice').parentElement.getAttribute('role')")
        return await measured(opened) | {"focus": focus, "live": live}

    found = visit(f"{server}{BOARD}", 390, "dark", do)

    assert found["labels"][0].startswith("Posts a minute, last 2 hours: 1 at ")
    assert found["labels"][3] == "Languages, last 24 hours: German 1"
    assert (found["focus"], found["live"]) == ("Open the DAG x_posts", "status")


# --- other states ------------------------------------------------------------------------------


@SCREENS
def test_without_posts_it_says_what_to_do(
    around: Around, filled: Fill, tmp_path: Path, width: int, scheme: str
) -> None:
    filled(0)
    around.dag = {"dag_id": "x_posts", "is_paused": True}

    found = look(around.url, width, scheme, tmp_path / f"empty-{width}-{scheme}.png")

    assert (found["state"], found["charts"], found["headings"]) == ("empty", 0, [])
    assert found["notice"][0] == "No posts yet"
    assert "The DAG x_posts is paused: unpause it. It has not run yet." in found["notice"]
    assert found["notice"][-1] == "Open the DAG x_posts"
    assert_fits(found, scheme)


# --- in Airflow's frame ------------------------------------------------------------------------


def test_the_frame_of_the_tests_is_airflow_s() -> None:
    assets = Path(airflow.__file__).parent / "ui/dist/assets"

    assert any(SANDBOX in path.read_text(errors="ignore") for path in assets.glob("index-*.js"))


@pytest.mark.parametrize(("system", "chosen"), [("light", "dark"), ("dark", "light")])
def test_in_a_frame_it_is_as_light_as_airflow_and_its_link_leads_out(
    around: Around, filled: Fill, system: str, chosen: str
) -> None:
    filled(0)
    inner = "document.querySelector('iframe').contentDocument"

    async def do(opened: Page) -> dict[str, Any]:
        await opened.until(f"{inner}.documentElement.dataset.state === 'empty'")
        ground = await opened.value(f"getComputedStyle({inner}.body).backgroundColor")
        await opened.value(f"document.documentElement.className = '{system}'")
        await opened.until(f"{inner}.documentElement.dataset.scheme === '{system}'")
        await opened.value(f"{inner}.querySelector('.notice a').click()")
        await opened.until("location.pathname === '/dags/x_posts'")
        return {"ground": ground}

    found = visit(f"{around.url}/plugin/{chosen}", 1280, system, do)

    assert found["ground"] == GROUNDS[chosen]


# --- not all is well ------------------------------------------------------------------------------


def test_when_no_new_posts_come_it_says_since_when_and_how_the_dag_is(
    around: Around, filled: Fill, tmp_path: Path
) -> None:
    filled(ages=[3600.0 + 60 * number for number in range(30)])
    around.dag = {"dag_id": "x_posts", "is_paused": False}
    states = {"success": "succeeded", "failed": "failed. See its log", "running": "A run has been running since"}

    async def do(opened: Page) -> dict[str, Any]:
        await looked(opened)
        found = {}
        for state in states:
            around.runs = [{"state": state, "run_after": "2026-11-20T08:00:00Z"}]
            await look_again(opened)
            await keep(opened, tmp_path / f"stale-{state}.png")
            found[state] = await measured(opened)
        return found

    for state, found in visit(f"{around.url}{BOARD}", 390, "light", do).items():
        assert found["state"] == "stale"
        assert found["notice"][0] == "No new post for 60 min"
        assert states[state] in found["notice"][1]
        assert "the publisher has stopped" in found["notice"][2]
        assert found["charts"] == len(HEADINGS)
        assert_fits(found, "light")


@SCREENS
@pytest.mark.usefixtures("away")
def test_without_bigquery_it_says_what_happened_and_what_to_do(
    server: str, tmp_path: Path, width: int, scheme: str
) -> None:
    found = look(server, width, scheme, tmp_path / f"failed-{width}-{scheme}.png")

    assert (found["state"], found["charts"], found["headings"]) == ("failed", 0, [])
    heading, reason, remedy, then, button = found["notice"]
    assert heading == "Loading the board failed"
    assert reason == "The API server cannot reach BigQuery (ConnectionError)."
    assert "No posts are lost" in remedy
    assert (then, button) == ("The page retries automatically.", "Try now")
    assert found["status"] == "Not loaded."
    assert_fits(found, scheme)


@SCREENS
@pytest.mark.usefixtures("silent")
def test_while_it_loads_the_cards_are_there(
    server: str, filled: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, scheme: str
) -> None:
    monkeypatch.setattr(boards, "PATIENCE_S", 5.0)

    async def do(opened: Page) -> dict[str, Any]:
        await opened.until("document.querySelectorAll('#charts .card').length > 0")
        found = await measured(opened)
        await keep(opened, tmp_path / f"loading-{width}-{scheme}.png")
        await looked(opened)
        return found | {"then": await measured(opened)}

    found = visit(f"{server}{BOARD}", width, scheme, do)

    assert (found["state"], found["status"], found["headings"]) == ("loading", "Loading …", HEADINGS)
    assert_fits(found, scheme)
    assert found["then"]["notice"][1] == "The BigQuery query is still running."
