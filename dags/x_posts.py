"""### Posts of X with a keyword, from Pub/Sub

A separate process, the publisher, reads the stream of X and publishes each post to Pub/Sub. This DAG pulls the posts in
batches, and updates the dataset `x` in BigQuery. It runs when there are messages, and at least every hour.

| task | does | safe to clear |
|---|---|---|
| `pull` | writes messages, up to a maximum number or time, as Parquet to the bucket; skipped if there are none | yes |
| `load` | prepares the tables; loads a landing table of this run, and checks it before the merge | yes |
| `merge` | keeps one row per post: its last version; a deleted post stays deleted | yes |
| `acknowledge` | checks landed = loaded and distinct = merged, then acknowledges the messages | yes |
| `mart_*` | posts by minute and hour, hashtags, accounts: the data of the page Posts under Browse | yes |

A message that is not acknowledged is delivered again, so a crash loses no data; duplicates are merged by id. After a
kill that takes two minutes at most. Runs on a real cloud cost money, so this DAG is paused at first.
"""

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, Param, chain, dag

from windrow.airflow.operators.acknowledge import AcknowledgeOperator
from windrow.airflow.operators.bigquery import SqlFileOperator
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.pull import PullOperator
from windrow.airflow.operators.warehouse import load_and_merge
from windrow.airflow.triggers.pubsub import MessagesWaiting
from windrow.sources.x.streams import Posts

DATASET = Posts.dataset
BUCKET = "{{ var.value.windrow_bucket }}"
SUBSCRIPTION = "x-posts"
PREFIX = "x/posts/dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}"
BATCH = {"dataset": DATASET, "subscription": SUBSCRIPTION, "to": f"gs://{BUCKET}", "prefix": PREFIX}
SQL = "bigquery/x"
WAITING = Asset(
    "x_posts_waiting", watchers=[AssetWatcher(name="x_posts", trigger=MessagesWaiting(subscription=SUBSCRIPTION))]
)


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("23 * * * *", timezone="UTC"), assets=[WAITING]),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["stream", "x", "bigquery"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={
        "max_messages": Param(
            50_000, type="integer", minimum=1, maximum=500_000, title="Messages",
            description="Maximum number of messages in this batch.",
        ),
        "max_seconds": Param(
            45, type="integer", minimum=1, maximum=300, title="Seconds",
            description="Maximum time to collect messages. After a kill, Pub/Sub delivers them a minute later.",
        ),
    },
    **TEMPLATES,
)  # fmt: skip
def x_posts() -> None:  # noqa: D103 - the module's text is the DAG's
    pull = PullOperator(
        task_id="pull", **BATCH, max_messages="{{ params.max_messages }}", max_seconds="{{ params.max_seconds }}"
    )
    acknowledge = AcknowledgeOperator(
        task_id="acknowledge", **BATCH, sql=f"{SQL}/posts/prove.sql", outlets=[Asset(DATASET)]
    )
    marts = [
        SqlFileOperator(task_id=f"mart_{mart}", path=f"{SQL}/{mart}/query.sql")
        for mart in ("by_minute", "by_hour", "by_rule", "hashtags", "accounts")
    ]
    merged = load_and_merge(Posts, pull, bucket=BUCKET, sql=f"{SQL}/posts")
    chain(pull, *merged, acknowledge, marts)


x_posts()
