"""The link from the page of a task in Airflow to the page of its harvest run."""

from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey

from windrow.airflow.operators import (  # noqa: F401 - their classes get the link
    acknowledge,
    enqueue,
    estimate,
    fetch,
    harvest,
    land,
    prove,
    pull,
)
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.sensors.drain import DrainSensor

RUN_ROUTE = "harvest-run"
"""The route of the tab of a DAG run that shows its harvest."""


def _kinds(kind: type[BaseOperator]) -> Iterator[type[BaseOperator]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


class HarvestRunLink(BaseOperatorLink):
    """Leads from a task of a harvest to its run: receipt, errors, time left."""

    name = "Harvest run"
    operators: ClassVar[list[type[BaseOperator]]] = [*_kinds(HarvestStep), DrainSensor]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the tab, relative to that of Airflow, which may be served below a path."""
        dag_id, run_id = (quote(part, safe="") for part in (ti_key.dag_id, ti_key.run_id))
        return f"dags/{dag_id}/runs/{run_id}/plugin/{RUN_ROUTE}"
