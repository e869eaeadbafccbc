"""The admin routes: how tests and people turn faults on and read the counters. No fault touches them.

Each acts on the API that `?api=NAME` names, or on all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from local_cloud.apis.counters import Counters, Crowd, report
from local_cloud.apis.endpoint import json_response
from local_cloud.apis.faults import BadFault, Faults, FaultSwitch, parse_changes
from local_cloud.apis.tokens import TokenStore


@dataclass(frozen=True)
class Controls:
    """What the admin routes change and read of one API."""

    switch: FaultSwitch
    counters: Counters
    tokens: TokenStore
    """Empty where an API has tokens of another kind, and an admin route of its own for them: GitHub and X."""

    @classmethod
    def make(cls, faults: Faults, everywhere: Crowd) -> Self:
        """Begin with these faults and with counters at zero."""
        switch = FaultSwitch(faults)
        return cls(switch, Counters(everywhere), TokenStore(switch))


OTHER_TOKENS: Mapping[str, str] = {
    "github": "the tokens of github are known or bad: PUT /_admin/github with bad_tokens",
    "x": "x has one token: DELETE /_admin/x/token",
}
"""How to make a token bad where it comes from no token endpoint of ours."""


class UnknownApi(web.HTTPBadRequest):
    """No API has the name that `?api=` gives; the text names those that there are."""


class Admin:
    """Routes under `/_admin`."""

    def __init__(self, controls: Mapping[str, Controls], everywhere: Crowd) -> None:
        self._controls = controls
        self._everywhere = everywhere

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

    async def show_faults(self, request: web.Request) -> web.Response:
        """Give all fault switches; of all APIs only while they have the same."""
        switches = [one.switch.current.as_json() for one in self._meant(request)]
        if any(other != switches[0] for other in switches):
            message = f"the APIs have different faults; ask for one with ?api={' or '.join(self._controls)}"
            return json_response({"error": "different_faults", "message": message}, 409)
        return json_response(switches[0])

    async def change_faults(self, request: web.Request) -> web.Response:
        """Change the switches the body names, and no others."""
        try:
            changes = parse_changes(await request.text())
            for one in self._meant(request):  # a bad change is refused by the first, so before any is made
                one.switch.change(changes)
        except BadFault as bad:
            return json_response({"error": "bad_fault", "message": str(bad)}, 400)
        return json_response(self._common_faults(request))

    async def reset_faults(self, request: web.Request) -> web.Response:
        """Let nothing go wrong any more."""
        for one in self._meant(request):
            one.switch.reset()
        return json_response(self._common_faults(request))

    async def show_counters(self, request: web.Request) -> web.Response:
        """Give the counters; with `?detail=1` also how often each key was asked for and served."""
        return json_response(self._report(request, detail=request.query.get("detail") == "1"))

    async def reset_counters(self, request: web.Request) -> web.Response:
        """Zero the counters."""
        for one in self._meant(request):
            one.counters.reset()
        if "api" not in request.query:
            self._everywhere.reset()
        return json_response(self._report(request))

    async def revoke_tokens(self, request: web.Request) -> web.Response:
        """Make every token of Titanic, YouTube and Spotify unknown, or those of one of these APIs."""
        name = request.query.get("api")
        if name in OTHER_TOKENS:
            return json_response({"error": "other_tokens", "message": OTHER_TOKENS[name]}, 400)
        for one in self._meant(request):
            one.tokens.revoke_all()
        return web.Response(status=204)

    def _common_faults(self, request: web.Request) -> dict[str, object]:
        """Return the switches on which all meant APIs agree, among them those that were just changed."""
        first, *others = [one.switch.current.as_json() for one in self._meant(request)]
        return {name: value for name, value in first.items() if all(other[name] == value for other in others)}

    def _report(self, request: web.Request, *, detail: bool = False) -> dict[str, object]:
        parts = [one.counters for one in self._meant(request)]
        return report(parts, parts[0].crowd if "api" in request.query else self._everywhere, detail=detail)

    def _meant(self, request: web.Request) -> list[Controls]:
        """Return the controls that a request is about; raises UnknownApi."""
        name = request.query.get("api")
        if name is None:
            return list(self._controls.values())
        if name not in self._controls:
            raise UnknownApi(text=f"there is no API {name!r}; the APIs are {', '.join(self._controls)}")
        return [self._controls[name]]
