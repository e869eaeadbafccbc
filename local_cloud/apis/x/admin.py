"""Routes under `/_admin/x`: what tests and people do to the stream, and what they can know of it."""

import json
from collections.abc import Iterable

from aiohttp import web
from pydantic import ValidationError

from local_cloud.apis.endpoint import json_response
from local_cloud.apis.x.limits import Window
from local_cloud.apis.x.rules import BadQuery, Rules, compile_query
from local_cloud.apis.x.scene import Scene, Stage
from local_cloud.apis.x.search import Search
from local_cloud.apis.x.stream import Stream
from local_cloud.apis.x.timeline import Timeline
from local_cloud.apis.x.tokens import AppToken


class Admin:
    """The routes."""

    def __init__(
        self,
        stage: Stage,
        timeline: Timeline,
        rules: Rules,
        stream: Stream,
        search: Search,
        token: AppToken,
        changes: Window,
    ) -> None:
        self._stage = stage
        self._timeline = timeline
        self._rules = rules
        self._stream = stream
        self._search = search
        self._token = token
        self._changes = changes

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes for the router."""
        return [
            web.get("/_admin/x", self.show),
            web.put("/_admin/x/scene", self.change),
            web.delete("/_admin/x", self.reset),
            web.post("/_admin/x/posts", self.make),
            web.get("/_admin/x/posts", self.ids),
            web.post("/_admin/x/lines", self.send),
            web.post("/_admin/x/end", self.end),
            web.post("/_admin/x/cut", self.cut),
            web.delete("/_admin/x/token", self.revoke),
        ]

    async def show(self, _request: web.Request) -> web.Response:
        """Give the scene, and what the stream did."""
        return json_response({
            "scene": self._stage.scene.model_dump(),
            "made": len(self._timeline),
            "connected": self._stream.connected,
            "sent_lines": self._stream.sent_lines,
            "sent_posts": len(self._stream.sent_ids),
            "rules": [rule.as_json() for rule in self._rules.all()],
        })

    async def change(self, request: web.Request) -> web.Response:
        """Change what the body names of the scene, and nothing else."""
        try:
            self._stage.scene = self._stage.scene.changed(json.loads(await request.text()))
        except (ValidationError, ValueError, TypeError) as error:
            return json_response({"error": "bad_scene", "message": str(error)}, 400)
        return await self.show(request)

    async def reset(self, request: web.Request) -> web.Response:
        """Begin anew, but for the posts that were made: the scene, the rules, the windows, the first token."""
        self._stage.scene = Scene(rate_per_s=0)
        self._rules.delete([rule.id for rule in self._rules.all()], dry_run=False)
        self._stream.sent_ids.clear()
        self._stream.sent_lines = 0
        self._stream.window.reset()
        self._search.window.reset()
        self._changes.reset()
        self._token.restore()
        return await self.show(request)

    async def make(self, request: web.Request) -> web.Response:
        """Make so many posts now, whatever the rate: `?count=10`."""
        self._timeline.make(int(request.query.get("count", 1)))
        return await self.show(request)

    async def ids(self, request: web.Request) -> web.Response:
        """Give the ids of posts: all that match `?query=...`, or with `?sent=1` those that went out on a stream."""
        if request.query.get("sent"):
            return json_response({"ids": sorted(self._stream.sent_ids, key=int)})
        try:
            matches = compile_query(request.query.get("query", ""))
        except BadQuery as error:
            return json_response({"error": "bad_query", "message": str(error)}, 400)
        return json_response({"ids": [post.id for post in self._timeline.newest_first() if matches(post)]})

    async def send(self, request: web.Request) -> web.Response:
        """Send the lines of the body on the stream, just as they are."""
        for line in (await request.read()).splitlines():
            self._stream.send(line)
        return await self.show(request)

    async def end(self, request: web.Request) -> web.Response:
        """End the stream with an error in it; `?kind=` is its disconnect_type."""
        self._stream.end(request.query.get("kind", "OperationalDisconnect"), "This stream has been disconnected.")
        return await self.show(request)

    async def cut(self, request: web.Request) -> web.Response:
        """Break the connection of the stream."""
        self._stream.cut()
        return await self.show(request)

    async def revoke(self, _request: web.Request) -> web.Response:
        """Make the app's token bad."""
        self._token.revoke()
        return web.Response(status=204)
