"""plan_only: a run that only wants to know what it would take, and is skipped from there on."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import Context
from airflow.sdk.bases.xcom import BaseXCom

from windrow.model.plan import Run
from windrow.store.staging import Staging

T = TypeVar("T")
COST = "cost"
"""The note of a run with what its plan costs, for the Harvest pages and the terminal."""


class PlanOnlyMixin(SkipMixin):
    """For operators that compute the cost of a run. ``plan_only`` is a template of the param of that name."""

    plan_only: str

    def note_cost(self, state: Staging, run: Run, ways: Sequence[Mapping[str, Any]]) -> None:
        """Store what each way to harvest a dataset costs: its calls, units by quota, and hours."""
        noted = [
            {
                "name": way.get("name", ""),
                "calls": way["calls"],
                "units": [[name, units] for name, units in way["units"].items()],  # a name can have dots
                "hours": round(way["hours"], 4),
                "remark": way.get("remark", ""),
            }
            for way in ways
        ]
        state.note(run, COST, {"plan_only": self.is_plan_only, "ways": noted})

    @property
    def is_plan_only(self) -> bool:
        """Whether the run ends here, after rendering."""
        return self.plan_only == "True"

    def finish(self, context: Context, found: list[T]) -> list[T]:
        """Return what the task returns. With ``plan_only``, skip all tasks downstream."""
        if self.is_plan_only:
            self.log.info("plan_only is set: none of these calls is made.")
            # `skip` raises, so the return value would be lost
            context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, found)
            self.skip(ti=context["ti"], tasks=list(self.get_flat_relatives(upstream=False)))  # type: ignore[attr-defined]
        return found
