"""harvest: make the calls of the plan."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from windrow.airflow import metrics
from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.operators.params import MOST_WORKERS
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.harvest.shares import SharedFeed
from windrow.http.client import Client
from windrow.http.loop import run_async
from windrow.model.errors import BadParameter, RateLimited
from windrow.model.plan import Run
from windrow.store.staging import Figures, Staging
from windrow.store.status import CONNECTION

_LOOK_S, _WAIT_S, _DEFER_S = 0.5, 5.0, 30.0
"""How often, and how long, a worker looks whether the first one has begun; how long it then defers."""


class HarvestOperator(HarvestStep):
    """Runs the engine on the plan of this run. Only queries that are not settled are called.

    If the API asks for a pause that is too long to wait in the task, the answers so far are staged and the task
    defers: it frees its slot and continues at that time by itself, without using a retry.

    :param conn_id: the Airflow connection of the API.
    :param connections: maximum concurrent calls of all workers; None for the value of the connection.
    :param worker: number of this worker, from 0.
    :param workers: number of workers: worker 0 is the task of this operator, the others are `MoreWorkersOperator`.
        The parts of the plan are leased to them. Each has its share of the connections and of the owners of a pool.
    :returns: the figures of this harvest; None if there is no share for this worker.
    """

    advice = (
        "All answers so far are in MongoDB. Clear this task with all tasks downstream: it makes only the missing calls."
    )
    template_fields = (*HarvestStep.template_fields, "conn_id", "connections", "workers")

    def __init__(
        self,
        *,
        conn_id: str,
        connections: int | str | None = None,
        worker: int = 0,
        workers: int | str = 1,
        **kwargs: Any,
    ) -> None:
        # a backfill of many days has concurrent runs: only one at a time may call the API
        super().__init__(**{"max_active_tis_per_dag": 1, **kwargs})
        self.conn_id = conn_id
        self.connections = connections
        self.worker = worker
        self.workers = workers
        self._harvester: Harvester | None = None

    def execute(self, context: Context) -> Figures | None:
        """Start or continue the harvest.

        :raises WindrowError: see `Harvester.run`.
        """
        stream, workers = self.stream, number_of_workers(self.workers)
        with staging(self.mongo_conn_id, self.dataset) as state:
            run, hook = self.run_of(context), ApiHook(self.conn_id)
            plan = state.plan(run)
            room = min(workers, plan.planned, hook.room(stream, self.connections_or_none)) if workers > 1 else 1
            if self.worker >= max(room, 1):
                self.log.info("Worker %s ends: there are connections, tokens and queries for %s.", self.worker, room)
                return None
            client = hook.client(
                stream,
                state,
                connections=self.connections_or_none,
                share=(self.worker, max(room, 1)),
                reserved=self.reserved(context),
            )
            self.begin(state, run)
            feed = SharedFeed(state, plan, self.worker, room) if room > 1 else PlanFeed(state, plan)
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
                return run_async(harvest(self.dataset, client, self._harvester))
            except RateLimited as limit:
                raise self.deferral(limit) from None

    def begin(self, state: Staging, run: Run) -> None:
        """Store which connection this run calls. The other workers of the run begin then."""
        state.note(run, CONNECTION, {"conn_id": self.conn_id, **ApiHook(self.conn_id).shared_quotas(self.stream)})

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what the task read and wrote. Airflow's OpenLineage provider calls this, if it is configured."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        return openlineage.lineage(
            [openlineage.endpoint(self.conn_id, self.stream)], [openlineage.answers(self.mongo_conn_id, self.stream)]
        )

    @property
    def connections_or_none(self) -> int | None:
        """The maximum number of concurrent calls, after rendering."""
        return None if self.connections in {None, "", "None"} else int(str(self.connections))

    def on_kill(self) -> None:
        """Wait for the running calls and stage their answers, when Airflow stops the task."""
        if self._harvester is not None:
            self._harvester.stop()


class MoreWorkersOperator(HarvestOperator):
    """One of the workers of a run beside its `HarvestOperator`.

    It begins when that task has begun: there the runs of a backfill take turns, so that one at a time calls the API.

    :param worker: number of this worker, from 1.
    """

    template_fields = (*HarvestOperator.template_fields, "worker")

    def begin(self, state: Staging, run: Run) -> None:
        """Wait for some seconds until the first worker has begun, then defer.

        :raises TaskDeferred: it has not begun.
        """
        until = time.monotonic() + _WAIT_S
        while CONNECTION not in state.notes(run):
            if time.monotonic() > until:
                moment = datetime.now(UTC) + timedelta(seconds=_DEFER_S)
                raise TaskDeferred(trigger=DateTimeTrigger(moment=moment), method_name=self.go_on.__name__)
            time.sleep(_LOOK_S)


def number_of_workers(given: object) -> int:
    """Return the param ``workers``.

    :raises BadParameter: it is not a number from 1 to `MOST_WORKERS`.
    """
    if str(given).isdecimal() and 1 <= int(str(given)[:6]) <= MOST_WORKERS:
        return int(str(given))
    raise BadParameter(
        f"The param 'workers' is {given!r:.40}; it must be a whole number from 1 to {MOST_WORKERS}.",
        advice="No planned call was made. Trigger a new run with a valid number.",
    )


async def harvest(dataset: str, client: Client, harvester: Harvester) -> Figures:
    """Run a harvester to its end, inside the context of its client, and count what it did."""
    try:
        async with client:
            await harvester.run()
    finally:
        metrics.count(dataset, harvester.figures("ended"))
    return harvester.figures("ended")
