"""What the operators of one harvest share."""

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import TaskDeferred

from windrow.model import registry
from windrow.model.errors import BadParameter, RateLimited
from windrow.model.plan import Run
from windrow.model.stream import Stream

WATERMARK = "watermark"
"""What a watermark is called in the state of its asset."""
_BACKFILL = "backfill"
_OF_THE_SCHEDULE = {"scheduled", "asset_triggered"}


class HarvestStep(BaseOperator):
    """A step of a harvest of one dataset.

    :param dataset: as declared by a source: ``<source>_<noun>``.
    :param mongo_conn_id: where the harvest's state is.
    :param reserved_share: share of every limit of the API, from 0 to 1, that only scheduled runs use. Set it in a DAG's
        ``default_args``: a backfill beside it then leaves them so much.
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
        """Return how far the runs before have come; empty if that is unknown, or does not concern this run.

        A backfill is about its own days, whatever came before or after.
        """
        if not self.follows_watermark(context):
            return ""
        return str(context["asset_state_store"][asset].get(WATERMARK) or "")

    def follows_watermark(self, context: Context) -> bool:
        """Say whether this run begins where the last one ended, and is to move the watermark on."""
        is_backfill = context["dag_run"].run_type.value == _BACKFILL
        return not is_backfill and self.stream.follows_watermark(context["params"])

    def reserved(self, context: Context) -> float:
        """Return the share of every limit that this run leaves to others.

        :raises BadParameter: the share is not one.
        """
        if self.reserved_share == 0:
            return 0.0
        if not 0 <= self.reserved_share < 1:
            raise BadParameter(
                f"reserved_share of the task '{self.task_id}' is {self.reserved_share!r:.40}.",
                advice="It should be a number from 0 to below 1; 0.3 keeps 30 % of every limit for scheduled runs.",
            )
        return 0.0 if context["dag_run"].run_type.value in _OF_THE_SCHEDULE else self.reserved_share

    def go_on(self, context: Context, event: object = None) -> Any:
        """Go on after a pause that the API asked for."""
        return self.execute(context)

    def deferral(self, limit: RateLimited) -> TaskDeferred:
        """Make what to raise to give the slot back, and go on when the API lets it. It uses up no retry."""
        self.log.warning("%s", limit)
        return TaskDeferred(trigger=DateTimeTrigger(moment=limit.retry_at), method_name=self.go_on.__name__)

    def run_of(self, context: Context) -> Run:
        """Identify the harvest: the dataset in this DAG run, however often its tasks are tried."""
        return Run(self.dataset, context["run_id"])
