"""### Spotify: record the requests of the chatbot

A user of the chatbot requests an artist. The chatbot sends `{"artist": "..."}` to the SQS queue `windrow-artists`. This
DAG records each request in the DynamoDB table `artist_requests` when it arrives, whatever else is running, and makes no
call of the API. `spotify_new_artist` then answers the requests.

| task | does | safe to clear |
|---|---|---|
| `record_requests` | stores requests, then deletes their messages; skipped if there is no new request | yes |

A message that is not a request moves to the dead-letter queue `windrow-artists-dead`, with the reason.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, dag

from windrow.airflow.operators.defaults import TASK_DEFAULTS
from windrow.airflow.triggers.sqs import QueueTrigger
from windrow.sources.spotify.artist_requests import RecordRequestsOperator

QUEUE = "windrow-artists"
WAITING = Asset(
    "spotify_artist_requested", watchers=[AssetWatcher(name="artist_queue", trigger=QueueTrigger(sqs_queue=QUEUE))]
)
RECORDED = Asset("spotify_requests")


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("7 * * * *", timezone="UTC", run_immediately=timedelta(0)), assets=[WAITING]
    ),
    catchup=False,
    max_active_runs=2,
    tags=["spotify", "sqs", "dynamodb"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
)
def spotify_requests() -> None:  # noqa: D103 - the module's text is the DAG's
    RecordRequestsOperator(task_id="record_requests", queue_name=QUEUE, outlets=[RECORDED])


spotify_requests()
