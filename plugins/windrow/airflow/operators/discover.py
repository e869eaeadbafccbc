"""discover: make the plan, and push its queries to Redis while it is made."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.broker import broker
from windrow.airflow.operators.plan import PlanOperator
from windrow.harvest.broker import Broker
from windrow.harvest.discovery import Discovery
from windrow.harvest.feeds import Item
from windrow.http.client import Client
from windrow.model.errors import BrokerUnavailable
from windrow.model.plan import Run
from windrow.store.staging import Staging


class DiscoverOperator(PlanOperator):
    """A `PlanOperator` whose queries go to `FetchOperator` tasks as pages arrive.

    Without Redis it still makes the plan, with a warning.

    :param redis_conn_id: the Airflow connection of Redis.
    """

    advice = (
        "Pages that were listed are in MongoDB. Clear this task with all tasks downstream: it continues from there."
    )
    template_fields = (*PlanOperator.template_fields, "redis_conn_id")

    def __init__(self, *, redis_conn_id: str = "redis_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.redis_conn_id = redis_conn_id
        self._queue: Broker | None = None

    def execute(self, context: Context) -> dict[str, int | str]:
        """Make the plan, with a connection to Redis.

        :raises WindrowError: see `PlanOperator.execute`.
        """
        with broker(self.redis_conn_id, self.run_of(context)) as self._queue:
            return self.make_plan(context)

    def discovery(self, client: Client, state: Staging, run: Run) -> Discovery:
        """Make the discovery of the run, which pushes the planned queries."""
        return Discovery(client, state, run, self.stream, announce=self._hand_out)

    def _hand_out(self, items: Sequence[Item]) -> None:
        """Push queries until Redis fails. The plan in MongoDB has all of them."""
        if self._queue is not None:
            try:
                self._queue.open()
                self._queue.push(items)
            except BrokerUnavailable as error:
                self.log.warning("%s", error)
                self._queue = None
