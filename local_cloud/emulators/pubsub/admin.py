"""The HTTP side: health, the certificates of the tokens, and what the subscriptions hold."""

import dataclasses
from typing import Any

from aiohttp import web

from local_cloud.emulators.identity import Identity
from local_cloud.emulators.pubsub.backlog import Backlog
from local_cloud.emulators.pubsub.registry import Registry


class Admin:
    """The routes."""

    def __init__(self, registry: Registry, identity: Identity) -> None:
        self._registry = registry
        self._identity = identity

    def application(self) -> web.Application:
        """Return the application that serves them."""
        application = web.Application()
        application.add_routes([
            web.get("/health", self._health),
            web.get("/certs", self._certificates),
            web.get("/subscriptions", self._subscriptions),
        ])
        return application

    async def _health(self, _: web.Request) -> web.Response:
        """It answers, so the server works: all of it runs in one loop."""
        return web.json_response({"status": "ok"})

    async def _certificates(self, _: web.Request) -> web.Response:
        return web.json_response(self._identity.certificates())

    async def _subscriptions(self, _: web.Request) -> web.Response:
        attached = self._registry.subscriptions
        return web.json_response({name: _report(attached[name].backlog) for name in sorted(attached)})


def _report(backlog: Backlog) -> dict[str, Any]:
    return {
        "waiting": len(backlog) - backlog.leased,
        "leased": backlog.leased,
        "oldest_s": round(backlog.oldest_s, 3),
        **dataclasses.asdict(backlog.totals),
    }
