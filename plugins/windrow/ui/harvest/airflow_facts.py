"""What Airflow's metadata database knows about the DAGs that harvest, for `windrow.harvest.status`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, cast
from zoneinfo import ZoneInfo

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.deadline import Deadline
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils.session import create_session
from croniter import croniter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from windrow.harvest.status.facts import DagFact, Facts, RunFact, TaskFact
from windrow.harvest.status.interval import DRY_RUN
from windrow.harvest.status.stream import INTERVALS

_PROVERS = ("Prove", "Acknowledge")
"""How the classes of tasks that write a receipt begin."""
_IN_TROUBLE = ("failed", "up_for_retry", "deferred", "awaiting_input")
_TRIES = 300
"""Tries of tasks that the page of a run shows."""
_PARAMS = 100
"""Params of a DAG that are shown."""
_shapes: dict[str, tuple[str, "_Shape"]] = {}
"""What a DAG harvests, by its id, with the hash of the serialized DAG that says so."""


class _Shape:
    """What the serialized form of a DAG says about its harvests."""

    def __init__(self, dag: Mapping[str, Any]) -> None:
        self.tasks: dict[str, str] = {}
        self.provers: dict[str, tuple[str, ...]] = {}
        connections: dict[str, set[str]] = {}
        for entry in dag.get("tasks", ()):
            task = entry.get("__var", {})
            given = task.get("partial_kwargs") or task
            dataset, task_id = given.get("dataset"), str(task.get("task_id", ""))
            if not isinstance(dataset, str) or "{{" in dataset:
                continue
            self.tasks[task_id] = dataset
            if str(task.get("task_type", "")).startswith(_PROVERS):
                self.provers[dataset] = (*self.provers.get(dataset, ()), task_id)
            if isinstance(conn_id := given.get("conn_id"), str):
                connections.setdefault(dataset, set()).add(conn_id)
        self.connections = {dataset: tuple(sorted(found)) for dataset, found in connections.items()}
        self.cron = _cron(dag.get("timetable") or {})
        self.params = dict(_param(*entry) for entry in (dag.get("params") or ())[:_PARAMS])


def read() -> tuple[Facts, frozenset[str]]:
    """Return what Airflow knows about all DAGs that harvest, and the ids of all its DAGs."""
    with create_session() as session:
        rows = session.execute(
            select(
                *(DagModel.dag_id, DagModel.is_paused, DagModel.is_stale),
                *(DagModel.next_dagrun_create_after, DagModel.timetable_summary),
            )
        ).all()
        shapes = _read_shapes(session, [row.dag_id for row in rows if not row.is_stale])
        dags = {
            row.dag_id: DagFact(
                dag_id=row.dag_id,
                tasks=shape.tasks,
                connections=shape.connections,
                provers=shape.provers,
                paused=bool(row.is_paused),
                schedule=_in_zone(row.timetable_summary or "", shape.cron),
                next_at=_iso(row.next_dagrun_create_after),
                cron=shape.cron,
                params=shape.params,
                due=_due(*shape.cron, _minute()) if shape.cron else (),
            )
            for row in rows
            if (shape := shapes.get(row.dag_id)) and shape.provers
        }
        return Facts(asked=True, dags=dags, runs=_runs(session, dags)), frozenset(row.dag_id for row in rows)


def read_tasks(dag_id: str, run_id: str) -> list[TaskFact]:
    """Return the tries of the tasks of a run that have started, at most `_TRIES`, in the order of their starts."""
    with create_session() as session:
        found: list[Any] = []
        for kind in (TaskInstance, TaskInstanceHistory):
            columns = (kind.task_id, kind.start_date, kind.end_date, kind.state)
            mine = select(*columns).where(kind.dag_id == dag_id, kind.run_id == run_id, kind.start_date.is_not(None))
            found += session.execute(mine.order_by(kind.start_date).limit(_TRIES)).all()
        tries = {TaskFact(row[0], _iso(row[1]), _iso(row[2]), str(row[3] or "")) for row in found}
        return sorted(tries, key=lambda one: (one.started_at, one.task_id))[:_TRIES]


def _read_shapes(session: Session, dag_ids: list[str]) -> dict[str, _Shape]:
    """Return the shapes of these DAGs; only those that changed are read again."""
    newest: dict[str, str] = {}
    columns = (SerializedDagModel.dag_id, SerializedDagModel.dag_hash)
    for dag_id, dag_hash in session.execute(select(*columns).order_by(SerializedDagModel.last_updated)):
        newest[dag_id] = dag_hash
    known = {dag_id: dag_hash for dag_id, (dag_hash, _) in _shapes.items()}
    changed = [dag_id for dag_id in dag_ids if dag_id in newest and known.get(dag_id) != newest[dag_id]]
    if changed:
        for row in SerializedDagModel.get_latest_serialized_dags(dag_ids=changed, session=session):
            _shapes[row.dag_id] = row.dag_hash, _Shape((row.data or {}).get("dag", {}))
    return {dag_id: _shapes[dag_id][1] for dag_id in dag_ids if dag_id in _shapes}


def _runs(session: Session, dags: Mapping[str, DagFact]) -> dict[str, list[RunFact]]:
    """Return the newest runs of each DAG, with the tasks that explain their states."""
    is_dry = DagRun.run_id.startswith(DRY_RUN, autoescape=True)
    place = (
        func.row_number().over(partition_by=[DagRun.dag_id, is_dry], order_by=DagRun.run_after.desc()).label("place")
    )
    newest = select(DagRun.id, place).where(DagRun.dag_id.in_(dags)).subquery()
    runs = list(
        session.scalars(
            select(DagRun)
            .join(newest, DagRun.id == newest.c.id)
            .where(newest.c.place <= INTERVALS)
            .order_by(DagRun.run_after.desc())
        )
    )
    provers = {task for dag in dags.values() for tasks in dag.provers.values() for task in tasks}
    tasks = _tasks(session, runs, provers)
    deadlines = _deadlines(session, runs)
    found: dict[str, list[RunFact]] = {dag_id: [] for dag_id in dags}
    for run in runs:
        by_state = tasks.get((run.dag_id, run.run_id), {})
        found[run.dag_id].append(
            RunFact(
                dag_id=run.dag_id,
                run_id=run.run_id,
                state=str(run.state or ""),
                due_at=_iso(run.run_after),
                started_at=_iso(run.start_date),
                ended_at=_iso(run.end_date),
                kind=str(run.run_type),
                by=run.triggering_user_name or "",
                failed=tuple(by_state.get("failed", ())),
                retrying=tuple(by_state.get("up_for_retry", ())),
                deferred=tuple(by_state.get("deferred", ())),
                awaiting=tuple(by_state.get("awaiting_input", ())),
                skipped=frozenset(by_state.get("skipped", ())),
                deadline_at=deadlines.get(run.id, ""),
            )
        )
    return found


def _deadlines(session: Session, runs: Iterable[DagRun]) -> dict[int, str]:
    """Return the first deadline of each run that goes on, by the number of the run."""
    active = [run.id for run in runs if run.state in {"queued", "running"}]
    first = select(Deadline.dagrun_id, func.min(Deadline.deadline_time)).where(Deadline.dagrun_id.in_(active))
    rows = session.execute(first.where(~Deadline.missed).group_by(Deadline.dagrun_id)).all() if active else ()
    return {run_id: _iso(at) for run_id, at in rows if run_id is not None}


def _tasks(session: Session, runs: Iterable[DagRun], provers: set[str]) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Return the ids of tasks by run and state: those in trouble, and skipped ones that write receipts."""
    columns = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state)
    run_ids = {run.run_id for run in runs}
    of_runs = select(*columns).where(TaskInstance.run_id.in_(run_ids))
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for chosen in (
        of_runs.where(TaskInstance.state.in_(_IN_TROUBLE)),
        of_runs.where(TaskInstance.state == "skipped", TaskInstance.task_id.in_(provers)),
    ):
        for dag_id, run_id, task_id, state in session.execute(chosen.order_by(TaskInstance.start_date)):
            by_state = found.setdefault((dag_id, run_id), {}).setdefault(str(state), [])
            if task_id not in by_state:  # a mapped task has several instances
                by_state.append(task_id)
    return found


def _param(name: str, entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of a param, and its JSON schema with its default and description."""
    schema = _plain(entry.get("schema") or {})
    return name, {**schema, "default": _plain(entry.get("default")), "description": entry.get("description") or ""}


def _plain(value: Any) -> Any:
    """Return a serialized value without the marks of its types."""
    if isinstance(value, Mapping):
        return _plain(value["__var"]) if "__var" in value else {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _cron(timetable: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the cron expression and the time zone of a schedule; None if it is not by time."""
    given = timetable.get("__var", {})
    inner = given.get("timetable")
    if isinstance(inner, Mapping):  # by assets, or by time
        return _cron(inner)
    expression, zone = given.get("expression"), given.get("timezone", "UTC")
    return (expression, str(zone)) if isinstance(expression, str) and croniter.is_valid(expression) else None


def _in_zone(schedule: str, cron: tuple[str, str] | None) -> str:
    """Add the time zone to a schedule that is not in UTC, as all other times of the pages are in UTC."""
    return f"{schedule}, {cron[1]}" if cron and cron[1] != "UTC" else schedule


@lru_cache(maxsize=1_000)
def _due(expression: str, zone: str, now: datetime) -> tuple[str, ...]:
    """Return the last times of a schedule, the newest first."""
    try:
        times = croniter(expression, now.astimezone(ZoneInfo(zone)))
    except (KeyError, ValueError, OSError):
        return ()
    return tuple(_iso(cast("datetime", times.get_prev(datetime))) for _ in range(INTERVALS))


@lru_cache(maxsize=100)  # a year is read 366 times, and each page of the stream asks for the same one until midnight
def due_days(cron: tuple[str, str] | None, since: date, until: date) -> frozenset[date]:
    """Return the days in UTC on which a schedule wants a run, from one day to another."""
    found: set[date] = set()
    try:
        zone = ZoneInfo(cron[1]) if cron else UTC
        at = datetime.combine(since, time(), UTC) - timedelta(seconds=1)
        while cron and at.date() <= until:
            at = cast("datetime", croniter(cron[0], at.astimezone(zone)).get_next(datetime)).astimezone(UTC)
            if at.date() <= until:
                found.add(at.date())
            at = datetime.combine(at.date(), time.max, UTC)  # the rest of this day is known
    except (KeyError, ValueError, OSError):
        pass
    return frozenset(found)


def _minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


def _iso(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds") if at else ""
