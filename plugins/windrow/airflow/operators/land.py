"""land: write staged answers as Parquet files to a bucket."""

from typing import Any

from airflow.sdk import Context

from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.base import HarvestStep
from windrow.landing.files import MANIFEST, Manifest
from windrow.landing.housekeeping import LANDED
from windrow.landing.parts import Landing
from windrow.landing.receipt import Staged
from windrow.model.errors import NothingToHarvest


class LandOperator(HarvestStep):
    """Retries the quarantine, lands and archives all answers of the run, and writes the manifest last.

    If MongoDB no longer has answers that an earlier landing archived, they are first copied back from the archive.

    :param to: the bucket, like ``gs://bucket`` or ``s3://bucket``.
    :param prefix: the folder in the bucket, without leading and trailing slashes.
    :param gcp_conn_id: the Airflow connection of Google Cloud, for a ``gs://`` bucket.
    :param aws_conn_id: the Airflow connection of AWS, for an ``s3://`` bucket.
    :returns: XComs with these names: ``objects`` (names of the files to load), ``records``, ``manifest`` (its URL).
    """

    advice = "All answers are in MongoDB. Clear this task with all tasks downstream; it makes no calls."
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
        self._manifest: Manifest | None = None

    def execute(self, context: Context) -> dict[str, object]:
        """Land the answers.

        :raises NothingToHarvest: no answer of the run has a record, so there is nothing to load.
        """
        store = open_store(self.to, self.gcp_conn_id, self.aws_conn_id)
        with staging(self.mongo_conn_id, self.dataset) as state:
            landing = Landing(state, self.stream, store, self.prefix)
            plan = landing.plan(self.run_of(context))
            self._manifest = manifest = landing.land(plan)
            place = {"to": self.to, "prefix": self.prefix, "gcp": self.gcp_conn_id, "aws": self.aws_conn_id}
            state.note(plan.run, f"{LANDED} {self.task_id}", place)
            if not manifest.parts:
                staged = Staged.count(state, plan)
                raise NothingToHarvest(
                    f"None of {plan.planned:,} queries returned a record: {staged.gaps:,} gaps, "
                    f"{staged.quarantined:,} in quarantine. {'; '.join(staged.examples)}",
                    advice="Check the params of this run and the list of the API. Nothing was loaded.",
                )
        return {
            "objects": [part.name for part in manifest.parts],
            "records": manifest.records,
            "manifest": f"{self.to}/{self.prefix}/{MANIFEST}",
        }

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what the task read and wrote. Airflow's OpenLineage provider calls this, if it is configured."""
        from windrow.airflow import openlineage  # noqa: PLC0415 - the provider is optional

        return openlineage.lineage(
            [openlineage.answers(self.mongo_conn_id, self.stream)],
            [openlineage.files(self.to, self.prefix, self._manifest)],
        )
