"""acknowledge: acknowledge the messages of a batch, after a check that the warehouse has all of them."""

from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.pubsub import Subscription
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.operators.prove import count_in_warehouse, warn
from windrow.landing.batch import Batch
from windrow.landing.files import Manifest
from windrow.landing.receipt import as_text
from windrow.model.errors import CountsDisagree
from windrow.store.staging import Figures


class AcknowledgeOperator(HarvestStep):
    """Counts the batch in the bucket and in the warehouse, and acknowledges it if the counts agree.

    :param subscription: the batch was pulled from it; ``to`` and ``prefix``: the batch was landed there.
    :param sql: a BigQuery query that returns one row of integers: ``loaded``, ``distinct``, ``merged``, ``total``.
    :returns: the figures of the receipt; they are also on the events of the outlets.
    """

    advice = (
        "The final table is merged. Messages that are not acknowledged are delivered again and merged by key. "
        "Clear this task."
    )
    template_fields = (*HarvestStep.template_fields, "subscription", "to", "prefix", "sql", "gcp_conn_id")
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012 - Airflow declares it so
    template_ext = (".sql",)

    def __init__(
        self,
        *,
        subscription: str,
        to: str,
        prefix: str,
        sql: str,
        gcp_conn_id: str = "google_cloud_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subscription = subscription
        self.to = to
        self.prefix = prefix
        self.sql = sql
        self.gcp_conn_id = gcp_conn_id
        self._figures: Figures = {}

    def execute(self, context: Context) -> Figures:
        """Count, compare, acknowledge.

        :raises CountsDisagree: the warehouse does not have what was landed; nothing is acknowledged.
        """
        run = self.run_of(context)
        store = open_store(self.to, self.gcp_conn_id)
        manifest = Manifest.read(store, self.prefix)
        counted = count_in_warehouse(self.gcp_conn_id, self.sql)
        figures: Figures = {
            "agrees": manifest.records == counted["loaded"] and counted["distinct"] == counted["merged"],
            "exported": manifest.records,
            "unreadable": manifest.unreadable,
            "loaded": counted["loaded"],
            "distinct": counted["distinct"],
            "merged": counted["merged"],
            "table": counted["total"],
        }
        with staging(self.mongo_conn_id, self.dataset) as state:
            if figures["agrees"]:
                batch = Batch(run, self.stream, store, self.prefix)
                figures["acknowledged"] = batch.acknowledge(Subscription(self.gcp_conn_id, self.subscription))
            found, warnings = warn(context, state, run, state.notes(run))
            figures |= found
            state.note(run, "receipt", figures)
            self._figures = figures
            state.note(run, "verdict", {"warnings": warnings})
        self.log.info("Receipt of %s, run %s:\n%s", run.dataset, run.run_id, as_text(figures))
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = figures
        if not figures["agrees"]:
            raise CountsDisagree(
                f"The counts of the batch of {run.dataset}, run {run.run_id!r}, do not agree: {manifest.records:,} "
                f"records landed, {counted['loaded']:,} loaded; {counted['distinct']:,} distinct, "
                f"{counted['merged']:,} merged.",
                advice="Clear 'load' with all tasks downstream. No data is lost: no message was acknowledged, so a "
                "later run receives them again.",
            )
        return figures

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what the task read and wrote. Airflow's OpenLineage provider calls this, if it is configured."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        return openlineage.lineage(
            [openlineage.files(self.to, self.prefix)],
            [openlineage.bigquery_table(self.gcp_conn_id, self.stream, self._figures.get("merged"))],
            openlineage.receipt_of(self.stream, task_instance.run_id, self._figures),
        )
