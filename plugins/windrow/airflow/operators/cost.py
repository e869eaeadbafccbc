"""cost: compute the cost of the plans of a run. With ``plan_only`` the run ends there."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator, Context

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.harvest import number_of_workers
from windrow.airflow.operators.plan_only import PlanOnlyMixin
from windrow.model import registry
from windrow.model.cost import cost
from windrow.model.plan import Run

COSTS = "costs"
"""The XCom with the cost of each plan."""


class CostOperator(BaseOperator, PlanOnlyMixin):
    """Logs calls, quota units and expected hours of the plans of this run. With ``plan_only`` all else is skipped.

    :param plans: by dataset, the Airflow connection of the API that its plan asks.
    :param plan_only: a template of the param of that name.
    :param connections: concurrent calls; None for the value of the connection.
    :param workers: a template of the param of that name.
    :returns: the numbers of the workers that are mapped tasks: 1, 2 and so on; none with one worker. The cost of each
        plan, as plain values, is the XCom `COSTS`.
    """

    advice = "No call was made. Fix the cause, then clear this task with all tasks downstream."
    template_fields: Sequence[str] = ("plan_only", "connections", "workers", "mongo_conn_id")
    inherits_from_skipmixin = True

    def __init__(
        self,
        *,
        plans: Mapping[str, str],
        plan_only: str = "{{ params.plan_only }}",
        connections: str = "{{ params.connections }}",
        workers: str = "{{ params.get('workers', 1) }}",
        mongo_conn_id: str = "mongo_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plans = plans
        self.plan_only = plan_only
        self.connections = connections
        self.workers = workers
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> list[int]:
        """Log the cost, and skip the tasks downstream if only the plan is wanted.

        :raises DownstreamTasksSkipped: only the plan is wanted.
        :raises BadParameter: the number of workers is invalid.
        """
        others = list(range(1, number_of_workers(self.workers)))
        found = []
        for dataset, conn_id in self.plans.items():
            stream = registry.stream(dataset)
            limits, quotas = ApiHook(conn_id).cost(stream)
            connections = int(self.connections) if self.connections.isdigit() else limits.connections
            with staging(self.mongo_conn_id, dataset) as state:
                plan = state.plan(Run(dataset, context["run_id"], self.dag_id))
                queries = (query for number in range(plan.chunks) for query in state.chunk(plan.run, number).queries)
                costs = cost(dataset, queries, quotas, connections=connections, rate_per_s=limits.rate_per_s)
                self.note_cost(state, plan.run, [asdict(costs)])
            more = ". An answer may have several pages: each further page is one more call" if stream.is_paged else ""
            self.log.info("%s%s", costs, more)
            found.append(asdict(costs))
        context["ti"].xcom_push(COSTS, found)
        return self.finish(context, others)
