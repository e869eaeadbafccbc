"""Makes a DAG for a declared stream: plan, cost, harvest, land, load, audit, merge, prove."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param, chain
from croniter import croniter

from windrow.airflow.operators import params
from windrow.airflow.operators.approve import ApproveOperator
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
from windrow.model.cost import Budget

_TIMES = 100
"""Times of a schedule that are compared with the wait for an approval."""
_BUCKET = "{{ var.value.windrow_bucket }}"


def harvest_dag(
    stream: type[Declared],
    *,
    conn_id: str,
    schedule: str | None = "0 0 * * *",
    zone: str = "UTC",
    defaults: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    description: str = "",
    tags: Sequence[str] = (),
    **options: Any,
) -> DAG:
    """Make the DAG that harvests a stream into BigQuery. Its id is the dataset of the stream.

    :param conn_id: the Airflow connection of the API.
    :param schedule: a cron expression in the time zone ``zone``; None for runs that are triggered only.
    :param defaults: JSON texts for params that a run leaves empty, by name: templates, such as of an Airflow variable.
    :param budget: what a run may cost without the approval of a person; None for no limit.
    :param description: what the DAG does, for the Airflow UI.
    :param options: further arguments of the DAG.
    :raises ValueError: a run may wait for an approval until after the next run.
    """
    stream.account = stream.account or conn_id
    if budget and schedule:
        _check_wait(budget, schedule, zone)
    dataset, source = stream.dataset, stream.dataset.partition("_")[0]
    landing = {"to": f"gs://{_BUCKET}", "prefix": f"{dataset.replace('_', '/', 1)}/run={{{{ run_id | slug }}}}"}
    watermark = Asset(dataset) if stream.time else None
    timetable = CronTriggerTimetable(schedule, timezone=zone, run_immediately=timedelta(0)) if schedule else None
    with DAG(
        dag_id=dataset,
        schedule=timetable,
        catchup=False,
        max_active_runs=2 if budget else 1,  # a run that waits for an approval does not stop the next one
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
        approve = [ApproveOperator(task_id="approve", budget=budget, costs=cost.output)] if budget else []
        chain(plan, cost, *approve, harvest, land, prepare_datasets(source), *table, prove)
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


def _check_wait(budget: Budget, schedule: str, zone: str) -> None:
    """Check that a run has its answer, or none, when the next one is due: so at most one run waits."""
    times = croniter(schedule, datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)), ret_type=datetime)
    shortest = min(later - earlier for earlier, later in pairwise(next(times).astimezone(UTC) for _ in range(_TIMES)))
    if budget.answer_within >= shortest:
        raise ValueError(
            f"answer_within of the budget is {budget.answer_within}; it must be shorter than {shortest}, the time "
            f"between two runs of the schedule {schedule!r}"
        )


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
| `approve` | only with a budget: if it is exceeded, waits for a person under Required Actions | yes; asks again |
| `harvest` | makes the calls; stores each answer in MongoDB | yes; makes only missing calls |
| `land` | writes the answers as Parquet to the bucket, then the manifest | yes; reads the stored answers again |
| `prepare_*`, `load`, `audit` | load a landing table of this run, and check it before the merge | yes |
| `merge` | updates the final table | yes |
| `prove` | counts again in every system: planned = staged = exported = loaded = merged | yes |

Clear a task *with all tasks downstream*. If a task failed, the last line of its log says what to do."""
