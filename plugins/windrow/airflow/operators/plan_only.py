"""plan_only: a run that only wants to know what it would take, and is skipped from there on."""

from typing import Any

from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import Context
from airflow.sdk.bases.xcom import BaseXCom


class PlanOnlyMixin(SkipMixin):
    """An operator that says what a run would take. ``plan_only`` is a template of the param of that name."""

    plan_only: str

    def told(self, context: Context, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what was found, and skip all else if that is all that was asked."""
        if self.plan_only == "True":
            self.log.info("Only the plan was asked for: none of these calls is made.")
            # to skip is to raise: what this task has found would be lost
            context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, found)
            self.skip(ti=context["ti"], tasks=list(self.get_flat_relatives(upstream=False)))  # type: ignore[attr-defined]
        return found
