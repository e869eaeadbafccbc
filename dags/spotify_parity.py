"""### Spotify: compare one metric in two warehouses

Loads the artists that a run of `spotify_artists` landed in S3 into BigQuery, computes one metric in Athena and in
BigQuery, and fails if the results differ. It runs after each daily run, or by hand for a landing:

`airflow dags trigger spotify_parity --conf '{"landed": "s3://my-bucket/spotify/artists/dt=2026-01-02/run=..."}'`

| task | does | safe to clear |
|---|---|---|
| `locate_landing` | finds the landing | yes |
| `copy` | copies the files from S3 to Cloud Storage | yes |
| `prepare_*`, `load` | load a landing table of this run in BigQuery | yes |
| `compare_metrics` | computes the metric in both warehouses, and compares row by row | yes |
"""

from airflow.providers.google.cloud.transfers.s3_to_gcs import S3ToGCSOperator
from airflow.sdk import Asset, chain, dag

from windrow.airflow.operators.bigquery import LANDING, LoadOperator, prepare_datasets
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.sources.spotify import params as spotify_params
from windrow.sources.spotify.parity import LocateLandingOperator, MetricsAgreeOperator
from windrow.sources.spotify.streams import Artists

BUCKET = "{{ var.value.windrow_bucket }}"
COPIED = "spotify/parity/{{ run_id | slug }}"


@dag(
    schedule=[Asset(Artists.dataset)],
    catchup=False,
    max_active_runs=1,
    tags=["spotify", "athena", "bigquery"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={"landed": spotify_params.landed()},
    **TEMPLATES,
)
def spotify_parity() -> None:  # noqa: D103 - the module's text is the DAG's
    locate = LocateLandingOperator(task_id="locate_landing")
    copy = S3ToGCSOperator(
        task_id="copy",
        bucket=locate.output["bucket"],
        prefix=locate.output["prefix"],
        dest_gcs=f"gs://{BUCKET}/{COPIED}/",
        replace=True,
        return_gcs_uris=True,
    )
    load = LoadOperator(
        task_id="load",
        bucket=BUCKET,
        # The copy keeps the whole name of a file. The name leaves out the archive of the answers.
        source_objects=[f"{COPIED}/{locate.output['prefix']}/part-*.parquet"],
        source_format="PARQUET",
        destination_project_dataset_table=f"{{{{ prefix() }}}}{LANDING}.{Artists.dataset}_{{{{ run_id | slug }}}}",
        schema_fields=Artists.contract.bigquery_fields,
        autodetect=False,
        write_disposition="WRITE_TRUNCATE",
    )
    agree = MetricsAgreeOperator(
        task_id="compare_metrics",
        athena="athena/spotify_landed/artists/metric.sql",
        bigquery="bigquery/spotify/artists/metric.sql",
    )
    chain(locate, copy, prepare_datasets("spotify"), load)
    load >> agree


spotify_parity()
