"""### Titanic passengers, by name

Lists the passengers of an API, makes one call per name, and updates the dataset `titanic` in BigQuery.

| task | does | safe to clear |
|---|---|---|
| `plan` | gets the list, writes the plan to MongoDB, each name once | yes; an existing plan is kept |
| `cost` | estimates calls and hours; the run ends here with `plan_only` | yes |
| `harvest` | makes one call per name; stores each answer in MongoDB | yes; makes only missing calls |
| `more_workers` | with `workers` above 1: mapped tasks that make a part of the calls; else skipped | yes; the same |
| `enqueue`, `drain` | instead of `harvest`, with `dispatch` = `cloud_tasks`: a queue makes the calls | yes; the same |
| `land` | writes the answers as Parquet to the bucket, then the manifest | yes |
| `load` | prepares the tables; loads a landing table of this run, and checks it before the merge | yes |
| `merge`, `check`, `marts` | update the final table with newer answers; check it; build the mart | yes |
| `prove` | counts again in every system: planned = staged = exported = loaded = merged | yes |

Clear a task *with all tasks downstream*. If a task failed, the last line of its log says what to do.
"""

from datetime import timedelta

from airflow.providers.google.cloud.operators.bigquery import BigQueryColumnCheckOperator
from airflow.sdk import Asset, CronTriggerTimetable, Param, chain, dag

from windrow.airflow.operators import params
from windrow.airflow.operators.bigquery import SqlFileOperator
from windrow.airflow.operators.cost import CostOperator
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.dispatch import DispatchOperator
from windrow.airflow.operators.enqueue import EnqueueOperator
from windrow.airflow.operators.groups import AFTER_WORKERS, workers
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.airflow.operators.warehouse import load_and_merge
from windrow.airflow.sensors.drain import DrainSensor
from windrow.declare import bigquery
from windrow.sources.titanic.streams import Passengers

DATASET = Passengers.dataset
BUCKET = "{{ var.value.windrow_bucket }}"
PREFIX = "titanic/passengers/dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}"
LANDED = {"to": f"gs://{BUCKET}", "prefix": PREFIX}
QUEUE = {"queue_id": "titanic-passengers", "location": "{{ var.value.get('windrow_tasks_location', 'us-central1') }}"}


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
            description="Names of passengers, one per line. Empty: all passengers in the list of the API.",
        ),
        "dispatch": params.dispatch(),
        **params.harvest(),
    },
    **TEMPLATES,
)
def titanic_passengers() -> None:  # noqa: D103 - the module's text is the DAG's
    plan = PlanOperator(task_id="plan", dataset=DATASET, conn_id="titanic")
    cost = CostOperator(task_id="cost", plans={DATASET: "titanic"})
    dispatch = DispatchOperator(
        task_id="dispatch", branches={"airflow": ["harvest", "more_workers"], "cloud_tasks": "enqueue"}
    )
    harvest = workers(DATASET, "titanic", cost)
    enqueue = EnqueueOperator(task_id="enqueue", dataset=DATASET, target_conn_id="fetch_passenger", **QUEUE)
    drain = DrainSensor(task_id="drain", dataset=DATASET, deferrable=True, timeout=timedelta(hours=12), **QUEUE)
    land = LandOperator(task_id="land", dataset=DATASET, trigger_rule=AFTER_WORKERS, **LANDED)

    to_table = load_and_merge(Passengers, land, bucket=BUCKET)
    check = BigQueryColumnCheckOperator(
        task_id="check",
        table="{{ prefix() }}titanic.passengers",
        column_mapping={"passenger_id": {"unique_check": {"equal_to": 0}, "null_check": {"equal_to": 0}}},
        use_legacy_sql=False,
    )
    marts = SqlFileOperator(task_id="marts", path="bigquery/titanic/survival/query.sql")
    prove = ProveOperator(
        task_id="prove",
        dataset=DATASET,
        **LANDED,
        sql=bigquery.prove(Passengers),
        max_gaps="{{ params.max_gaps }}",
        outlets=[Asset(DATASET)],
    )
    chain(plan, cost, [*harvest, enqueue])
    dispatch >> [*harvest, enqueue]  # it needs no plan, so nothing waits for it
    chain([*harvest, enqueue >> drain], land, *to_table, check, marts, prove)


titanic_passengers()
