"""Faults, tokens and counters of the server as the routes of YouTube have them."""

from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi, Reply
from local_cloud.apis.youtube.catalog import DEMO, SECOND
from tests.apis.youtube.conftest import Ask

CHANNEL, UPLOADS, VIDEO = "/youtube/v3/channels", "/youtube/v3/playlistItems", "/youtube/v3/videos"
REPORTS = "/v2/reports"
PATHS = CHANNEL, UPLOADS, VIDEO, "/youtube/v3/search", REPORTS
MINE = {"part": "id", "mine": "true"}
REPORT: dict[str, Any] = {
    "ids": "channel==MINE",
    "startDate": "2026-10-01",
    "endDate": "2026-10-02",
    "metrics": "views,likes",
    "dimensions": "day",
    "filters": f"video=={DEMO.videos[0].id}",
}


def told(reply: Reply) -> tuple[int, str, str | None]:
    """Give status, reason and the name of the status; they must agree with one another."""
    error = reply.json()["error"]
    assert error["code"] == reply.status
    assert error["message"]
    return reply.status, error["errors"][0]["reason"], error.get("status")


@pytest.mark.parametrize("path", PATHS)
class TestShapes:
    def test_without_a_token(self, api: FakeApi, path: str) -> None:
        reply = api.get(path)
        assert told(reply) == (401, "required", "UNAUTHENTICATED")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="https://accounts.google.com/"'

    def test_with_a_bad_token(self, api: FakeApi, path: str) -> None:
        reply = api.get(path, "made-up")
        assert told(reply) == (401, "authError", "UNAUTHENTICATED")
        assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
        assert "made-up" not in reply.body.decode()

    def test_a_storm_of_401(self, api: FakeApi, ask: Ask, path: str) -> None:
        api.faults(unauthorized_share=1)
        assert told(ask(path)) == (401, "authError", "UNAUTHENTICATED")

    def test_too_fast(self, api: FakeApi, ask: Ask, path: str) -> None:
        api.faults(throttle_share=1, retry_after=3)
        reply = ask(path)
        assert told(reply) == (429, "rateLimitExceeded", "RESOURCE_EXHAUSTED")
        assert reply.headers["Retry-After"] == "3"

    def test_too_fast_the_other_way(self, api: FakeApi, ask: Ask, path: str) -> None:
        api.youtube(throttle_status=403)
        api.faults(throttle_share=1)
        reply = ask(path)
        assert told(reply) == (403, "rateLimitExceeded", "PERMISSION_DENIED")
        assert reply.json()["error"]["errors"][0]["domain"] == "usageLimits"
        assert reply.headers["Retry-After"] is None

    @pytest.mark.parametrize(("status", "name"), [(500, "INTERNAL"), (503, "UNAVAILABLE"), (502, None)])
    def test_the_server_fails(self, api: FakeApi, ask: Ask, path: str, status: int, name: str | None) -> None:
        api.faults(error_share=1, error_status=status)
        assert told(ask(path)) == (status, "backendError", name)


def test_the_two_apis_have_limits_of_their_own(api: FakeApi, ask: Ask) -> None:
    api.faults(requests_per_second=0.001)
    assert [ask(CHANNEL, **MINE).status for _ in range(2)] == [200, 429]
    assert [ask(REPORTS, **REPORT).status for _ in range(2)] == [200, 429]


def test_a_page_can_come_with_every_item_twice(api: FakeApi, ask: Ask) -> None:
    api.faults(duplicate_list=True)
    items = ask(UPLOADS, part="contentDetails", playlistId=SECOND.uploads).json()["items"]
    assert [item["contentDetails"]["videoId"] for item in items] == [video.id for video in SECOND.videos[::-1]] * 2
    assert ask(CHANNEL, part="id", id="nobody").status == 200, "an answer without items stays as it is"
    assert ask(REPORTS, **REPORT | {"filters": "video==nothingthat"}).status == 200


def test_unknown_fields_do_no_harm(api: FakeApi, ask: Ask) -> None:
    api.faults(unknown_fields=True)
    answer = ask(REPORTS, **REPORT).json()
    assert len(answer["rows"]) == 2
    assert "_added_later" in answer


class TestCounters:
    def test_a_report_is_known_by_its_question_however_it_is_put(self, api: FakeApi, ask: Ask) -> None:
        ask(REPORTS, **REPORT)
        ask(REPORTS, **dict(reversed(REPORT.items())), prettyPrint="false")
        ask(REPORTS, **REPORT | {"metrics": "likes,views"})
        route = api.counters(detail=True)["routes"]["GET /v2/reports"]
        assert (route["requests"], route["unique"], route["repeated_ok"]) == (3, 2, 1)
        key = (
            f"dimensions=day&endDate=2026-10-02&filters=video=={DEMO.videos[0].id}&ids=channel==MINE"
            "&metrics=views,likes&startDate=2026-10-01"
        )
        assert route["served"][key] == 2

    def test_details_of_videos_are_known_by_their_ids(self, api: FakeApi, ask: Ask) -> None:
        one, other = SECOND.videos[0].id, SECOND.videos[1].id
        ask(VIDEO, part="id", id=f"{one},{other}")
        ask(VIDEO, part="snippet", id=f"{one},{other}")
        ask(VIDEO, part="id", id=one)
        route = api.counters(detail=True)["routes"]["GET /youtube/v3/videos"]
        assert route["asked"] == {f"{one},{other}": 2, one: 1}

    def test_pages_are_told_apart(self, api: FakeApi, ask: Ask) -> None:
        query = {"part": "id", "playlistId": DEMO.uploads}
        token = ask(UPLOADS, **query).json()["nextPageToken"]
        ask(UPLOADS, **query, pageToken=token)
        route = api.counters()["routes"]["GET /youtube/v3/playlistItems"]
        assert (route["requests"], route["unique"], route["repeated"]) == (2, 2, 0)

    def test_a_question_can_have_the_same_fault_each_time(self, api: FakeApi, ask: Ask) -> None:
        stuck = SECOND.videos[0].id
        api.faults(sticky={stuck: 404})
        assert told(ask(VIDEO, part="id", id=stuck)) == (404, "notFound", "NOT_FOUND")
        assert ask(VIDEO, part="id", id=SECOND.videos[1].id).status == 200

    def test_all_routes_are_in_the_totals(self, api: FakeApi, ask: Ask) -> None:
        for path in PATHS:
            ask(path)
        totals = api.counters()["totals"]
        assert (totals["requests"], totals["by_status"]) == (5, {"400": 5})
