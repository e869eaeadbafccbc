"""harvest: settle every query of the plan."""

import asyncio
from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.http.client import Client
from windrow.model.errors import RateLimited
from windrow.store.staging import Figures


class HarvestOperator(HarvestStep):
    """Runs the engine over the plan of this run, and asks only for what is not settled.

    When the API asks to stay away for longer than a call should wait, what is there is staged and the task
    defers: it gives its slot back and goes on at that time by itself, without using up a retry.

    :param conn_id: the Airflow connection of the API.
    :param connections: calls in flight at once; None for what the connection says.
    :returns: the figures of this harvest.
    """

    advice = (
        "All answers so far are in MongoDB. Clear this task with all tasks downstream: only what is missing "
        "is asked again."
    )
    template_fields = (*HarvestStep.template_fields, "conn_id", "connections")

    def __init__(self, *, conn_id: str, connections: int | str | None = None, **kwargs: Any) -> None:
        # a backfill of many days has its runs at once: one at a time may press the API
        super().__init__(**{"max_active_tis_per_dag": 1, **kwargs})
        self.conn_id = conn_id
        self.connections = connections
        self._harvester: Harvester | None = None

    def execute(self, context: Context) -> Figures | None:
        """Harvest, or go on with it.

        :raises WindrowError: see `Harvester.run`.
        """
        stream = self.stream
        with staging(self.mongo_conn_id, self.dataset) as state:
            client = ApiHook(self.conn_id).client(
                stream, state, connections=self.connections_or_none, reserved=self.reserved(context)
            )
            feed = PlanFeed(state, state.plan(self.run_of(context)))
            self._harvester = Harvester(client, state, feed, stream.records, next_page=stream.next_page)
            try:
                return asyncio.run(harvest(client, self._harvester))
            except RateLimited as limit:
                raise self.deferral(limit) from None

    @property
    def connections_or_none(self) -> int | None:
        """The number of calls in flight, after rendering."""
        return None if self.connections in {None, "", "None"} else int(str(self.connections))

    def on_kill(self) -> None:
        """Let the calls under way end and be staged, when Airflow asks the task to stop."""
        if self._harvester is not None:
            self._harvester.stop()


async def harvest(client: Client, harvester: Harvester) -> Figures:
    """Run a harvester with its client, to the end."""
    async with client:
        await harvester.run()
    return harvester.figures("ended")
