"""housekeeping: delete from MongoDB what old runs have left there."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from airflow.sdk import BaseOperator, Context

from windrow.airflow.hooks.staging import staging_and_status
from windrow.airflow.hooks.stores import open_store
from windrow.landing.files import ObjectStore
from windrow.landing.housekeeping import Housekeeping


class HousekeepingOperator(BaseOperator):
    """Deletes answers, plans and receipts that are older than the params ``keep_answers_days``, ``keep_receipts_days``.

    Answers are deleted only of runs whose receipt agrees and whose archive in the bucket is complete, and of those that
    the param ``give_up`` names.

    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of harvests.
    :returns: how many runs, documents and receipts were deleted, and why old runs were kept.
    """

    advice = "What was deleted is in the archives of its runs. Clear this task: it deletes the rest."
    template_fields = ("mongo_conn_id",)

    def __init__(self, *, mongo_conn_id: str = "mongo_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """Delete what is old."""
        params, now = context["params"], datetime.now(UTC)
        before = {
            name: (now - timedelta(days=params[f"keep_{name}_days"])).isoformat(timespec="milliseconds")
            for name in ("answers", "receipts")
        }
        open_once = cache(open_store)  # many runs have landed in one bucket

        def open_place(place: Mapping[str, str]) -> ObjectStore:
            return open_once(place["to"], place["gcp"], place["aws"])

        with staging_and_status(self.mongo_conn_id) as (state, seen):
            keeping = Housekeeping(state, seen, open_place, give_up=params["give_up"], dry_run=params["dry_run"])
            tidied = keeping.tidy(answers_before=before["answers"], receipts_before=before["receipts"])
        self.log.info("%s%s", "Only counted. " if params["dry_run"] else "", tidied)
        figures = {name: getattr(tidied, name) for name in ("runs", "documents", "listings", "receipts")}
        return {**figures, "kept": dict(tidied.kept)}
