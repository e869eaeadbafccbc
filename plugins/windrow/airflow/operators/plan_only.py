"""plan_only: a run that only wants to know what it would take, and is skipped from there on."""

from typing import Any

from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import Context
from airflow.sdk.bases.xcom import BaseXCom


class PlanOnlyMixin(SkipMixin):
    """For operators that compute the cost of a run. ``plan_only`` is a template of the param of that name."""

    plan_only: str

    def finish(self, context: Context, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the costs. With ``plan_only``, skip all tasks downstream."""
        if self.plan_only == "True":
            self.log.info("plan_only is set: none of these calls is made.")
            # `skip` raises, so the return value would be lost
            context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, found)
            self.skip(ti=context["ti"], tasks=list(self.get_flat_relatives(upstream=False)))  # type: ignore[attr-defined]
        return found
