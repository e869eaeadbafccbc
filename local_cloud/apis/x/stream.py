"""`GET /2/tweets/search/stream`: one connection, a line for each post that a rule matches, and heartbeats."""

import asyncio
import json
from collections.abc import Mapping, Sequence, Set
from random import Random
from typing import Any

from aiohttp import web

from local_cloud.apis.endpoint import Endless
from local_cloud.apis.x.limits import Window
from local_cloud.apis.x.parameters import STREAM, complaint
from local_cloud.apis.x.posts import DEFAULT_FIELDS, RENAMED, Post, user
from local_cloud.apis.x.problems import disconnect, invalid, not_connected, refusal, refuse
from local_cloud.apis.x.rules import Rules
from local_cloud.apis.x.scene import Stage
from local_cloud.apis.x.timeline import Timeline

NEW_LINE = b"\r\n"


class Cut(ConnectionError):
    """The stream is to end without a word."""


def shown(
    posts: Sequence[Post], query: Mapping[str, str], vocabulary: str, always: Set[str] = DEFAULT_FIELDS
) -> dict[str, Any]:
    """Return posts as the body of an answer has them: with the fields that the query asks for, and some always."""
    old = {new: name for name, new in RENAMED.items()}
    asked = {
        old.get(name, name)
        for parameter in ("tweet.fields", "post.fields", "expansions")
        for name in query.get(parameter, "").split(",")
    }
    body: dict[str, Any] = {"data": [post.as_json(always | asked, vocabulary) for post in posts]}
    if "author_id" in query.get("expansions", "").split(","):
        body["includes"] = {"users": [user(author) for author in sorted({post.author_id for post in posts})]}
    return body


class Connection:
    """One client of the stream, and the lines that wait for it. None ends it, a Cut breaks it."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self.lines: asyncio.Queue[bytes | Cut | None] = asyncio.Queue()
        self.query = query
        self.sent = 0


class Stream:
    """The route."""

    def __init__(self, stage: Stage, timeline: Timeline, rules: Rules, limit: int = 50) -> None:
        self._stage = stage
        self._timeline = timeline
        self._rules = rules
        self._connection: Connection | None = None
        self._duplicates = Random(7)
        self.window = Window(limit)
        self.sent_ids: set[str] = set()
        """Posts that went out on any connection."""
        self.sent_lines = 0

    @property
    def connected(self) -> bool:
        """Whether somebody reads the stream."""
        return self._connection is not None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Open the stream, or say why not."""
        response = self._refusal(request.query) or Endless(self._feed(request), {"Content-Type": "application/json"})
        self.window.describe(response)
        return response

    def _refusal(self, query: Mapping[str, str]) -> web.Response | None:
        if not self.window.take():
            return refuse(429, "")
        if bad := complaint(query, STREAM):
            return invalid(bad)
        if self._stage.scene.refuse:
            return refusal(self._stage.scene.refuse)
        if self._connection is not None:
            return refusal("connections")
        if not len(self._rules):
            return not_connected(409, "RuleConfigurationIssue", "The stream has no rules.")
        return None

    def _feed(self, request: web.Request) -> Any:
        async def feed(response: web.StreamResponse) -> None:
            connection = Connection(dict(request.query))
            self._connection = connection
            self._timeline.listeners.add(self._hear)
            try:
                while (line := await self._next(connection)) is not None:
                    await response.write(line)
            finally:
                self._timeline.listeners.discard(self._hear)
                self._connection = None

        return feed

    async def _next(self, connection: Connection) -> bytes | None:
        """Wait for the next line; a heartbeat when there is none for a while."""
        while True:
            try:
                line = await asyncio.wait_for(connection.lines.get(), self._stage.scene.heartbeat_s)
            except TimeoutError:
                line = NEW_LINE
            if isinstance(line, Cut):
                raise line
            if line is None or not self._stage.scene.silent:
                return line

    def _hear(self, post: Post) -> None:
        """Send a post that a rule matches."""
        connection, matching = self._connection, self._rules.matching(post)
        if connection is None or not matching or self._stage.scene.silent:
            return
        if connection.lines.qsize() >= self._stage.scene.line_limit:
            self.end("SlowReader", "This stream has been disconnected as its client reads too slowly.")
            return
        body = shown([post], connection.query, self._stage.scene.vocabulary)
        body["data"] = body["data"][0]
        body["matching_rules"] = [{"id": rule.id, "tag": rule.tag} for rule in matching]
        line = json.dumps(body, ensure_ascii=False).encode()
        times = 1 + (self._duplicates.random() < self._stage.scene.duplicate_share)
        for _ in range(times):
            self.send(line)
        self.sent_ids.add(post.id)

    def send(self, line: bytes) -> None:
        """Send a line of any content to whoever is connected."""
        if self._connection is not None:
            self._connection.lines.put_nowait(line + NEW_LINE)
            self.sent_lines += 1

    def end(self, kind: str, detail: str) -> None:
        """End the stream with the error that says why."""
        self.send(json.dumps(disconnect(kind, detail)).encode())
        if self._connection is not None:
            self._timeline.listeners.discard(self._hear)
            self._connection.lines.put_nowait(None)

    def cut(self) -> None:
        """Break the connection without a word."""
        if self._connection is not None:
            self._connection.lines.put_nowait(Cut("cut by the admin route"))
