"""### Spotify: a new artist, immediately

A user of the chatbot requests an artist. The chatbot sends `{"artist": "..."}` to the SQS queue `windrow-artists`. You
can also start a run by hand, with a name, an id or a URL:

`airflow dags trigger spotify_new_artist --conf '{"artist": "Halden Pike"}'`

The run first writes to DynamoDB, because the chatbot waits for it; then to S3 and Athena. The table `artist_requests`
has the outcome of each request: found, no_tracks, unknown, ambiguous or refused. Its key is the name in lower case, or
the id or URL. Open requests are handled by the next run, at least once an hour.

| task | does | safe to clear |
|---|---|---|
| `find_artists` | stores requests, deletes their messages, finds artists; skips the rest without any | yes |
| `probe_capabilities` | finds the endpoints this client id may call now; skips a used-up quota | yes |
| `plan`, `harvest` | one call per artist; stores each answer in MongoDB | yes; makes only missing calls |
| `publish` | writes top tracks and outcomes to DynamoDB; reports the time since the message | yes |
| `land` | writes the answers as Parquet to S3 | yes |
| `prepare_*`, `register`, `prove` | add the landed files to Athena; then count again | yes |

Several requests for one artist at the same time make one call. Invalid messages go to the dead-letter queue.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, chain, dag

from windrow.airflow.operators.athena import ProveInAthenaOperator, sql
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.groups import harvest
from windrow.airflow.triggers.sqs import QueueTrigger
from windrow.sources.spotify import params as spotify_params
from windrow.sources.spotify.artist_requests import FindArtistsOperator, PublishNewOperator
from windrow.sources.spotify.operators import CapabilitiesOperator

DATASET = "spotify_top_tracks"
QUEUE = "windrow-artists"
LANDED = {
    "dataset": DATASET,
    "to": "s3://{{ var.value.windrow_s3_bucket }}",
    "prefix": "spotify/top_tracks/dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}",
}
REQUESTED = Asset(
    "spotify_artist_requested", watchers=[AssetWatcher(name="artist_queue", trigger=QueueTrigger(sqs_queue=QUEUE))]
)


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("17 * * * *", timezone="UTC", run_immediately=timedelta(0)), assets=[REQUESTED]
    ),
    catchup=False,
    max_active_runs=1,  # requests that come meanwhile are taken up together by the next run
    tags=["harvest", "spotify", "sqs", "dynamodb"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={"artist": spotify_params.artist(), "client": spotify_params.spotify_client()},
    **TEMPLATES,
)
def spotify_new_artist() -> None:  # noqa: D103 - the module's text is the DAG's
    find = FindArtistsOperator(task_id="find_artists", dataset=DATASET, conn_id="spotify", queue_name=QUEUE)
    capabilities = CapabilitiesOperator(
        task_id="probe_capabilities", dataset=DATASET, conn_id="spotify", can_wait=False
    )
    given = {"artists": find.output["artists"], "capabilities": capabilities.output["capabilities"]}
    fetch = harvest("spotify", LANDED, given=given)
    publish = PublishNewOperator(task_id="publish", dataset=DATASET, found=find.output)
    prove = ProveInAthenaOperator(
        task_id="prove",
        path="athena/spotify_landed/top_tracks/landed.sql",
        outlets=[Asset(DATASET)],
        **LANDED,
    )
    chain([find, capabilities], fetch.plan)
    chain(fetch.harvest, publish, fetch.land)
    chain(
        fetch.land,
        sql("spotify_landed/database", "prepare_database"),
        sql("spotify_landed/top_tracks/create", "prepare_table"),
        sql("spotify_landed/top_tracks/register"),
        prove,
    )


spotify_new_artist()
