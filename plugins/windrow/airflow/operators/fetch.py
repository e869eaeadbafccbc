"""fetch: make the calls of the queries in Redis, as one of several workers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.broker import broker
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.harvest import HarvestOperator, harvest, number_of_workers
from windrow.airflow.triggers.pause import PauseTrigger
from windrow.harvest.broker import BrokerFeed
from windrow.harvest.engine import Harvester
from windrow.http.loop import run_async
from windrow.model.errors import CredentialsRejected, RateLimited
from windrow.model.plan import Run
from windrow.store.staging import Figures

_ENDED_BADLY = {"failed", "upstream_failed", "skipped", "removed"}


class FetchOperator(HarvestOperator):
    """One of ``workers`` tasks that read the Redis stream of a run, each with its own owners of tokens.

    It ends when the plan is complete and every message is processed. If there is nothing to do before that, it defers
    for some seconds to free its slot, also for the task that discovers. It ends with a warning if Redis is lost, or if
    the API refuses all of its tokens while other workers have valid ones. Other workers then make the remaining calls;
    a `HarvestOperator` downstream makes the rest from MongoDB, with the tokens of all workers.

    :param worker: number of this worker, from 0.
    :param workers: number of workers.
    :param discover: id of the task that fills the stream.
    :param idle_s: how long to look for messages before the task defers for ``pause_s``.
    :param claim_after_s: after this time it takes over a message that another worker has not finished.
    :returns: the figures of this harvest; None if there is no share for this worker.
    """

    template_fields = (*HarvestOperator.template_fields, "worker", "redis_conn_id")

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
        super().__init__(worker=worker, workers=workers, **kwargs)
        self.discover = discover
        self.redis_conn_id = redis_conn_id
        self.idle_s = idle_s
        self.pause_s = pause_s
        self.claim_after_s = claim_after_s

    def execute(self, context: Context) -> Figures | None:
        """Start or continue to process messages.

        :raises WindrowError: see `Harvester.run`.
        """
        worker, run, stream, hook = int(self.worker), self.run_of(context), self.stream, ApiHook(self.conn_id)
        workers = min(number_of_workers(self.workers), hook.room(stream, self.connections_or_none))
        if worker >= workers:
            self.log.info("Worker %s ends: there are connections and owners of tokens for %s.", worker, workers)
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
            self._harvester = harvester = Harvester(
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
                figures = run_async(harvest(self.dataset, client, harvester))
            except RateLimited as limit:
                raise self.deferral(limit) from None
            except CredentialsRejected as rejected:
                if workers < 2:
                    raise
                self.log.warning("This worker ends, the other workers continue: %s", rejected.what)
                return harvester.figures("ended")
            if feed.finished():
                return figures
        if self._discovery_failed(context, run):
            self.log.warning("The task '%s' failed, so no more queries will be added.", self.discover)
            return figures
        raise TaskDeferred(
            trigger=PauseTrigger.until(datetime.now(UTC) + timedelta(seconds=self.pause_s)),
            method_name=self.go_on.__name__,
        )

    def _discovery_failed(self, context: Context, run: Run) -> bool:
        """Return whether the discovering task has ended without success, retries included."""
        states = context["ti"].get_task_states(
            dag_id=context["dag_run"].dag_id, task_ids=[self.discover], run_ids=[run.run_id]
        )
        return states.get(run.run_id, {}).get(self.discover) in _ENDED_BADLY
