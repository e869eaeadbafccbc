"""The operators of a harvest, run directly, over real connections. How they run in a DAG: tests/e2e."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from local_cloud import airflow_env
from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube.catalog import CHANNELS
from local_cloud.settings import Settings
from tests.integration.conftest import youtube_connection
from tests.scripted_api import Reply
from windrow.airflow.hooks import staging as staging_hook
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.model.errors import (
    ApiUnreachable,
    BadParameter,
    ConnectionUnusable,
    CredentialsRejected,
    NothingToHarvest,
    PlanMissing,
)
from windrow.model.plan import Run
from windrow.model.policy import Backoff

DATASET = "titanic_passengers"
SECRET = "windrow-demo-secret"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, cloud: Settings, api: FakeApi):
    """Set the Airflow connections; changes are fields of the API's."""

    def set_connections(**changes: Any) -> None:
        host, _, port = api.url.removeprefix("http://").partition(":")
        titanic = {
            "conn_type": "http", "schema": "http", "host": host, "port": int(port),
            "login": "windrow-demo", "password": SECRET, "extra": {"token_path": "/oauth/token"},
        }  # fmt: skip
        monkeypatch.setenv("AIRFLOW_CONN_TITANIC", json.dumps(titanic | changes))
        mongo = airflow_env.mongo_connection(cloud, "operators")
        monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(mongo))

    set_connections()
    return set_connections


@pytest.fixture
def context() -> dict[str, Any]:
    """What the operators read of a task's context."""
    return {
        "run_id": f"test__{uuid.uuid4().hex}",
        "params": {"names": None, "connections": None, "max_gaps": 0},
        "dag_run": SimpleNamespace(conf={}, logical_date=None, run_after=datetime.now(UTC)),
    }


def in_dag(operator_class: type, **arguments: Any) -> Any:
    """Make an operator as a task of a DAG with the params of the real one."""
    with DAG("operators", schedule=None, params={"names": None, "connections": None, "max_gaps": 0}):
        return operator_class(task_id="task", dataset=DATASET, conn_id="titanic", **arguments)


def test_plan_then_harvest(connect, context, api):
    assert in_dag(PlanOperator).execute(context) == {"listed": 1782, "planned": 891, "chunks": 1}
    figures = in_dag(HarvestOperator, connections="8").execute(context)
    assert (figures["answered"], figures["sent"]) == (891, 891)
    assert api.counters()["totals"]["max_in_flight"] <= 8


def test_a_plan_is_made_once(connect, context, api):
    in_dag(PlanOperator).execute(context)
    api.reset()
    api.faults(empty_list=True)
    assert in_dag(PlanOperator).execute(context)["planned"] == 891
    assert api.counters()["totals"]["requests"] == 0


def test_a_long_pause_is_waited_for_without_a_slot(connect, context, api):
    connect(extra={"token_path": "/oauth/token", "patience_s": 5})
    context["params"]["names"] = ["Nobody"]
    in_dag(PlanOperator).execute(context)
    api.faults(throttle_share=1.0, retry_after=3600)
    with pytest.raises(TaskDeferred) as deferred:
        in_dag(HarvestOperator).execute(context)
    moment = deferred.value.trigger.moment
    assert abs(moment - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=30)
    api.heal()
    figures = in_dag(HarvestOperator).go_on(context, event=moment)
    assert figures["gaps"] == 1


def test_a_plan_that_has_to_wait_for_its_list_gives_its_slot_back_too(connect, context, api):
    connect(extra={"token_path": "/oauth/token", "patience_s": 5})
    api.faults(throttle_share=1.0, retry_after=3600)
    with pytest.raises(TaskDeferred) as deferred:
        in_dag(PlanOperator).execute(context)
    assert abs(deferred.value.trigger.moment - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=30)
    assert deferred.value.method_name == "go_on"
    api.heal()
    assert in_dag(PlanOperator).go_on(context, event=None)["planned"] == 891


@pytest.mark.parametrize("conf", [{"nmaes": ["x"]}, {"max_gap": 3}])
def test_an_unknown_param_is_refused_with_the_nearest_known(connect, context, api, conf):
    context["dag_run"].conf = conf
    context["params"] |= conf  # as Airflow does
    api.reset()
    with pytest.raises(BadParameter, match=r"Was '(names|max_gaps)' meant"):
        in_dag(PlanOperator).execute(context)
    assert api.counters()["totals"]["requests"] == 0


@pytest.mark.parametrize("names", [["Braund", ""], "Braund"])
def test_names_that_cannot_be_meant_are_refused_before_a_call(connect, context, api, names):
    context["params"]["names"] = names
    with pytest.raises(BadParameter, match=r"'names' must be a list|\{name\} of titanic_passengers must"):
        in_dag(PlanOperator).execute(context)
    assert api.counters()["totals"]["requests"] == 0


def test_an_api_that_lists_nothing_leaves_nothing_to_harvest(connect, context, api):
    api.faults(empty_list=True)
    with pytest.raises(NothingToHarvest, match="'titanic' lists nothing"):
        in_dag(PlanOperator).execute(context)


@pytest.fixture
def plan_videos(connect, context, api, monkeypatch):
    """Run the first task of youtube_analytics with these params."""
    monkeypatch.setenv("AIRFLOW_CONN_YOUTUBE", youtube_connection(api))

    def plan(**params: str) -> Any:
        declared = {"start_date": None, "end_date": None, "channel": None, "granularity": "range"}
        context["params"] = declared | params
        context["dag_run"].conf = params
        with DAG("videos", schedule=None, params=declared):
            task = PlanOperator(task_id="plan_videos", dataset="youtube_videos", conn_id="youtube")
        return task.execute(context)

    return plan


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"start_date": "2026-11-02", "end_date": "2026-11-01"}, "is after end_date"),
        ({"end_date": (datetime.now(UTC) + timedelta(days=30)).date().isoformat()}, "has not ended in California"),
        ({"strat_date": "2026-11-02"}, "Was 'start_date' meant"),
    ],
    ids=["backwards", "future", "misspelled"],
)
def test_days_that_cannot_be_meant_fail_before_the_first_call(plan_videos, api, params, words):
    with pytest.raises(BadParameter, match=words):
        plan_videos(**params)
    assert api.counters()["totals"]["requests"] == 0


def test_a_channel_without_videos_leaves_nothing_to_harvest(plan_videos, api):
    *_, empty = CHANNELS
    with pytest.raises(NothingToHarvest, match="lists nothing"):
        plan_videos(channel=empty)


def test_wrong_credentials_fail_and_do_not_show(connect, context, api):
    connect(password="wrong-and-secret")
    with pytest.raises(CredentialsRejected, match="'titanic'") as refused:
        in_dag(PlanOperator).execute(context)
    assert "wrong-and-secret" not in str(refused.value)


def test_an_api_that_is_not_there(connect, context, monkeypatch, unused_port):
    monkeypatch.setattr(Backoff, "pause_s", lambda *_: 0.01)  # else eight attempts take six seconds
    connect(port=unused_port)
    with pytest.raises(ApiUnreachable, match=f"127.0.0.1:{unused_port}|token endpoint"):
        in_dag(PlanOperator).execute(context)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": ""}, "has no host"),
        ({"password": ""}, "no 'password'"),
        ({"extra": {"tokenpath": "/oauth/token"}}, "unknown fields in its extra"),
        ({"extra": {"connections": "many"}}, "'connections' in its extra: 'many'"),
    ],
)
def test_a_connection_that_cannot_be_used_is_told(connect, context, changes, said):
    connect(**changes)
    with pytest.raises(ConnectionUnusable, match=said):
        in_dag(PlanOperator).execute(context)


def test_connections_that_are_missing_are_told(connect, context, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_TITANIC")
    with pytest.raises(ConnectionUnusable, match="Airflow connection 'titanic' does not exist"):
        in_dag(PlanOperator).execute(context)
    monkeypatch.delenv("AIRFLOW_CONN_MONGO_DEFAULT")
    with pytest.raises(ConnectionUnusable, match="Airflow connection 'mongo_default' does not exist"):
        in_dag(PlanOperator).execute(context)


def test_a_harvest_without_a_plan_says_what_to_clear(connect, context):
    with pytest.raises(PlanMissing, match="Clear the task 'plan'"):
        in_dag(HarvestOperator).execute(context)


def test_no_secret_in_what_airflow_shows_or_mongodb_keeps(connect, context, api, caplog):
    caplog.set_level("DEBUG")
    plan, harvest = in_dag(PlanOperator), in_dag(HarvestOperator)
    shown = [str(plan.execute(context)), str(harvest.execute(context)), caplog.text]
    shown += [str(getattr(harvest, field)) for field in harvest.template_fields]
    with staging_hook.staging("mongo_default", DATASET) as state:
        run = Run(DATASET, context["run_id"])
        shown += [str(state.notes(run)), str(state.chunk(run, 0)), str(state.answers(state.chunk(run, 0))[:50])]
    everything = "\n".join(shown)
    assert SECRET not in everything
    assert "Bearer " not in everything
    assert "access_token" not in everything


def test_a_plan_that_lacks_something_asks_for_that_again_when_it_is_cleared(connect, context, scripted):
    users: list[object] = ["a", None, "b"]
    token = {"access_token": "t", "token_type": "bearer", "expires_in": 3600}
    scripted.script = lambda asked: Reply(token if "token" in asked.path else {"users": users})
    connect(port=int(scripted.url.rpartition(":")[2]))
    assert in_dag(PlanOperator).execute(context) == {"listed": 2, "planned": 2, "chunks": 1}
    users[1] = "c"
    assert in_dag(PlanOperator).execute(context) == {"listed": 3, "planned": 3, "chunks": 2}
    assert in_dag(PlanOperator).execute(context) == {"listed": 3, "planned": 3, "chunks": 2}
    assert scripted.paths.count("/get_user_list") == 2
