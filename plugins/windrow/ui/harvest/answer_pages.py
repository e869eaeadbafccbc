"""The pages of the quarantine, and of finding a key."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from windrow.harvest.lineage import Origin, origins
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.reports import Quarantined, Reason
from windrow.store.status import StatusStore
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.rendering import LONGEST, Text, User, nothing, page

SHOWN = 100
"""Reasons on one page."""
SEARCHED = 200
"""Runs of each stream in which a key is looked for."""
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
        acts=await snapshots.run(viewer.may_act),
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
    snapshot, _ = await snapshots.look(user)
    found: list[Origin] = []
    trouble = ""

    def search(store: StatusStore) -> list[Origin]:
        runs = [
            summary
            for one in snapshot.streams
            for summary in store.summaries(one.dataset, limit=SEARCHED)
            if not summary.dag_id or summary.dag_id in one.dag_ids
        ]
        return origins(store, key, runs)

    if key:
        try:
            found = await snapshots.read(search)
        except WindrowError as error:
            trouble = error.what
    return await page("find", snapshot, key=key, found=found, trouble=trouble, searched=SEARCHED)
