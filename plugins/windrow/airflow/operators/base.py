"""The base class of all operators of a harvest."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import TaskDeferred

from windrow.airflow.triggers.pause import PauseTrigger
from windrow.model import registry
from windrow.model.errors import BadParameter, RateLimited
from windrow.model.plan import Run
from windrow.model.stream import Stream

WATERMARK = "watermark"
"""Name of the watermark in the state of its asset, and in the notes of a run."""
REACHED = "reached"
"""Name of the watermark after a run without a record, in the notes of a run."""
_BACKFILL = "backfill"
_OF_THE_SCHEDULE = {"scheduled", "asset_triggered"}


class HarvestStep(BaseOperator):
    """A step of a harvest of one dataset.

    :param dataset: as declared by a source: ``<source>_<noun>``.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of the harvest.
    :param reserved_share: share of every limit of the API, from 0 to 1, that only scheduled runs may use. Set it in the
        ``default_args`` of a DAG, so that a concurrent backfill leaves this share to scheduled runs.
    """

    template_fields: Sequence[str] = ("dataset", "mongo_conn_id")

    def __init__(
        self, *, dataset: str, mongo_conn_id: str = "mongo_default", reserved_share: float = 0.0, **kwargs: Any
    ) -> None:
        # none, unless a task says otherwise: that of a DAG's defaults is for steps that do not limit each wait
        super().__init__(**{"execution_timeout": None, **kwargs})
        self.dataset = dataset
        self.mongo_conn_id = mongo_conn_id
        self.reserved_share = reserved_share

    @property
    def stream(self) -> Stream:
        """The stream that the source declares."""
        return registry.stream(self.dataset)

    def watermark_of(self, context: Context, asset: Asset) -> str:
        """Return the watermark of earlier runs; empty if there is none, or if this run does not use it.

        A backfill only handles its own days and ignores the watermark.
        """
        if not self.follows_watermark(context):
            return ""
        return str(context["asset_state_store"][asset].get(WATERMARK) or "")

    def follows_watermark(self, context: Context) -> bool:
        """Return whether this run starts at the watermark and moves it."""
        is_backfill = context["dag_run"].run_type.value == _BACKFILL
        return not is_backfill and self.stream.follows_watermark(context["params"])

    def reserved(self, context: Context) -> float:
        """Return the share of every limit that this run leaves to other runs.

        :raises BadParameter: the share is invalid.
        """
        if self.reserved_share == 0:
            return 0.0
        if not 0 <= self.reserved_share < 1:
            raise BadParameter(
                f"The task '{self.task_id}' has an invalid reserved_share: {self.reserved_share!r:.40}.",
                advice="It must be a number from 0 to below 1; 0.3 keeps 30 % of every limit for scheduled runs.",
            )
        return 0.0 if context["dag_run"].run_type.value in _OF_THE_SCHEDULE else self.reserved_share

    def go_on(self, context: Context, event: object = None) -> Any:
        """Continue after a pause that the API asked for."""
        return self.execute(context)

    def deferral(self, limit: RateLimited) -> TaskDeferred:
        """Make the deferral that frees the worker slot until the API allows calls again. It does not use a retry."""
        self.log.warning("%s", limit)
        return TaskDeferred(trigger=PauseTrigger.until(limit.retry_at), method_name=self.go_on.__name__)

    def run_of(self, context: Context) -> Run:
        """Return the identity of the harvest: the dataset and the DAG run; it is the same for all tries."""
        return Run(self.dataset, context["run_id"], self.dag_id)
