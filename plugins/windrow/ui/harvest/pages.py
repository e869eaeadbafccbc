"""The routes of the Harvest pages. All are GET: an action is a run of a DAG, which a script of the page asks Airflow's
own API for with the user's session. So Airflow checks and records it.

Airflow does not authenticate requests to apps of plugins. Every route here takes the user from Airflow's cookie or
token, and shows only what belongs to DAGs that this user may read.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from windrow.airflow.hooks.limits import read_limits
from windrow.harvest.month import Month, Sheet, sheet
from windrow.harvest.sizes import KINDS, Sizes
from windrow.harvest.status.interval import Interval, State
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health
from windrow.model.errors import WindrowError
from windrow.store.status import RUNS_AT_ONCE
from windrow.store.summary import Summary
from windrow.ui.harvest import action_pages, answer_pages, snapshots, stream_pages
from windrow.ui.harvest.lookup import all_of
from windrow.ui.harvest.rendering import User, page, render, respond

CAUSES, WARNINGS = 6, 3
"""Causes, and streams with warnings, that the first page explains."""

_TEXTS = 20
_texts: dict[tuple[tuple[frozenset[str], bool], str], tuple[Snapshot, str]] = {}
"""The first page for users with the same rights, and the snapshot that it shows: open tabs look every few seconds."""

router = APIRouter(prefix="/harvest")
for _pages in (stream_pages, answer_pages, action_pages):
    router.include_router(_pages.router)


@router.get("/")
async def now(user: User) -> HTMLResponse:
    """Return the first page: everything in one sentence, what needs attention, all streams, what waits."""
    snapshot, viewer = await snapshots.look(user)
    acts = await snapshots.run(viewer.acts_on)
    known = _texts.get((viewer.rights, acts))
    if known is not None and known[0] is snapshot:
        return respond(known[1])
    attention = snapshot.attention
    warnings = [one for one in attention if one.health is Health.WARNING]
    shown = [*[one for one in attention if one not in warnings][:CAUSES], *warnings[:WARNINGS]]
    more = len(attention) - len(shown)
    text = await render("now", snapshot, waiting=_waiting(snapshot), shown=shown, more=more, acts=acts)
    if len(_texts) >= _TEXTS:
        _texts.clear()
    _texts[viewer.rights, acts] = snapshot, text
    return respond(text)


def _waiting(snapshot: Snapshot) -> list[Interval]:
    found = [one for of in snapshot.streams for one in of.intervals if one.state is State.WAITING]
    return sorted(found, key=lambda one: one.waits_until)


@router.get("/limits")
async def limits(user: User) -> HTMLResponse:
    """Return quotas, pauses, pools, and credentials by days left."""
    snapshot, viewer = await snapshots.look(user)
    quotas, credentials = await snapshots.run(lambda: read_limits(snapshot, viewer.reads_connection))
    acts = await snapshots.run(viewer.acts_on)
    return await page("limits", snapshot, quotas=quotas, credentials=credentials, acts=acts)


@router.get("/sizes")
async def sizes(user: User) -> HTMLResponse:
    """Return how much of MongoDB each stream uses, as it was some minutes ago."""
    snapshot, viewer = await snapshots.look(user)
    known = await snapshots.sizes.answer("all") or {}
    found: Sizes | None = known.get("sizes")
    names = {one.dataset for one in snapshot.streams}
    return await page(
        "sizes",
        snapshot,
        sizes=found,
        streams=[one for one in found.streams if one.dataset in names] if found else [],
        shared=found.shared if found and viewer.everything else {},
        kinds=["answers", *KINDS],
        trouble=known.get("trouble", "") if known else "MongoDB is still counting. Reload the page.",
    )


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
        return [sheet(one.dataset, all_of(one, summaries, snapshot, viewer), shown) for one in snapshot.streams]

    return await page(
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
