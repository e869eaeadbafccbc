"""The routes of the Harvest pages. All are GET: an action is a run of a DAG, which a script of the page asks Airflow's
own API for with the user's session. So Airflow checks and records it.

Airflow does not authenticate requests to apps of plugins. Every route here takes the user from Airflow's cookie or
token, and shows only what belongs to DAGs that this user may read.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError

from windrow.airflow.hooks.limits import read_limits
from windrow.harvest.actions import DAG, MOST, cost
from windrow.harvest.dry_run import Left, verdicts
from windrow.harvest.history import YEAR, Day, Event, events, weeks
from windrow.harvest.lineage import Origin
from windrow.harvest.month import Month, Sheet, sheet
from windrow.harvest.status.interval import Interval, State, interval_of
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.timeline import draw, spans_of
from windrow.harvest.waterfall import attempts, changes, pace, waterfall
from windrow.model.cost import told
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.events import Event as Act
from windrow.store.events import of_connection
from windrow.store.status import RUNS_AT_ONCE, AcceptedGap, Quarantined, Reason, StatusStore, Summary
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.airflow_facts import due_days, read_tasks
from windrow.ui.harvest.asked import LONGEST, Text, User
from windrow.ui.harvest.data import SEARCHED, search
from windrow.ui.harvest.plans import Planned, fields, read_plan

SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
"""The Content-Security-Policy of these pages: nothing from elsewhere, no inline scripts or styles, no eval."""
CAUSES, WARNINGS = 6, 3
"""Causes, and streams with warnings, that the first page explains."""
SHOWN = 100
"""Reasons on one page."""
_AGAIN_SOON_S, _AGAIN_S, _AGAIN_IDLE_S = 3, 10, 60
_PLANS = 20
"""Dry runs on the first page of plans."""
SHAPES = {
    State.COMPLETE: "complete",
    State.GAPS: "gaps",
    State.INCOMPLETE: "incomplete",
    State.MISSING: "missing",
    State.RUNNING: "running",
    State.WAITING: "waiting",
    State.NOT_DUE: "notdue",
    State.UNKNOWN: "unknown",
    Health.ACTION: "action",
    Health.LATE: "missing",
    Health.INCOMPLETE: "incomplete",
    Health.UNKNOWN: "unknown",
    Health.WAITING: "waiting",
    Health.RUNNING: "running",
    Health.PAUSED: "paused",
    Health.NEW: "notdue",
    Health.COMPLETE: "complete",
    Health.QUOTA: "waiting",
    Health.WARNING: "gaps",
}
"""The shape of each state: colour alone says nothing to some, and nothing on paper."""

router = APIRouter(prefix="/harvest")
Action = Literal["replay", "accept_gap", "undo_gap", "stop", "resume"]
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@router.get("/")
async def now(user: User) -> HTMLResponse:
    """Return the first page: everything in one sentence, what needs attention, all streams, what waits."""
    snapshot, _ = await snapshots.look(user)
    attention = snapshot.attention
    warnings = [one for one in attention if one.health is Health.WARNING]
    shown = [*[one for one in attention if one not in warnings][:CAUSES], *warnings[:WARNINGS]]
    return await _page("now", snapshot, waiting=_waiting(snapshot), shown=shown, more=len(attention) - len(shown))


@router.get("/stream")
async def stream(user: User, name: Text, day: Annotated[date | None, Query()] = None) -> HTMLResponse:
    """Return the page of a stream: its calendar, intervals, events and quarantine; with a day the runs of that."""
    snapshot, viewer = await snapshots.look(user)
    found = snapshot.stream(name)
    if found is None:
        return await _nothing(snapshot, f"The stream {name!r:.200}")
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
    return await _page(
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
    viewer: snapshots.Viewer,
    now: datetime,
) -> _History:
    """Return the calendar and the events of a stream: its last intervals, and before them what MongoDB has."""
    intervals = _all_of(of, summaries, snapshot, viewer)
    dags = [dag for dag in snapshot.facts.dags.values() if of.dataset in dag.datasets]
    due = {day for dag in dags for day in due_days(dag.cron, (now - YEAR).date(), now.date())}
    seen = {one.run_id for one in intervals}
    mine = [one for one in summaries if one.run_id in seen]
    return _History(weeks(intervals, due, now.date()), events(intervals, mine, acts))


def _all_of(of: Stream, summaries: Sequence[Summary], snapshot: Snapshot, viewer: snapshots.Viewer) -> list[Interval]:
    """Return the last intervals of a stream, and those of further summaries of it that the viewer may see."""
    known = {one.run_id for one in of.intervals}
    older = [
        one
        for one in summaries
        if one.dataset == of.dataset
        and one.run_id not in known
        and viewer.sees([one.dag_id] if one.dag_id else of.dag_ids)
    ]
    return [*of.intervals, *(_past(one, snapshot) for one in older)]


def _past(summary: Summary, snapshot: Snapshot) -> Interval:
    """Return the interval of a run that is older than those of the snapshot."""
    place = summary.dataset, summary.run_id
    count = sum(one.count for one in snapshot.reasons if (one.dataset, one.run_id) == place)
    moment = datetime.now(UTC)
    return interval_of(summary, None, snapshot.facts, {place: count}, moment, dag_id=summary.dag_id)


@router.get("/run")
async def run(user: User, id: Text, stream: Text = "", dag: Text = "") -> HTMLResponse:
    """Return the page of a run: its receipt, errors by reason, attempts. With ``dag`` all streams of a DAG run."""
    snapshot, viewer = await snapshots.look(user)
    runs = _runs(snapshot, id, stream, dag) or await _older_run(snapshot, viewer, stream, id)
    if not runs:
        return await _nothing(snapshot, f"The run {id!r:.300}")
    if len(runs) > 1:
        return await _page("runs", snapshot, run_id=id, runs=runs)
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
    return await _page(
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
    runs = _runs(snapshot, id, stream, "")
    if not runs or of not in {"gap", "open"}:
        return await _nothing(snapshot, f"The run {id!r:.300}")
    found, trouble = [], ""
    try:
        found = await snapshots.read(lambda store: store.keys(Run(stream, id), of))
    except WindrowError as error:
        trouble = error.what
    of_keys, one = runs[0]
    acts = await snapshots.run(lambda: viewer.acts_on(one.dag_id))
    return await _page("keys", snapshot, stream=of_keys, interval=one, of=of, keys=found, acts=acts, trouble=trouble)


@router.get("/quarantine")
async def quarantine(
    user: User,
    stream: Text = "",
    id: Text = "",
    reason: Annotated[str | None, Query(max_length=LONGEST)] = None,
) -> HTMLResponse:
    """Return the quarantine by reason; with a run also the answers, without their bodies."""
    snapshot, viewer = await snapshots.look(user)
    if stream and snapshot.stream(stream) is None:
        return await _nothing(snapshot, f"The stream {stream!r:.200}")
    of_dags = [dag_id for one in snapshot.streams if one.dataset == stream for dag_id in one.dag_ids]
    reasons = [
        one
        for one in snapshot.reasons
        if (not stream or one.dataset == stream)
        and (not id or one.run_id == id)
        and (reason is None or one.reason == reason)
    ]
    samples: list[Quarantined] = []
    trouble = ""
    if id and reasons:
        try:
            samples = await snapshots.read(lambda store: store.quarantined(Run(stream, id), cause=reason))
        except WindrowError as error:
            trouble = error.what
    groups = _by_reason(reasons)
    return await _page(
        "quarantine",
        snapshot,
        of_stream=stream,
        of_run=id,
        reason=reason,
        groups=groups[:SHOWN],
        more=max(0, len(groups) - SHOWN),
        samples=samples,
        trouble=trouble,
        acts=await snapshots.run(lambda: viewer.acts_on(of_dags[0] if len(of_dags) == 1 else "")),
    )


@router.get("/limits")
async def limits(user: User) -> HTMLResponse:
    """Return quotas, pauses, pools, and credentials by days left."""
    snapshot, viewer = await snapshots.look(user)
    quotas, credentials = await snapshots.run(lambda: read_limits(snapshot, viewer.reads_connection))
    acts = await snapshots.run(viewer.acts_on)
    return await _page("limits", snapshot, quotas=quotas, credentials=credentials, acts=acts)


@router.get("/action")
async def action(
    user: User, do: Action, stream: Text = "", id: Text = "", reason: Text = "", key: Text = "", conn: Text = ""
) -> HTMLResponse:
    """Return the form that starts an action, with what it costs. Only who may trigger the DAG gets it."""
    snapshot, viewer = await snapshots.look(user)
    runs = [] if do in {"stop", "resume"} else _runs(snapshot, id, stream, "")
    of_dag = runs[0][1].dag_id if runs else ""
    acts = await snapshots.run(lambda: viewer.acts_on(of_dag))
    if not acts:
        return await _nothing(snapshot, "This action", status_code=403)
    price, trouble = None, ""
    if do in {"stop", "resume"}:
        if not any(conn in one.connections for one in snapshot.streams):
            return await _nothing(snapshot, f"The connection {conn!r:.200} of a stream that you may see")
    elif not runs:
        return await _nothing(snapshot, f"The run {id!r:.300}")
    elif do == "replay":
        try:
            price = cost(
                await snapshots.read(lambda store: store.quarantined_queries(Run(stream, id), cause=reason, key=key))
            )
        except WindrowError as error:
            trouble = error.what
    given = {"action": do, "stream": stream, "run": id, "reason": reason, "key": key, "connection": conn}
    return await _page(
        "action",
        snapshot,
        again=0,
        do=do,
        given={name: value for name, value in given.items() if value},
        dag_id=of_dag,
        actions_dag=acts,
        cost=price,
        most=MOST,
        trouble=trouble,
    )


@router.get("/plan")
async def plan(
    user: User, dag: Text = "", id: Text = "", start: Annotated[int, Query(alias="from", ge=0, le=10**9)] = 0
) -> HTMLResponse:
    """Return what can be planned; with a DAG its params; with a run of it its plan, and whether that fits."""
    snapshot, viewer = await snapshots.look(user)
    awaiting = {
        (one.dag_id, one.run_id): one
        for of in snapshot.streams
        for one in of.intervals
        if one.fact and one.fact.awaiting
    }
    if not dag:
        dry = [one for of in snapshot.streams for one in of.intervals if one.summary and "cost" in one.summary.steps]
        dry.sort(key=lambda one: one.due_at, reverse=True)
        return await _page("plans", snapshot, awaiting=list(awaiting.values()), dry=dry[:_PLANS])
    of_dag = snapshot.facts.dags.get(dag)
    if of_dag is None:
        return await _nothing(snapshot, f"The DAG {dag!r:.200}")
    may_start = viewer.triggers(dag)
    if not id:
        # with a form on it, a page does not replace itself
        return await _page("plan", snapshot, dag=of_dag, fields=fields(of_dag.params), may_start=may_start, again=0)
    found, trouble = [], ""
    for of, one in _runs(snapshot, id, "", dag):
        try:
            found.append(await snapshots.read(partial(read_plan, of, one, start)))
        except WindrowError as error:
            trouble = error.what
            found.append(Planned(of, one, (), None, 0, 0))
    fact = next((one for one in snapshot.facts.runs.get(dag, ()) if one.run_id == id), None)
    is_ready = any(each.ways for each in found) or (fact is not None and fact.state not in {"queued", "running"})
    quotas, _ = await snapshots.run(lambda: read_limits(snapshot, viewer.reads_connection))
    left = {one.name: Left(one.left, one.ends_at) for one in quotas}
    return await _page(
        "planned",
        snapshot,
        dag=of_dag,
        run_id=id,
        fact=fact,
        found=found,
        verdicts=lambda way: verdicts(way, left, of_dag.next_at if not of_dag.paused else "", datetime.now(UTC)),
        awaiting=awaiting.get((dag, id)),
        may_start=may_start,
        start=start,
        trouble=trouble,
        again=_AGAIN_IDLE_S if is_ready else _AGAIN_SOON_S,
    )


@router.get("/find")
async def find(user: User, key: Text = "") -> HTMLResponse:
    """Return where the row of a key comes from, in the newest runs of all streams."""
    snapshot, _ = await snapshots.look(user)
    found: list[Origin] = []
    trouble = ""

    if key:
        try:
            found = await snapshots.read(lambda store: search(snapshot, key, store))
        except WindrowError as error:
            trouble = error.what
    return await _page("find", snapshot, key=key, found=found, trouble=trouble, searched=SEARCHED)


@router.get("/month")
async def month(
    user: User, of: Annotated[str | None, Query(pattern="^20[0-9]{2}-(0[1-9]|1[0-2])$")] = None
) -> HTMLResponse:
    """Return a month on one page to print: by default the present one."""
    snapshot, viewer = await snapshots.look(user)
    now = datetime.now(UTC)
    year, number = map(int, of.split("-")) if of else (now.year, now.month)
    shown = Month.of(year, number)
    # a run of an interval can begin days later
    bounds = shown.start.isoformat(), (shown.end + timedelta(days=7)).isoformat()
    summaries: list[Summary] = []
    trouble = ""
    try:
        summaries = await snapshots.read(lambda store: store.begun(*bounds))
    except WindrowError as error:
        trouble = error.what

    def sheets() -> list[Sheet]:
        return [sheet(one.dataset, _all_of(one, summaries, snapshot, viewer), shown) for one in snapshot.streams]

    return await _page(
        "month",
        snapshot,
        month=shown,
        before=Month.of(year, number - 1),
        after=Month.of(year, number + 1) if shown.end <= now else None,
        sheets=sorted(await snapshots.run(sheets), key=lambda one: one.dataset),
        is_part=len(summaries) == RUNS_AT_ONCE,
        is_over=shown.end <= now,
        trouble=trouble,
    )


def _runs(snapshot: Snapshot, run_id: str, dataset: str, dag_id: str) -> list[tuple[Stream, Interval]]:
    """Return the runs of this id, of one stream or of all streams of a DAG."""
    return [
        (of, one)
        for of in snapshot.streams
        for one in of.intervals
        if one.run_id == run_id
        and (not dataset or of.dataset == dataset)
        and (not dag_id or one.dag_id in {"", dag_id})
        and (dataset or dag_id)
    ]


async def _older_run(
    snapshot: Snapshot, viewer: snapshots.Viewer, dataset: str, run_id: str
) -> list[tuple[Stream, Interval]]:
    """Return a run that is not among the last intervals of its stream, from its summary in MongoDB."""
    of = snapshot.stream(dataset)
    if of is None:
        return []
    try:
        summary = await snapshots.read(lambda store: store.summary(Run(dataset, run_id)))
    except WindrowError:
        return []  # the page says that it is not there, or may not be seen; the notice says that MongoDB is away
    if summary is None or not viewer.sees([summary.dag_id] if summary.dag_id else of.dag_ids):
        return []
    return [(of, _past(summary, snapshot))]


def _waiting(snapshot: Snapshot) -> list[Interval]:
    found = [one for of in snapshot.streams for one in of.intervals if one.state is State.WAITING]
    return sorted(found, key=lambda one: one.waits_until)


def _by_reason(reasons: list[Reason]) -> list[dict[str, Any]]:
    """Group reasons over runs: one API that failed is one line."""
    groups: dict[tuple[str, str, int], list[Reason]] = {}
    for one in reasons:
        groups.setdefault((one.dataset, one.reason, one.status), []).append(one)
    found = [
        {
            "dataset": dataset,
            "reason": reason,
            "status": status,
            "count": sum(one.count for one in members),
            "oldest": min(one.oldest for one in members),
            "newest": max(one.newest for one in members),
            "runs": sorted(members, key=lambda one: one.newest, reverse=True),
        }
        for (dataset, reason, status), members in groups.items()
    ]
    return sorted(found, key=lambda one: -int(str(one["count"])))


async def _nothing(snapshot: Snapshot, what: str, *, status_code: int = 404) -> HTMLResponse:
    """Say that something is not there, or may not be seen: the two look alike."""
    return await _page("nothing", snapshot, what=what, status_code=status_code)


async def _page(
    name: str, snapshot: Snapshot, *, status_code: int = 200, again: int | None = None, **context: Any
) -> HTMLResponse:
    """Make a page. After ``again`` seconds it is read again; never with 0."""
    if again is None:
        again = _AGAIN_S if snapshot.active or snapshot.error else _AGAIN_IDLE_S
    template = _templates.get_template(f"{name}.html")
    # 50 streams take 50 ms: in a thread, so that Airflow's heartbeats do not wait for it
    text = await snapshots.run(lambda: template.render(page=name, snapshot=snapshot, again=again, **context))
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": SECURITY}
    return HTMLResponse(text, status_code=status_code, headers=headers)


# --- what templates use ------------------------------------------------------------------------


def _link(page: str, **params: str | None) -> str:
    """Return the relative address of a page here. All pages are in one folder, so it works below any path."""
    given = {name: value for name, value in params.items() if value is not None}
    return f"{page or './'}?{urlencode(given, quote_via=quote)}" if given else page or "./"


def _out(*parts: str) -> str:
    """Return the relative address of a page of Airflow, below whatever path it is served."""
    return "../../" + "/".join(quote(part, safe="") for part in parts)


def _number(value: int | float | None) -> str:
    """Write a number; a dash if it is unknown."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _time(text: str) -> Mapping[str, str]:
    """Return a time for `<time>`: the machine's form and, until a script writes the viewer's, UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return {"iso": "", "utc": text}
    if "T" not in text and ":" not in text:
        return {"iso": "", "utc": text}  # a date, like a watermark: it has no zone
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return {"iso": at.astimezone(UTC).isoformat(timespec="seconds"), "utc": f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"}


_templates.globals.update(actions_dag=DAG, link=_link, out=_out, State=State, Health=Health)
_templates.filters.update(number=_number, moment=_time, told=told, shape=SHAPES.__getitem__)
