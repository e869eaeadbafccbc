"""The task that says what a run costs, run directly, over real connections. How it skips in a DAG: tests/e2e."""

import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import DownstreamTasksSkipped, ParamValidationError

from local_cloud import airflow_env
from local_cloud.settings import Settings
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators import params
from windrow.airflow.operators.cost import CostOperator
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.model.errors import BadParameter, PlanMissing
from windrow.model.plan import Run
from windrow.model.query import Query

PLANS = {
    "youtube_videos": [Query.of("/youtube/v3/videos", {"id": str(number)}) for number in range(4)],
    "youtube_video_days": [Query.of("/v2/reports", {"filters": f"video=={number}"}) for number in range(250)],
}


@pytest.fixture
def context(cloud: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the task reads of its context. The API is nowhere, as none of its calls may be made."""
    mongo = airflow_env.mongo_connection(cloud, f"cost_{uuid.uuid4().hex}")
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(mongo))
    api = {"conn_type": "http", "host": "nowhere.invalid", "login": "me"}
    own = {"connections": 8, "quota": {"youtube.analytics": {"units": 100}}}
    monkeypatch.setenv("AIRFLOW_CONN_YOUTUBE", json.dumps(api))
    monkeypatch.setenv("AIRFLOW_CONN_YOUTUBE_ANALYTICS", json.dumps(api | {"extra": own}))
    pushed: dict[str, Any] = {}

    def push(key: str, value: Any) -> None:
        pushed[key] = json.loads(json.dumps(value))

    return {
        "run_id": "one",
        "params": {"plan_only": False, "connections": None},
        "pushed": pushed,
        "ti": SimpleNamespace(map_index=-1, xcom_push=push),
    }


@pytest.fixture
def plans(context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.store.plans.CHUNK", 100)
    for dataset, queries in PLANS.items():
        with staging("mongo_default", dataset) as state:
            state.save_plan(Run(dataset, "one"), queries)


def run(context: dict[str, Any]) -> Any:
    """Render and run the task, in the middle of a small DAG."""
    with DAG("cost", schedule=None, params=context["params"]):
        conn_ids = {"youtube_videos": "youtube", "youtube_video_days": "youtube_analytics"}
        task = CostOperator(task_id="cost", plans=conn_ids)
        task >> [BaseOperator(task_id="left"), BaseOperator(task_id="right")] >> BaseOperator(task_id="last")
        BaseOperator(task_id="before") >> task
    task.render_template_fields(context)
    return task.execute(context)


@pytest.mark.usefixtures("plans")
def test_the_cost_of_each_plan_is_told_with_what_its_connection_says(context, capsys):
    assert run(context) == [], "no mapped task makes calls beside the harvest"
    videos, days = context["pushed"]["costs"]
    assert (videos["calls"], videos["units"]) == (4, {"youtube.data": 4})
    assert videos["hours"] == pytest.approx(4 * 0.3 / 16 / 3600), "16 calls at once are the default"
    assert (days["calls"], days["units"]) == (250, {"youtube.analytics": 250})
    assert days["hours"] == pytest.approx(48), "the connection says 100 units a day"
    shown = capsys.readouterr().out
    assert "youtube_videos: 4 calls, 4 units of youtube.data; about 0 s" in shown
    assert "youtube_video_days: 250 calls, 250 units of youtube.analytics; about 48.0 h" in shown
    assert context["pushed"].keys() == {"costs"}
    with staging("mongo_default", "youtube_video_days") as state:
        noted = state.notes(Run("youtube_video_days", "one"))["cost"]
    way = {"name": "", "calls": 250, "units": [["youtube.analytics", 250]], "hours": 48.0, "remark": ""}
    assert noted == {"plan_only": False, "ways": [way]}, "for the Harvest pages"


@pytest.mark.usefixtures("plans")
def test_a_run_may_have_connections_of_its_own(context):
    context["params"]["connections"] = 2
    run(context)
    videos, _ = context["pushed"]["costs"]
    assert videos["hours"] == pytest.approx(4 * 0.3 / 2 / 3600)


@pytest.mark.usefixtures("plans")
def test_with_plan_only_all_that_comes_later_is_skipped_and_the_cost_is_kept(context):
    context["params"]["plan_only"] = True
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        run(context)
    assert sorted(skipped.value.tasks) == ["last", "left", "right"]
    assert [plan["calls"] for plan in context["pushed"]["costs"]] == [4, 250]
    remembered = context["pushed"]["skipmixin_key"]["skipped"]
    assert sorted(remembered) == ["last", "left", "right"], "cleared, they are skipped again"


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize("workers", [0, -1, "two", 10**6, "", "1.5"])
def test_an_invalid_number_of_workers_is_refused_before_the_first_call(context, workers):
    """By the trigger form, and by the tasks of a DAG that declares the param otherwise."""
    declared = params.harvest()["workers"]
    with pytest.raises(ParamValidationError):
        declared.resolve(workers)
    context["params"]["workers"] = workers
    with pytest.raises(BadParameter, match=r"'workers' is .* whole number from 1 to 64"):
        run(context)
    with pytest.raises(BadParameter):
        HarvestOperator(task_id="harvest", dataset="youtube_videos", conn_id="youtube", workers=workers).execute(
            context
        )
    context["params"]["workers"] = 3
    assert (declared.resolve(3), run(context)) == (3, [1, 2])


def test_without_a_plan_there_is_no_cost(context):
    with pytest.raises(PlanMissing, match="Clear the task 'plan'"):
        run(context)
