"""A trigger that waits until a queue has made the calls of a run."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.triggers.base import BaseTrigger, TriggerEvent

from windrow.airflow.hooks.cloud_tasks import TaskQueue
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.retry import ErrorPolicy
from windrow.harvest.progress import Progress
from windrow.model.logs import begin
from windrow.model.plan import Run
from windrow.model.redact import blot

log = logging.getLogger(__name__)

_PAUSE_S = 10.0
"""Pause after an error."""
_LONGEST = 300
"""Characters of an error in the log."""


class DrainTrigger(BaseTrigger):
    """Fires when all queries of a run are settled or in the quarantine, or when the queue is empty.

    The event has the fields of `Progress`.
    """

    def __init__(
        self,
        *,
        dataset: str,
        run_id: str,
        mongo_conn_id: str,
        gcp_conn_id: str,
        location: str,
        queue: str,
        poll_s: float = 5.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is not annotated
        self.dataset = dataset
        self.run_id = run_id
        self.mongo_conn_id = mongo_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.location = location
        self.queue = queue
        self.poll_s = poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, for the triggerer."""
        names = ("dataset", "run_id", "mongo_conn_id", "gcp_conn_id", "location", "queue", "poll_s")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check every ``poll_s`` seconds, in a thread because the clients block.

        An error that may pass is logged. One that a person must mend ends the trigger, and so the task.
        """
        begin(Run(self.dataset, self.run_id))
        while True:
            try:
                progress, ended = await asyncio.to_thread(self.look)
            except Exception as error:
                if ErrorPolicy().evaluate(error, 1, 1).action is RetryAction.FAIL:
                    raise
                log.warning("Checking the queue '%s' failed: %s: %s", self.queue, type(error).__name__, _text(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            if ended:
                yield TriggerEvent(asdict(progress))  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poll_s)

    def look(self) -> tuple[Progress, bool]:
        """Count the settled queries, and return whether the queue has finished."""
        queue = TaskQueue(self.gcp_conn_id, self.location, self.queue)
        # The queue first: a call that ends in between then counts as settled, not as lost.
        state = "EMPTY" if queue.is_empty() else queue.state()
        with staging(self.mongo_conn_id, self.dataset) as opened:
            progress = Progress.count(opened, opened.plan(Run(self.dataset, self.run_id)))
        log.info(
            "drain %s: %s of %s settled, %s in quarantine, %s left; the queue is %s",
            self.dataset,
            *(f"{number:,}" for number in (progress.settled, progress.planned, progress.quarantined, progress.left)),
            state,
        )
        if progress.left and state not in {"EMPTY", "RUNNING"}:
            log.warning(
                "The queue '%s' is %s and makes no calls. Resume it: gcloud tasks queues resume", self.queue, state
            )
        return progress, not progress.left or state == "EMPTY"


def _text(error: Exception) -> str:
    return blot(str(error))[:_LONGEST]
