"""Makes a DAG for a declared stream: plan, cost, harvest; then land, load, merge and prove in each warehouse."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, Asset, BaseOperator, CronTriggerTimetable, Param, TaskGroup, XComArg, chain
from croniter import croniter

from windrow.airflow.operators import athena as athena_steps
from windrow.airflow.operators import groups, params, warehouse
from windrow.airflow.operators.approve import ApproveOperator
from windrow.airflow.operators.athena import ProveInAthenaOperator
from windrow.airflow.operators.cost import COSTS, CostOperator
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveAllOperator, ProveOperator
from windrow.declare import athena, bigquery
from windrow.declare.stream import Declared
from windrow.model.cost import Budget
from windrow.model.table import Warehouse

_TIMES = 100
"""Times of a schedule that are compared with the wait for an approval."""
_BUCKET, _S3_BUCKET = "{{ var.value.windrow_bucket }}", "{{ var.value.windrow_s3_bucket }}"


def harvest_dag(
    stream: type[Declared],
    *,
    conn_id: str,
    into: Warehouse | Sequence[Warehouse] = Warehouse.BIGQUERY,
    schedule: str | None = "0 0 * * *",
    zone: str = "UTC",
    defaults: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    stage: Callable[[], BaseOperator] | None = None,
    description: str = "",
    tags: Sequence[str] = (),
    **options: Any,
) -> DAG:
    """Make the DAG that harvests a stream into a warehouse, or into several. Its id is the dataset of the stream.

    :param conn_id: the Airflow connection of the API.
    :param into: the warehouse. With several, the calls are made once, and each warehouse has a task group that lands,
        loads, merges and counts; the watermark moves when all of them have the records.
    :param schedule: a cron expression in the time zone ``zone``; None for runs that are triggered only.
    :param defaults: JSON texts for params that a run leaves empty, by name: templates, such as of an Airflow variable.
    :param budget: what a run may cost without the approval of a person; None for no limit.
    :param stage: makes the task that stages answers from elsewhere; the DAG then makes no calls.
    :param description: what the DAG does, for the Airflow UI.
    :param options: further arguments of the DAG.
    :raises ValueError: a run may wait for an approval until after the next run; or a warehouse is unknown, named twice,
        or cannot have the columns.
    """
    into = _warehouses(stream.dataset, into)
    stream.account = stream.account or conn_id
    if budget and schedule:
        _check_wait(budget, schedule, zone)
    dataset, source = stream.dataset, stream.dataset.partition("_")[0]
    watermark = Asset(dataset) if stream.time else None
    timetable = CronTriggerTimetable(schedule, timezone=zone, run_immediately=timedelta(0)) if schedule else None
    with DAG(
        dag_id=dataset,
        schedule=timetable,
        catchup=False,
        max_active_runs=2 if budget else 1,  # a run that waits for an approval does not stop the next one
        tags=["harvest", source, *tags],
        doc_md=f"### {dataset}\n\n{description or (stream.__doc__ or '').strip()}\n\n{_TASKS}",
        params={"max_gaps": params.max_gaps()} if stage else _params(stream),
        **{"default_args": TASK_DEFAULTS, **TEMPLATES, **options},
    ) as made:
        if stage:
            harvest = [stage()]
        else:
            plan = PlanOperator(
                task_id="plan", dataset=dataset, conn_id=conn_id, defaults=defaults, watermark=watermark
            )
            cost = CostOperator(task_id="cost", plans={dataset: conn_id})
            harvest = groups.workers(dataset, conn_id, cost)
            approve = [ApproveOperator(task_id="approve", budget=budget, costs=XComArg(cost, COSTS))] if budget else []
            chain(plan, cost, *approve, harvest)
        asset = {"watermark": watermark, "outlets": [] if watermark else [Asset(dataset)]}
        if len(into) == 1:
            chain(harvest, *_SINKS[into[0]](stream, **asset))
            return made
        proofs: dict[str, ProveOperator] = {}
        for one in into:
            with TaskGroup(one.value):
                tasks = _SINKS[one](stream, is_only=False)
            chain(harvest, *tasks)
            proofs[one.value] = tasks[-1]
        of = {name: proof.task_id for name, proof in proofs.items()}
        list(proofs.values()) >> ProveAllOperator(task_id="prove", dataset=dataset, proofs=of, **asset)
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


def _warehouses(dataset: str, into: Warehouse | Sequence[Warehouse]) -> list[Warehouse]:
    """Return the warehouses.

    :raises ValueError: there is none, or one is unknown or named twice.
    """
    found = [Warehouse(one) for one in ([into] if isinstance(into, str) else into)]
    if not found or len({*found}) < len(found):
        raise ValueError(f"{dataset}: into must name warehouses, each once, not {into!r:.60}")
    return found


def _into_bigquery(stream: type[Declared], **proof: Any) -> list[Any]:
    """Make the tasks from landing to the receipt in BigQuery, to be chained."""
    source, _, noun = stream.dataset.partition("_")
    landing: dict[str, Any] = {
        "dataset": stream.dataset,
        "to": f"gs://{_BUCKET}",
        "prefix": f"{source}/{noun}/run={{{{ run_id | slug }}}}",
    }
    land = LandOperator(task_id="land", trigger_rule=groups.AFTER_WORKERS, **landing)
    counts = ProveOperator(
        task_id="prove", sql=bigquery.prove(stream), max_gaps="{{ params.max_gaps }}", **landing, **proof
    )
    return [land, *warehouse.load_and_merge(stream, land, bucket=_BUCKET), counts]


def _into_athena(stream: type[Declared], **proof: Any) -> list[Any]:
    """Make the tasks from landing to the receipt in Athena, to be chained."""
    source, _, noun = stream.dataset.partition("_")
    landing: dict[str, Any] = {
        "dataset": stream.dataset,
        "to": f"s3://{_S3_BUCKET}",
        "prefix": f"{source}/{noun}/dt={athena.DAY}/run={athena.RUN}",
    }
    counts = ProveInAthenaOperator(task_id="prove", max_gaps="{{ params.max_gaps }}", **landing, **proof)
    merged = athena_steps.load_and_merge(stream, bucket=_S3_BUCKET)
    land = LandOperator(task_id="land", trigger_rule=groups.AFTER_WORKERS, **landing)
    return [land, *merged, counts]


_SINKS: Mapping[Warehouse, Callable[..., list[Any]]] = {
    Warehouse.BIGQUERY: _into_bigquery,
    Warehouse.ATHENA: _into_athena,
}


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
    return found | params.harvest()


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
| `more_workers` | with `workers` above 1: mapped tasks that make a part of the calls; else skipped | yes; the same |
| `land` | writes the answers as Parquet to the bucket, then the manifest | yes; reads the stored answers again |
| `load` | prepares the tables; loads the landed records of this run, and checks them before the merge | yes |
| `merge` | updates the final table | yes |
| `prove` | counts again in every system: planned = staged = exported = loaded = merged | yes |

With several warehouses, the tasks from `land` to `prove` are a group for each of them, and the last `prove` writes the
receipt of all. Clear a task *with all tasks downstream*. If a task failed, the last line of its log says what to do."""
