"""The proof of a run and the watermark that follows from it, run directly, over real connections.

How Airflow keeps the watermark from run to run: tests/e2e.
"""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    AssetStateStoreResult,
    ErrorResponse,
    GetAssetStateStoreByName,
    SetAssetStateStoreByName,
)
from airflow.sdk.execution_time.context import AssetStateStoreAccessors, OutletEventAccessors

from local_cloud import airflow_env
from local_cloud.settings import BUCKET, Settings
from tests.integration.conftest import youtube_connection
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import GcsStore
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.landing.parts import Landing
from windrow.model import registry
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import CountsDisagree, QueryRefused
from windrow.model.plan import Run
from windrow.model.query import Query

STREAM = registry.stream("youtube_video_days")
ASSET = Asset(STREAM.dataset)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
QUERY = Query.of("/v2/reports", {"filters": "video==a", "startDate": "2026-11-11", "endDate": "2026-11-20"})
NAMES = (
    "day", "views", "engagedViews", "estimatedMinutesWatched", "likes", "comments", "shares", "subscribersGained",
    "subscribersLost",
)  # fmt: skip
BODY = {
    "columnHeaders": [{"name": name} for name in NAMES],
    "rows": [[f"2026-11-1{number}", *[1] * (len(NAMES) - 1)] for number in range(5, 8)],
}


class StateStore:
    """Keeps the state of assets, and answers to Airflow's accessors as its supervisor does."""

    def __init__(self) -> None:
        self.marks: dict[tuple[str, str], Any] = {}
        self.written = 0

    def send(self, message: Any) -> Any:
        place = (message.name, message.key)
        if isinstance(message, SetAssetStateStoreByName):
            self.marks[place] = message.value
            self.written += 1
            return None
        assert isinstance(message, GetAssetStateStoreByName)
        if place not in self.marks:
            return ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND)
        return AssetStateStoreResult(value=self.marks[place])

    @property
    def mark(self) -> str | None:
        return self.marks.get((STREAM.dataset, "watermark"))

    @mark.setter
    def mark(self, value: str) -> None:
        self.marks[STREAM.dataset, "watermark"] = value


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> StateStore:
    store = StateStore()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", store, raising=False)
    return store


@pytest.fixture
def run_id(cloud: Settings, store: GcsStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with one answer of three days, staged and landed."""
    run = Run(STREAM.dataset, f"test__{uuid.uuid4().hex}")
    mongo = airflow_env.mongo_connection(cloud, "prove")
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(mongo))
    with staging("mongo_default", STREAM.dataset) as opened:
        plan = opened.save_plan(run, [QUERY])
        opened.stage(run, [(0, Answer(QUERY, Outcome.ANSWERED, 200, json.dumps(BODY), NOON))])
        Landing(opened, STREAM, store, f"prove/{run.run_id}").land(plan)
    return run.run_id


def context_of(run_id: str, task: Any, run_type: str = "scheduled", **params: Any) -> dict[str, Any]:
    """What the operators read of a task's context."""
    return {
        "run_id": run_id,
        "params": {"start_date": None, "end_date": None, "channel": None} | params,
        "dag_run": SimpleNamespace(
            run_type=SimpleNamespace(value=run_type), conf={}, logical_date=None, run_after=NOON
        ),
        "outlet_events": OutletEventAccessors(),
        "asset_state_store": AssetStateStoreAccessors(task.inlets, task.outlets),
    }


def counted(*, merged: int = 3, watermark: str | None = "2026-11-17", **more: object) -> str:
    """SQL that counts so."""
    figures = {"loaded": 3, "merged": merged, "total": 10, "watermark": watermark, **more}
    return "SELECT " + ", ".join(f"{_literal(value)} AS {name}" for name, value in figures.items())


def _literal(value: object) -> str:
    return "CAST(NULL AS STRING)" if value is None else repr(value)


@pytest.fixture
def prove(run_id: str, state: StateStore) -> Callable[..., dict[str, Any]]:
    """Prove the run: its context afterwards, and the receipt under ``receipt``."""

    def run(sql: str = "", *, run_type: str = "scheduled", **params: Any) -> dict[str, Any]:
        with DAG("prove", schedule=None):
            task = ProveOperator(
                task_id="prove", dataset=STREAM.dataset, to=f"gs://{BUCKET}", prefix=f"prove/{run_id}",
                sql=sql or counted(), watermark=ASSET, outlets=[Asset("another")],
            )  # fmt: skip
        context = context_of(run_id, task, run_type, **params)
        return context | {"receipt": task.execute(context)}

    return run


def test_the_receipt_tells_what_else_the_query_counted(prove, run_id):
    context = prove(counted(expected_days=9, most_missing="a 3 of 9"))
    receipt = context["receipt"]
    counts = {name: receipt[name] for name in ("planned", "staged", "exported", "loaded", "merged", "table")}
    assert counts == {"planned": 1, "staged": 1, "exported": 3, "loaded": 3, "merged": 3, "table": 10}
    extra = {name: receipt[name] for name in ("expected_days", "most_missing", "watermark")}
    assert extra == {"expected_days": 9, "most_missing": "a 3 of 9", "watermark": "2026-11-17"}
    assert receipt["agrees"] is True
    for outlet in (ASSET, Asset("another")):
        assert context["outlet_events"][outlet].extra == receipt, "it is on the event of each outlet"
    with staging("mongo_default", STREAM.dataset) as opened:
        assert opened.notes(Run(STREAM.dataset, run_id))["receipt"] == receipt


def test_what_the_query_has_no_value_for_is_no_figure(prove):
    receipt = prove(counted(most_missing=None, videos=0))["receipt"]
    assert "most_missing" not in receipt
    assert receipt["videos"] == 0


@pytest.mark.parametrize("before", [None, "2026-11-10", "2025-12-31"])
def test_the_watermark_moves_to_the_last_day_that_came(prove, state, before):
    if before:
        state.mark = before
    prove()
    assert state.mark == "2026-11-17"


@pytest.mark.parametrize("before", ["2026-11-17", "2026-11-18", "2027-01-01"])
def test_the_watermark_never_moves_back(prove, state, before):
    state.mark = before
    prove()
    assert (state.mark, state.written) == (before, 0)


def test_the_watermark_stays_while_the_receipt_does_not_add_up(prove, state, run_id):
    state.mark = "2026-11-10"
    with pytest.raises(CountsDisagree, match="3 records are in the landing table and 2 of them in the final table"):
        prove(counted(merged=2))
    assert state.mark == "2026-11-10"
    with staging("mongo_default", STREAM.dataset) as opened:
        assert opened.notes(Run(STREAM.dataset, run_id))["receipt"]["agrees"] is False, "the receipt is there to read"


@pytest.mark.parametrize(
    "run",
    [
        {"run_type": "backfill"},
        {"start_date": "2026-11-01"},
        {"end_date": "2026-11-17"},
        {"channel": "UCabc"},
        {"sql": counted(watermark=None)},
    ],
    ids=["backfill", "first day", "last day", "another channel", "no day came"],
)
def test_runs_that_are_about_something_else_leave_the_watermark_alone(prove, state, run):
    assert prove(**run)["receipt"]["agrees"]
    assert state.written == 0


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "asset_triggered"])
def test_runs_without_a_range_move_it_whoever_started_them(prove, state, run_type):
    prove(run_type=run_type)
    assert state.mark == "2026-11-17"


def test_a_proof_without_a_watermark_needs_no_asset(run_id, state):
    with DAG("prove", schedule=None):
        task = ProveOperator(
            task_id="prove", dataset=STREAM.dataset, to=f"gs://{BUCKET}", prefix=f"prove/{run_id}", sql=counted()
        )
    assert task.execute(context_of(run_id, task))["agrees"]
    assert state.written == 0


# --- where the next run begins -------------------------------------------------------------------


def asked(state: StateStore, run_type: str = "scheduled", **params: Any) -> dict[str, str]:
    """First and last day that a run plans for, when the last watermark is the 12th and it is the 20th."""
    state.mark = "2026-11-12"
    with DAG("plan", schedule=None):
        task = PlanOperator(task_id="plan", dataset=STREAM.dataset, conn_id="youtube", watermark=ASSET)
    return dict(task.stream.scope(task.request_of(context_of("any", task, run_type, **params))))


def test_a_run_begins_a_week_before_the_watermark(state):
    assert asked(state) == {"first": "2026-11-06", "last": "2026-11-19"}


@pytest.mark.parametrize(
    ("run", "first", "last"),
    [
        ({"run_type": "backfill"}, "2026-11-13", "2026-11-19"),
        ({"end_date": "2026-11-18"}, "2026-11-12", "2026-11-18"),
        ({"start_date": "2026-11-18"}, "2026-11-18", "2026-11-19"),
        ({"channel": "UCabc"}, "2026-11-13", "2026-11-19"),
    ],
    ids=["backfill", "last day", "first day", "another channel"],
)
def test_a_run_about_something_else_does_not_look_at_the_watermark(state, run, first, last):
    assert asked(state, **run) == {"first": first, "last": last}


def test_a_run_is_about_its_own_date_however_late_it_starts(state):
    with DAG("plan", schedule=None):
        task = PlanOperator(task_id="plan", dataset=STREAM.dataset, conn_id="youtube", watermark=ASSET)
    context = context_of("any", task)
    context["dag_run"].logical_date = datetime(2026, 11, 15, 14, tzinfo=UTC)
    assert task.request_of(context).at == datetime(2026, 11, 15, 14, tzinfo=UTC)


def test_without_a_watermark_asset_there_is_none(state):
    with DAG("plan", schedule=None):
        task = PlanOperator(task_id="plan", dataset=STREAM.dataset, conn_id="youtube")
    assert task.request_of(context_of("any", task)).watermark == ""


def test_a_plan_that_stands_keeps_its_days_though_the_watermark_has_moved(state, run_id, api, monkeypatch):
    """As when an older run is cleared: what it expects must be what it asked for."""
    monkeypatch.setenv("AIRFLOW_CONN_YOUTUBE", youtube_connection(api))
    with DAG("plan", schedule=None):
        task = PlanOperator(task_id="plan", dataset=STREAM.dataset, conn_id="youtube", watermark=ASSET)
    context = context_of(f"planned {run_id}", task)
    state.mark = "2026-11-12"
    made = task.execute(context)
    state.mark = "2026-11-18"
    assert task.execute(context) == made
    assert (made["first"], made["last"]) == ("2026-11-06", "2026-11-19")


# --- calls --------------------------------------------------------------------------------------


def test_the_receipt_tells_every_call_that_the_api_has_counted(store, state, api, run_id, monkeypatch):
    """Also those of the plan, of tries that failed, and of what a clear asked for again."""
    monkeypatch.setenv("AIRFLOW_CONN_YOUTUBE", youtube_connection(api))
    dataset, run = "youtube_videos", f"called {run_id}"
    with DAG("calls", schedule=None):
        plan = PlanOperator(task_id="plan", dataset=dataset, conn_id="youtube")
        harvest = HarvestOperator(task_id="harvest", dataset=dataset, conn_id="youtube")
        land = LandOperator(task_id="land", dataset=dataset, to=f"gs://{BUCKET}", prefix=run)
    context = context_of(run, plan)
    api.reset()
    api.faults(error_share=1.0, error_status=501)
    with pytest.raises(QueryRefused):
        plan.execute(context)
    api.faults(error_share=0.3, error_status=503)
    plan.execute(context)
    harvest.execute(context)
    api.heal()
    for task in (plan, harvest):
        task.execute(context)
    records = land.execute(context)["records"]
    sql = f"SELECT {records} AS loaded, {records} AS merged, {records} AS total"
    with DAG("prove", schedule=None):
        proof = ProveOperator(task_id="prove", dataset=dataset, to=f"gs://{BUCKET}", prefix=run, sql=sql)

    receipt = proof.execute(context_of(run, proof))

    counted = sum(route["requests"] for name, route in api.counters()["routes"].items() if "token" not in name)
    assert receipt["sent"] == counted > 10
    assert proof.execute(context_of(run, proof))["sent"] == counted, "proved again it is the same"
