"""fetch: settle the queries that come through Redis, as one of several workers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.broker import broker
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.harvest import HarvestOperator, harvest
from windrow.harvest.broker import BrokerFeed
from windrow.harvest.engine import Harvester
from windrow.model.errors import CredentialsRejected, RateLimited
from windrow.model.plan import Run
from windrow.store.staging import Figures

_ENDED_BADLY = {"failed", "upstream_failed", "skipped", "removed"}


class FetchOperator(HarvestOperator):
    """One of ``workers`` tasks that drain the stream of a run, each with the tokens of owners of its own.

    It ends when the plan is whole and every message is finished. With nothing to do before that it defers for some
    seconds: the slot is free, also for the task that discovers. It ends with a warning if Redis is lost, or if the
    API takes none of its tokens while other workers have theirs. What is left is asked by them, and at last by a
    `HarvestOperator` downstream, which finds it in MongoDB and has the tokens of all.

    :param worker: number of this worker, from 0.
    :param workers: how many there are.
    :param discover: id of the task that hands out.
    :param idle_s: how long to look for messages before deferring, and ``pause_s`` for how long.
    :param claim_after_s: when a message that another worker took and did not finish is taken over.
    :returns: the figures of this harvest; None for a worker for whom there is no owner of tokens.
    """

    template_fields = (*HarvestOperator.template_fields, "worker", "workers", "redis_conn_id")

    def __init__(
        self,
        *,
        worker: int,
        workers: int | str,
        discover: str = "discover",
        redis_conn_id: str = "redis_default",
        idle_s: float = 2.0,
        pause_s: float = 10.0,
        claim_after_s: float = 120.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.worker = worker
        self.workers = workers
        self.discover = discover
        self.redis_conn_id = redis_conn_id
        self.idle_s = idle_s
        self.pause_s = pause_s
        self.claim_after_s = claim_after_s

    def execute(self, context: Context) -> Figures | None:
        """Drain, or go on with it.

        :raises WindrowError: see `Harvester.run`.
        """
        worker, workers, run, stream = int(self.worker), int(self.workers), self.run_of(context), self.stream
        hook = ApiHook(self.conn_id)
        owners = hook.pool_size(stream)
        if 0 < owners <= worker:
            self.log.info("There are fewer owners of tokens than workers, and none is left for this one.")
            return None
        with staging(self.mongo_conn_id, self.dataset) as state, broker(self.redis_conn_id, run) as queue:
            client = hook.client(
                stream,
                state,
                connections=self.connections_or_none,
                share=(worker, workers),
                reserved=self.reserved(context),
            )
            feed = BrokerFeed(
                queue, state, run, f"worker-{worker}", idle_s=self.idle_s, claim_after_s=self.claim_after_s
            )
            self._harvester = harvester = Harvester(client, state, feed, stream.records, next_page=stream.next_page)
            try:
                figures = asyncio.run(harvest(client, harvester))
            except RateLimited as limit:
                raise self.deferral(limit) from None
            except CredentialsRejected as rejected:
                if min(owners, workers) < 2:
                    raise
                self.log.warning("The other workers go on without this one: %s", rejected.what)
                return harvester.figures("ended")
            if feed.finished():
                return figures
        if self._discovery_failed(context, run):
            self.log.warning("The task '%s' has failed, so nothing more will come.", self.discover)
            return figures
        raise TaskDeferred(
            trigger=DateTimeTrigger(moment=datetime.now(UTC) + timedelta(seconds=self.pause_s)),
            method_name=self.go_on.__name__,
        )

    def _discovery_failed(self, context: Context, run: Run) -> bool:
        """Ask Airflow whether the other side is gone for good; its retries are not over then."""
        states = context["ti"].get_task_states(
            dag_id=context["dag_run"].dag_id, task_ids=[self.discover], run_ids=[run.run_id]
        )
        return states.get(run.run_id, {}).get(self.discover) in _ENDED_BADLY
