"""### Housekeeping: delete what old runs have left in MongoDB

| task | does | safe to clear |
|---|---|---|
| `tidy` | deletes answers, plans and receipts of old runs from MongoDB; the bucket has an archive of each | yes |

A run keeps everything while its receipt does not agree, while something is in its quarantine, or if its archive is not
complete; the param `give_up` deletes it all the same. When `land` of a deleted run is cleared, its answers come back
from the archive. To see what would be deleted:

`airflow dags trigger housekeeping --conf '{"dry_run": true}'`
"""

from airflow.sdk import CronTriggerTimetable, Param, dag

from windrow.airflow.operators.defaults import TASK_DEFAULTS
from windrow.airflow.operators.housekeeping import HousekeepingOperator


@dag(
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["operations"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={
        "keep_answers_days": Param(
            30,
            type="integer",
            minimum=1,
            title="Days of answers",
            description="How long MongoDB keeps the answers of a run. Later they are only in its archive.",
        ),
        "keep_receipts_days": Param(
            730,
            type="integer",
            minimum=30,
            title="Days of receipts",
            description="How long MongoDB keeps the receipt of a run, which the page Harvest shows.",
        ),
        "give_up": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Give up runs",
            description="Old runs to delete although they failed or have a quarantine, each as `dataset|run id`. Their "
            "answers do not come back.",
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Only count what would be deleted."),
    },
)
def housekeeping() -> None:  # noqa: D103 - the module's text is the DAG's
    HousekeepingOperator(task_id="tidy")


housekeeping()
