"""### Spotify: known artists, every day

Harvests the artists of the Airflow variable `windrow_spotify_artists`, and those that the chatbot was asked for:
who they are, their albums and top tracks, and the audio features of these. Keeps `spotify` in Athena and the
chatbot's table in DynamoDB up to date.

| task | does | safe to clear |
|---|---|---|
| `known`, `may` | lists the artists; finds out what this client id may ask | yes |
| `choose` | leaves out what the client id is not told (choice) | yes |
| `<stream>.plan`, `.harvest`, `.land` | a harvest a stream, in parallel; a closed quota defers (wait) | yes |
| `prepare.*`, `<stream>.register` | tables; this run's partition of the landed files | yes |
| `crawl` | with the param `crawl`: a Glue crawler finds the same by itself | yes |
| `top_tracks_table.*` | the new top tracks beside the old; checked, then put in their place | yes |
| `artist_days_table.*` | the day's popularity and followers of each artist | yes |
| `export`, `publish` | top tracks to DynamoDB, newer ones only | yes |
| `prove_<stream>` | counts again: planned = staged = exported = loaded = merged | yes |

Clear a task *with all tasks downstream*. What was Step Functions before is in docs/step-functions.md.
"""

from datetime import timedelta

from airflow.providers.amazon.aws.operators.s3 import S3DeleteObjectsOperator
from airflow.sdk import Asset, CronTriggerTimetable, TaskGroup, TriggerRule, chain, dag, task

from windrow.operators import params
from windrow.operators.athena import AthenaCheckOperator, CrawlOperator, ProveInAthenaOperator, sql
from windrow.operators.defaults import SQL_FOLDER, TASK_DEFAULTS
from windrow.operators.groups import harvest
from windrow.operators.spotify import CapabilitiesOperator, KnownArtistsOperator, PublishOperator
from windrow.plan import slug

STREAMS = ("artists", "albums", "top_tracks", "audio_features")
BUCKET = "{{ var.value.windrow_s3_bucket }}"
DAY, RUN = "dt={{ dag_run.run_after | ds }}", "run={{ run_id | slug }}"
JOIN = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS


def landing(name: str) -> dict[str, str]:
    """Say where a stream lands."""
    return {"dataset": f"spotify_{name}", "to": f"s3://{BUCKET}", "prefix": f"spotify/{name}/{DAY}/{RUN}"}


@dag(
    # without a start date, and with no past run wanted, a DAG that is switched on waits for its next day
    schedule=CronTriggerTimetable("0 4 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["harvest", "spotify", "athena", "dynamodb"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={
        "artists": params.artists(),
        "client": params.spotify_client(),
        "crawl": params.crawl(),
        "connections": params.connections(),
        "max_gaps": params.max_gaps(),
    },
    template_searchpath=SQL_FOLDER,
    user_defined_filters={"slug": slug},
)
def spotify_artists() -> None:  # noqa: D103 - the module's text is the DAG's
    known = KnownArtistsOperator(task_id="known", dataset="spotify_artists", variable="windrow_spotify_artists")
    may = CapabilitiesOperator(task_id="may", dataset="spotify_artists", conn_id="spotify")
    given = {"artists": known.output, "capabilities": may.output["capabilities"]}
    with TaskGroup("prepare") as prepare:
        tables = [sql(f"spotify_landed/{name}/create", f"landed_{name}") for name in STREAMS]
        tables += [sql(f"spotify/{name}/create", name) for name in ("top_tracks", "artist_days")]
        chain(sql("spotify_landed/database", "spotify_landed"), sql("spotify/database", "spotify"), tables)

    @task.branch
    def choose(datasets: list[str]) -> list[str]:  # only the last: what also follows from a chosen task is not skipped
        return ["audio_features.plan"] if "spotify_audio_features" in datasets else []

    harvests, registered = {}, {}
    for name in STREAMS:
        with TaskGroup(name):
            harvests[name] = harvest("spotify", landing(name), given=given, connections="{{ params.connections }}")
            registered[name] = sql(f"spotify_landed/{name}/register")
            chain(known, harvests[name].plan)
            [harvests[name].land, prepare] >> registered[name]
    # the features are those of these tracks
    chain([harvests["top_tracks"].harvest, choose(may.output["datasets"])], harvests["audio_features"].plan)

    crawl = CrawlOperator(
        task_id="crawl",
        database="spotify_crawled",
        paths=[f"s3://{BUCKET}/spotify/{name}/" for name in STREAMS],
        wanted="{{ params.crawl }}",
        trigger_rule=JOIN,
    )
    with TaskGroup("top_tracks_table") as top_tracks_table:
        built = {"bucket": BUCKET, "prefix": f"marts/spotify/top_tracks/{RUN}/"}
        clean = S3DeleteObjectsOperator(task_id="clean", trigger_rule=JOIN, **built)
        forget = sql("spotify/top_tracks/forget", trigger_rule=JOIN)
        check = AthenaCheckOperator(task_id="check", path="athena/spotify/top_tracks/check.sql")
        chain(clean, forget, sql("spotify/top_tracks/build"), check, sql("spotify/top_tracks/swap"))
    with TaskGroup("artist_days_table") as artist_days_table:
        day = {"bucket": BUCKET, "prefix": f"marts/spotify/artist_days/{DAY}/"}
        S3DeleteObjectsOperator(task_id="clean", trigger_rule=JOIN, **day) >> sql("spotify/artist_days/insert")
    for following in (crawl, top_tracks_table, artist_days_table):
        list(registered.values()) >> following
    export = sql("spotify/top_tracks/export")
    publish = PublishOperator(task_id="publish", dataset="spotify_top_tracks", query_id=export.output)
    chain(top_tracks_table, export, publish)
    settled = registered | {"artists": artist_days_table, "top_tracks": publish}
    for name in STREAMS:
        settled[name] >> ProveInAthenaOperator(
            task_id=f"prove_{name}",
            path=f"athena/spotify_landed/{name}/prove.sql",
            max_gaps="{{ params.max_gaps }}",
            outlets=[Asset(f"spotify_{name}")],
            **landing(name),
        )


spotify_artists()
