"""drain: wait until a queue has made the calls of a run."""

import time
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.triggers.drain import DrainTrigger
from windrow.harvest.progress import Progress
from windrow.model.errors import GivenUp
from windrow.store.staging import Figures


class DrainSensor(HarvestStep):
    """Defers until the queue is done with the calls of this run, and fails if it gave some of them up.

    :param queue_id: the queue, ``location`` where it is.
    :param poll_s: seconds between two looks.
    :returns: what the queue did: ``settled``, ``quarantined``, ``seconds``.
    """

    advice = "All answers so far are in MongoDB, and the queue goes on meanwhile. Clear this task to wait again."
    template_fields = (*HarvestStep.template_fields, "queue_id", "location", "gcp_conn_id")

    def __init__(
        self,
        *,
        queue_id: str,
        location: str,
        gcp_conn_id: str = "google_cloud_default",
        poll_s: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.queue_id = queue_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.poll_s = poll_s

    def execute(self, context: Context) -> Figures:
        """Give the slot back, and wait."""
        trigger = DrainTrigger(
            dataset=self.dataset,
            run_id=context["run_id"],
            mongo_conn_id=self.mongo_conn_id,
            gcp_conn_id=self.gcp_conn_id,
            location=self.location,
            queue=self.queue_id,
            poll_s=self.poll_s,
        )
        raise TaskDeferred(trigger=trigger, method_name=self.go_on.__name__, kwargs={"began": time.time()})

    def go_on(self, context: Context, event: Any = None, began: float = 0.0) -> Figures:
        """Look at how the queue ended.

        :raises GivenUp: it gave up calls; they are named.
        """
        progress = Progress(**event)
        figures = {
            "settled": progress.settled,
            "quarantined": progress.quarantined,
            "given_up": progress.left,
            "seconds": round(time.time() - began, 3),
        }
        with staging(self.mongo_conn_id, self.dataset) as state:
            state.note(self.run_of(context), "drain", figures)
        if progress.left:
            keys = "; ".join(map(repr, progress.open_keys))
            raise GivenUp(
                f"The queue '{self.queue_id}' is empty and gave up {progress.left:,} of {progress.planned:,} calls: "
                f"{keys}",
                advice="See in the log of the function why; then clear 'enqueue' with all tasks downstream: only "
                "these are enqueued again.",
            )
        return figures
