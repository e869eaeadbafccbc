"""### Spotify: known artists, every day

Harvests the artists of the variable `windrow_spotify_artists` and those requested from the chatbot: their albums,
top tracks and audio features. Updates the database `spotify` in Athena and the chatbot's table in DynamoDB.

| task | does | safe to clear |
|---|---|---|
| `resolve_artists`, `probe_capabilities`, `choose_streams` | find artists and streams to call; skip the others | yes |
| `require_all_names` | fails if a name is unknown or ambiguous; the others continue | yes, with `resolve_artists` |
| `<stream>.plan`, `.cost` | write the plan; estimate its cost; the stream ends here with `plan_only` | yes |
| `<stream>.harvest`, `.land` | one harvest per stream, in parallel; waits (deferred) for a quota | yes |
| `<stream>.more_workers` | with `workers` above 1: mapped tasks that make a part of the calls; else skipped | yes |
| `prepare.*`, `<stream>.register` | create tables; add the landed files of this run as a partition | yes |
| `crawl` | only with the param `crawl`: runs a Glue crawler on the same files | yes |
| `features_or_not`, `top_tracks_table.*` | build, check and publish the table, with or without features | yes |
| `artist_days` | popularity and followers of each artist for this day | yes |
| `export`, `publish` | write top tracks to DynamoDB; never replace newer ones | yes |
| `prove_<stream>` | counts again: planned = staged = exported = loaded = merged | yes |

A stream that fails or waits only delays the tasks that need it. Clear a task *with all tasks downstream*.
"""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, CronTriggerTimetable, TaskGroup, TriggerRule, chain, dag, task

from windrow.airflow.operators import athena, params
from windrow.airflow.operators.athena import AthenaCheckOperator, CrawlOperator, ProveInAthenaOperator, sql
from windrow.airflow.operators.builds import RewriteOperator, SwapOperator, ThrowAwayBuildsOperator
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.groups import harvest
from windrow.sources.spotify import params as spotify_params
from windrow.sources.spotify.known_artists import KnownArtistsOperator, RequireAllNamesOperator
from windrow.sources.spotify.operators import CapabilitiesOperator, PublishOperator

STREAMS = ("artists", "albums", "top_tracks", "audio_features")
BUCKET, DAY, SLUG = "{{ var.value.windrow_s3_bucket }}", "dt={{ dag_run.run_after | ds }}", "{{ run_id | slug }}"
MARTS, TABLE = f"s3://{BUCKET}/marts/spotify", "{{ prefix() }}spotify.top_tracks"


def landing(name: str) -> dict[str, str]:
    """Return the landing of a stream."""
    return {"dataset": f"spotify_{name}", "to": f"s3://{BUCKET}", "prefix": f"spotify/{name}/{DAY}/run={SLUG}"}


@dag(
    # without a start date, and with no past run wanted, a DAG that is switched on waits for its next day
    schedule=CronTriggerTimetable("0 4 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["harvest", "spotify", "athena", "dynamodb"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={
        "artists": spotify_params.artists(),
        "client": spotify_params.spotify_client(),
        "crawl": params.crawl(),
        **params.harvest(),
    },
    **TEMPLATES,
)
def spotify_artists() -> None:  # noqa: D103 - the module's text is the DAG's
    of = {"dataset": "spotify_artists", "conn_id": "spotify"}
    artists = KnownArtistsOperator(task_id="resolve_artists", variable="windrow_spotify_artists", **of)
    RequireAllNamesOperator(task_id="require_all_names", unmet=artists.output["unmet"])
    capabilities = CapabilitiesOperator(task_id="probe_capabilities", **of)
    given = {"artists": artists.output["artists"], "capabilities": capabilities.output["capabilities"]}
    with TaskGroup("prepare") as prepare:
        tables = [athena.landed_table(f"spotify_{name}", BUCKET, f"landed_{name}") for name in STREAMS]
        tables += [sql(f"spotify/{name}/create", name) for name in ("top_tracks", "artist_days")]
        chain(athena.databases("spotify_artists", "databases"), tables)

    @task.branch
    def choose_streams(datasets: list[str]) -> list[str]:  # only the last: a chosen task's other followers run too
        return ["audio_features.plan"] if "spotify_audio_features" in datasets else []

    harvests, registered = {}, {}
    for name in STREAMS:
        with TaskGroup(name):
            harvests[name] = harvest("spotify", landing(name), given=given)
            registered[name] = athena.register(f"spotify_{name}", BUCKET)
            [harvests[name].land, prepare] >> registered[name]
    [harvests["top_tracks"].harvest, choose_streams(capabilities.output["datasets"])] >> harvests["audio_features"].plan
    list(registered.values()) >> CrawlOperator(
        task_id="crawl",
        database="{{ prefix() }}spotify_crawled",
        paths=[f"s3://{BUCKET}/spotify/{name}/" for name in STREAMS],
        wanted="{{ params.crawl }}",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    features_or_not = EmptyOperator(task_id="features_or_not", trigger_rule=TriggerRule.ALL_DONE)
    with TaskGroup("top_tracks_table") as top_tracks_table:
        folder = f"{MARTS}/top_tracks/run={SLUG}/"
        chain(
            sql("spotify/top_tracks/build", kind=RewriteOperator, folder=folder, makes=f"{TABLE}_{SLUG}"),
            sql("spotify/top_tracks/check", kind=AthenaCheckOperator),
            sql("spotify/top_tracks/swap", kind=SwapOperator, folder=folder),
            ThrowAwayBuildsOperator(task_id="throw_away", table=TABLE),
        )
    registered["audio_features"] >> features_or_not
    [registered["artists"], registered["top_tracks"], features_or_not] >> top_tracks_table
    days = sql("spotify/artist_days/insert", "artist_days", kind=RewriteOperator, folder=f"{MARTS}/artist_days/{DAY}/")
    registered["artists"] >> days
    export = sql("spotify/top_tracks/export")
    publish = PublishOperator(task_id="publish", dataset="spotify_top_tracks", query_id=export.output)
    chain(top_tracks_table, export, publish)
    settled = registered | {"artists": days, "top_tracks": publish}
    for name in STREAMS:
        settled[name] >> ProveInAthenaOperator(
            task_id=f"prove_{name}",
            sql="" if name == "audio_features" else f"athena/spotify_landed/{name}/prove.sql",
            max_gaps="{{ params.max_gaps }}",
            outlets=[Asset(f"spotify_{name}")],
            **landing(name),
        )


spotify_artists()
