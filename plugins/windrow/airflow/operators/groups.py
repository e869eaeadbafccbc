"""Groups of tasks that several DAGs use."""

from typing import Any, NamedTuple

from airflow.sdk import TriggerRule, chain

from windrow.airflow.operators.cost import CostOperator
from windrow.airflow.operators.harvest import HarvestOperator, MoreWorkersOperator
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator

AFTER_WORKERS = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
"""With one worker, Airflow skips the mapped task of the others."""


class Harvest(NamedTuple):
    """Tasks that others are chained to."""

    plan: PlanOperator
    harvest: HarvestOperator
    land: LandOperator


def harvest(conn_id: str, landing: dict[str, str], *, given: Any = None) -> Harvest:
    """Make the tasks that plan, harvest and land a dataset, and compute its cost, in the current task group.

    :param landing: ``dataset``, ``to`` and ``prefix``, as `LandOperator` takes them.
    :param given: see `PlanOperator`.
    """
    dataset = landing["dataset"]
    cost = CostOperator(task_id="cost", plans={dataset: conn_id})
    plan = PlanOperator(task_id="plan", dataset=dataset, conn_id=conn_id, given=given)
    first, others = workers(dataset, conn_id, cost)
    land = LandOperator(task_id="land", trigger_rule=AFTER_WORKERS, **landing)
    chain(plan, cost, [first, others], land)
    return Harvest(plan, first, land)


def workers(dataset: str, conn_id: str, cost: CostOperator) -> list[Any]:
    """Make the tasks that make the calls of a plan: ``harvest``, and more workers if the param ``workers`` says so.

    The task after them has the trigger rule `AFTER_WORKERS`.
    """
    given: dict[str, Any] = {
        "dataset": dataset,
        "conn_id": conn_id,
        "connections": "{{ params.connections }}",
        "workers": "{{ params.workers }}",
    }
    first = HarvestOperator(task_id="harvest", **given)
    others = MoreWorkersOperator.partial(task_id="more_workers", execution_timeout=None, **given)
    return [first, others.expand(worker=cost.output)]
