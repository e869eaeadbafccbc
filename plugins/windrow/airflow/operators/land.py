"""land: turn staged answers into Parquet files in a bucket."""

from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.base import HarvestStep
from windrow.landing.parts import MANIFEST, Landing
from windrow.landing.receipt import Staged
from windrow.model.errors import NothingToHarvest


class LandOperator(HarvestStep):
    """Reads the quarantine again, lands all answers of the run, and writes the manifest last.

    :param to: the bucket, like ``gs://bucket`` or ``s3://bucket``.
    :param prefix: the folder in it, without slashes at its ends.
    :param gcp_conn_id: the Airflow connection of Google Cloud, for a bucket there.
    :param aws_conn_id: that of AWS, for a bucket there.
    :returns: XComs of these names: ``objects`` (names of the files to load), ``records``, ``manifest`` (its address).
    """

    advice = "All answers are in MongoDB. Clear this task with all tasks downstream; no call is made again."
    template_fields = (*HarvestStep.template_fields, "to", "prefix", "gcp_conn_id", "aws_conn_id")

    def __init__(
        self,
        *,
        to: str,
        prefix: str,
        gcp_conn_id: str = "google_cloud_default",
        aws_conn_id: str = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.to = to
        self.prefix = prefix
        self.gcp_conn_id = gcp_conn_id
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """Land.

        :raises NothingToHarvest: no answer of the run holds a record, so there is nothing to load.
        """
        store = open_store(self.to, self.gcp_conn_id, self.aws_conn_id)
        with staging(self.mongo_conn_id, self.dataset) as state:
            plan = state.plan(self.run_of(context))
            manifest = Landing(state, self.stream, store, self.prefix).land(plan)
            if not manifest.records:
                staged = Staged.count(state, plan)
                raise NothingToHarvest(
                    f"Of {plan.planned:,} queries none gave a record: gaps {staged.gaps:,}, in quarantine "
                    f"{staged.quarantined:,}. {'; '.join(staged.examples)}",
                    advice="Check what was asked for: the params of this run, the API's list. Nothing was loaded.",
                )
        return {
            "objects": [part.name for part in manifest.parts],
            "records": manifest.records,
            "manifest": f"{self.to}/{self.prefix}/{MANIFEST}",
        }
