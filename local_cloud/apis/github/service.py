"""The fake GitHub put together, and its admin route: `/_admin/github`."""

import dataclasses
import json
from collections.abc import Iterable, Iterator

from aiohttp import web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.github.gate import Gate
from local_cloud.apis.github.graphql import GraphqlApi
from local_cloud.apis.github.keyring import Keyring
from local_cloud.apis.github.limits import Ledger
from local_cloud.apis.github.rest import RestApi
from local_cloud.apis.github.settings import BadSetting, Dial
from local_cloud.apis.github.world import make_world


class Github:
    """GitHub, its settings, and what its owners have spent."""

    def __init__(self, counters: Counters) -> None:
        self._dial = Dial()
        self._ledger = Ledger(self._dial)
        self._keyring = Keyring(self._dial)
        gate = Gate(self._dial, self._ledger, self._keyring)
        world = make_world()
        self._rest = RestApi(world, self._dial, self._ledger, self._keyring, gate, counters)
        self._graphql = GraphqlApi(world, self._ledger, gate)

    def endpoints(self) -> Iterator[Endpoint]:
        """Describe the routes of the API."""
        yield from self._rest.endpoints()
        yield self._graphql.endpoint()

    def admin_routes(self) -> Iterable[web.RouteDef]:
        """Give the admin routes for the router."""
        return [
            web.get("/_admin/github", self.show),
            web.put("/_admin/github", self.change),
            web.delete("/_admin/github", self.reset),
            web.get("/_admin/github/app", self.show_app),
        ]

    async def show(self, _request: web.Request) -> web.Response:
        """Give the settings, and the counts of every owner and window."""
        return json_response({"settings": dataclasses.asdict(self._dial.current)} | self._ledger.report())

    async def change(self, request: web.Request) -> web.Response:
        """Change the settings that the body names, and no others."""
        try:
            changes = json.loads(await request.text())
            if not isinstance(changes, dict):
                raise BadSetting("the settings must be a JSON object")
            self._dial.change(changes)
        except ValueError as bad:
            return json_response({"error": "bad_setting", "message": str(bad)}, 400)
        return await self.show(request)

    async def reset(self, request: web.Request) -> web.Response:
        """Restore the settings, begin all windows anew, and end installation tokens."""
        self._dial.reset()
        self._ledger.reset()
        self._keyring.revoke_all()
        return await self.show(request)

    async def show_app(self, _request: web.Request) -> web.Response:
        """Give what the owner of the demo App knows: its id, private key and installations."""
        return json_response(self._keyring.app)
