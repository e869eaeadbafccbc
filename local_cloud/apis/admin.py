"""The admin routes: how tests and people turn faults on and read the counters. No fault touches them."""

from collections.abc import Iterable, Sequence

from aiohttp import web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import json_response
from local_cloud.apis.faults import BadFault, FaultSwitch, parse_changes
from local_cloud.apis.tokens import TokenStore


class Admin:
    """Routes under `/_admin`."""

    def __init__(self, switch: FaultSwitch, counters: Counters, tokens: Sequence[TokenStore]) -> None:
        self._switch = switch
        self._counters = counters
        self._tokens = tokens

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes for the router."""
        return [
            web.get("/_admin/health", self.health),
            web.get("/_admin/faults", self.show_faults),
            web.put("/_admin/faults", self.change_faults),
            web.delete("/_admin/faults", self.reset_faults),
            web.get("/_admin/counters", self.show_counters),
            web.post("/_admin/reset", self.reset_counters),
            web.delete("/_admin/tokens", self.revoke_tokens),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Say that the server is up."""
        return json_response({"status": "ok"})

    async def show_faults(self, _request: web.Request) -> web.Response:
        """Give all fault switches."""
        return json_response(self._switch.current.as_json())

    async def change_faults(self, request: web.Request) -> web.Response:
        """Change the switches the body names, and no others."""
        try:
            self._switch.change(parse_changes(await request.text()))
        except BadFault as bad:
            return json_response({"error": "bad_fault", "message": str(bad)}, 400)
        return await self.show_faults(request)

    async def reset_faults(self, request: web.Request) -> web.Response:
        """Let nothing go wrong any more."""
        self._switch.reset()
        return await self.show_faults(request)

    async def show_counters(self, request: web.Request) -> web.Response:
        """Give the counters; with `?detail=1` also how often each key was asked for and served."""
        return json_response(self._counters.report(detail=request.query.get("detail") == "1"))

    async def reset_counters(self, _request: web.Request) -> web.Response:
        """Zero the counters."""
        self._counters.reset()
        return json_response(self._counters.report())

    async def revoke_tokens(self, _request: web.Request) -> web.Response:
        """Make every token issued so far unknown, whatever it opens."""
        for store in self._tokens:
            store.revoke_all()
        return web.Response(status=204)
