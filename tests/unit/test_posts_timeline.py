"""The posts of the fake X API over a restart of its server."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from local_cloud.apis.x.posts import Post
from local_cloud.apis.x.scene import Stage
from local_cloud.apis.x.search import Search
from local_cloud.apis.x.timeline import Timeline

pytestmark = pytest.mark.quick


def test_posts_are_there_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "apis" / "posts"
    first = Timeline(Stage(), file)
    first.make(30)
    made = list(first.newest_first())
    with file.open("ab") as torn:
        torn.write(b"17642")

    second = Timeline(Stage(), file)
    assert list(second.newest_first()) == made
    second.make(1)
    assert list(Timeline(Stage(), file).newest_first()) == list(second.newest_first())
    assert len(second) == 31


class CountedTimeline(Timeline):
    """Counts the posts that are made again."""

    made = 0

    def post(self, number: int) -> Post:
        self.made += 1
        return super().post(number)


def test_a_page_of_the_search_costs_the_same_however_many_posts_are_newer(tmp_path: Path) -> None:
    """Each page began at the newest post: filling a gap of 77 s, at 280 posts a second, took eleven minutes."""
    first_ms = int((time.time() - 3600) * 1000)
    file = tmp_path / "posts"
    file.write_text("".join(f"{first_ms + number * 4}\n" for number in range(20_000)))
    timeline = CountedTimeline(Stage(), file)
    search = Search(Stage(), timeline)

    def ask(**query: str) -> dict[str, Any]:
        url = str(URL("/2/tweets/search/recent").with_query({"query": "tesla", "max_results": "100"} | query))
        timeline.made = 0
        page: dict[str, Any] = json.loads(asyncio.run(search.answer(make_mocked_request("GET", url))).body or b"")
        return page

    end = datetime.fromtimestamp(first_ms // 1000 + 4, UTC).isoformat()  # a thousand posts are older
    page = ask(end_time=end)
    assert timeline.made < 400
    page = ask(end_time=end, next_token=page["meta"]["next_token"])
    assert timeline.made < 400
    assert len(page["data"]) == 100
