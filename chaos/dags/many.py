"""DAGs of `make chaos-many`, beside those of the project: on the same credentials, or with 50 mapped tasks."""

import json
import os
from datetime import datetime, timedelta

from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.sdk import CronTriggerTimetable, Param, chain, dag, task

from chaos.shared import MAPPED, OWN, SHARED, UNTIL
from windrow.airflow.operators import params
from windrow.airflow.operators.bigquery import LANDING, LoadOperator, SqlOperator, prepare_datasets
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.discover import DiscoverOperator
from windrow.airflow.operators.fetch import FetchOperator
from windrow.airflow.operators.groups import harvest
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.airflow.operators.warehouse import load_and_merge
from windrow.declare import bigquery
from windrow.sources.github.lists import LISTS
from windrow.sources.github.streams import Users
from windrow.sources.titanic.streams import Passengers

BUCKET = "{{ var.value.windrow_bucket }}"
_FIELDS = [{"name": name, "type": "INTEGER", "mode": "REQUIRED"} for name in ("id", "version")]
_LANDED = LANDING + ".many_{number}_{{{{ run_id | slug }}}}"
_MERGE = (
    f"MERGE many.versions AS final USING {_LANDED} AS new ON final.id = new.id "
    "WHEN MATCHED AND new.version > final.version THEN UPDATE SET version = new.version "
    "WHEN NOT MATCHED THEN INSERT (id, version) VALUES (new.id, new.version)"
)


@dag(
    schedule=CronTriggerTimetable("*/3 * * * *", timezone="UTC"),
    end_date=datetime.fromisoformat(os.environ.get(UNTIL, "2100-01-01T00:00+00:00")),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params=params.harvest(),
    **TEMPLATES,
)
def many_passengers() -> None:
    """Harvest what `titanic_passengers` harvests, with its connection and into its table, every three minutes."""
    landed = {"to": f"gs://{BUCKET}", "prefix": "many/passengers/run={{ run_id | slug }}"}
    steps = harvest("titanic", {"dataset": Passengers.dataset, **landed})
    prove = ProveOperator(task_id="prove", dataset=Passengers.dataset, sql=bigquery.prove(Passengers), **landed)
    to_table = load_and_merge(Passengers, steps.land, bucket=BUCKET)
    chain(steps.land, prepare_datasets("titanic"), *to_table, prove)


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params={
        "repositories": Param([], type="array"),
        "lists": Param(list(LISTS), type="array"),
        "api": Param("rest", type="string"),
        **params.harvest(workers=2),
    },
    **TEMPLATES,
)
def many_github() -> None:
    """Call what `github_users` calls, with the same pool of tokens; store nothing in the warehouse."""
    asking = {"conn_id": "github", "connections": "{{ params.connections }}", "execution_timeout": None}
    discover = DiscoverOperator(task_id="discover", dataset=Users.dataset, conn_id="github")
    fetch = FetchOperator.partial(
        task_id="fetch", dataset=Users.dataset, workers="{{ params.workers }}", discover="discover", **asking
    ).expand(worker=[0, 1])
    sweep = HarvestOperator(task_id="sweep", dataset=Users.dataset, **asking)
    chain([discover, fetch], sweep)


@dag(schedule=None, max_active_runs=1, default_args=TASK_DEFAULTS, **TEMPLATES)
def many_merges() -> None:
    """Load 50 files and merge them into one table, as many at a time as Airflow has workers."""

    @task
    def write_files(bucket: str) -> None:
        for number in range(MAPPED):
            ids = [*range(SHARED), *range(SHARED + number * OWN, SHARED + (number + 1) * OWN)]
            lines = "".join(json.dumps({"id": one, "version": number}) + "\n" for one in ids)
            GCSHook().upload(bucket, f"many/files/{number}.json", data=lines)

    load = LoadOperator.partial(
        task_id="load",
        bucket=BUCKET,
        source_format="NEWLINE_DELIMITED_JSON",
        schema_fields=_FIELDS,
        autodetect=False,
        write_disposition="WRITE_TRUNCATE",
    ).expand_kwargs([
        {
            "source_objects": [f"many/files/{number}.json"],
            "destination_project_dataset_table": _LANDED.format(number=number),
        }
        for number in range(MAPPED)
    ])
    create = SqlOperator(task_id="create", sql="CREATE TABLE IF NOT EXISTS many.versions (id INT64, version INT64)")
    merge = SqlOperator.partial(task_id="merge", retry_delay=timedelta(seconds=5)).expand(
        sql=[_MERGE.format(number=number) for number in range(MAPPED)]
    )
    chain(write_files(BUCKET), prepare_datasets("many"), create, load, merge)


many_passengers()
many_github()
many_merges()
