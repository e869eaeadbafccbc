"""pull: receive a batch of messages from a subscription, and land it. Nothing is acknowledged yet."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from windrow.airflow.hooks.pubsub import Subscription
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.base import HarvestStep
from windrow.landing.batch import Batch, Bounds, gather
from windrow.landing.files import MANIFEST, Manifest
from windrow.landing.housekeeping import LANDED


class PullOperator(HarvestStep):
    """Pulls messages up to a maximum number or time, and lands them. It is skipped if there are none.

    It first releases the messages that an earlier attempt landed and did not acknowledge.

    :param subscription: its id, without the project.
    :param to: the bucket, like ``gs://bucket``; ``prefix`` is the folder in it.
    :param max_messages: maximum messages of a batch; ``max_seconds``: maximum time to collect them.
    :returns: XComs with these names: ``objects``, ``records``, ``manifest``, as for `LandOperator`.
    """

    advice = "No message was acknowledged, so all are delivered again. Clear this task with all tasks downstream."
    template_fields = (
        *HarvestStep.template_fields,
        *("subscription", "to", "prefix", "max_messages", "max_seconds", "gcp_conn_id"),
    )

    def __init__(
        self,
        *,
        subscription: str,
        to: str,
        prefix: str,
        max_messages: int | str = Bounds().messages,
        max_seconds: float | str = Bounds().seconds,
        gcp_conn_id: str = "google_cloud_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.subscription = subscription
        self.to = to
        self.prefix = prefix
        self.max_messages = max_messages
        self.max_seconds = max_seconds
        self.gcp_conn_id = gcp_conn_id
        self._manifest: Manifest | None = None

    def execute(self, context: Context) -> dict[str, object]:
        """Pull and land.

        :raises AirflowSkipException: there is nothing to load; unreadable messages are in the quarantine.
        """
        run = self.run_of(context)
        queue = Subscription(self.gcp_conn_id, self.subscription)
        batch = Batch(run, self.stream, open_store(self.to, self.gcp_conn_id), self.prefix)
        batch.release(queue)
        messages = gather(queue, Bounds(int(self.max_messages), float(self.max_seconds)))
        if not messages:
            raise AirflowSkipException(f"{queue.path} has no messages.")
        with staging(self.mongo_conn_id, self.dataset) as state:
            self._manifest = manifest = batch.land(queue, messages, state)
            figures = {"pulled": len(messages), "records": manifest.records, "unreadable": manifest.unreadable}
            state.note(run, "pull", figures)
            place = {"to": self.to, "prefix": self.prefix, "gcp": self.gcp_conn_id, "aws": "aws_default"}
            state.note(run, LANDED, place)
        self.log.info("%s", figures)
        if not manifest.records:
            batch.acknowledge(queue)  # they are in the quarantine, all of them
            raise AirflowSkipException(f"None of {len(messages):,} messages could be read; all are in the quarantine.")
        return {
            "objects": [part.name for part in manifest.parts],
            "records": manifest.records,
            "manifest": f"{self.to}/{self.prefix}/{MANIFEST}",
        }

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what the task read and wrote. Airflow's OpenLineage provider calls this, if it is configured."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        return openlineage.lineage(
            [openlineage.subscription(self.gcp_conn_id, self.subscription)],
            [openlineage.files(self.to, self.prefix, self._manifest)],
        )
