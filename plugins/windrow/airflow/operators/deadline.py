"""A deadline for a run: data that comes late is told while it is late, whatever the reason."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


class FirstQueuedAt(BaseDeadlineReference):
    """The instant at which a run was queued for the first time; a run that is cleared does not get a later one.

    Airflow's own `DAGRUN_QUEUED_AT` would do, but in 3.3 a run with such a deadline cannot be cleared: the API
    answers 500 (https://github.com/apache/airflow/issues/70368). `windrow_plugin` registers this one.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})
    """What Airflow has to tell `_evaluate_with`."""

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        """Look the instant up in Airflow's database, where only the scheduler and the API server call this."""
        from airflow.models import DagRun  # noqa: PLC0415 - DAG files import this module, and need no database
        from sqlalchemy import select  # noqa: PLC0415

        found = select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        return session.scalar(found)


def ends_within(interval: timedelta, *, what: str) -> DeadlineAlert:
    """Make the alert for a run that has not succeeded so long after it was queued.

    A run that failed and was left so is late as well: Airflow drops a deadline only when the run succeeds in time.

    :param what: what to look at, for the log line.
    """
    callback = AsyncCallback(tell, kwargs={"what": what, "after": str(interval)})
    return DeadlineAlert(reference=FirstQueuedAt(), interval=interval, callback=callback)


async def tell(what: str, after: str, context: Mapping[str, Any]) -> str:
    """Log that a run is late, and return the line, which Airflow keeps with the deadline.

    Runs in the triggerer, and is found in its log: so it does not wait behind the tasks that are late.

    :param context: Airflow's, which holds no more than the run as its REST API shows it, and the deadline.
    """
    run = context["dag_run"]
    line = f"LATE: run '{run['dag_run_id']}' of {run['dag_id']} is {run['state']}, {after} after it was queued. {what}"
    log.error("%s", line)
    return line
