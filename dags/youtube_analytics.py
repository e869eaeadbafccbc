"""### YouTube: daily figures of the videos of a channel

Reads the daily figures of each video of a channel. A scheduled run reads all days since the last run, and the week
before them again, because YouTube still updates their figures.

| task | does | safe to clear |
|---|---|---|
| `plan_videos`, `plan_days` | list the videos (five calls for 200); write both plans to MongoDB | yes; plans are kept |
| `cost` | estimates calls, quota units and hours; the run ends here with `plan_only` | yes |
| `videos.*` | titles and counts of the videos, 50 per call | yes |
| `days.harvest` | one report per video; with granularity `day`, one per video and day | yes; makes only missing calls |
| `days.more_workers` | with `workers` above 1: mapped tasks that make a part; else skipped | yes; the same |
| `days.land` | writes Parquet to the bucket, one folder per day, then the manifest | yes |
| `days.load`, `days.merge` | load and check a landing table of this run; merge it by video and day | yes |
| `check`, `coverage`, marts | no duplicate or late days; expected and returned days of each video; the marts | yes |
| `prove` | checks planned = staged = exported = loaded = merged; then moves the watermark | yes |

If a quota is used up, a task *defers* until midnight in California and continues automatically. Clear a task *with all
tasks downstream*. If a task failed, the last line of its log says what to do.
"""

from datetime import timedelta

from airflow.providers.google.cloud.operators.bigquery import BigQueryCheckOperator
from airflow.sdk import Asset, CronTriggerTimetable, Param, TaskGroup, chain, dag

from windrow.airflow.operators import params
from windrow.airflow.operators.bigquery import SqlFileOperator
from windrow.airflow.operators.cost import CostOperator
from windrow.airflow.operators.deadline import ends_within
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.groups import AFTER_WORKERS, workers
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.airflow.operators.warehouse import load_and_merge
from windrow.sources.youtube.streams import VideoDays, Videos

BUCKET = "{{ var.value.windrow_bucket }}"
LANDED_VIDEOS = {"to": f"gs://{BUCKET}", "prefix": "youtube/videos/run={{ run_id | slug }}"}
LANDED_DAYS = {"to": f"gs://{BUCKET}", "prefix": "youtube/video_days/run={{ run_id | slug }}"}
SQL = "bigquery/youtube"
DAYS = Asset(VideoDays.dataset)


@dag(
    # by then, two to three days back are there; without a start date a DAG that is switched on waits for its hour
    schedule=CronTriggerTimetable("0 6 * * *", timezone="America/Los_Angeles", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["harvest", "youtube", "bigquery"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    deadline=ends_within(timedelta(hours=30), what="Look at its tasks: a deferred one waits for the day's quota."),
    params={
        "start_date": params.day("First day", "Empty: a week before the last day that came, so that it is read again."),
        "end_date": params.day("Last day", "Empty: yesterday in California."),
        "channel": Param(None, type=["null", "string"], pattern="^UC[A-Za-z0-9_-]{22}$", title="Channel",
                         description="Channel id. Empty: the channel of the account that gave consent."),
        "granularity": Param("range", enum=["range", "day"], type="string", title="Granularity",
                             description="range: one report per video; day: one per video and day. Same rows."),
        **params.harvest(),
    },
    **TEMPLATES,
)  # fmt: skip
def youtube_analytics() -> None:  # noqa: D103 - the module's text is the DAG's
    plan_videos = PlanOperator(task_id="plan_videos", dataset=Videos.dataset, conn_id="youtube")
    plan_days = PlanOperator(task_id="plan_days", dataset=VideoDays.dataset, conn_id="youtube", watermark=DAYS)
    cost = CostOperator(task_id="cost", plans={Videos.dataset: "youtube", VideoDays.dataset: "youtube_analytics"})
    with TaskGroup("videos") as videos:
        harvest = HarvestOperator(
            task_id="harvest", dataset=Videos.dataset, conn_id="youtube", connections="{{ params.connections }}"
        )
        land = LandOperator(task_id="land", dataset=Videos.dataset, **LANDED_VIDEOS)
        prove = ProveOperator(
            task_id="prove", dataset=Videos.dataset, **LANDED_VIDEOS, sql=f"{SQL}/videos/prove.sql",
            max_gaps="{{ params.max_gaps }}", outlets=[Asset(Videos.dataset)],
        )  # fmt: skip
        chain(harvest, land, *load_and_merge(Videos, land, bucket=BUCKET, sql=f"{SQL}/videos"), prove)

    with TaskGroup("days") as days:
        harvest = workers(VideoDays.dataset, "youtube_analytics", cost)
        land = LandOperator(task_id="land", trigger_rule=AFTER_WORKERS, dataset=VideoDays.dataset, **LANDED_DAYS)
        chain(harvest, land, *load_and_merge(VideoDays, land, bucket=BUCKET, sql=f"{SQL}/video_days"))

    check = BigQueryCheckOperator(task_id="check", sql=f"{SQL}/video_days/check.sql", use_legacy_sql=False)
    coverage = SqlFileOperator(task_id="coverage", path=f"{SQL}/coverage/query.sql")
    marts = [
        SqlFileOperator(task_id=f"mart_{mart}", path=f"{SQL}/{mart}/query.sql")
        for mart in ("channel_days", "lifetime_curve", "top_movers")
    ]
    prove = ProveOperator(
        task_id="prove", dataset=VideoDays.dataset, **LANDED_DAYS, sql=f"{SQL}/video_days/prove.sql",
        watermark=DAYS, max_gaps="{{ params.max_gaps }}",
    )  # fmt: skip

    chain(plan_videos, plan_days, cost, [videos, days])
    chain([videos, days], check, coverage, marts, prove)


youtube_analytics()
