"""The routes of the Harvest pages that return JSON, for tasks and the terminal: GET alone, and what the pages show."""

from dataclasses import replace
from typing import Any, TypeVar

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from pydantic import TypeAdapter

from windrow.airflow.hooks.limits import read_limits
from windrow.harvest.lineage import SEARCHED, Origin, origins
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.waterfall import attempts
from windrow.harvest.wire import ATTEMPTS, ORIGINS, SNAPSHOT
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.reports import QuotaUse
from windrow.store.status import StatusStore
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.rendering import Text, User

T = TypeVar("T")

router = APIRouter(prefix="/harvest")


@router.get("/snapshot")
async def snapshot(user: User) -> Response:
    """Return the snapshot of all pages. Accounts are named to those only who may read their connections."""
    found, viewer = await snapshots.look(user)

    def masked() -> Snapshot:
        quotas, _ = read_limits(found, viewer.reads_connection)
        uses = [QuotaUse(one.account, one.name, one.taken, one.ends_at, one.closed) for one in quotas]
        return replace(found, quotas=tuple(sorted(uses, key=lambda one: (one.ends_at, one.name))))

    return await _json(SNAPSHOT, await snapshots.run(masked))


@router.get("/attempts")
async def of_run(user: User, stream: Text, id: Text) -> Response:
    """Return the attempts of a run."""
    found, _ = await snapshots.look(user)
    of = found.stream(stream)
    if of is None or not any(one.run_id == id for one in of.intervals):
        raise HTTPException(404, f"The run {id!r:.300} is not there, or you may not see it.")
    return await _json(ATTEMPTS, attempts(await _read(lambda store: store.notes(Run(stream, id)))))


@router.get("/origins")
async def of_key(user: User, key: Text) -> Response:
    """Return where the row of a key comes from."""
    found, _ = await snapshots.look(user)
    return await _json(ORIGINS, await _read(lambda store: search(found, key, store)))


def search(snapshot: Snapshot, key: str, store: StatusStore) -> list[Origin]:
    """Return where the row of a key comes from, in the newest runs of the streams of a snapshot."""
    runs = [
        summary
        for one in snapshot.streams
        for summary in store.summaries(one.dataset, limit=SEARCHED)
        if not summary.dag_id or summary.dag_id in one.dag_ids
    ]
    return origins(store, key, runs)


async def _read(job: Any) -> Any:
    try:
        return await snapshots.read(job)
    except WindrowError as error:
        raise HTTPException(503, f"{error.what} {error.advice}") from None


async def _json(adapter: TypeAdapter[T], data: T) -> Response:
    body = await snapshots.run(lambda: adapter.dump_json(data))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
