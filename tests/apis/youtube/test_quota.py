"""Budgets of a Pacific day: what costs a unit, when they are spent, and when they are back."""

from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi, Reply
from local_cloud.apis.youtube.catalog import DEMO
from tests.apis.youtube.conftest import Ask

CHANNEL, UPLOADS, VIDEO = "/youtube/v3/channels", "/youtube/v3/playlistItems", "/youtube/v3/videos"
SEARCH, REPORTS = "/youtube/v3/search", "/v2/reports"
MINE = {"part": "id", "mine": "true"}
FIND = {"part": "snippet", "type": "video", "order": "date"}
REPORT: dict[str, Any] = {
    "ids": "channel==MINE",
    "startDate": "2026-10-01",
    "endDate": "2026-10-01",
    "metrics": "views",
    "dimensions": "day",
    "filters": f"video=={DEMO.videos[0].id}",
}


def units(api: FakeApi, bucket: str) -> tuple[int, int]:
    """Give the units used and refused."""
    of_bucket = api.youtube()["units"][bucket]
    return of_bucket["used"], of_bucket["refused"]


def is_spent(reply: Reply) -> bool:
    if reply.status == 200:
        return False
    error = reply.json()["error"]
    assert (reply.status, error["code"]) == (403, 403)
    assert error["errors"][0]["domain"] == "youtube.quota"
    assert error["errors"][0]["reason"] == "quotaExceeded"
    return True


def test_the_limits_are_googles_where_google_publishes_them(api: FakeApi) -> None:
    limits = {bucket: each["limit"] for bucket, each in api.youtube()["units"].items()}
    assert limits == {"data": 10_000, "search": 100, "analytics": None}


def test_listing_200_videos_costs_nine_units(api: FakeApi, ask: Ask) -> None:
    ask(CHANNEL, **MINE)
    token: dict[str, str] = {}
    for _ in range(4):
        page = ask(UPLOADS, part="contentDetails", playlistId=DEMO.uploads, maxResults=50, **token).json()
        token = {"pageToken": page.get("nextPageToken", "")}
        ask(VIDEO, part="statistics", id=",".join(item["contentDetails"]["videoId"] for item in page["items"]))
    assert units(api, "data") == (9, 0)
    assert units(api, "search") == units(api, "analytics") == (0, 0)


def test_a_search_and_a_report_have_budgets_of_their_own(api: FakeApi, ask: Ask) -> None:
    ask(SEARCH, **FIND)
    ask(REPORTS, **REPORT)
    ask(REPORTS, **REPORT)
    assert [units(api, bucket)[0] for bucket in ("data", "search", "analytics")] == [0, 1, 2]


def test_an_invalid_call_costs_a_unit_too(api: FakeApi, ask: Ask) -> None:
    assert ask(CHANNEL).status == 400
    assert ask(UPLOADS, part="id", playlistId="none").status == 404
    assert ask(REPORTS).status == 400
    assert units(api, "data") == (2, 0)
    assert units(api, "analytics") == (1, 0)


@pytest.mark.parametrize(
    ("bucket", "setting", "path", "query"),
    [
        ("data", "data_units", CHANNEL, MINE),
        ("search", "search_calls", SEARCH, FIND),
        ("analytics", "analytics_units", REPORTS, REPORT),
    ],
)
def test_what_is_spent_is_refused_and_counted(
    api: FakeApi, ask: Ask, bucket: str, setting: str, path: str, query: dict[str, Any]
) -> None:
    api.youtube(**{setting: 3})
    assert [is_spent(ask(path, **query)) for _ in range(5)] == [False, False, False, True, True]
    assert units(api, bucket) == (3, 2)
    others = {"data", "search", "analytics"} - {bucket}
    assert [units(api, other) for other in others] == [(0, 0), (0, 0)]
    api.youtube(**{setting: 4})
    assert [is_spent(ask(path, **query)) for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("last_second", "midnight"),
    [
        ("2026-07-02T06:59:59Z", "2026-07-02T07:00:00Z"),
        ("2026-11-21T07:59:59Z", "2026-11-21T08:00:00Z"),
        ("2026-03-09T06:59:59Z", "2026-03-09T07:00:00Z"),  # the day on which summer time began
        ("2026-11-02T07:59:59Z", "2026-11-02T08:00:00Z"),  # and on which it ended
    ],
)
def test_units_are_back_at_midnight_in_california(api: FakeApi, ask: Ask, last_second: str, midnight: str) -> None:
    api.youtube(now=last_second, data_units=1)
    assert not is_spent(ask(CHANNEL, **MINE))
    assert is_spent(ask(CHANNEL, **MINE))
    api.youtube(now=midnight)
    assert units(api, "data") == (0, 0)
    assert not is_spent(ask(CHANNEL, **MINE))
    api.youtube(now=last_second)
    assert units(api, "data") == (1, 1), "the day before is not forgotten"


def test_what_no_token_or_a_fault_keeps_out_costs_nothing(api: FakeApi, ask: Ask) -> None:
    assert api.get(CHANNEL, "no token", **MINE).status == 401
    api.faults(throttle_share=1)
    assert ask(CHANNEL, **MINE).status == 429
    api.faults(throttle_share=0, error_share=1)
    assert ask(CHANNEL, **MINE).status == 500
    assert units(api, "data") == (0, 0)


def test_looking_costs_nothing_and_a_reset_gives_all_back(api: FakeApi, ask: Ask) -> None:
    api.youtube(data_units=1)
    ask(CHANNEL, **MINE)
    ask(CHANNEL, **MINE)
    api.youtube()
    assert units(api, "data") == (1, 1)
    api.reset_youtube()
    api.youtube(now="2026-11-20T12:00:00-08:00")
    assert units(api, "data") == (0, 0)
