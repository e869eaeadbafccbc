"""A deadline for a run: data that comes late is told while it is late, whatever the reason."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

log = logging.getLogger(__name__)


def ends_within(interval: timedelta, *, what: str) -> DeadlineAlert:
    """Make the alert for a run that has not succeeded so long after it was queued.

    A run that failed and was left so is late as well: Airflow drops a deadline only when the run succeeds in time.

    :param what: what to look at, for the log line.
    """
    callback = AsyncCallback(tell, kwargs={"what": what, "after": str(interval)})
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=interval, callback=callback)


async def tell(what: str, after: str, context: Mapping[str, Any]) -> str:
    """Log that a run is late, and return the line, which Airflow keeps with the deadline.

    Runs in the triggerer, and is found in its log: so it does not wait behind the tasks that are late.

    :param context: Airflow's, which holds no more than the run as its REST API shows it, and the deadline.
    """
    run = context["dag_run"]
    line = f"LATE: run '{run['dag_run_id']}' of {run['dag_id']} is {run['state']}, {after} after it was queued. {what}"
    log.error("%s", line)
    return line
