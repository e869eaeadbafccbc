"""`GET /2/tweets/search/recent`: the last seven days, the newest first, in pages, and without reposts."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from aiohttp import web

from local_cloud.apis.endpoint import json_response
from local_cloud.apis.x.limits import Window
from local_cloud.apis.x.parameters import SEARCH, complaint
from local_cloud.apis.x.posts import DEFAULT_FIELDS, EPOCH_MS, RELATIONS, Post
from local_cloud.apis.x.problems import invalid, refusal, refuse
from local_cloud.apis.x.rules import BadQuery, Test, compile_query
from local_cloud.apis.x.scene import Stage
from local_cloud.apis.x.stream import Cut, shown
from local_cloud.apis.x.timeline import Timeline

DAYS_S = 7 * 24 * 3600
LONGEST_QUERY = 512


class Search:
    """The route."""

    def __init__(self, stage: Stage, timeline: Timeline, limit: int = 450) -> None:
        self._stage = stage
        self._timeline = timeline
        self.window = Window(limit)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with a page of posts."""
        scene = self._stage.scene
        fault = self._stage.search_fault() if "next_token" in request.query else None
        if fault == "cut":
            raise Cut("cut by the scene")
        if not self.window.take():
            response = refuse(429, "")
        elif fault == "unavailable":
            response = refusal(fault)
        elif fault == "malformed":
            response = web.Response(text="<html>")
        elif scene.refuse in {"credits", "spend_cap", "usage_cap", "unavailable"}:
            response = refusal(str(scene.refuse))
        else:
            try:
                response = self._page(request.query)
            except (BadQuery, ValueError) as error:
                response = invalid(str(error))
        self.window.describe(response)
        return response

    def _page(self, query: Mapping[str, str]) -> web.Response:
        scene = self._stage.scene
        asked = "tweet" if "tweet.fields" in query else "post"
        words = asked if scene.search_words == "both" else scene.search_words
        if bad := complaint(query, SEARCH[words]):
            raise BadQuery(bad)
        value, most = query.get("query", ""), int(query.get("max_results", 10))
        if not 0 < len(value) <= LONGEST_QUERY:
            raise BadQuery(f"query must have 1 to {LONGEST_QUERY} characters")
        if not 10 <= most <= 100:
            raise BadQuery("max_results must be 10 to 100")
        since = int(query.get("since_id", 0))
        oldest = (int((time.time() - DAYS_S) * 1000) - EPOCH_MS) << 22
        if since and since < oldest:
            raise BadQuery(
                f"'since_id' must be a tweet id created in the last 7 days. Please use one larger than {oldest}"
            )
        until = int(query.get("next_token") or query.get("until_id") or 2**63)
        found = list(islice(self._matching(compile_query(value), query, since, until), most + 1))
        page = found[:most]
        meta: dict[str, Any] = {"result_count": len(page)}
        if page:
            meta |= {"newest_id": page[0].id, "oldest_id": page[-1].id}
        if len(found) > most:
            meta["next_token"] = page[-1].id
        body: dict[str, Any] = {"meta": meta}
        if page:
            always = DEFAULT_FIELDS
            if words == "post":
                always = DEFAULT_FIELDS | RELATIONS if scene.search_relations else DEFAULT_FIELDS - RELATIONS
            body |= shown(page, query, words, always)
        return json_response(body)

    def _matching(self, test: Test, query: Mapping[str, str], since: int, until: int) -> Iterator[Post]:
        begin, end = (_moment(query.get(name)) for name in ("start_time", "end_time"))
        newest = datetime.fromtimestamp(time.time() - self._stage.scene.search_lag_s, UTC)
        end = min(end or newest, newest)
        through_ms = min(end.timestamp() * 1000, (until >> 22) + EPOCH_MS)
        for post in self._timeline.newest_first(through_ms):
            if int(post.id) <= since or (begin and post.created_at < begin):
                return
            if int(post.id) < until and post.created_at <= end and post.repost_of is None and test(post):
                yield post


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
