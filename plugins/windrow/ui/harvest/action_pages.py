"""The pages that start runs of DAGs: forms of actions, and plans."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from windrow.airflow.hooks.limits import read_limits
from windrow.harvest.actions import BODIES, MOST, cost
from windrow.harvest.dry_run import Left, verdicts
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.lookup import older_run, runs_of
from windrow.ui.harvest.plans import Planned, fields, read_plan
from windrow.ui.harvest.rendering import AGAIN_IDLE_S, AGAIN_SOON_S, Of, Text, User, nothing, page

_PLANS = 20
"""Dry runs on the first page of plans."""
Action = Literal["replay", "accept_gap", "undo_gap", "stop", "resume", "snooze"]
router = APIRouter()


@router.get("/action")
async def action(
    user: User,
    do: Action,
    stream: Text = "",
    id: Text = "",
    reason: Text = "",
    key: Text = "",
    conn: Text = "",
    cause: Text = "",
) -> HTMLResponse:
    """Return the form that starts an action, with what it costs. Only who may trigger the DAG gets it."""
    snapshot, viewer = await snapshots.look(user)
    runs = [] if do in {"stop", "resume", "snooze"} else runs_of(snapshot, id, stream, "")
    of_dag = runs[0][1].dag_id if runs else ""
    acts = await snapshots.run(lambda: viewer.acts_on(of_dag))
    if not acts:
        return await nothing(snapshot, "This action", status_code=403)
    price, trouble = None, ""
    if do == "snooze":
        if not any(cause and cause == one.alert for one in snapshot.attention):
            return await nothing(snapshot, f"The alert {cause!r:.200}")
    elif do in {"stop", "resume"}:
        if not any(conn in one.connections for one in snapshot.streams):
            return await nothing(snapshot, f"The connection {conn!r:.200} of a stream that you may see")
    elif not runs:
        return await nothing(snapshot, f"The run {id!r:.300}")
    elif do == "replay":
        try:
            price = cost(
                await snapshots.read(lambda store: store.quarantined_queries(Run(stream, id), cause=reason, key=key))
            )
        except WindrowError as error:
            trouble = error.what
    given = {"action": do, "stream": stream, "run": id, "reason": reason, "key": key, "connection": conn}
    given["cause"] = cause
    return await page(
        "action",
        snapshot,
        again=0,
        do=do,
        dag=acts,
        given={name: value for name, value in given.items() if value},
        dag_id=of_dag,
        cost=price,
        most=MOST,
        trouble=trouble,
    )


@router.get("/show")
async def show(user: User, stream: Text, id: Text, key: Text, of: Of = "quarantine") -> HTMLResponse:
    """Return the form that requests to see a body. Only who may trigger the DAG of these requests gets it."""
    snapshot, viewer = await snapshots.look(user)
    if not await snapshots.run(viewer.may_see_bodies):
        return await nothing(snapshot, "This action", status_code=403)
    if not (runs_of(snapshot, id, stream, "") or await older_run(snapshot, viewer, stream, id)):
        return await nothing(snapshot, f"The run {id!r:.300}")
    given = {"stream": stream, "run": id, "key": key, "of": of}
    return await page("action", snapshot, again=0, do="show_body", dag=BODIES, given=given, dag_id="", trouble="")


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
        return await page("plans", snapshot, awaiting=list(awaiting.values()), dry=dry[:_PLANS])
    of_dag = snapshot.facts.dags.get(dag)
    if of_dag is None:
        return await nothing(snapshot, f"The DAG {dag!r:.200}")
    may_start = viewer.triggers(dag)
    if not id:
        # with a form on it, a page does not replace itself
        return await page("plan", snapshot, dag=of_dag, fields=fields(of_dag.params), may_start=may_start, again=0)
    found, trouble = [], ""
    for of, one in runs_of(snapshot, id, "", dag):
        try:
            found.append(await snapshots.read(partial(read_plan, of, one, start)))
        except WindrowError as error:
            trouble = error.what
            found.append(Planned(of, one, (), None, 0, 0))
    fact = next((one for one in snapshot.facts.runs.get(dag, ()) if one.run_id == id), None)
    is_ready = any(each.ways for each in found) or (fact is not None and fact.state not in {"queued", "running"})
    quotas, _ = await snapshots.run(lambda: read_limits(snapshot, viewer.reads_connection))
    left = {one.name: Left(one.left, one.ends_at) for one in quotas}
    return await page(
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
        again=AGAIN_IDLE_S if is_ready else AGAIN_SOON_S,
    )
