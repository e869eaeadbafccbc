"""estimate: compute the cost of a run before its lists are requested. With ``plan_only`` the run ends there."""

from dataclasses import asdict
from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.plan_only import PlanOnlyMixin
from windrow.model.errors import RateLimited


class EstimateOperator(PlanOperator, PlanOnlyMixin):
    """Logs calls, units and hours of each way to harvest. With ``plan_only`` the other tasks are skipped.

    :param plan_only: a template of the param of that name.
    :returns: the ways, as plain values, each with its ``hours``.
    """

    advice = "No list was fetched yet. Fix the cause, then clear this task with all tasks downstream."
    template_fields = (*PlanOperator.template_fields, "plan_only")
    inherits_from_skipmixin = True

    def __init__(self, *, plan_only: str = "{{ params.plan_only }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_only = plan_only

    def execute(self, context: Context) -> list[dict[str, Any]]:  # type: ignore[override]
        """Estimate the cost, and skip the other tasks if only the plan is wanted.

        :raises BadParameter: a param is unknown or invalid.
        :raises DownstreamTasksSkipped: only the plan is wanted.
        """
        run, request, hook = self.run_of(context), self.request_of(context), ApiHook(self.conn_id)
        owners = max(1, hook.pool_size(self.stream))
        with staging(self.mongo_conn_id, self.dataset) as state:
            client = hook.client(self.stream, state, reserved=self.reserved(context))
            try:
                discovery = self.discovery(client, state, run)
                ways = discovery.run(discovery.estimate(request))
            except RateLimited as limit:
                raise self.deferral(limit) from None
            found = [{**asdict(way), "hours": way.hours(owners)} for way in ways]
            self.note_cost(state, run, found)
        for way in found:
            units = ", ".join(f"{units:,} of {resource}" for resource, units in way["units"].items())
            line = f"{way['name']}: at most {way['calls']:,} calls ({units}), {way['hours']:.2f} h with {owners} owners"
            self.log.info("%s", f"{line}; {way['remark']}" if way["remark"] else line)
        return self.finish(context, found)
