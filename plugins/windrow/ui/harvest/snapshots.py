"""Snapshots for the Harvest pages: taken in the background, one for all users, filtered for each."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.exceptions import AirflowConfigException
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.sdk.exceptions import AirflowNotFoundException
from sqlalchemy.exc import SQLAlchemyError

from windrow.airflow.hooks.staging import keep_tls
from windrow.harvest.actions import BODIES, DAG, dag_for
from windrow.harvest.sizes import read_sizes
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.interval import iso
from windrow.harvest.status.snapshot import Snapshot, take
from windrow.model.errors import ConnectionUnusable, WindrowError
from windrow.model.redact import know
from windrow.store.login import connect
from windrow.store.status import DATABASE, StatusStore
from windrow.ui.cache import Answer, RefreshedCache
from windrow.ui.harvest import airflow_facts

log = logging.getLogger(__name__)

T = TypeVar("T")

CONN_ID = "mongo_default"
FRESH_S = 5.0
LOOK_S = 3.0
"""How long a request waits for a new snapshot; then it gets the last one, with its time."""
SIZES_S = 60.0
"""How long sizes count as fresh."""
_SELECTION_MS, _SOCKET_MS = 1_500, 6_000
_PARTS = 50
"""Users with different rights, for whom a part of the last snapshot is kept."""
_pool = ThreadPoolExecutor(4, thread_name_prefix="harvest")
"""For what one page reads: its requests do not use the threads that Airflow's own routes run in."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks: which DAGs they may read, and whether they may read all there are."""

    dag_ids: frozenset[str]
    everything: bool
    user: BaseUser

    @property
    def rights(self) -> tuple[frozenset[str], bool]:
        """What decides which part of a snapshot they see."""
        return self.dag_ids, self.everything

    def sees(self, dag_ids: Sequence[str]) -> bool:
        """Return whether they may see what belongs to these DAGs, all of them. Without a DAG only who sees all does."""
        return set(dag_ids) <= self.dag_ids if dag_ids else self.everything

    def acts_on(self, dag_id: str = "") -> str:
        """Return the DAG of actions, for all DAGs or for one, that they may trigger; empty if there is none."""
        return next((one for one in (DAG, dag_for(dag_id)) if one in self.dag_ids and self.triggers(one)), "")

    def may_see_bodies(self) -> bool:
        """Return whether they may start `windrow.harvest.actions.BODIES`, and it is there."""
        return BODIES in self.dag_ids and self.triggers(BODIES)

    def triggers(self, dag_id: str) -> bool:
        """Return whether they may start runs of this DAG. It decides what a page offers; Airflow checks it again."""
        details = DagDetails(id=dag_id)
        return get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=details, user=self.user
        )

    def reads_connection(self, conn_id: str) -> bool:
        """Return whether they may read this Airflow connection."""
        details = ConnectionDetails(conn_id=conn_id)
        return get_auth_manager().is_authorized_connection(method="GET", details=details, user=self.user)


@contextmanager
def open_store() -> Iterator[StatusStore]:
    """Open the MongoDB of the Airflow connection `CONN_ID` for reading, and close it at the end.

    :raises ConnectionUnusable: the connection does not exist, or is invalid.
    """
    try:
        hook = MongoHook(mongo_conn_id=CONN_ID)
    except AirflowNotFoundException:
        raise ConnectionUnusable(
            f"The Airflow connection '{CONN_ID}' does not exist for the API server.",
            advice=f"Add it under Admin > Connections, or set AIRFLOW_CONN_{CONN_ID.upper()} for the API server.",
        ) from None
    except AirflowConfigException as error:
        raise ConnectionUnusable(
            f"The Airflow connection '{CONN_ID}' is invalid: {error}.", advice="Fix it under Admin > Connections."
        ) from error
    hook.extras |= {"serverSelectionTimeoutMS": _SELECTION_MS, "socketTimeoutMS": _SOCKET_MS}
    keep_tls(hook)
    know(hook.connection.password)
    place = f"the Airflow connection '{CONN_ID}'"
    with connect(hook.get_conn, place) as client:
        yield StatusStore(client, hook.connection.schema or DATABASE, place)


def _refresh(name: str) -> Answer:
    """Take a snapshot; where that is not possible, keep the last one and say why."""
    try:
        facts, dag_ids = airflow_facts.read()
    except SQLAlchemyError as error:
        log.warning("Airflow's database could not be read", exc_info=error)
        facts, dag_ids = (
            Facts(error="Airflow's database did not answer: the states of its runs are unknown."),
            frozenset(),
        )
    try:
        with open_store() as store:
            _last["snapshot"] = take(store, facts)
            _last["dag_ids"] = dag_ids
    except WindrowError as error:
        log.warning("%s", error)
        snapshot = replace(_last.get("snapshot") or Snapshot(at=""), error=error.what, advice=error.advice)
        return {"snapshot": snapshot, "dag_ids": _last.get("dag_ids", dag_ids)}
    return dict(_last)


_last: Answer = {}
"""The last snapshot that was complete."""
cache = RefreshedCache(_refresh, seconds=FRESH_S, patience_s=LOOK_S)


def _measure(name: str) -> Answer:
    """Read the sizes of all streams of the last snapshot; where that is not possible, say why."""
    snapshot = _last.get("snapshot") or Snapshot(at="")
    try:
        with open_store() as store:
            _last["sizes"] = read_sizes(store, [one.dataset for one in snapshot.streams], iso(datetime.now(UTC)))
    except WindrowError as error:
        return {"sizes": _last.get("sizes"), "trouble": error.what}
    return {"sizes": _last["sizes"]}


sizes = RefreshedCache(_measure, seconds=SIZES_S, patience_s=LOOK_S)


_parts: dict[tuple[frozenset[str], bool], tuple[Snapshot, Snapshot]] = {}
"""The last snapshot, and the part of it that users with these rights see."""


async def look(user: BaseUser) -> tuple[Snapshot, Viewer]:
    """Return the newest snapshot as far as a user may see it."""
    answer = await cache.answer("all")
    if answer is None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        waiting = Snapshot(at="", error="The first snapshot is not ready yet.", advice=f"Reload the page. It is {now}.")
        answer = {"snapshot": waiting, "dag_ids": frozenset()}
    allowed, of_any = await run(lambda: _allowed(user))
    viewer = Viewer(allowed, of_any and answer["dag_ids"] <= allowed, user)
    whole: Snapshot = answer["snapshot"]
    known = _parts.get(viewer.rights)
    if known is None or known[0] is not whole:
        known = whole, await run(lambda: whole.only(viewer.sees))
        if len(_parts) >= _PARTS:
            _parts.clear()
        _parts[viewer.rights] = known
    return known[1], viewer


def _allowed(user: BaseUser) -> tuple[frozenset[str], bool]:
    manager = get_auth_manager()
    return frozenset(manager.get_authorized_dag_ids(user=user)), manager.is_authorized_dag(method="GET", user=user)


async def run(job: Callable[[], T]) -> T:
    """Run something that waits in a thread of this module."""
    return await asyncio.get_running_loop().run_in_executor(_pool, job)


async def read(job: Callable[[StatusStore], T]) -> T:
    """Read from MongoDB in a thread.

    :raises WindrowError: MongoDB did not answer, or its connection is invalid.
    """

    def opened() -> T:
        with open_store() as store:
            return job(store)

    return await run(opened)
