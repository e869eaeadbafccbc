"""The Harvest pages on a server of their own: in front of Airflow's database and auth manager, without its services."""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Annotated, Any

import pytest
import uvicorn
from airflow import settings as airflow_settings
from airflow.api_fastapi.app import _AuthManagerState, create_auth_manager, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.common.dagbag import create_dag_bag
from airflow.api_fastapi.common.exceptions import init_error_handlers
from airflow.api_fastapi.core_api.routes.public import public_router
from airflow.dag_processing.dagbag import DagBag
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, CronTriggerTimetable, Param
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.db import synchronize_log_template
from airflow.utils.session import create_session
from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from sqlalchemy import insert
from starlette.types import ASGIApp, Receive, Scope, Send

from local_cloud import airflow_env, ports
from local_cloud.settings import Settings
from tests.local_cloud.conftest import eventually
from windrow.airflow.operators import params
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.connect.fields import FIELDS
from windrow.harvest.actions import dag_for
from windrow.http.pacing import Pause
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging
from windrow.ui.cache import RefreshedCache

SANDBOX = "allow-scripts allow-same-origin allow-forms allow-downloads"
ROLES = ("viewer", "user", "op", "admin")
NOW = datetime.now(UTC).replace(microsecond=0)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)


CONNECTIONS: dict[str, dict[str, Any]] = {
    "shop_api": {
        "token": "hushhushhush",
        "expires_on": str(NOW.date() + timedelta(days=6)),
        "quota": {"shop.data": {"units": 10_000, "per": "day", "paths": ["/"]}},
    },
    "github_users_api": {"tokens": ["hushhush1", "hushhush2", "hushhush3", "hushhush4"]},
    "youtube_analytics_api": {"token_path": "/token", "expires_on": str(NOW.date() + timedelta(days=41))},
}


def day(back: int) -> datetime:
    """The schedule of the made-up DAGs: once a day, at midnight."""
    return MIDNIGHT - timedelta(days=back)


def run_id(back: int) -> str:
    return f"scheduled__{day(back).isoformat()}"


@dataclass
class Harvests:
    """A server with the pages, and tokens of its users."""

    url: str
    tokens: Mapping[str, str]
    mongo: str
    """The URL of their MongoDB."""


def make_dag(dag_id: str, datasets: tuple[str, ...], schedule: str = "0 0 * * *") -> None:
    """Write a DAG into Airflow's database, as the DAG processor does."""
    given = {
        "names": Param(None, type=["null", "array"], items={"type": "string"}, title="Names"),
        "plan_only": params.plan_only(),
        "dispatch": params.dispatch(),
        "max_gaps": params.max_gaps(),
        "odd": Param({"a": 1}, type="object"),
    }
    timetable = CronTriggerTimetable(schedule, timezone="UTC")
    with DAG(dag_id, schedule=timetable, catchup=False, params=given if dag_id == "shop" else None) as dag:
        for dataset in datasets:
            prefix = f"{dataset}_" if len(datasets) > 1 else ""
            plan = PlanOperator(task_id=f"{prefix}plan", dataset=dataset, conn_id=f"{dag_id}_api")
            harvest = HarvestOperator(task_id=f"{prefix}harvest", dataset=dataset, conn_id=f"{dag_id}_api")
            prove = ProveOperator(task_id=f"{prefix}prove", dataset=dataset, to="gs://b", prefix="p", sql="select 1")
            plan >> harvest >> prove
    write_dag(dag, schedule)


def write_actions_dag(of_dag: str = "") -> None:
    """Write the DAG of actions into Airflow's database, from its own file: that of all, or of one DAG alone."""
    file = Path(__file__).parents[2] / "dags" / "harvest_actions.py"
    text = file.read_text().replace("OF_DAGS: tuple[str, ...] = ()", f"OF_DAGS: tuple[str, ...] = ({of_dag!r},)")
    with tempfile.TemporaryDirectory() as folder:
        (own := Path(folder) / file.name).write_text(text)
        write_dag(DagBag(dag_folder=str(own)).dags[dag_for(of_dag)], None)


def write_bodies_dag() -> None:
    """Write the DAG of requests to see a body into Airflow's database, from its own file."""
    file = Path(__file__).parents[2] / "dags" / "harvest_bodies.py"
    write_dag(DagBag(dag_folder=str(file)).dags["harvest_bodies"], None)


def write_dag(dag: DAG, schedule: str | None) -> None:
    dag_id = dag.dag_id
    with create_session() as session:
        if session.get(DagBundleModel, "dags") is None:
            session.add(DagBundleModel(name="dags"))
            session.flush()
        session.merge(
            DagModel(
                dag_id=dag_id,
                bundle_name="dags",
                is_paused=False,
                is_stale=False,
                max_active_tasks=16,
                max_consecutive_failed_dag_runs=0,
                has_task_concurrency_limits=False,
                timetable_summary=schedule,
                next_dagrun_create_after=day(-1) if schedule else None,
            )
        )
        session.flush()
        SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), bundle_name="dags", session=session)


def add_run(
    dag_id: str, back: int, state: str, tasks: Mapping[str, str] | None = None, *, named: str = "", conf: Any = None
) -> None:
    """Write a DAG run and the states of some of its tasks."""
    kind = "manual" if named else "scheduled"
    with create_session() as session:
        due = day(back)
        run = DagRun(
            dag_id=dag_id,
            run_id=named or run_id(back),
            logical_date=None if named else due,
            run_after=due,
            run_type=kind,
            state=state,
            conf=conf,
        )
        run.start_date = due + timedelta(seconds=3)
        run.end_date = due + timedelta(minutes=40) if state in {"success", "failed"} else None
        session.add(run)
        session.flush()
        version = SerializedDagModel.get(dag_id, session=session).dag_version_id
        for task_id, task_state in (tasks or {}).items():
            session.execute(
                insert(TaskInstance).values(
                    task_id=task_id, dag_id=dag_id, run_id=run.run_id, map_index=-1, state=task_state,
                    dag_version_id=version, pool="default_pool", pool_slots=1, try_number=1, start_date=due,
                    custom_operator_name="", max_tries=0,
                )
            )  # fmt: skip


def end_action(state: str, dag_id: str = "harvest_actions") -> str:
    """End the newest run of a DAG of actions, as a scheduler would, and return its conf as JSON."""
    with create_session() as session:
        runs = session.query(DagRun).filter(DagRun.dag_id == dag_id).order_by(DagRun.id.desc())
        run = runs.first()
        assert run is not None
        run.state = state
        return json.dumps(run.conf)


def end_queued(state: str, returned: Mapping[str, Any], dag_id: str = "harvest_actions") -> None:
    """Wait until a run of a DAG of actions is queued, and end it with what its task returns. No state: do nothing."""
    if not state:
        return

    def queued() -> DagRun | None:
        with create_session() as session:
            runs = session.query(DagRun).filter_by(dag_id=dag_id, state="queued")
            found: DagRun | None = runs.filter(DagRun.run_id.like("manual__%")).order_by(DagRun.id.desc()).first()
            return found

    eventually(lambda: queued() is not None, "the action is queued")
    run = queued()
    assert run is not None
    with create_session() as session:
        XComModel.set("return_value", returned, dag_id=dag_id, task_id="act", run_id=run.run_id, session=session)
    end_action(state, dag_id)


def task_states(dag_id: str, back: int) -> dict[str, str | None]:
    """Return the states of the tasks of a run."""
    with create_session() as session:
        found = session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id(back))
        return {task.task_id: task.state for task in found}


@contextmanager
def airflow_database() -> Iterator[None]:
    """Make the tables of Airflow in the session's database, until the block ends."""
    import_all_models()
    Base.metadata.create_all(airflow_settings.engine)
    synchronize_log_template()
    yield
    Base.metadata.drop_all(airflow_settings.engine)


def simple_tokens(manager: Any) -> dict[str, str]:
    """Return a token for each role of the simple auth manager."""
    return {role: manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role.upper())) for role in ROLES}


@contextmanager
def serving(
    cloud: Settings, database: str, tokens_of: Callable[[Any], Mapping[str, str]] = simple_tokens
) -> Iterator[Harvests]:
    """Serve the pages, mounted as Airflow mounts them, also in a frame like Airflow's, until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of these tests, which is long enough for the algorithm " * 2
        )
        patch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(airflow_env.mongo_connection(cloud, database)))
        for conn_id, extra in CONNECTIONS.items():
            saved = {**dict.fromkeys(FIELDS), **extra}  # Airflow's form saves the empty fields as null
            connection = {"conn_type": "http", "host": "api.example", "login": "client-7", "extra": saved}
            patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        patch.setattr(_AuthManagerState, "instance", None)  # of this session alone
        tokens = tokens_of(create_auth_manager())
        from windrow.ui import app
        from windrow.ui.harvest import snapshots

        patch.setattr(snapshots, "cache", RefreshedCache(snapshots._refresh, seconds=600.0, patience_s=30.0))
        patch.setattr(snapshots, "sizes", RefreshedCache(snapshots._measure, seconds=600.0, patience_s=30.0))
        patch.setattr(snapshots, "_last", {})
        (port,) = ports.find_free(1)
        running = uvicorn.Server(uvicorn.Config(at_two_addresses(around(app, tokens)), port=port, log_level="warning"))
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        eventually(lambda: running.started, "the server runs")
        yield Harvests(f"http://127.0.0.1:{port}", tokens, airflow_env.mongo_url(cloud, database))
        running.should_exit = True
        thread.join(10)


BELOW = "/some/path"
"""The path of Airflow's base_url below which everything is served a second time, as behind a proxy."""


def at_two_addresses(app: FastAPI) -> ASGIApp:
    """Return an app that serves another at its root, and below `BELOW` with the root path that Airflow sets.

    A page below `BELOW` that asks for something at the root does not get it: behind a proxy, another app is there.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{BELOW}/"):
            scope = {**scope, "root_path": BELOW}
        elif f"{BELOW}/".encode() in dict(scope.get("headers", ())).get(b"referer", b""):
            scope = {**scope, "path": "/of/another/app"}
        await app(scope, receive, send)

    return serve


def around(app: Any, tokens: Mapping[str, str]) -> FastAPI:
    """Return Airflow's own API, and what stands in for its pages: a frame, and a page that links lead to."""
    outer = FastAPI()

    @outer.get("/plugin/{scheme}")
    def frame(scheme: str, page: str = "") -> HTMLResponse:
        inner = (
            f'<iframe sandbox="{SANDBOX}" src="../windrow/harvest/{escape(page)}" width="100%" height="800"></iframe>'
        )
        return HTMLResponse(f'<!doctype html><html class="{scheme}"><body>{inner}</body></html>')

    outer.include_router(public_router)  # Airflow's own API, with its permissions
    init_error_handlers(outer)
    outer.state.dag_bag = create_dag_bag()
    outer.state.auth_manager = get_auth_manager()

    @outer.get("/favicon.ico", status_code=204)
    def icon() -> None:
        pass

    @outer.get("/dags/{path:path}")
    def airflow_page(path: str) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>Airflow</title>")

    @outer.post("/auth/token", status_code=201)
    def token(user: Annotated[dict[str, str], Body()]) -> dict[str, str]:
        """Log in, as at the route of Airflow's auth managers. Here the password of everybody is their name."""
        if user["password"] != user["username"]:
            raise HTTPException(401)
        return {"access_token": tokens[user["username"]]}

    outer.mount(app.PREFIX, app.app)
    return outer


NASTY = "<img src=x onerror=alert(1)>'\"&{{7*7}}"
"""What an API can put into a reason or a key."""


def calls(sent: int) -> dict[str, Any]:
    return {"sent": sent, "retried": sent // 30, "throttled": sent // 90, "unchanged": 0, "tokens": 1}


def receipt(planned: int, gaps: int = 0, lost: int = 0, **changes: Any) -> dict[str, Any]:
    staged = planned - gaps - lost
    counted = dict.fromkeys(("exported", "loaded", "merged"), staged)
    known = {"agrees": not lost, "listed": planned + planned // 5, "planned": planned, "staged": staged, "gaps": gaps}
    return {**known, "quarantined": lost, **counted, "table": 10 * staged, **calls(planned), **changes}


def harvested(planned: int, answered: int, **changes: Any) -> dict[str, Any]:
    known = {"state": "ended", "planned": planned, "settled_before": 0, "answered": answered, "gaps": 0, "rejected": 0}
    return {**known, "unanswered": 0, **calls(answered), "seconds": answered / 3.1, "stopped_by": None, **changes}


def complete(staging: Staging, run: Run, planned: int = 1_204, **changes: Any) -> None:
    staging.save_size(Plan(run, planned + planned // 5, planned, 1))
    staging.note(run, f"harvest {day(0).isoformat()}", harvested(planned, planned))
    staging.note(run, "receipt", receipt(planned, **changes))
    staging.note(run, "verdict", {"points": [], "unreadable": 0, "max_gaps": changes.get("gaps", 0)})


def fill(staging: Staging) -> None:
    """Make seven streams, each in another state."""
    names = {
        "youtube_analytics": ("youtube_video_days",),
        "github_users": ("github_users", "github_memberships"),
        "titanic_passengers": ("titanic_passengers",),
        "spotify_artists": ("spotify_artists",),
        "shop": ("shop_orders",),
        "x_posts": ("x_posts",),
    }
    for dag_id, datasets in names.items():
        make_dag(dag_id, datasets)
        for dataset in datasets:
            staging.prepare(dataset)
        for back in range(1, 30):
            if (dag_id, back) == ("shop", 12):
                continue  # nobody started it
            add_run(dag_id, back, "success")
            for dataset in datasets:
                gaps = 3 if dataset == "github_users" and back % 4 == 0 else 0
                complete(staging, Run(dataset, run_id(back), dag_id), 1_204 + 7 * back, gaps=gaps)
    write_actions_dag()
    write_bodies_dag()
    _today(staging)


DRY_RUN = f"plan__{day(3).isoformat()}"


def dry_run(staging: Staging, run: Run, units: int = 1_900) -> None:
    """Make the plan of a dry run."""
    staging.save_plan(run, [Query.of("/orders", {"day": f"{number:03d}"}) for number in range(250)])
    way = {"name": "", "calls": 250, "units": [["shop.data", units]], "hours": 0.021, "remark": ""}
    staging.note(run, "cost", {"plan_only": True, "ways": [way]})


def _today(staging: Staging) -> None:
    add_run("youtube_analytics", 0, "failed", {"harvest": "failed"})
    dead = Run("youtube_video_days", run_id(0), "youtube_analytics")
    staging.save_size(Plan(dead, 18_250, 14_600, 15))
    staging.note(
        dead,
        f"harvest {day(0).isoformat()}",
        harvested(
            *(14_600, 9_412),
            stopped_by="CredentialsRejected",
            error="The credentials of 'youtube' were rejected: invalid_grant. The consent was revoked or has expired.",
            advice="Get a new consent (docs/clouds.md), set it in the connection, then clear the task 'harvest'.",
        ),
    )
    add_run("github_users", 0, "running", {"github_users_harvest": "deferred"})
    wait = Run("github_users", run_id(0), "github_users")
    staging.save_size(Plan(wait, 20_000, 18_250, 19))
    staging.note(
        wait,
        f"harvest {NOW.isoformat()}",
        harvested(
            *(18_250, 13_411),
            stopped_by="RateLimited",
            error="The limits of all tokens are used up at 'users/ada': 1,620 s, until 02:41:09 UTC.",
            waits_until=(NOW + timedelta(minutes=27)).isoformat(),
        ),
    )
    live = Run("github_memberships", run_id(0), "github_users")
    staging.save_size(Plan(live, 400, 400, 1))
    staging.note(live, f"harvest {NOW.isoformat()}", harvested(400, 120, state="running"))
    way = {"name": "", "calls": 400, "units": [["github.lists", 400]], "hours": 0.1, "remark": ""}
    staging.note(live, "cost", {"plan_only": False, "ways": [way]})
    quotas = [["github.lists", 100, "day", "UTC"]]
    staging.note(live, "connection", {"conn_id": "github_users_api", "account": "client-7", "quotas": quotas})
    add_run("titanic_passengers", 0, "success")
    complete(staging, Run("titanic_passengers", run_id(0), "titanic_passengers"), 891)
    long = "prepare.landed_audio_features_of_all_artists"  # wider than a telephone
    add_run("spotify_artists", 0, "failed", {"prove": "failed", long: "success"})
    short = Run("spotify_artists", run_id(0), "spotify_artists")
    bad = [Query.of("/artists", {"id": f"{number}"}) for number in range(12)]
    staging.save_plan(short, [Query.of("/artists", {"id": f"{number}"}) for number in range(640)])
    staging.note(short, "code", {"version": "0.1.0", "bundle": "abc123def", "columns": [], "quotas": []})
    staging.note(short, f"harvest {day(0).isoformat()}", harvested(640, 620, rejected=12, gaps=3))
    staging.note(short, "receipt", receipt(640, gaps=3, lost=17))
    staging.note(
        short,
        "verdict",
        {"points": ["17 of 640 planned queries are not staged, 12 of them are in the quarantine: clear 'harvest'"]},
    )
    reasons = ("field 'popularity' must be an integer, not 'n/a'", "HTTP 422: the API refused the query", NASTY)
    staging.reject(
        short,
        [
            (0, Rejected(query, (200, 422, 200)[number % 3], "<script>alert(1)</script>", reasons[number % 3], NOW))
            for number, query in enumerate(bad)
        ],
    )
    staging.stage(short, [(0, Answer(Query.of("/artists", {"id": "99"}), Outcome.MISSING, 404, "", NOW))])
    orders = [["id", "STRING"]]
    for back, columns in ((1, orders), (0, [*orders, ["total", "NUMERIC"]])):
        noted = {"version": "0.1.0", "bundle": "", "columns": columns, "quotas": []}
        staging.note(Run("shop_orders", run_id(back), "shop"), "code", noted)
    complete(staging, Run("shop_orders", run_id(200), "shop"))
    dry_run(staging, Run("shop_orders", DRY_RUN, "shop"))
    add_run("shop", 3, "success", named=DRY_RUN, conf={"names": ["Ada"], "plan_only": True})
    add_run("shop", 0, "success")
    warned = Run("shop_orders", run_id(0), "shop")
    complete(staging, warned, 5_310)
    staging.warn(
        warned, {NASTY: "unknown field in 5,310 rows, kept in _extra", warned.run_id: "4,900 rows, usually 9,900"}
    )
    add_run("x_posts", 0, "success")  # and no receipt
    staging.claim_block("client-7|shop.data|now", 0, 8_520, by="me", ends_at=NOW + timedelta(hours=5, minutes=12))
    staging.keep_pause("github_users_api", Pause(3, NOW - timedelta(minutes=14)))
