"""The pages of the quarantine, of finding a key, and of bodies, which a user sees for some minutes after a request."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from windrow.airflow.hooks.secrets import know_secrets
from windrow.harvest.actions import SHOWN_FOR
from windrow.harvest.lineage import SEARCHED, Origin
from windrow.harvest.status.interval import iso
from windrow.model.body import Body, Place
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.reports import Quarantined, Reason
from windrow.store.status import StatusStore
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.data import search
from windrow.ui.harvest.lookup import older_run, runs_of
from windrow.ui.harvest.rendering import LONGEST, Of, Text, User, nothing, page

_NO_STORE = {"Cache-Control": "no-store"}
SHOWN = 100
"""Reasons on one page."""
router = APIRouter()


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
        return await nothing(snapshot, f"The stream {stream!r:.200}")
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
    return await page(
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
        may_see=await snapshots.run(viewer.may_see_bodies),
    )


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


@router.get("/find")
async def find(user: User, key: Text = "") -> HTMLResponse:
    """Return where the row of a key comes from, in the newest runs of all streams."""
    snapshot, viewer = await snapshots.look(user)
    found: list[Origin] = []
    trouble = ""

    if key:
        try:
            found = await snapshots.read(lambda store: search(snapshot, key, store))
        except WindrowError as error:
            trouble = error.what
    may_see = await snapshots.run(viewer.may_see_bodies)
    return await page("find", snapshot, key=key, found=found, may_see=may_see, trouble=trouble, searched=SEARCHED)


@router.get("/body")
async def body(user: User, stream: Text, id: Text, key: Text, of: Of = "quarantine") -> HTMLResponse:
    """Return the beginning of a body to a user who asked for it in the last minutes; to others, that it is masked."""
    snapshot, viewer = await snapshots.look(user)
    runs = runs_of(snapshot, id, stream, "") or await older_run(snapshot, viewer, stream, id)
    if not runs:
        return await nothing(snapshot, f"The run {id!r:.300}")
    place, trouble = Place(Run(stream, id), key, of), ""
    may_see = await snapshots.run(viewer.may_see_bodies)
    asked, found, excerpt = None, None, ""
    try:
        asked, found = await _requested(user, place) if may_see else (None, None)
    except WindrowError as error:
        trouble = error.what
    if found:
        excerpt = await snapshots.run(lambda: _excerpt(found, runs[0][0].connections))
    return await page(
        "body",
        snapshot,
        again=0,
        place=place,
        may_see=may_see,
        until=iso(asked + SHOWN_FOR) if asked else "",
        body=found,
        excerpt=excerpt,
        trouble=trouble,
    )


@router.get("/body.txt")
async def download(user: User, stream: Text, id: Text, key: Text, of: Of = "quarantine") -> Response:
    """Return a body as a text file, without secrets, to a user who asked for it in the last minutes."""
    snapshot, viewer = await snapshots.look(user)
    runs = runs_of(snapshot, id, stream, "") or await older_run(snapshot, viewer, stream, id)
    if not runs:
        return await nothing(snapshot, f"The run {id!r:.300}")
    found = None
    if await snapshots.run(viewer.may_see_bodies):
        try:
            _, found = await _requested(user, Place(Run(stream, id), key, of))
        except WindrowError as error:
            return PlainTextResponse(f"{error.what}\n", status_code=503, headers=_NO_STORE)
    if found is None:
        return await nothing(snapshot, "This body, or your request to see it,", status_code=403)
    await snapshots.run(lambda: know_secrets(runs[0][0].connections))
    headers = _NO_STORE | {
        "Content-Disposition": 'attachment; filename="body.txt"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StreamingResponse(_masked(found), media_type="text/plain", headers=headers)


async def _requested(user: User, place: Place) -> tuple[datetime | None, Body | None]:
    """Return when a user asked to see a body, and the body; None if they did not, or not in the last minutes."""
    since = datetime.now(UTC) - SHOWN_FOR

    def read(store: StatusStore) -> tuple[datetime | None, Body | None]:
        asked = store.requested(place, user.get_name(), since)
        return asked, store.body(place) if asked else None

    return await snapshots.read(read)


def _excerpt(found: Body, conn_ids: Sequence[str]) -> str:
    know_secrets(conn_ids)
    return found.excerpt()


async def _masked(found: Body) -> AsyncIterator[bytes]:
    """Yield a body without secrets; each piece is made in a thread."""
    pieces = found.pieces()
    while piece := await snapshots.run(lambda: next(pieces, b"")):
        yield piece
