"""A run whose plans exceed the budget, with the operator's own classes. Airflow's side of the request is recorded."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import DownstreamTasksSkipped, ErrorType, TaskAwaitingInput
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

from tests.unit.operators.test_alert import Webhook, webhook  # noqa: F401 - a fixture
from windrow.airflow.dags import harvest_dag
from windrow.airflow.operators.approve import ApproveOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared
from windrow.model.contract import Column, Kind
from windrow.model.cost import Budget, Cost
from windrow.model.paging import PageNumber
from windrow.model.table import Table


class Items(Declared):
    """Items."""

    dataset = "budget_items"
    get = "/items"
    paging = PageNumber("page")
    rows = Rows("data")
    columns = (Column("id", "id", Kind.STRING, "Id.", required=True),)
    table = Table(key=("id",), description="Items.")


COSTS = [asdict(Cost("budget_items", 1_200, {"shop.day": 3_000}, 1, 2))]
TI_ID = "0199a9f5-3b30-7b1c-9d4c-0d6a3cb2a111"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the task sends to Airflow."""
    sent: list[Any] = []

    def send(msg: Any) -> Any:
        if isinstance(msg, GetConnection):
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        sent.append(msg)
        return None

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    return sent


def task(budget: Budget) -> ApproveOperator:
    with DAG("shop_orders", schedule=None):
        made = ApproveOperator(task_id="approve", budget=budget, costs=COSTS)
        made >> BaseOperator(task_id="harvest") >> BaseOperator(task_id="land", trigger_rule="all_done")
    return made


def context(made: ApproveOperator) -> dict[str, Any]:
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        id=TI_ID,
        map_index=-1,
        task_id="approve",
        dag_id="shop_orders",
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {"ti": ti, "task_instance": ti, "task": made, "dag": made.dag, "run_id": "daily", "pushed": pushed}


def event(made: ApproveOperator, option: str, name: str = "", *, timedout: bool = False) -> dict[str, Any]:
    """As Airflow makes it of a response, or of its timeout."""
    user = {"id": "7", "name": name} if name else None
    at = datetime(2026, 11, 28, 9, tzinfo=UTC)
    return {
        "chosen_options": [option],
        "params_input": {},
        "responded_at": at,
        "responded_by_user": user,
        "timedout": timedout,
    }


def test_a_run_within_the_budget_asks_nobody(requests: list[Any]):
    made = task(Budget(calls=1_200))
    assert made.execute(context(made)) == "The plans are within the budget."
    assert requests == []


@pytest.mark.parametrize(
    ("unanswered", "default", "then"), [("skip", "Reject", "ends"), ("continue", "Approve", "continues")]
)
def test_an_expensive_run_waits_with_its_figures_and_people_are_told(
    requests: list[Any],
    webhook: Webhook,  # noqa: F811
    unanswered: Any,
    default: str,
    then: str,
):
    made = task(Budget(calls=10, units={"shop.day": 5}, answer_within=timedelta(hours=8), unanswered=unanswered))
    made.render_template_fields(context(made))
    with pytest.raises(TaskAwaitingInput) as waiting:
        made.execute(context(made))
    assert (waiting.value.method_name, waiting.value.timeout) == ("execute_complete", timedelta(hours=8))
    (request,) = requests
    assert request.subject == "shop_orders: this run exceeds its budget. Approve its calls?"
    assert (request.options, request.defaults) == (["Approve", "Reject"], [default])
    for figure in (
        "1,200 calls; the budget is 10",
        "3,000 units of shop.day; the budget is 5",
        "about 1.0 h",
        "each further page",
    ):
        assert figure in request.body
    assert f"If nobody answers within 8.0 h, it {then}" in request.body
    ((_, body),) = webhook.posted
    assert "Run 'daily' of shop_orders would make 1,200 calls; the budget is 10" in body["text"]
    assert f"answer under Required Actions within 8.0 h. Without an answer the run {then}" in body["text"]


def test_an_approved_run_continues(requests: list[Any]):
    made = task(Budget(calls=10))
    assert made.execute_complete(context(made), event(made, "Approve", "Ann")) == "Approved by Ann. The run continues."


@pytest.mark.usefixtures("requests")
def test_a_refused_run_is_a_success_without_its_calls(webhook: Webhook):  # noqa: F811
    made = task(Budget(calls=10))
    found = context(made)
    with pytest.raises(DownstreamTasksSkipped) as skipped:  # Airflow makes a success of it
        made.execute_complete(found, event(made, "Reject", "Ann"))
    assert sorted(skipped.value.tasks) == ["harvest", "land"], "whatever their trigger rules"
    assert found["pushed"]["return_value"] == "Refused by Ann. The run ends without its calls, and is a success."
    assert webhook.posted == []


@pytest.mark.parametrize("unanswered", ["skip", "continue"])
def test_a_run_that_nobody_answers_ends_as_declared_and_is_reported_once(webhook: Webhook, unanswered: Any):  # noqa: F811
    made = task(Budget(calls=10, unanswered=unanswered, answer_within=timedelta(hours=2)))
    assert made.defaults is not None
    given = event(made, made.defaults[0], timedout=True)
    if unanswered == "skip":
        with pytest.raises(DownstreamTasksSkipped):
            made.execute_complete(context(made), given)
    else:
        assert made.execute_complete(context(made), given).endswith("The run continues.")
    ((_, body),) = webhook.posted
    then = "The run ends without its calls" if unanswered == "skip" else "The run continues."
    assert body["text"].startswith("Run 'daily' of shop_orders: Nobody has answered within 2.0 h")
    assert then in body["text"]
    json.dumps(body)


def test_a_declared_dag_has_the_step_before_its_calls_and_does_not_stop_the_next_run():
    with_budget = harvest_dag(Items, conn_id="shop", schedule="0 6 * * *", budget=Budget(calls=10))
    approve = with_budget.get_task("approve")
    assert isinstance(approve, ApproveOperator)
    assert (approve.upstream_task_ids, approve.downstream_task_ids) == ({"cost"}, {"harvest", "more_workers"})
    assert with_budget.max_active_runs == 2
    assert "approve" not in harvest_dag(Items, conn_id="shop").task_dict
    assert PlanOperator in map(type, with_budget.tasks)


@pytest.mark.parametrize(
    ("schedule", "hours", "shortest"), [("0 6 * * *", 24, "1 day"), ("0 9,17 * * 1-5", 8, "8:00:00")]
)
def test_the_wait_for_an_answer_ends_before_the_next_run(schedule: str, hours: int, shortest: str):
    with pytest.raises(ValueError, match=rf"must be shorter than {shortest}"):
        harvest_dag(
            Items, conn_id="shop", schedule=schedule, budget=Budget(calls=1, answer_within=timedelta(hours=hours))
        )
    harvest_dag(
        Items, conn_id="shop", schedule=schedule, budget=Budget(calls=1, answer_within=timedelta(hours=hours - 1))
    )
