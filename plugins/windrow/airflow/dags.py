"""Makes a DAG for a declared stream: plan, cost, harvest, land, load, audit, merge, prove."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param, chain

from windrow.airflow.operators import params
from windrow.airflow.operators.bigquery import prepare_datasets
from windrow.airflow.operators.cost import CostOperator
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.airflow.operators.warehouse import load_and_merge
from windrow.declare import bigquery
from windrow.declare.stream import Declared

_BUCKET = "{{ var.value.windrow_bucket }}"


def harvest_dag(
    stream: type[Declared],
    *,
    conn_id: str,
    schedule: str | None = "0 0 * * *",
    zone: str = "UTC",
    defaults: Mapping[str, str] | None = None,
    description: str = "",
    tags: Sequence[str] = (),
    **options: Any,
) -> DAG:
    """Make the DAG that harvests a stream into BigQuery. Its id is the dataset of the stream.

    :param conn_id: the Airflow connection of the API.
    :param schedule: a cron expression in the time zone ``zone``; None for runs that are triggered only.
    :param defaults: JSON texts for params that a run leaves empty, by name: templates, such as of an Airflow variable.
    :param description: what the DAG does, for the Airflow UI.
    :param options: further arguments of the DAG.
    """
    stream.account = stream.account or conn_id
    dataset, source = stream.dataset, stream.dataset.partition("_")[0]
    landing = {"to": f"gs://{_BUCKET}", "prefix": f"{dataset.replace('_', '/', 1)}/run={{{{ run_id | slug }}}}"}
    watermark = Asset(dataset) if stream.time else None
    timetable = CronTriggerTimetable(schedule, timezone=zone, run_immediately=timedelta(0)) if schedule else None
    with DAG(
        dag_id=dataset,
        schedule=timetable,
        catchup=False,
        max_active_runs=1,
        tags=["harvest", source, *tags],
        doc_md=f"### {dataset}\n\n{description or (stream.__doc__ or '').strip()}\n\n{_TASKS}",
        params=_params(stream),
        **{"default_args": TASK_DEFAULTS, **TEMPLATES, **options},
    ) as made:
        plan = PlanOperator(task_id="plan", dataset=dataset, conn_id=conn_id, defaults=defaults, watermark=watermark)
        cost = CostOperator(task_id="cost", plans={dataset: conn_id})
        harvest = HarvestOperator(
            task_id="harvest", dataset=dataset, conn_id=conn_id, connections="{{ params.connections }}"
        )
        land = LandOperator(task_id="land", dataset=dataset, **landing)
        prove = ProveOperator(
            task_id="prove",
            dataset=dataset,
            **landing,
            sql=bigquery.prove(stream),
            watermark=watermark,
            outlets=[] if watermark else [Asset(dataset)],
            max_gaps="{{ params.max_gaps }}",
        )
        table = load_and_merge(stream, land, bucket=_BUCKET)
        chain(plan, cost, harvest, land, prepare_datasets(source), *table, prove)
    return made


def harvest_dags(stream: type[Declared], *, conn_ids: Sequence[str], **options: Any) -> list[DAG]:
    """Make a DAG for each of several accounts of an API. All write to one table.

    Each account has its own limits, watermark, plan and receipt, so a refused account stops no other. The id of its
    DAG and the name of its dataset end with the connection, like ``shop_orders__shop_north``.

    :param conn_ids: the Airflow connections of the accounts.
    :param options: further arguments of `harvest_dag`.
    :raises ValueError: see `Declared.of_accounts`.
    """
    return [harvest_dag(one, conn_id=one.account, **options) for one in stream.of_accounts(conn_ids)]


def _params(stream: type[Declared]) -> dict[str, Param]:
    found = {name: _time_param(name, text) for name, text in (stream.time.params if stream.time else {}).items()}
    if stream.each and stream.each.param:
        found[stream.each.param] = Param(
            None,
            type=["null", "array"],
            items={},
            title=stream.each.param.replace("_", " ").capitalize(),
            description=f"One call is made for each element ({{{stream.each.name}}} in the declaration).",
        )
    return found | {
        "plan_only": params.plan_only(),
        "connections": params.connections(),
        "max_gaps": params.max_gaps(),
    }


def _time_param(name: str, description: str) -> Param:
    title = name.replace("_", " ").capitalize()
    if name.endswith("_date"):
        return params.day(title, description)
    return Param(None, type=["null", "string"], format="date-time", title=title, description=description)


_TASKS = """| task | does | safe to clear |
|---|---|---|
| `plan` | writes the list of calls to MongoDB | yes; an existing plan is kept |
| `cost` | estimates calls, quota units and hours; the run ends here with `plan_only` | yes |
| `harvest` | makes the calls; stores each answer in MongoDB | yes; makes only missing calls |
| `land` | writes the answers as Parquet to the bucket, then the manifest | yes; reads the stored answers again |
| `prepare_*`, `load`, `audit` | load a landing table of this run, and check it before the merge | yes |
| `merge` | updates the final table | yes |
| `prove` | counts again in every system: planned = staged = exported = loaded = merged | yes |

Clear a task *with all tasks downstream*. If a task failed, the last line of its log says what to do."""
