"""enqueue: add every query that is not settled to a Cloud Tasks queue."""

import time
from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.cloud_tasks import Endpoint, Enqueued, Rates, TaskQueue
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.model.queue_task import Call
from windrow.store.staging import Figures


class EnqueueOperator(HarvestStep):
    """Creates or updates the queue, and creates one task for each query of the plan that is not settled.

    The name of a task comes from its query, so a second try does not create duplicates.

    :param target_conn_id: the Airflow connection of the function that makes the calls (`Endpoint`).
    :param queue_id: the queue; ``location`` is its region.
    :param rates: rate limits and retries of the queue.
    :param spread_s: spread the first attempts of a chunk evenly over this many seconds; 0 for as soon as possible.
    :returns: how many tasks are new (``enqueued``), and how many the queue already had (``waiting``).
    """

    advice = (
        "Enqueueing again does not create duplicates: each query has one task name. Clear this task with all tasks "
        "downstream."
    )
    template_fields = (*HarvestStep.template_fields, "target_conn_id", "queue_id", "location", "gcp_conn_id")

    def __init__(
        self,
        *,
        target_conn_id: str,
        queue_id: str,
        location: str,
        rates: Rates | None = None,
        spread_s: float = 0.0,
        gcp_conn_id: str = "google_cloud_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_conn_id = target_conn_id
        self.queue_id = queue_id
        self.location = location
        self.rates = rates or Rates()
        self.spread_s = spread_s
        self.gcp_conn_id = gcp_conn_id

    def execute(self, context: Context) -> Figures:
        """Enqueue."""
        began = time.monotonic()
        run = self.run_of(context)
        endpoint = Endpoint.of(self.target_conn_id)
        queue = TaskQueue(self.gcp_conn_id, self.location, self.queue_id)
        queue.prepare(self.rates)
        count = dict.fromkeys(Enqueued, 0)
        with staging(self.mongo_conn_id, self.dataset) as state:
            plan = state.plan(run)
            quarantined = state.quarantined_keys(run)
            for number in range(plan.chunks):
                settled = state.settled(run, number)
                queries = [query for query in state.chunk(run, number).queries if query.key not in settled]
                for query in queries:
                    if query.key in quarantined:  # it is called again, and counts as open until then
                        state.release(run, query.key)
                calls = [Call(run, number, query) for query in queries]
                for enqueued in queue.enqueue(calls, endpoint, spread_s=self.spread_s):
                    count[enqueued] += 1
                self.log.info(
                    "Enqueued %s of %s chunks: %s new tasks, %s already in the queue.",
                    number + 1,
                    plan.chunks,
                    f"{count[Enqueued.NEW]:,}",
                    f"{count[Enqueued.WAITING]:,}",
                )
            figures = {"enqueued": count[Enqueued.NEW], "waiting": count[Enqueued.WAITING]}
            state.note(run, "enqueue", figures | {"seconds": round(time.monotonic() - began, 3)})
        if queue.state() != "RUNNING":
            self.log.warning(
                "The queue %s is %s and makes no calls. Resume it: gcloud tasks queues resume.",
                queue.path,
                queue.state(),
            )
        return figures
