"""A deadline for a run: data that comes late is told while it is late, whatever the reason."""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

log = logging.getLogger(__name__)


def ends_within(interval: timedelta, *, what: str) -> DeadlineAlert:
    """Make the alert for a run that has not ended so long after it was queued.

    :param what: what is late then, and what to do, for the log line.
    """
    callback = AsyncCallback(tell, kwargs={"what": what, "after": str(interval)})
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=interval, callback=callback)


async def tell(what: str, after: str, **kwargs: Any) -> None:
    """Log that a run is late. Runs in the triggerer, so it does not wait behind the tasks that are late."""
    context = kwargs.get("context") or {}
    run = context.get("dag_run") or {}
    log.error("LATE: run '%s' of %s has not ended after %s. %s", run.get("dag_run_id"), run.get("dag_id"), after, what)
