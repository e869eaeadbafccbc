"""harvest: make the calls of the plan."""

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
from windrow.store.status import CONNECTION


class HarvestOperator(HarvestStep):
    """Runs the engine on the plan of this run. Only queries that are not settled are called.

    If the API asks for a pause that is too long to wait in the task, the answers so far are staged and the task
    defers: it frees its slot and continues at that time by itself, without using a retry.

    :param conn_id: the Airflow connection of the API.
    :param connections: maximum concurrent calls; None for the value of the connection.
    :returns: the figures of this harvest.
    """

    advice = (
        "All answers so far are in MongoDB. Clear this task with all tasks downstream: it makes only the missing calls."
    )
    template_fields = (*HarvestStep.template_fields, "conn_id", "connections")

    def __init__(self, *, conn_id: str, connections: int | str | None = None, **kwargs: Any) -> None:
        # a backfill of many days has concurrent runs: only one at a time may call the API
        super().__init__(**{"max_active_tis_per_dag": 1, **kwargs})
        self.conn_id = conn_id
        self.connections = connections
        self._harvester: Harvester | None = None

    def execute(self, context: Context) -> Figures | None:
        """Start or continue the harvest.

        :raises WindrowError: see `Harvester.run`.
        """
        stream = self.stream
        with staging(self.mongo_conn_id, self.dataset) as state:
            hook = ApiHook(self.conn_id)
            client = hook.client(stream, state, connections=self.connections_or_none, reserved=self.reserved(context))
            run = self.run_of(context)
            state.note(run, CONNECTION, {"conn_id": self.conn_id, **hook.shared_quotas(stream)})
            feed = PlanFeed(state, state.plan(run))
            self._harvester = Harvester(
                client,
                state,
                feed,
                stream.records,
                next_page=stream.next_page,
                paging=stream.paging,
                format=stream.format,
                export=stream.export,
            )
            try:
                return asyncio.run(harvest(client, self._harvester))
            except RateLimited as limit:
                raise self.deferral(limit) from None

    @property
    def connections_or_none(self) -> int | None:
        """The maximum number of concurrent calls, after rendering."""
        return None if self.connections in {None, "", "None"} else int(str(self.connections))

    def on_kill(self) -> None:
        """Wait for the running calls and stage their answers, when Airflow stops the task."""
        if self._harvester is not None:
            self._harvester.stop()


async def harvest(client: Client, harvester: Harvester) -> Figures:
    """Run a harvester to its end, inside the context of its client."""
    async with client:
        await harvester.run()
    return harvester.figures("ended")
