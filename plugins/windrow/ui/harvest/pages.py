"""The routes of the Harvest pages. All are GET: an action is a run of a DAG, which a script of the page asks Airflow's
own API for with the user's session. So Airflow checks and records it.

Airflow does not authenticate requests to apps of plugins. Every route here takes the user from Airflow's cookie or
token, and shows only what belongs to DAGs that this user may read.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from windrow.airflow.hooks.limits import read_limits
from windrow.airflow.hooks.snapshot import SNAPSHOT
from windrow.harvest.actions import DAG, MOST, cost
from windrow.harvest.status.interval import Interval, State
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.waterfall import attempts, pace, waterfall
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.status import AcceptedGap, Found, Quarantined, Reason
from windrow.ui.harvest import snapshots

SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
"""The Content-Security-Policy of these pages: nothing from elsewhere, no inline scripts or styles, no eval."""
LONGEST = 2_000
"""Characters of a parameter."""
CAUSES, WARNINGS = 5, 3
"""Causes, and streams with warnings, that the first page explains."""
SHOWN = 100
"""Reasons on one page."""
SEARCHED = 200
"""Runs of each stream in which a key is looked for."""
_AGAIN_S, _AGAIN_IDLE_S = 10, 60
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
    Health.WARNING: "gaps",
}
"""The shape of each state: colour alone says nothing to some, and nothing on paper."""

router = APIRouter(prefix="/harvest")
User = Annotated[BaseUser, Depends(get_user)]
Text = Annotated[str, Query(max_length=LONGEST)]
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


@router.get("/snapshot")
async def data(user: User) -> Response:
    """Return the snapshot of all pages as JSON, for `windrow.airflow.hooks.snapshot`."""
    snapshot, _ = await snapshots.look(user)
    body = await snapshots.run(lambda: SNAPSHOT.dump_json(snapshot))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get("/stream")
async def stream(user: User, name: Text) -> HTMLResponse:
    """Return the page of a stream: its intervals, runs and quarantine."""
    snapshot, _ = await snapshots.look(user)
    found = snapshot.stream(name)
    if found is None:
        return await _nothing(snapshot, f"The stream {name!r:.200}")
    return await _page(
        "stream", snapshot, stream=found, reasons=[one for one in snapshot.reasons if one.dataset == name]
    )


@router.get("/run")
async def run(user: User, id: Text, stream: Text = "", dag: Text = "") -> HTMLResponse:
    """Return the page of a run: its receipt, errors by reason, attempts. With ``dag`` all streams of a DAG run."""
    snapshot, viewer = await snapshots.look(user)
    runs = _runs(snapshot, id, stream, dag)
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
    moment = datetime.now(UTC)
    return await _page(
        "run",
        snapshot,
        stream=of,
        interval=one,
        steps=waterfall(one),
        attempts=attempts(notes),
        pace=pace(one, notes, moment),
        accepted=accepted,
        replays=[figures for step, figures in notes if step.startswith("replay ")],
        acts=await snapshots.run(viewer.may_act),
        trouble=trouble,
        reasons=_with_change(snapshot, of, one),
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
    acts = await snapshots.run(viewer.may_act)
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
        acts=await snapshots.run(viewer.may_act),
    )


@router.get("/limits")
async def limits(user: User) -> HTMLResponse:
    """Return quotas, pauses, pools, and credentials by days left."""
    snapshot, viewer = await snapshots.look(user)
    quotas, credentials = await snapshots.run(lambda: read_limits(snapshot, viewer.reads_connection))
    acts = await snapshots.run(viewer.may_act)
    return await _page("limits", snapshot, quotas=quotas, credentials=credentials, acts=acts)


@router.get("/action")
async def action(
    user: User, do: Action, stream: Text = "", id: Text = "", reason: Text = "", key: Text = "", conn: Text = ""
) -> HTMLResponse:
    """Return the form that starts an action, with what it costs. Only who may trigger the DAG gets it."""
    snapshot, viewer = await snapshots.look(user)
    if not await snapshots.run(viewer.may_act):
        return await _nothing(snapshot, "This action", status_code=403)
    price, trouble, runs = None, "", _runs(snapshot, id, stream, "")
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
        do=do,
        given={name: value for name, value in given.items() if value},
        dag_id=runs[0][1].dag_id if runs else "",
        cost=price,
        most=MOST,
        trouble=trouble,
    )


@router.get("/find")
async def find(user: User, key: Text = "") -> HTMLResponse:
    """Return what is known about the query of a key, in the newest runs of all streams."""
    snapshot, _ = await snapshots.look(user)
    found: list[Found] = []
    trouble = ""
    if key:
        streams = snapshot.streams
        try:
            found = await snapshots.read(
                lambda store: store.find(
                    key,
                    [
                        Run(one.dataset, summary.run_id)
                        for one in streams
                        for summary in store.summaries(one.dataset, limit=SEARCHED)
                        if not summary.dag_id or summary.dag_id in one.dag_ids
                    ],
                )
            )
        except WindrowError as error:
            trouble = error.what
    return await _page("find", snapshot, key=key, found=found, trouble=trouble, searched=SEARCHED)


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


def _with_change(snapshot: Snapshot, of: Stream, one: Interval) -> list[tuple[Reason, int | None]]:
    """Return the reasons of a run, each with the change from the run before; None if there was none."""
    older = [each for each in of.intervals if each.run_id and each.due_at < one.due_at]
    before = older[0].run_id if older else None
    counted = {r.reason: r.count for r in snapshot.reasons if r.dataset == of.dataset and r.run_id == before}
    mine = [r for r in snapshot.reasons if r.dataset == of.dataset and r.run_id == one.run_id]
    return [(r, r.count - counted.get(r.reason, 0) if before else None) for r in mine]


async def _nothing(snapshot: Snapshot, what: str, *, status_code: int = 404) -> HTMLResponse:
    """Say that something is not there, or may not be seen: the two look alike."""
    return await _page("nothing", snapshot, what=what, status_code=status_code)


async def _page(name: str, snapshot: Snapshot, *, status_code: int = 200, **context: Any) -> HTMLResponse:
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
_templates.filters.update(number=_number, moment=_time, shape=SHAPES.__getitem__)
