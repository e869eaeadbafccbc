"""Groups of tasks that several DAGs use."""

from typing import Any, NamedTuple

from airflow.sdk import chain

from windrow.airflow.operators.cost import CostOperator
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator


class Harvest(NamedTuple):
    """The tasks of a harvest, in order."""

    plan: PlanOperator
    cost: CostOperator
    harvest: HarvestOperator
    land: LandOperator


def harvest(conn_id: str, landing: dict[str, str], *, given: Any = None, connections: Any = None) -> Harvest:
    """Make the tasks that plan, harvest and land a dataset, and compute its cost, in the current task group.

    :param landing: ``dataset``, ``to`` and ``prefix``, as `LandOperator` takes them.
    :param given: see `PlanOperator`.
    :param connections: see `HarvestOperator`.
    """
    dataset = landing["dataset"]
    tasks = Harvest(
        PlanOperator(task_id="plan", dataset=dataset, conn_id=conn_id, given=given),
        CostOperator(task_id="cost", plans={dataset: conn_id}),
        HarvestOperator(task_id="harvest", dataset=dataset, conn_id=conn_id, connections=connections),
        LandOperator(task_id="land", **landing),
    )
    chain(*tasks)
    return tasks
