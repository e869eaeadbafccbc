"""### Spotify: the artist nobody knew, at once

A chat message asks for an artist. The queue `windrow-artists` of SQS says so with `{"artist": "..."}`, a person with

`airflow dags trigger spotify_new_artist --conf '{"artist": "Halden Pike"}'`

by name, id or address. DynamoDB comes first, as the chatbot waits; then S3 and Athena. What became of a request is
in the table `artist_requests`: found, no_tracks, unknown, ambiguous or refused. Its key there is a name in lower case,
or an id or an address as it is. What could not be answered is taken up by the next run, once an hour if none is asked
for.

| task | does | safe to clear |
|---|---|---|
| `find_artists` | records requests, deletes their messages, resolves artists; skips the rest without any | yes |
| `probe_capabilities` | finds out what this client id may ask now; a closed quota is done without | yes |
| `plan`, `harvest` | one call an artist, durable in MongoDB before it counts | yes; asks only for what is missing |
| `publish` | top tracks to DynamoDB, then the outcomes; says how long it took since the message | yes |
| `land` | the answers to Parquet in S3 | yes |
| `prepare_*`, `register`, `prove` | the landed files in Athena; then counts again | yes |

Two requests for one artist at once are one call. A message that is no request goes to the dead-letter queue.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, chain, dag

from windrow.airflow.operators.athena import ProveInAthenaOperator, sql
from windrow.airflow.operators.defaults import SQL_FOLDER, TASK_DEFAULTS
from windrow.airflow.operators.groups import harvest
from windrow.airflow.triggers.sqs import QueueTrigger
from windrow.model.plan import slug
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
    template_searchpath=SQL_FOLDER,
    user_defined_filters={"slug": slug},
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
