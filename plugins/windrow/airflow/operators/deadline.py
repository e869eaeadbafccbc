"""A deadline for a run: an alert if data is late, for whatever reason."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from windrow.airflow.operators.alert import send
from windrow.model.redact import blot

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


class FirstQueuedAt(BaseDeadlineReference):
    """The time at which a run was first queued. It does not change when the run is cleared.

    Airflow has `DAGRUN_QUEUED_AT`, but in 3.3 a run with such a deadline cannot be cleared: the API
    answers 500 (https://github.com/apache/airflow/issues/70368). `windrow_plugin` registers this class.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})
    """The arguments that Airflow passes to `_evaluate_with`."""

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        """Read the time from Airflow's database. Only the scheduler and the API server call this."""
        from airflow.models import DagRun  # noqa: PLC0415 - DAG files import this module, and need no database
        from sqlalchemy import select  # noqa: PLC0415

        found = select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        return session.scalar(found)


def ends_within(interval: timedelta, *, what: str) -> DeadlineAlert:
    """Make the alert for a run that has not succeeded ``interval`` after it was queued.

    A failed run also counts as late: Airflow removes a deadline only when the run succeeds in time.

    :param what: what to do, for the log line.
    """
    callback = AsyncCallback(tell, kwargs={"what": what, "after": str(interval)})
    return DeadlineAlert(reference=FirstQueuedAt(), interval=interval, callback=callback)


async def tell(what: str, after: str, context: Mapping[str, Any]) -> str:
    """Log that a run is late, alert people of it, and return the line; Airflow stores it with the deadline.

    It runs in the triggerer and logs there, so it does not wait for the late tasks.

    :param context: from Airflow; it only has the run, as in the REST API, and the deadline.
    """
    run = context["dag_run"]
    line = f"LATE: run '{run['dag_run_id']}' of {run['dag_id']} is {run['state']}, {after} after it was queued. {what}"
    log.error("%s", line)
    await asyncio.to_thread(send, context, blot(line))  # the triggerer has one loop for all triggers
    return line
