"""### Titanic passengers, by name

Lists the passengers of an API, makes one call a name, and keeps `titanic` in BigQuery up to date.

| task | does | safe to clear |
|---|---|---|
| `plan` | asks for the list, writes the plan to MongoDB, each name once | yes; the plan of a run stands |
| `harvest` | one call a name, each answer durable in MongoDB before it counts | yes; asks only for what is missing |
| `land` | answers to Parquet in the bucket, the manifest last | yes |
| `prepare_*`, `load`, `audit` | a landing table of this run alone, checked before anything is merged | yes |
| `merge`, `check`, `marts` | into the final table, newer answers only; then the mart | yes |
| `prove` | counts again in every system: planned = staged = exported = loaded = merged | yes |

Clear a task *with all tasks downstream*. When a task is red, the last line of its log says what to do.
"""

from datetime import timedelta

from airflow.providers.google.cloud.operators.bigquery import (
    BigQueryCheckOperator,
    BigQueryColumnCheckOperator,
    BigQueryCreateEmptyDatasetOperator,
)
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.sdk import Asset, CronTriggerTimetable, Param, chain, dag

from windrow.operators import params
from windrow.operators.bigquery import SqlFileOperator
from windrow.operators.defaults import SQL_FOLDER, TASK_DEFAULTS
from windrow.operators.harvest import HarvestOperator
from windrow.operators.land import LandOperator
from windrow.operators.plan import PlanOperator
from windrow.operators.prove import ProveOperator
from windrow.plan import slug
from windrow.sources.titanic import Passengers

DATASET = Passengers.dataset
BUCKET = "{{ var.value.windrow_bucket }}"
PREFIX = "titanic/passengers/dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}"
LANDED = {"to": f"gs://{BUCKET}", "prefix": PREFIX}
LOCATION = "{{ conn.google_cloud_default.extra_dejson.get('location', 'US') }}"
LANDING_TABLE = f"windrow_landing.{DATASET}_{{{{ run_id | slug }}}}"
SQL = "bigquery/titanic"


@dag(
    # without a start date, and with no past run wanted, a DAG that is switched on waits for its next day
    schedule=CronTriggerTimetable("0 0 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["harvest", "titanic", "bigquery"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={
        "names": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "minLength": 1},
            title="Names",
            description="Ask only for these passengers, one name a line. Empty: for all that the API lists.",
        ),
        "connections": params.connections(),
        "max_gaps": params.max_gaps(),
    },
    template_searchpath=SQL_FOLDER,
    user_defined_filters={"slug": slug},
)
def titanic_passengers() -> None:  # noqa: D103 - the module's text is the DAG's
    plan = PlanOperator(task_id="plan", dataset=DATASET, conn_id="titanic")
    harvest = HarvestOperator(
        task_id="harvest", dataset=DATASET, conn_id="titanic", connections="{{ params.connections }}"
    )
    land = LandOperator(task_id="land", dataset=DATASET, **LANDED)

    prepare_landing = BigQueryCreateEmptyDatasetOperator(
        task_id="prepare_landing",
        dataset_id="windrow_landing",
        # A landing table is of one run; a week is enough to look at it, and to clear a task of its run.
        dataset_reference={"location": LOCATION, "defaultTableExpirationMs": str(7 * 24 * 3600 * 1000)},
        if_exists="ignore",
    )
    prepare_dataset = BigQueryCreateEmptyDatasetOperator(
        task_id="prepare_dataset",
        dataset_id="titanic",
        dataset_reference={"location": LOCATION},
        if_exists="ignore",
    )
    prepare_table = SqlFileOperator(task_id="prepare_table", path=f"{SQL}/passengers/create.sql")
    load = GCSToBigQueryOperator(
        task_id="load",
        bucket=BUCKET,
        source_objects=land.output["objects"],
        source_format="PARQUET",
        destination_project_dataset_table=LANDING_TABLE,
        schema_fields=Passengers.contract.bigquery_fields,
        autodetect=False,
        write_disposition="WRITE_TRUNCATE",
    )
    audit = BigQueryCheckOperator(task_id="audit", sql=f"{SQL}/passengers/audit.sql", use_legacy_sql=False)
    merge = SqlFileOperator(task_id="merge", path=f"{SQL}/passengers/merge.sql")
    check = BigQueryColumnCheckOperator(
        task_id="check",
        table="titanic.passengers",
        column_mapping={"passenger_id": {"unique_check": {"equal_to": 0}, "null_check": {"equal_to": 0}}},
        use_legacy_sql=False,
    )
    marts = SqlFileOperator(task_id="marts", path=f"{SQL}/survival/query.sql")
    prove = ProveOperator(
        task_id="prove",
        dataset=DATASET,
        **LANDED,
        sql=f"{SQL}/passengers/prove.sql",
        max_gaps="{{ params.max_gaps }}",
        outlets=[Asset(DATASET)],
    )
    chain(plan, harvest, land, [prepare_landing, prepare_dataset], prepare_table, load)
    chain(load, audit, merge, check, marts, prove)


titanic_passengers()
