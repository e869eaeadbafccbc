"""The X API put together."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

from aiohttp import web

from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.tokens import Client
from local_cloud.apis.x.admin import Admin
from local_cloud.apis.x.limits import Window
from local_cloud.apis.x.problems import refuse
from local_cloud.apis.x.rules import Rules
from local_cloud.apis.x.scene import Stage
from local_cloud.apis.x.search import Search
from local_cloud.apis.x.stream import Stream
from local_cloud.apis.x.timeline import Timeline
from local_cloud.apis.x.tokens import AppToken

RULES = "/2/tweets/search/stream/rules"


class XApi:
    """Serves a stream that never ends."""

    def __init__(self, client: Client, posts: Path | None = None) -> None:
        self._stage = Stage()
        self._timeline = Timeline(self._stage, posts)
        self._rules = Rules()
        self._stream = Stream(self._stage, self._timeline, self._rules)
        self._search = Search(self._stage, self._timeline)
        self._token = AppToken(client)
        self._changes = Window(100)

    async def lifespan(self, _app: web.Application) -> AsyncIterator[None]:
        """Make posts for as long as the server runs; for `cleanup_ctx`."""
        making = asyncio.create_task(self._timeline.run())
        yield
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making

    def admin_routes(self) -> Iterable[web.RouteDef]:
        """Give the routes that no fault touches."""
        return Admin(
            self._stage, self._timeline, self._rules, self._stream, self._search, self._token, self._changes
        ).routes()

    def endpoints(self) -> Iterator[Endpoint]:
        """Describe the routes."""
        yield Endpoint(
            api="x",
            method="GET",
            path="/2/tweets/search/stream",
            answer=self._stream.answer,
            refuse=refuse,
            authorize=self._token.authorize,
        )
        yield Endpoint(
            api="x", method="GET", path=RULES, answer=self.list_rules, refuse=refuse, authorize=self._token.authorize
        )
        yield Endpoint(
            api="x", method="POST", path=RULES, answer=self.change_rules, refuse=refuse, authorize=self._token.authorize
        )
        yield Endpoint(
            api="x",
            method="GET",
            path="/2/tweets/search/recent",
            answer=self._search.answer,
            refuse=refuse,
            key=lambda request: request.query_string,
            authorize=self._token.authorize,
        )
        yield Endpoint(
            api="x", method="POST", path="/oauth2/token", answer=self._token.answer, refuse=refuse, issues_tokens=True
        )

    async def list_rules(self, _request: web.Request) -> web.Response:
        """Answer with all rules; `data` is left out when there is none."""
        rules = [rule.as_json() for rule in self._rules.all()]
        return json_response(({"data": rules} if rules else {}) | {"meta": {"result_count": len(rules)}})

    async def change_rules(self, request: web.Request) -> web.Response:
        """Add or delete rules. A rule that is there already is told in the body of a 200."""
        dry_run = request.query.get("dry_run") == "true"
        if not self._changes.take():
            return refuse(429, "")
        try:
            wanted = json.loads(await request.text())
            if "add" in wanted:
                answer = self._rules.add(wanted["add"], self._stage.scene.rule_delay_s, dry_run=dry_run)
            else:
                answer = self._rules.delete(wanted["delete"]["ids"], dry_run=dry_run)
        except (ValueError, KeyError, TypeError, AttributeError):
            return refuse(400, 'the body must be {"add": [{"value": ..., "tag": ...}]} or {"delete": {"ids": [...]}}')
        if answer["meta"]["summary"].get("invalid"):
            return json_response(answer, 400)
        return json_response(answer, 201 if answer.get("data") else 200)
