"""What a plan is asked for, out of what Airflow tells a task. How it is made: tests/integration/test_operators.py."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.execution_time.context import AssetStateStoreAccessors

from windrow.airflow.operators.base import WATERMARK
from windrow.airflow.operators.plan import PlanOperator, retry_unanswered
from windrow.model.errors import BadParameter, Unanswered, Unreadable
from windrow.model.registry import streams
from windrow.model.stream import Request

DATASET = next(iter(streams()))
MARK = Asset(DATASET)
LOGICAL = datetime(2026, 1, 2, tzinfo=UTC)
AFTER = datetime(2026, 1, 3, 4, 5, tzinfo=UTC)


def operator(**arguments: Any) -> PlanOperator:
    with DAG("plans", schedule=None):
        return PlanOperator(task_id="plan", dataset=DATASET, conn_id="titanic", **arguments)


def context(run_type: DagRunType = DagRunType.SCHEDULED, *, mark: object = None, **dag_run: Any) -> Any:
    store = {MARK: {} if mark is None else {WATERMARK: mark}}
    fields = {"run_type": run_type, "logical_date": LOGICAL, "run_after": AFTER, "conf": {}} | dag_run
    return {"params": {"names": ["x"]}, "dag_run": SimpleNamespace(**fields), "asset_state_store": store}


def test_a_run_is_asked_for_its_params_at_its_date():
    assert operator().request_of(context()) == Request({"names": ["x"]}, LOGICAL, "")


def test_without_a_date_of_its_own_it_is_about_when_it_may_run():
    """As a run that an asset or a person has triggered."""
    assert operator().request_of(context(DagRunType.ASSET_TRIGGERED, logical_date=None)).at == AFTER


@pytest.mark.parametrize("run_type", [one for one in DagRunType if one is not DagRunType.BACKFILL])
def test_it_goes_on_from_where_the_runs_before_have_come(run_type: DagRunType):
    plan = operator(watermark=MARK)
    assert plan.request_of(context(run_type, mark="2026-01-01")).watermark == "2026-01-01"


def test_a_backfill_is_about_its_own_days():
    request = operator(watermark=MARK).request_of(context(DagRunType.BACKFILL, mark="2026-06-30"))
    assert (request.watermark, request.at) == ("", LOGICAL)


@pytest.mark.parametrize("mark", [None, ""])
def test_the_first_run_has_no_mark(mark: object):
    assert operator(watermark=MARK).request_of(context(mark=mark)).watermark == ""


def test_a_mark_is_told_as_text():
    assert operator(watermark=MARK).request_of(context(mark=1_234)).watermark == "1234"


def test_a_stream_without_a_mark_looks_at_no_store():
    without = context()
    del without["asset_state_store"]
    assert operator().request_of(without).watermark == ""


def test_the_source_gets_params_of_its_own():
    """What it does to them must not reach Airflow's."""
    given = context()
    operator().request_of(given).params["names"] = []  # type: ignore[index]
    assert given["params"] == {"names": ["x"]}


def test_airflow_lets_the_task_look_at_the_state_of_its_mark():
    """It does so for inlets and outlets only."""
    assert AssetStateStoreAccessors(operator(watermark=MARK).inlets)[MARK]
    with pytest.raises(KeyError):
        AssetStateStoreAccessors(operator().inlets)[MARK]


# --- a share for scheduled runs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_type", "share"),
    [
        (DagRunType.SCHEDULED, 0.0),
        (DagRunType.ASSET_TRIGGERED, 0.0),
        (DagRunType.BACKFILL, 0.3),
        (DagRunType.MANUAL, 0.3),
    ],
)
def test_only_scheduled_runs_use_what_is_reserved(run_type: DagRunType, share: float):
    assert operator(reserved_share=0.3).reserved(context(run_type)) == share
    assert operator().reserved(context(run_type)) == 0


@pytest.mark.parametrize("share", [1, -0.1, 30])
def test_a_share_that_is_none_is_refused(share: float):
    with pytest.raises(BadParameter, match="The task 'plan' has an invalid reserved_share"):
        operator(reserved_share=share).reserved(context())


def tried(number: int) -> Any:
    return {"ti": SimpleNamespace(try_number=number, max_tries=3)}


@pytest.mark.parametrize("number", [1, 3])
def test_lists_without_an_answer_are_tried_again(number: int):
    left_out = [Unreadable("odd"), Unanswered("HTTP 500 of repos/a/b", advice="none")]
    with pytest.raises(Unanswered, match=r"1 lists have no answer.*repos/a/b"):
        retry_unanswered(left_out, tried(number))


def test_after_the_last_try_the_run_continues_and_so_it_does_with_an_answer_that_cannot_be_read():
    for last in (tried(4), {}):
        retry_unanswered([Unanswered("HTTP 500", advice="none")], last)
    retry_unanswered([Unreadable("odd")], tried(1))
