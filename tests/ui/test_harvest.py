"""The Harvest pages: who sees what, what is there to read, and how it looks in each state."""

import asyncio
import io
import json
import re
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from html import unescape
from importlib import resources
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
import requests
from airflow.api_fastapi.app import get_auth_manager
from airflow.models.dagrun import DagRun
from airflow.models.deadline import Deadline
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.sdk import AsyncCallback, BaseOperator
from airflow.utils.session import create_session
from fastapi.routing import APIRoute
from pymongo import MongoClient
from sqlalchemy import delete, select

from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from tests.ui.browser import Page, page
from tests.ui.harvest_server import (
    BELOW,
    DRY_RUN,
    NASTY,
    NOW,
    ROLES,
    Harvests,
    airflow_database,
    day,
    end_action,
    end_queued,
    fill,
    run_id,
    serving,
    task_states,
    write_actions_dag,
)
from tests.ui.test_board import _contrast
from windrow.airflow.hooks.snapshot import snapshot
from windrow.airflow.operators.body import ShowBodyOperator
from windrow.airflow.operators.deadline import tell
from windrow.cli import act
from windrow.cli.main import main
from windrow.harvest.actions import SHOW_BODY
from windrow.harvest.status.interval import iso
from windrow.harvest.watch import problems
from windrow.model.answer import Rejected
from windrow.model.errors import BadParameter
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.events import EVENTS
from windrow.store.reports import Reason
from windrow.store.staging import Staging
from windrow.ui.cache import RefreshedCache
from windrow.ui.harvest import airflow_facts, answer_pages

ROOT = "/windrow/harvest"
STATIC = Path(__file__).parents[2] / "plugins/windrow/ui/static"
RUN = quote(run_id(0), safe="")
PAGES = {
    "": "1 incomplete, 1 unknown, 1 waiting, 1 running, 1 quota is not enough, 1 with warnings.",
    "stream?name=spotify_artists": "Intervals and runs",
    f"stream?name=shop_orders&day={day(12).date()}": "Airflow started no run for it",
    f"stream?name=spotify_artists&day={day(5).date()}": run_id(5),
    f"run?stream=shop_orders&id={quote(run_id(200), safe='')}": "does not have this run any more",
    f"run?stream=spotify_artists&id={RUN}": "Receipt: it does not add up",
    f"run?stream=github_memberships&id={RUN}": "queries/s in the last minutes",
    f"run?dag=github_users&id={RUN}": "github_memberships",
    f"run?stream=x_posts&id={RUN}": "Nothing is known about its counts",
    f"keys?stream=spotify_artists&id={RUN}&of=open": "artists?id=7",
    f"keys?stream=spotify_artists&id={RUN}&of=gap": "artists?id=99",
    "quarantine": "HTTP 422: the API refused the query",
    f"quarantine?stream=spotify_artists&id={RUN}": "artists?id=3",
    "stream?name=shop_orders": "windrow accept shop_orders",
    "plan": "DAGs",
    "plan?dag=shop": "Plan a run of shop",
    f"plan?dag=shop&id={quote(DRY_RUN)}": "but 1,480 are left: 420 too few",
    f"plan?dag=shop&id={quote(DRY_RUN)}&from=200": "orders?day=249",
    "plan?dag=x_posts&id=plan__x": "The plan is not computed yet",
    f"body?stream=spotify_artists&id={RUN}&key=artists%3Fid%3D3": "The body is masked.",
    "limits": "1,480",
    "find?key=artists%3Fid%3D3": "GET /artists?id=3",
    "sizes": "What MongoDB holds",
    "month": "Hours until mended",
    "month?of=2026-02": "Harvests in February 2026",
    "find": "A key is the path of a call",
}
"""Each page, with something that it says about the filled database."""


def undated(path: str) -> str:
    """Return the path as the id of a test: all workers of pytest have to find the same, also at midnight."""
    return re.sub(r"\d{4}-\d\d-\d\d(T[\w%+:]*)?", "DAY", path)


DEADLINES = ("github_users", "titanic_passengers")


@pytest.fixture(scope="session")
def cloud(shared: SharedCloud) -> Settings:
    return shared.need("mongo")


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page takes a snapshot of its own."""
    from windrow.ui.harvest import snapshots

    monkeypatch.setattr(snapshots, "cache", RefreshedCache(snapshots._refresh, seconds=0.0, patience_s=30.0))
    monkeypatch.setattr(snapshots, "_last", dict(snapshots._last))


@pytest.fixture
def _no_mongodb(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages ask a MongoDB that is away, and wait for it less long."""
    from windrow.ui.harvest import snapshots

    monkeypatch.setattr(snapshots, "_SELECTION_MS", 300)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", "mongo://reader:hushhushhush@127.0.0.1:9/windrow")


@pytest.fixture
def _looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal asks often whether an action has ended."""
    monkeypatch.setattr(act, "_LOOK_S", 0.1)


@pytest.fixture(scope="module")
def harvests(cloud: Settings, mongo: MongoClient[dict[str, Any]]) -> Iterator[Harvests]:
    database = f"test_{uuid.uuid4().hex}"
    with airflow_database():
        fill(Staging(mongo, database))
        with serving(cloud, database) as served:
            yield served
    mongo.drop_database(database)


def get(
    harvests: Harvests, path: str, role: str | None = "viewer", *, below: str = "", method: str = "GET", **kwargs: Any
) -> requests.Response:
    cookies = {"_token": harvests.tokens.get(role, "a.b.c")} if role else {}
    return requests.request(
        method, f"{harvests.url}{below}{ROOT}/{path}", cookies=cookies, timeout=60, allow_redirects=False, **kwargs
    )


def airflow_run(dag_id: str, named: str) -> Any:
    with create_session() as session:
        found = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == named)).one()
        return SimpleNamespace(conf=found.conf, note=found.note, by=found.triggering_user_name)


# --- who sees what -----------------------------------------------------------------------------


def routes() -> list[APIRoute]:
    from windrow.ui.app import app

    return [route for route in app.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("below", ["", BELOW])
def test_no_route_writes_and_none_is_open(harvests: Harvests, below: str) -> None:
    found = routes()
    assert len(found) >= 10
    params = {"stream": "shop_orders", "name": "shop_orders", "id": run_id(0), "of": "gap"}
    for route in found:
        assert route.methods == {"GET"}, route.path
        path = f"..{route.path.replace('{name}', 'x_posts')}"
        assert get(harvests, path, None, below=below, params=params).status_code == 401, f"{path} is public"
        assert get(harvests, path, "forged", below=below, params=params).status_code == 403, path
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = get(harvests, path, "admin", below=below, params=params, method=method)
            assert answer.status_code == 405, f"{method} {path}"


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_every_link_of_every_page_stays_below_the_path_of_airflow(harvests: Harvests, role: str) -> None:
    seen = set()
    places = (f"{ROOT}/", "/windrow/static/", "/dags", "/connections")
    for path in [*PAGES, *({**FORMS, **BODY_FORM} if role != "viewer" else ())]:
        answer = get(harvests, path, role, below=BELOW)
        assert answer.status_code == 200, path
        for address in re.findall(r'(?:href|src|action|data-then)="([^"#]+)', answer.text):
            found = urlsplit(urljoin(answer.url, unescape(address)))
            assert found.path.startswith(tuple(f"{BELOW}{place}" for place in places)), address
            seen.add(found.path.removeprefix(BELOW))
    known = {route.path for route in routes()}
    assert {path.removeprefix("/windrow") for path in seen if path.startswith(f"{ROOT}/")} <= known
    for path in sorted(path for path in seen if path.startswith("/windrow/static/")):
        assert requests.get(f"{harvests.url}{BELOW}{path}", timeout=60).status_code == 200, path
    slash = get(harvests, "../harvest", role, below=BELOW)
    assert urlsplit(slash.headers["Location"]).path == f"{BELOW}{ROOT}/"


def test_a_task_gets_the_snapshot_of_the_pages(harvests: Harvests, monkeypatch: pytest.MonkeyPatch) -> None:
    from windrow.ui.harvest.snapshots import _last

    airflow = {"conn_type": "http", "host": harvests.url, "login": "viewer", "password": "viewer"}
    monkeypatch.setenv("AIRFLOW_CONN_WINDROW_AIRFLOW", json.dumps(airflow))

    found = snapshot("mongo_default")

    (quota,) = found.quotas
    assert (quota.account, quota.taken) == ("github_users_api", 8_520), "a viewer may not read connections"
    assert replace(found, quotas=_last["snapshot"].quotas) == _last["snapshot"]
    assert found.facts.asked
    assert len(problems(found, {}, NOW)) >= 4


@pytest.mark.parametrize(
    ("zone", "shown"), [("UTC", "0 6 * * *"), ("America/Los_Angeles", "0 6 * * *, America/Los_Angeles")]
)
def test_a_schedule_names_its_zone_unless_it_is_utc(zone: str, shown: str) -> None:
    assert airflow_facts._in_zone("0 6 * * *", ("0 6 * * *", zone)) == shown


def test_the_deadline_of_a_run_that_goes_on_is_known(harvests: Harvests) -> None:
    with create_session() as session:
        runs = {dag: session.scalars(select(DagRun).filter_by(dag_id=dag, run_id=run_id(0))).one() for dag in DEADLINES}
        for dag_id, run in runs.items():
            for hours in (5, 3):
                ends = NOW + timedelta(hours=hours)
                session.add(Deadline(ends, AsyncCallback(tell, kwargs={}), run.id, None, dag_id=dag_id))

    facts, _ = airflow_facts.read()
    with create_session() as session:
        session.execute(delete(Deadline))

    found = {dag_id: facts.runs[dag_id][0].deadline_at for dag_id in DEADLINES}
    assert found == {"github_users": iso(NOW + timedelta(hours=3)), "titanic_passengers": ""}, "one is over"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", PAGES, ids=undated)
def test_who_may_read_all_dags_sees_all_pages(harvests: Harvests, role: str, path: str) -> None:
    answer = get(harvests, path, role)

    assert answer.status_code == 200
    assert PAGES[path].replace("'", "&#39;") in answer.text
    assert "hushhush" not in answer.text, "secrets of connections"
    assert NASTY not in answer.text, "what an API says stays text"
    assert "<img" not in answer.text
    assert "<script>" not in answer.text, "bodies of answers"
    assert "49" not in re.findall(r"&lt;img src=x.*?\n", answer.text)


def test_who_may_read_some_dags_sees_nothing_of_the_others(harvests: Harvests, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = get_auth_manager()
    monkeypatch.setattr(manager, "get_authorized_dag_ids", lambda *, user, method="GET": {"shop"})
    for path in PAGES:
        answer = get(harvests, path)
        seen = re.sub(r'value="[^"]*"|<p class="cause[^"]*">.*?</p>', "", answer.text)  # what was asked for
        for name in ("spotify", "github", "youtube", "titanic", "x_posts"):
            assert name not in seen, path
        assert answer.status_code == (404 if "=spotify" in path or "=github" in path or "=x_" in path else 200)
    assert "0 of 1 streams complete" in get(harvests, "").text
    assert "MongoDB has no query with exactly this key" in get(harvests, "find?key=artists%3Fid%3D3").text


def test_only_who_may_read_connections_sees_accounts(harvests: Harvests) -> None:
    assert "client-7" not in get(harvests, "limits", "user").text
    text = get(harvests, "limits", "op").text
    assert "client-7" in text
    assert re.search(r'class="n bad" data-label="Days left">6<', text)
    assert "pool of 4" in text
    assert 'data-label="Kind">bearer<' in text


# --- who may act -------------------------------------------------------------------------------

ALERT = "attention|Action required|CredentialsRejected|youtube_analytics_api"
OF_RUN = f"stream=spotify_artists&id={RUN}"
FORMS = {
    f"action?do=replay&{OF_RUN}": "At most 12 calls and 12 units",
    f"action?do=replay&{OF_RUN}&key=artists%3Fid%3D3": "At most 1 calls",
    f"action?do=accept_gap&{OF_RUN}": "all queries of this run without an answer",
    f"action?do=undo_gap&{OF_RUN}": "demands these answers again",
    "action?do=stop&conn=shop_api": "Nothing is lost",
    "action?do=resume&conn=shop_api": "Harvests that wait look every minute",
    f"action?do=snooze&cause={quote(ALERT)}": "Nobody gets an alert of this cause",
}
BODY_FORM = {f"show?{OF_RUN}&key=artists%3Fid%3D3": "Your name, the time and the key are recorded"}
WITH_ACTIONS = (
    "",
    "find?key=artists%3Fid%3D3",
    f"quarantine?{OF_RUN}",
    f"run?{OF_RUN}",
    "limits",
    f"keys?{OF_RUN}&of=open",
)


@pytest.mark.parametrize("role", ROLES)
def test_only_who_may_trigger_the_dag_of_actions_sees_and_gets_them(harvests: Harvests, role: str) -> None:
    may = role != "viewer"
    for path in WITH_ACTIONS:
        assert ('class="act"' in get(harvests, path, role).text) == may, path
    for path, told in {**FORMS, **BODY_FORM}.items():
        answer = get(harvests, path, role)
        assert answer.status_code == (200 if may else 403), path
        assert (told in answer.text) == may, path
    api = f"{harvests.url}/api/v2/dags/harvest_actions/dagRuns"
    conf = {"action": "stop", "connection": "shop_api", "note": "a test"}
    body = {"logical_date": None, "conf": conf, "dag_run_id": f"of_{role}"}
    made = requests.post(api, json=body, cookies={"_token": harvests.tokens[role]}, timeout=60)
    assert made.status_code == (200 if may else 403), made.text
    assert requests.post(api, json=body, timeout=60).status_code == 401
    if may:
        assert made.json()["triggering_user_name"] == role


def test_an_action_is_a_run_of_airflow_and_then_clears_what_it_is_for(harvests: Harvests) -> None:
    inner = "document.querySelector('iframe').contentDocument"

    async def do(opened: Page) -> str:
        await opened.until(f"!!{inner}?.querySelector('#act button:enabled')")
        await opened.value(f"{inner}.querySelector('[name=note]').value = 'a <b>test</b>'")
        await opened.value(f"{inner}.querySelector('#act button').click()")
        await opened.until(f"!!{inner}.querySelector('#links a')")
        started = await asyncio.to_thread(end_action, "success")
        await opened.until(f"{inner}.querySelector('#outcome').textContent.includes('are cleared')")
        assert opened.errors == []
        return started

    path = quote(f"action?do=accept_gap&{OF_RUN}&key=artists%3Fid%3D3", safe="")
    started = visit(harvests, f"{BELOW}/plugin/light?page={path}", 1280, "light", do)

    assert json.loads(started) == {
        "action": "accept_gap",
        "stream": "spotify_artists",
        "run": run_id(0),
        "key": "artists?id=3",
        "note": "a <b>test</b>",
    }
    assert task_states("spotify_artists", 0)["prove"] is None, "it failed, and is cleared"


@pytest.mark.usefixtures("_looking")
@pytest.mark.parametrize(
    ("role", "state", "code", "told"),
    [
        ("viewer", "", 2, "Airflow answered HTTP 403"),
        ("op", "failed", 1, "The action failed. Its log says why"),
        ("op", "success", 0, "12 gaps accepted"),
    ],
)
def test_the_terminal_asks_airflow_with_the_token_of_the_user(
    harvests: Harvests, role: str, state: str, code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = {"WINDROW_AIRFLOW_URL": harvests.url, "WINDROW_AIRFLOW_TOKEN": harvests.tokens[role]}
    out = io.StringIO()
    arguments = ["accept-gap", "spotify_artists", "--run", run_id(0), "--note", "a test", "--json"]
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end_queued, state, {"result": "12 gaps accepted", "dag_id": "spotify_artists"})
        found = main(arguments, environment, out)
        ending.result()

    assert found == code
    assert told in out.getvalue() + capfd.readouterr().err
    assert harvests.tokens[role] not in out.getvalue()
    if not code:
        assert task_states("spotify_artists", 0)["prove"] is None


@pytest.fixture
def own_actions(harvests: Harvests, monkeypatch: pytest.MonkeyPatch) -> None:
    """Actions on the runs of spotify_artists alone, for who may not trigger the DAG of all actions."""
    manager = get_auth_manager()
    may = manager.is_authorized_dag

    def is_authorized_dag(**asked: Any) -> bool:
        details = asked.get("details")
        return may(**asked) and not (asked["method"] == "POST" and details and details.id == "harvest_actions")

    write_actions_dag("spotify_artists")
    monkeypatch.setattr(manager, "is_authorized_dag", is_authorized_dag)


OWN = "harvest_actions__spotify_artists"


@pytest.mark.usefixtures("own_actions", "_looking")
def test_who_may_act_on_one_dag_sees_and_gets_its_actions_alone(harvests: Harvests) -> None:
    for path in FORMS:
        answer = get(harvests, path, "user")
        of_run = "stream=spotify" in path
        assert answer.status_code == (200 if of_run else 403), path
        assert (f'data-dag="{OWN}"' in answer.text) == of_run
    for path in WITH_ACTIONS:
        assert ('class="act"' in get(harvests, path, "user").text) == (path not in {"", "limits"}), path
    other = f"run?stream=shop_orders&id={RUN}"
    assert 'class="act"' not in get(harvests, other, "user").text
    environment = {"WINDROW_AIRFLOW_URL": harvests.url, "WINDROW_AIRFLOW_TOKEN": harvests.tokens["user"]}
    out = io.StringIO()
    arguments = ["accept-gap", "spotify_artists", "--run", run_id(0), "--note", "a test"]
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end_queued, "success", {"result": "12 gaps accepted"}, OWN)
        assert main(arguments, environment, out) == 0
        ending.result()
    assert "12 gaps accepted" in out.getvalue()
    assert main(["stop", "shop_api"], environment, out) == 2


READING = {
    "status": (1, "1 of 7 streams complete, 2 need you"),
    "status --json": (1, '"1 of 7 streams complete'),
    "why spotify_artists": (1, "spotify_artists: Action required: 17 of 640 planned queries"),
    "why titanic_passengers": (0, "titanic_passengers: Complete: the receipt agrees"),
    "why nope": (2, "Known streams: "),
    "runs shop_orders": (0, "missing"),
    f"show {run_id(0)} --stream spotify_artists": (1, "17"),
    f"show {run_id(0)} --stream github_memberships --json": (1, '"attempts": [\n      {\n        "name": "harvest"'),
    "show nope": (2, "not among the last 30"),
    "quarantine": (0, "HTTP 422: the API refused the query"),
    "quarantine shop_orders": (0, "The quarantine is empty"),
    "limits": (0, "shop.data"),
    "find artists?id=3": (0, "SELECT * FROM spotify.artists WHERE _key = 'artists?id=3'"),
    "find nope": (1, "No query with exactly the key 'nope'"),
}
"""Commands that only read, with their exit code and what they print of the filled database."""


def terminal(harvests: Harvests, arguments: str, role: str, **changes: str) -> tuple[int, str]:
    environment = {"WINDROW_AIRFLOW_URL": harvests.url, "WINDROW_AIRFLOW_TOKEN": harvests.tokens[role], **changes}
    out = io.StringIO()
    return main([*arguments.split(), "--via", "airflow"], environment, out), out.getvalue()


@pytest.mark.parametrize("arguments", READING)
def test_the_terminal_reads_what_the_user_sees_in_airflow(harvests: Harvests, arguments: str) -> None:
    code, told = READING[arguments]

    found, text = terminal(harvests, arguments, "viewer")

    assert (told in text, found) == (True, code), text
    assert "client-7" not in text
    assert "hushhush" not in text


def test_the_terminal_prints_the_same_of_both_ways(harvests: Harvests) -> None:
    for arguments in ("quarantine", "find artists?id=3", f"show {run_id(5)} --stream shop_orders", "limits --json"):
        out = io.StringIO()
        code = main(arguments.split(), {"WINDROW_MONGO_URL": harvests.mongo}, out)
        assert terminal(harvests, arguments, "op") == (code, out.getvalue()), arguments


def test_the_terminal_of_who_may_read_one_dag_knows_no_other(
    harvests: Harvests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_auth_manager(), "get_authorized_dag_ids", lambda *, user, method="GET": {"shop"})
    for arguments in READING:
        code, text = terminal(harvests, arguments, "viewer")
        for name in ("spotify", "github", "youtube", "titanic", "x_posts"):
            assert name not in text.replace(arguments.partition(" ")[2].partition(" ")[0], ""), arguments
        of_another = "spotify" in arguments or "titanic" in arguments or "github" in arguments
        assert code == (2 if of_another else 1 if "find" in arguments else READING[arguments][0]), arguments
    assert "0 of 1 streams complete" in terminal(harvests, "status", "viewer")[1]
    for path in ("snapshot", "attempts?stream=spotify_artists&id=" + RUN, "origins?key=artists%3Fid%3D3"):
        assert not re.search("spotify|github|youtube|titanic|x_posts|client-7", get(harvests, path).text), path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"WINDROW_AIRFLOW_TOKEN": ""}, "WINDROW_AIRFLOW_URL or WINDROW_AIRFLOW_TOKEN is missing or invalid."),
        ({"WINDROW_AIRFLOW_TOKEN": "sesame-sesame"}, "Airflow answered HTTP 40"),
        ({"WINDROW_AIRFLOW_URL": "http://127.0.0.1:9"}, "Airflow did not answer at http://127.0.0.1:9: URLError."),
        ({"WINDROW_AIRFLOW_URL": "{url}/dags/x?to="}, "Airflow at {url}/dags/x?to= answered something else"),
        ({"WINDROW_AIRFLOW_URL": "{url}/below"}, "Airflow answered HTTP 404"),
    ],
)
def test_an_airflow_that_does_not_answer_is_unknown_and_the_other_way_is_named(
    harvests: Harvests, changes: dict[str, str], told: str
) -> None:
    changes = {name: value.format(url=harvests.url) for name, value in changes.items()}

    code, text = terminal(harvests, "status", "viewer", **changes)

    assert code == 2
    assert text.startswith(f"Unknown: {told.format(url=harvests.url)}")
    assert text.endswith("Or leave out --via airflow: the command then reads MongoDB.\n")
    assert text.count("\n") == 1
    assert "sesame" not in text


@pytest.mark.usefixtures("_no_mongodb")
def test_the_terminal_does_not_know_what_airflow_cannot_read(harvests: Harvests) -> None:
    for arguments in ("status", "find artists?id=3"):
        code, text = terminal(harvests, arguments, "viewer")
        assert (code, "MongoDB did not answer" in text, "hushhush" in text) == (2, True, False), text


@pytest.mark.parametrize(
    "path",
    [
        "action?do=replay&stream=a&id=b",
        "action?do=snooze&cause=late%7Cx",
        "show?stream=a&id=b&key=c",
        "action?do=stop&conn=unknown",
        f"action?do=delete&{OF_RUN}",
    ],
    ids=undated,
)
def test_there_is_no_form_for_what_is_not_there(harvests: Harvests, path: str) -> None:
    assert get(harvests, path, "admin").status_code in {404, 422}


# --- bodies ------------------------------------------------------------------------------------

BODY = f"{OF_RUN}&key=artists%3Fid%3D3"


@pytest.fixture
def _taken_back(harvests: Harvests, mongo: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """Requests are taken back at the end: after one, the pages show a body to a user for minutes."""
    yield
    mongo[urlsplit(harvests.mongo).path[1:]][EVENTS].delete_many({"action": SHOW_BODY})


def record(run_id: str, conf: Mapping[str, str], user: str) -> None:
    """Do what the task of a request to see a body does."""
    dag_run = SimpleNamespace(triggering_user_name=user)
    context: Any = {"params": conf, "dag_run": dag_run, "run_id": run_id}
    ShowBodyOperator(task_id="record").execute(context)


@pytest.mark.usefixtures("_taken_back")
def test_a_body_is_shown_to_whom_a_recorded_request_names_and_only_for_minutes(
    harvests: Harvests, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def do(opened: Page) -> list[Any]:
        await opened.until("!!document.querySelector('#act button:enabled')")
        await opened.value("document.querySelector('#act button').click()")
        await opened.until("!!document.querySelector('#links a')")
        conf = json.loads(await asyncio.to_thread(end_action, "running", "harvest_bodies"))
        await asyncio.to_thread(record, "manual__1", conf, "op")
        await asyncio.to_thread(end_action, "success", "harvest_bodies")
        await opened.until("location.pathname.endsWith('/body') && document.documentElement.dataset.ready")
        return [conf, await opened.value("document.querySelector('pre').textContent"), opened.errors]

    for role in ROLES:
        assert "The body is masked" in get(harvests, f"body?{BODY}", role).text
        assert get(harvests, f"body.txt?{BODY}", role).status_code == 403
    found = visit(harvests, f"{ROOT}/show?{BODY}", 1280, "light", do)

    conf = {"stream": "spotify_artists", "run": run_id(0), "key": "artists?id=3", "of": "quarantine"}
    assert found == [conf, "<script>alert(1)</script>", []]
    shown = get(harvests, f"body.txt?{BODY}", "op")
    assert (shown.status_code, shown.text) == (200, "<script>alert(1)</script>")
    assert shown.headers["Content-Type"].startswith("text/plain")
    assert shown.headers["Content-Disposition"] == 'attachment; filename="body.txt"'
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    events = get(harvests, "stream?name=spotify_artists").text.replace("&#39;", "'")
    assert f"<b>op</b> show_body key 'artists?id=3' of run '{run_id(0)}' (quarantine): until " in events
    for path in ("body", "body.txt"):
        assert "alert(1)" not in get(harvests, f"{path}?{BODY}", "admin").text, "another user"
        other = BODY.replace("id%3D3", "id%3D4")
        assert "alert(1)" not in get(harvests, f"{path}?{other}", "op").text, "another body"
    monkeypatch.setattr(answer_pages, "SHOWN_FOR", timedelta(0))
    assert "The body is masked" in get(harvests, f"body?{BODY}", "op").text
    assert get(harvests, f"body.txt?{BODY}", "op").status_code == 403


@pytest.mark.usefixtures("_taken_back")
def test_who_asked_and_may_not_see_bodies_any_more_sees_none(
    harvests: Harvests, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = {"stream": "spotify_artists", "run": run_id(0), "key": "artists?id=4", "of": "quarantine"}
    path = f"body?{OF_RUN}&key=artists%3Fid%3D4"
    record("manual__2", conf, "user")
    record("manual__3", conf, "viewer")
    assert "alert(1)" in get(harvests, path, "user").text
    assert "To see it needs the permission" in get(harvests, path, "viewer").text

    manager = get_auth_manager()
    monkeypatch.setattr(manager, "get_authorized_dag_ids", lambda *, user, method="GET": {"shop", "harvest_bodies"})

    assert get(harvests, path, "user").status_code == 404, "of a DAG that they may not read"


@pytest.mark.parametrize(
    ("change", "user", "says"),
    [
        ({"key": "nope"}, "op", "MongoDB has no body"),
        ({"of": "answer"}, "op", "no body"),
        ({}, "", "no user may see it"),
    ],
)
def test_a_request_for_nothing_or_by_nobody_is_refused(
    harvests: Harvests, change: dict[str, str], user: str, says: str
) -> None:
    conf = {"stream": "spotify_artists", "run": run_id(0), "key": "artists?id=5", "of": "quarantine", **change}
    with pytest.raises(BadParameter, match=says):
        record("manual__4", conf, user)


# --- what is there to read ---------------------------------------------------------------------


def test_attention_says_who_must_act_what_is_safe_and_what_to_do(harvests: Harvests) -> None:
    text = get(harvests, "").text

    assert "The consent was revoked or has expired." in text
    assert "Get a new consent (docs/clouds.md)" in text
    assert text.index("Action required") < text.index("it continues by itself")
    assert f'href="../../dags/youtube_analytics/runs/{RUN}/tasks/harvest"' in text
    assert text.count('<li class="card') == 7
    midnight = f"{day(-1):%Y-%m-%d} 00:00 UTC"
    assert "the quota &#39;github.lists&#39; of &#39;github_users_api&#39; is not enough" in text
    assert f"need at least 280 units by {midnight}; 100 are left until {midnight}" in text
    assert text.index("it continues by itself") < text.index("4,900 rows, usually 9,900"), "warnings come last"
    assert "windrow accept shop_orders" in text


def test_each_day_of_the_calendar_is_a_link_with_its_state(harvests: Harvests) -> None:
    text = get(harvests, "stream?name=shop_orders").text

    days = re.findall(
        r'<a class="d\d" href="stream\?name=shop_orders&amp;day=([-\d]+)#runs" aria-label="([^"]+)"', text
    )
    assert [one for one, _ in days] == [str(day(back).date()) for back in reversed(range(201))]
    said = dict(days)
    assert said[str(day(12).date())] == f"{day(12).date()}: missing, Airflow started no run for it"
    assert said[str(day(200).date())] == f"{day(200).date()}: complete, 1,204 of 1,204 done"
    assert "missing, no run is known" in said[str(day(100).date())]
    assert "column total was added: NUMERIC" in text


def test_a_row_is_two_clicks_from_its_raw_answer_and_the_code_that_made_it(harvests: Harvests) -> None:
    text = get(harvests, "find?key=artists%3Fid%3D3").text.replace("&#39;", "'").replace("&#34;", '"')

    assert "SELECT * FROM spotify.artists WHERE _key = 'artists?id=3'" in text
    assert (
        f'db.getCollection("windrow_quarantine").findOne({{_id: "spotify_artists|{run_id(0)}|artists?id=3"}})' in text
    )
    assert "Windrow 0.1.0, DAG bundle abc123" in text
    assert f"run?stream=spotify_artists&amp;id={RUN}" in text


def test_every_subtraction_of_a_receipt_is_a_link_and_it_adds_up(harvests: Harvests) -> None:
    text = get(harvests, f"run?stream=spotify_artists&id={RUN}").text

    rows = re.findall(r'<tr class="(\w+)">\s*<th scope="row">(.*?)</th>\s*<td class="n">(.*?)</td>', text, re.DOTALL)
    numbers = [(kind, int(value.replace("&minus;", "-").replace(",", ""))) for kind, _, value in rows]
    assert numbers[1:6] == [("total", 640), ("minus", -12), ("minus", -5), ("minus", -3), ("total", 620)]
    assert sum(value for _, value in numbers[1:5]) == numbers[5][1]
    assert all("<a " in name for kind, name, _ in rows if kind == "minus")


@pytest.mark.parametrize(
    "path",
    [
        "stream?name=nope",
        "run?stream=a&id=b",
        "run?id=b",
        f"keys?stream=x_posts&id={RUN}&of=all",
        f"run?stream=%00&id={RUN}",
    ],
    ids=undated,
)
def test_what_is_not_there_is_said(harvests: Harvests, path: str) -> None:
    answer = get(harvests, path)
    assert answer.status_code == 404
    assert "does not exist" in answer.text


@pytest.mark.parametrize("key", [NASTY, "a" * 2000, "\U0001f6a2 \u2028", "$where", "a|b"])
def test_a_key_may_have_any_characters(harvests: Harvests, key: str) -> None:
    answer = get(harvests, f"find?key={quote(key)}")
    assert answer.status_code == 200
    assert "MongoDB has no query with exactly this key" in answer.text
    assert get(harvests, "find?key=" + "a" * 2001).status_code == 422


@pytest.mark.usefixtures("anew")
def test_a_stream_without_a_dag_and_bodies_of_15_mb_leave_the_pages_usable(
    harvests: Harvests, mongo: MongoClient[dict[str, Any]]
) -> None:
    """Who may read all DAGs sees the stream; nobody sees a body."""
    run, database = Run("gone_orders", "manual__gone"), urlsplit(harvests.mongo).path[1:]
    queries = [Query.of("/orders", {"n": str(number)}) for number in range(3)]
    bodies = [{"body": "<html>" + "leaked" * 2_500_000}, {"body": "", "raw": b"\x00\xffleaked"}, {"body": "{leaked"}]
    staging = Staging(mongo, database)
    staging.prepare(run.dataset)
    staging.save_plan(run, queries)
    staging.reject(run, [
        (0, Rejected(query=query, status=200, reason=f"reason {number}", fetched_at=NOW, **bodies[number]))
        for number, query in enumerate(queries)
    ])  # fmt: skip
    try:
        text = get(harvests, "").text
        of_run = f"stream=gone_orders&id={run.run_id}"
        pages = (
            "stream?name=gone_orders",
            f"quarantine?{of_run}",
            f"run?{of_run}",
            "quarantine",
            "find?key=orders%3Fn%3D0",
        )
        found = [get(harvests, path) for path in pages]
        code, why = terminal(harvests, "why gone_orders", "viewer")
    finally:
        staging.forget(run)
        staging.forget_figures(run)

    assert re.search(r"gone_orders</a>.*?no DAG has it any more", text, re.DOTALL)
    assert [(answer.status_code, len(answer.text) < 100_000, "leaked" in answer.text)
            for answer in found] == [(200, True, False)] * 5  # fmt: skip
    assert all(f"reason {number}" in found[1].text for number in range(3))
    assert (code, "calls are missing, and it is not in Airflow any more" in why) == (1, True)


def test_ten_thousand_reasons_are_one_page(harvests: Harvests, monkeypatch: pytest.MonkeyPatch) -> None:
    from windrow.ui.harvest import snapshots

    get(harvests, "")
    many = tuple(Reason("shop_orders", run_id(0), f"reason {n}", 422, 10_000 - n, "", "") for n in range(10_000))
    known = dict(snapshots._last) | {"snapshot": replace(snapshots._last["snapshot"], reasons=many)}
    monkeypatch.setattr(snapshots, "cache", RefreshedCache(lambda _: known, seconds=60.0, patience_s=60.0))
    for path in (
        "",
        "quarantine",
        "quarantine?stream=shop_orders",
        "stream?name=shop_orders",
        f"run?stream=shop_orders&id={RUN}",
    ):
        answer = get(harvests, path)
        assert answer.status_code == 200, path
        assert len(answer.text) < 500_000, path
        if "quarantine" in path:
            assert "9,900 more" in answer.text
    text = terminal(harvests, "quarantine", "viewer")[1]
    assert "and 9,900 more reasons" in text


def test_pages_may_run_no_scripts_but_ours(harvests: Harvests) -> None:
    answer = get(harvests, "")

    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]*src=)| on\w+=\"| style=\"", answer.text)
    assert not re.search(r'(?:href|src|action)="(?:/|https?:)', answer.text), "it works below any path"


@pytest.mark.usefixtures("anew")
def test_a_mongodb_that_is_away_leaves_the_last_state_and_says_so(
    harvests: Harvests, request: pytest.FixtureRequest
) -> None:
    before = get(harvests, "").text
    request.getfixturevalue("_no_mongodb")

    after = get(harvests, "").text
    run = get(harvests, f"run?stream=spotify_artists&id={RUN}")

    assert "MongoDB did not answer" in after
    assert "This page shows the last state that is known" in after
    assert "spotify_artists" in after
    at = re.search(r'data-at="([^"]+)"', before)
    assert at is not None
    assert re.search(r'data-at="([^"]+)"', after)[1] >= at[1]  # type: ignore[index]
    assert "hushhush" not in after
    assert run.status_code == 200
    assert "Part of this page is unknown" in run.text


@pytest.mark.usefixtures("anew")
def test_without_a_connection_it_says_where_to_make_one(harvests: Harvests, monkeypatch: pytest.MonkeyPatch) -> None:
    from windrow.ui.harvest import snapshots

    snapshots._last.clear()
    monkeypatch.delenv("AIRFLOW_CONN_MONGO_DEFAULT")

    text = get(harvests, "").text

    assert "The state of the harvests is unknown" in text
    assert "AIRFLOW_CONN_MONGO_DEFAULT" in text
    assert "No stream has run yet" not in text, "that is not known"


def test_twenty_tabs_and_a_mongodb_that_hangs_hold_up_no_other_request(
    harvests: Harvests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks' heartbeats go to the same server: it must not wait for MongoDB with them."""
    from windrow.ui.harvest import snapshots

    began, go_on = threading.Semaphore(0), threading.Event()

    def hang(name: str) -> dict[str, Any]:
        began.release()
        go_on.wait(60)
        return dict(snapshots._last)

    monkeypatch.setattr(snapshots, "cache", RefreshedCache(hang, seconds=60.0, patience_s=60.0))
    with ThreadPoolExecutor(20) as pool:
        looks = [pool.submit(get, harvests, "") for _ in range(20)]
        try:
            assert began.acquire(timeout=30)
            other = requests.get(f"{harvests.url}/dags/shop", timeout=30)
            waiting = sum(not look.done() for look in looks)
        finally:
            go_on.set()
        assert (other.status_code, waiting) == (200, 20)
        assert {look.result().status_code for look in looks} == {200}
    assert not began.acquire(blocking=False), "one snapshot for all"


# --- plans ------------------------------------------------------------------------------------


PLANNING = "!!document.querySelector('form.params button:enabled')"
"""Whether the script of a form is there."""


def test_a_plan_and_its_run_are_started_by_airflow_in_the_name_of_the_user(harvests: Harvests) -> None:
    async def do(opened: Page) -> list[Any]:
        await opened.until(PLANNING)
        await opened.value("document.getElementById('p-names').value = ' Ada \\n\\nBo '")
        await opened.value("document.getElementById('p-max_gaps').value = '0'")  # as it is
        await opened.value("document.getElementById('json').value = '[1]'")
        await opened.value("document.querySelector('form.params button').click()")
        await opened.until("!!document.querySelector('.said.bad')")
        refused = await opened.value("document.querySelector('.said').textContent")
        await opened.value("document.getElementById('json').value = '{\"odd\": {\"a\": 2}}'")
        await opened.value("document.querySelector('form.params button').click()")
        await opened.until("location.search.includes('id=plan__') && document.documentElement.dataset.ready")
        return [refused, await opened.value("new URL(location).searchParams.get('id')"), opened.errors]

    refused, named, errors = visit(harvests, f"{ROOT}/plan?dag=shop", 1280, "light", do)

    assert refused.startswith("The box needs a JSON object")
    assert errors == []
    planned = airflow_run("shop", named)
    assert planned.conf == {"names": ["Ada", "Bo"], "odd": {"a": 2}, "plan_only": True}
    assert planned.by == "op"


def test_the_run_of_a_plan_has_its_params_and_is_started_once(harvests: Harvests) -> None:
    async def do(opened: Page) -> list[Any]:
        said = []
        for _ in range(2):  # the second is that of another tab
            await opened.open(f"{harvests.url}{ROOT}/plan?dag=shop&id={quote(DRY_RUN)}")
            await opened.until(PLANNING)
            await opened.until("document.querySelector('pre').textContent.includes('Ada')")
            await opened.value("document.querySelector('form.params button').click()")
            await opened.until("!!document.querySelector('.said a.out')")
            said.append(await opened.value("document.querySelector('.said a').pathname"))
        return [*said, opened.errors]

    first, second, errors = visit(harvests, f"{ROOT}/", 1280, "light", do)

    named = DRY_RUN.replace("plan__", "planned__")
    assert first == second == f"/dags/shop/runs/{quote(named, safe='')}"
    assert errors == []
    assert airflow_run("shop", named).conf == {"names": ["Ada"], "plan_only": False}
    assert airflow_run("shop", named).note == f"Planned by {DRY_RUN}."


def test_who_may_not_trigger_sees_no_button_and_airflow_refuses(harvests: Harvests) -> None:
    for path in ("plan?dag=shop", f"plan?dag=shop&id={quote(DRY_RUN)}"):
        assert "<button class" not in get(harvests, path, "viewer").text
        assert '<button class="primary"' in get(harvests, path, "user").text
    refused = get(
        harvests, "../../api/v2/dags/shop/dagRuns", "viewer", method="POST", json={"logical_date": None, "conf": {}}
    )
    assert refused.status_code == 403


# --- how it looks ------------------------------------------------------------------------------

MEASURE = """JSON.stringify({
    beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    cut: [...document.querySelectorAll('main :is(p, td, th, a, dd, h1, h2)')].filter((one) =>
        one.checkVisibility() && !one.closest('thead') && one.getBoundingClientRect().right > innerWidth + 1
    ).map((one) => one.textContent.slice(0, 40)),
    ground: getComputedStyle(document.body).backgroundColor,
    shapes: new Set([...document.querySelectorAll('.strip use')].map((one) => one.getAttribute('href'))).size,
    times: [...document.querySelectorAll('time')].map((one) => one.textContent),
    unnamed: [...document.querySelectorAll('a, button, input, textarea, select, .strip span')].filter((one) =>
        !(one.labels?.length || one.textContent.trim() || one.getAttribute('aria-label'))).length,
})"""
GROUNDS = {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 28)"}


def visit(harvests: Harvests, path: str, width: int, scheme: str, do: Callable[[Page], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        async with page() as opened:
            await opened.call("Network.setCookie", name="_token", value=harvests.tokens["op"], url=harvests.url)
            await opened.dress(width, 900, scheme)
            await opened.open(f"{harvests.url}{path}")
            return await do(opened)

    return asyncio.run(go())


async def ready(opened: Page) -> None:
    await opened.until("document.documentElement.dataset.ready === 'yes'")


AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
VIOLATIONS = """axe.run({resultTypes: ['violations']}).then((found) => found.violations.flatMap((one) =>
    one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 120)}: ${node.failureSummary}`)))"""
CONTROLS = """[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter((one) => one.checkVisibility() && !one.disabled && one.type !== 'hidden')"""


async def unreached(opened: Page) -> list[str]:
    """Press Tab as often as there are controls, and return those that never had the focus.

    Meanwhile the page may replace its controls: it keeps the focus by place, so places are what is remembered.
    """
    count = await opened.value(f"""
        window.controls = () => {CONTROLS};
        window.reached = new Set();
        let known = controls(); // they are looked for again when the page has replaced them
        addEventListener('focusin', ({{target}}) => {{
            if (!known.includes(target)) known = controls();
            reached.add(known.indexOf(target));
        }});
        known.length""")
    await opened.press("Tab", int(count) + 1)
    left = "controls().filter((one, place) => !reached.has(place)).map((one) => one.outerHTML.slice(0, 120))"
    return list(await opened.value(left))


SCREENS = [(1280, "light"), (1280, "dark"), (640, "light"), (326, "light"), (326, "dark")]
"""Widths in pixels, and schemes. A zoom of 200 % halves the width of the screen for the page."""
AXED = {SCREENS[0], SCREENS[-1]}
"""axe judges colours by the scheme and targets by the width: these two have all of both."""


@pytest.mark.parametrize("path", [*PAGES, *FORMS], ids=undated)
def test_a_page_fits_all_screens_and_is_for_everybody(harvests: Harvests, path: str) -> None:
    async def do(opened: Page) -> dict[tuple[int, str], dict[str, Any]]:
        await ready(opened)
        await opened.value(AXE)
        found = {}
        for width, scheme in SCREENS:
            await opened.dress(width, 900, scheme)
            await opened.until(f"document.documentElement.dataset.scheme === '{scheme}'")
            found[width, scheme] = json.loads(await opened.value(MEASURE))
            found[width, scheme]["violations"] = await opened.value(VIOLATIONS) if (width, scheme) in AXED else []
        found[SCREENS[0]]["unreached"] = await unreached(opened)
        said = opened.errors + opened.console
        found[SCREENS[0]]["errors"] = [one for one in said if "dagRuns/plan__x" not in one]  # Airflow does not have it
        return found

    first, *_ = found = visit(harvests, f"{ROOT}/{path}", *SCREENS[0], do)
    assert (found[first]["errors"], found[first]["unreached"]) == ([], [])
    for (width, scheme), seen in found.items():
        assert (seen["beyond"], seen["cut"], seen["unnamed"], seen["violations"]) == (0, [], 0, []), (width, scheme)
        assert seen["ground"] == GROUNDS[scheme]
        assert not any("UTC" in text for text in seen["times"]), "a script wrote them in the viewer's zone"
        if not path:
            assert seen["shapes"] == 8, "all states differ by shape"


@pytest.mark.parametrize(("system", "chosen"), [("light", "dark"), ("dark", "light")])
def test_in_airflow_s_frame_it_follows_the_theme_and_its_links_lead_out(
    harvests: Harvests, system: str, chosen: str
) -> None:
    inner = "document.querySelector('iframe').contentDocument"

    async def do(opened: Page) -> list[Any]:
        await opened.until(f"{inner}?.documentElement.dataset.ready === 'yes'")
        ground = await opened.value(f"getComputedStyle({inner}.body).backgroundColor")
        await opened.value(f"document.documentElement.className = '{system}'")
        await opened.until(f"{inner}.documentElement.dataset.scheme === '{system}'")
        await opened.value(f"{inner}.querySelector('.attention .names a').click()")
        await opened.until(f"{inner}?.location.pathname === '{ROOT}/stream' && {inner}.documentElement.dataset.ready")
        await opened.value(f"{inner}.querySelector('.facts a.out').click()")
        await opened.until("location.pathname === '/dags/spotify_artists'")
        return [ground, opened.errors]

    assert visit(harvests, f"/plugin/{chosen}", 1280, system, do) == [GROUNDS[chosen], []]


def test_it_keeps_up_and_the_keyboard_reaches_all(harvests: Harvests) -> None:
    async def do(opened: Page) -> list[Any]:
        await ready(opened)
        await opened.value("document.querySelector('main').dataset.old = 'yes'")
        await opened.value("document.querySelector('.streams a').focus()")
        before = await opened.value("document.activeElement.textContent")
        await opened.value("document.dispatchEvent(new Event('visibilitychange'))")
        await opened.until("document.documentElement.dataset.looks === '1'")
        renewed = await opened.value("document.querySelector('main').dataset.old === undefined")
        kept = await opened.value("document.activeElement.textContent")
        await opened.value(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))"
        )
        search = await opened.value("document.activeElement.name")
        return [renewed, before == kept, search, opened.errors]

    assert visit(harvests, f"{ROOT}/", 1280, "light", do) == [True, True, "key", []]


def test_times_are_those_of_airflow_s_clock(harvests: Harvests) -> None:
    async def do(opened: Page) -> list[str]:
        await ready(opened)
        await opened.value("localStorage.setItem('timezone', JSON.stringify('Asia/Kolkata'))")
        await opened.open(f"{harvests.url}{ROOT}/stream?name=shop_orders")
        await opened.until("document.documentElement.dataset.zone === 'Asia/Kolkata'")
        return list(await opened.value("[...document.querySelectorAll('.runs th time')].map((one) => one.textContent)"))

    found = visit(harvests, f"{ROOT}/", 1280, "light", do)

    assert len(found) == 31, "and a dry run"
    assert all(text.endswith("05:30") for text in found), "midnight in UTC"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme: str) -> None:
    text = (STATIC / "harvest.css").read_text()
    block = re.search(
        r":root \{(.*?)\}" if scheme == "light" else r":root\[data-scheme=\"dark\"\] \{(.*?)\}", text, re.DOTALL
    )
    assert block is not None
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block[1]))
    for name, ground in product(("text", "quiet", "accent", "good", "warn", "alarm"), ("ground", "card")):
        assert _contrast(colours[name], colours[ground]) >= 4.5, name


def test_airflow_s_pages_of_tasks_link_to_the_run(harvests: Harvests) -> None:
    """As the API server does it: the link is that of the operators in the serialized DAG."""
    from windrow.airflow.links import RUN_ROUTE, HarvestRunLink
    from windrow_plugin import WindrowPlugin

    kinds = {(kind.__module__, kind.__name__) for kind in HarvestRunLink.operators}
    (serialized,) = [one for one in serialized_dags() if one["dag_id"] == "shop"]
    assert {(task["__var"]["_task_module"], task["__var"]["task_type"]) for task in serialized["tasks"]} <= kinds
    key = TaskInstanceKey("shop", "harvest", run_id(0))
    link = HarvestRunLink().get_link(BaseOperator(task_id="harvest"), ti_key=key)
    assert link == f"dags/shop/runs/{RUN}/plugin/{RUN_ROUTE}"
    assert RUN_ROUTE in {view["url_route"] for view in WindrowPlugin.external_views}


def serialized_dags() -> list[dict[str, Any]]:
    with create_session() as session:
        return [(one.data or {})["dag"] for one in session.scalars(select(SerializedDagModel))]


def test_airflow_takes_the_views_of_the_plugin_and_their_addresses_lead_somewhere(harvests: Harvests) -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    from windrow_plugin import WindrowPlugin

    views = [ExternalViewResponse.model_validate(view) for view in WindrowPlugin.external_views]
    assert len({view.url_route for view in views}) == len(views) == 3, "Airflow drops the second of a route"
    for view in views:
        filled = view.href.replace("{DAG_ID}", "github_users").replace("{RUN_ID}", RUN)
        assert get(harvests, f"../../{filled}").status_code == 200
        for icon in filter(None, (view.icon, view.icon_dark_mode)):
            assert get(harvests, f"../../{icon}").headers["Content-Type"].startswith("image/svg")
