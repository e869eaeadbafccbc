"""### Spotify: a new artist, immediately

A user of the chatbot requests an artist. The chatbot sends `{"artist": "..."}` to the SQS queue `windrow-artists`. A
trigger records each request in the DynamoDB table `artist_requests` when it arrives, whatever else is running, then
starts a run of this DAG. You can also start a run by hand, with a name, an id or a URL:

`airflow dags trigger spotify_new_artist --conf '{"artist": "Halden Pike"}'`

The run first writes to DynamoDB, because the chatbot waits for it; then to S3 and Athena. The table `artist_requests`
has the outcome of each request: found, no_tracks, unknown, ambiguous or refused. Its key is the name in lower case, or
the id or URL. A run never waits for a used-up quota: a request that cannot be answered now is handled by the next run,
at least once an hour. Without an open request, a run makes no call.

| task | does | safe to clear |
|---|---|---|
| `answer` | finds the artists of open requests; writes top tracks and outcomes to DynamoDB | yes; makes missing calls |
| `land` | writes the answers as Parquet to S3 | yes |
| `prepare_*`, `register`, `prove` | add the landed files to Athena; then count again | yes |

Several requests for one artist at the same time make one call. A message that is not a request moves to the dead-letter
queue `windrow-artists-dead`, with the reason.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, chain, dag

from windrow.airflow.operators.athena import ProveInAthenaOperator, databases, landed_table, register
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.land import LandOperator
from windrow.sources.spotify import params as spotify_params
from windrow.sources.spotify.artist_requests import AnswerOperator
from windrow.sources.spotify.recorder import RequestsTrigger

DATASET, BUCKET = "spotify_top_tracks", "{{ var.value.windrow_s3_bucket }}"
LANDED = {
    "dataset": DATASET,
    "to": f"s3://{BUCKET}",
    "prefix": "spotify/top_tracks/dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}",
}
QUEUE = "windrow-artists"
RECORDED = Asset(
    "spotify_requests", watchers=[AssetWatcher(name="artist_queue", trigger=RequestsTrigger(sqs_queue=QUEUE))]
)


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("17 * * * *", timezone="UTC", run_immediately=timedelta(0)), assets=[RECORDED]
    ),
    catchup=False,
    max_active_runs=1,  # requests that are recorded meanwhile are handled together by the next run
    tags=["harvest", "spotify", "sqs", "dynamodb"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={"artist": spotify_params.artist(), "client": spotify_params.spotify_client()},
    **TEMPLATES,
)
def spotify_new_artist() -> None:  # noqa: D103 - the module's text is the DAG's
    answer = AnswerOperator(task_id="answer", dataset=DATASET, conn_id="spotify", queue_name=QUEUE)
    land = LandOperator(task_id="land", **LANDED)
    prove = ProveInAthenaOperator(
        task_id="prove",
        sql="athena/spotify_landed/top_tracks/landed.sql",
        outlets=[Asset(DATASET)],
        **LANDED,
    )
    chain(
        answer,
        land,
        databases(DATASET, "prepare_databases"),
        landed_table(DATASET, BUCKET, "prepare_table"),
        register(DATASET, BUCKET),
        prove,
    )


spotify_new_artist()
