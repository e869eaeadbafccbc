"""The pages of a stream and of a run, and of keys behind a subtraction of a receipt."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from windrow.airflow.hooks.limits import read_limits
from windrow.harvest.history import YEAR, Day, Event, events, weeks
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Stream
from windrow.harvest.timeline import draw, spans_of
from windrow.harvest.waterfall import attempts, changes, pace, waterfall
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.events import Event as Act
from windrow.store.events import of_connection
from windrow.store.reports import AcceptedGap
from windrow.store.status import StatusStore
from windrow.store.summary import Summary
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.airflow_facts import due_days, read_tasks
from windrow.ui.harvest.lookup import all_of, older_run, runs_of
from windrow.ui.harvest.rendering import Text, User, nothing, page
from windrow.ui.harvest.snapshots import Viewer

router = APIRouter()


@router.get("/stream")
async def stream(user: User, name: Text, day: Annotated[date | None, Query()] = None) -> HTMLResponse:
    """Return the page of a stream: its calendar, intervals, events and quarantine; with a day the runs of that."""
    snapshot, viewer = await snapshots.look(user)
    found = snapshot.stream(name)
    if found is None:
        return await nothing(snapshot, f"The stream {name!r:.200}")
    now = datetime.now(UTC)
    summaries: list[Summary] = []
    acts: list[Act] = []
    trouble = ""
    places = [name, *map(of_connection, found.connections)]

    def read(store: StatusStore) -> tuple[list[Summary], list[Act]]:
        return store.year(name, (now - YEAR).isoformat()), store.events(places, limit=50)

    try:
        summaries, acts = await snapshots.read(read)
    except WindrowError as error:
        trouble = error.what
    history = await snapshots.run(lambda: _history(found, summaries, acts, snapshot, viewer, now))
    chosen = next((one for week in history.weeks for one in week if one.date == day), None)
    return await page(
        "stream",
        snapshot,
        stream=found,
        weeks=history.weeks,
        events=history.events,
        day=day,
        chosen=chosen,
        shown=chosen.intervals if chosen else found.intervals,
        trouble=trouble,
        reasons=[one for one in snapshot.reasons if one.dataset == name],
    )


class _History(NamedTuple):
    weeks: list[list[Day]]
    events: list[Event]


def _history(
    of: Stream,
    summaries: list[Summary],
    acts: list[Act],
    snapshot: Snapshot,
    viewer: Viewer,
    now: datetime,
) -> _History:
    """Return the calendar and the events of a stream: its last intervals, and before them what MongoDB has."""
    intervals = all_of(of, summaries, snapshot, viewer)
    dags = [dag for dag in snapshot.facts.dags.values() if of.dataset in dag.datasets]
    due = {day for dag in dags for day in due_days(dag.cron, (now - YEAR).date(), now.date())}
    seen = {one.run_id for one in intervals}
    mine = [one for one in summaries if one.run_id in seen]
    return _History(weeks(intervals, due, now.date()), events(intervals, mine, acts))


@router.get("/run")
async def run(user: User, id: Text, stream: Text = "", dag: Text = "") -> HTMLResponse:
    """Return the page of a run: its receipt, errors by reason, attempts. With ``dag`` all streams of a DAG run."""
    snapshot, viewer = await snapshots.look(user)
    runs = runs_of(snapshot, id, stream, dag) or await older_run(snapshot, viewer, stream, id)
    if not runs:
        return await nothing(snapshot, f"The run {id!r:.300}")
    if len(runs) > 1:
        return await page("runs", snapshot, run_id=id, runs=runs)
    ((of, one),) = runs
    trouble = ""
    notes: list[tuple[str, dict[str, Any]]] = []
    accepted: list[AcceptedGap] = []
    of_run = Run(of.dataset, one.run_id)
    try:
        notes, accepted = await snapshots.read(lambda store: (store.notes(of_run), store.accepted(of_run)))
    except WindrowError as error:
        trouble = error.what
    try:
        tasks = await snapshots.run(lambda: read_tasks(one.dag_id, one.run_id)) if one.fact else []
    except SQLAlchemyError:
        tasks, trouble = [], trouble or "Airflow's database did not answer: the times of its tasks are unknown."
    of_dag = snapshot.facts.dags.get(one.dag_id)
    mine = [each for each in tasks if of_dag is None or of_dag.tasks.get(each.task_id, of.dataset) == of.dataset]
    compared, of_runs = changes(one, of.intervals, [each for each in snapshot.reasons if each.dataset == of.dataset])
    speed = pace(one, notes, of.intervals)
    quotas, _ = await snapshots.run(lambda: read_limits(snapshot, viewer.reads_connection)) if speed else ([], [])
    short = [each for each in quotas if speed and of.dataset in each.streams and (each.left or 0) < speed.calls_left]
    bars, breaks = draw(spans_of(mine, notes, datetime.now(UTC)))
    return await page(
        "run",
        snapshot,
        stream=of,
        interval=one,
        steps=waterfall(one),
        attempts=attempts(notes),
        bars=bars,
        breaks=breaks,
        pace=speed,
        short=[each for each in short if each.units is not None],
        accepted=accepted,
        replays=[figures for step, figures in notes if step.startswith("replay ")],
        acts=await snapshots.run(lambda: viewer.acts_on(one.dag_id)),
        trouble=trouble,
        changes=compared,
        of_runs=of_runs,
        receipt=(one.summary.steps.get("receipt", {}) if one.summary else {}),
    )


@router.get("/keys")
async def keys(user: User, stream: Text, id: Text, of: Text) -> HTMLResponse:
    """Return the keys behind a subtraction of a receipt: ``of`` is gap or open."""
    snapshot, viewer = await snapshots.look(user)
    runs = runs_of(snapshot, id, stream, "")
    if not runs or of not in {"gap", "open"}:
        return await nothing(snapshot, f"The run {id!r:.300}")
    found, trouble = [], ""
    try:
        found = await snapshots.read(lambda store: store.keys(Run(stream, id), of))
    except WindrowError as error:
        trouble = error.what
    of_keys, one = runs[0]
    acts = await snapshots.run(lambda: viewer.acts_on(one.dag_id))
    return await page("keys", snapshot, stream=of_keys, interval=one, of=of, keys=found, acts=acts, trouble=trouble)
