"""The HTTP side: health, the certificates of the tokens, and what the queues do."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from local_cloud.emulators.cloud_tasks_server.messages import PAUSED
from local_cloud.emulators.cloud_tasks_server.registry import Registry
from local_cloud.emulators.cloud_tasks_server.store import GivenUp, Store
from local_cloud.emulators.identity import Identity


class Admin:
    """The routes."""

    def __init__(self, registry: Registry, store: Store, identity: Identity) -> None:
        self._registry = registry
        self._store = store
        self._identity = identity

    def application(self) -> web.Application:
        """Return the application that serves them."""
        application = web.Application()
        application.add_routes([
            web.get("/health", self._health),
            web.get("/certs", self._certificates),
            web.get("/queues", self._queues),
        ])
        return application

    async def _health(self, _: web.Request) -> web.Response:
        """It answers, so the server works: all of it runs in one loop."""
        return web.json_response({"status": "ok"})

    async def _certificates(self, _: web.Request) -> web.Response:
        return web.json_response(self._identity.certificates())

    async def _queues(self, _: web.Request) -> web.Response:
        return web.json_response({
            queue.queue.name: self._report(queue.queue, queue.counts()) for queue in self._registry.all()
        })

    def _report(self, queue: Any, counts: Mapping[str, int]) -> dict[str, Any]:
        given_up = self._store.given_up(queue.name)
        return {
            "state": "PAUSED" if queue.state == PAUSED else "RUNNING",
            **counts,
            **dataclasses.asdict(self._store.totals(queue.name)),
            "gave_up": len(given_up),
            "given_up": [_shown(task) for task in given_up],
        }


def _shown(task: GivenUp) -> dict[str, Any]:
    at = datetime.datetime.fromtimestamp(task.at, datetime.UTC)
    return {**dataclasses.asdict(task), "at": at.isoformat(timespec="milliseconds")}
