"""drain: wait until a queue has made the calls of a run."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from windrow.airflow.hooks.staging import staging
from windrow.airflow.triggers.drain import DrainTrigger
from windrow.harvest.progress import Progress
from windrow.model.errors import GivenUp
from windrow.model.plan import Run
from windrow.store.staging import Figures


class DrainSensor(BaseSensorOperator):
    """Waits until the queue has finished the calls of this run, and fails if it gave up some of them.

    :param dataset: the dataset of the calls; ``mongo_conn_id`` is the connection of its state.
    :param queue_id: the queue; ``location`` is its region.
    :param deferrable: wait in the triggerer, without a worker slot.
    :returns: what the queue did: ``settled``, ``quarantined``, ``seconds``.
    """

    advice = (
        "All answers so far are in MongoDB, and the queue continues. Check whether the queue is paused, and check the "
        "log of the function. Clear this task to wait again."
    )
    template_fields = ("dataset", "mongo_conn_id", "queue_id", "location", "gcp_conn_id")

    def __init__(
        self,
        *,
        dataset: str,
        queue_id: str,
        location: str,
        mongo_conn_id: str = "mongo_default",
        gcp_conn_id: str = "google_cloud_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"poke_interval": 5.0, **kwargs})
        self.dataset = dataset
        self.mongo_conn_id = mongo_conn_id
        self.queue_id = queue_id
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.deferrable = deferrable
        self._began = 0.0

    def execute(self, context: Context) -> Any:
        """Check, then wait in the triggerer or in this task.

        :raises AirflowSensorTimeout: the timeout has passed. Airflow does not retry it.
        """
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        self._began = first.timestamp() if first else time.time()
        if not self.deferrable:
            return self._wait(context, partial(super().execute, context))
        looked = self.poke(context)
        if not looked:
            patience = timedelta(seconds=self.timeout)
            kwargs = {"began": self._began}
            self.defer(trigger=self._look_out(context), method_name="go_on", kwargs=kwargs, timeout=patience)
        return looked.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once."""
        progress, ended = self._look_out(context).look()
        return PokeReturnValue(ended, self.go_on(context, asdict(progress), self._began) if ended else None)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral, also after its timeout."""
        return self._wait(context, partial(super().resume_execution, next_method, next_kwargs, context))

    def go_on(self, context: Context, event: Any = None, began: float = 0.0) -> Figures:
        """Return the figures after the queue has finished.

        :raises GivenUp: the queue gave up calls; the message names them.
        """
        progress = Progress(**event)
        figures = {
            "settled": progress.settled,
            "quarantined": progress.quarantined,
            "given_up": progress.left,
            "seconds": round(max(0.0, time.time() - began), 3),
        }
        with staging(self.mongo_conn_id, self.dataset) as state:
            state.note(Run(self.dataset, context["run_id"]), "drain", figures)
        if progress.left:
            raise GivenUp(
                f"The queue '{self.queue_id}' is empty and gave up {progress}",
                advice="Find the cause in the log of the function and fix it. Then clear 'enqueue' with all tasks "
                "downstream: it enqueues only these calls again.",
            )
        return figures

    def _wait(self, context: Context, wait: Callable[[], Any]) -> Any:
        """Check once more after the timeout, and report how many calls are missing."""
        try:
            return wait()
        except (AirflowSensorTimeout, AirflowSkipException) as late:
            progress, ended = self._look_out(context).look()
            if ended:
                return self.go_on(context, asdict(progress), time.time() - self.timeout)
            raise type(late)(f"The queue '{self.queue_id}' has not finished {progress}. {late}") from late

    def _look_out(self, context: Context) -> DrainTrigger:
        return DrainTrigger(
            dataset=self.dataset,
            run_id=context["run_id"],
            mongo_conn_id=self.mongo_conn_id,
            gcp_conn_id=self.gcp_conn_id,
            location=self.location,
            queue=self.queue_id,
            poll_s=self.poke_interval,
        )
