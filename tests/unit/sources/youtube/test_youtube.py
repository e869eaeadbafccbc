"""The streams of YouTube: which calls they plan, and what they take for an answer."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.apis.youtube.catalog import DEMO
from local_cloud.apis.youtube.resources import resource, video_parts
from tests.unit.flow import lead, led
from tests.unit.measured import measured
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import BadParameter, NotGiven, QueryRefused, Unreadable
from windrow.model.query import Query
from windrow.model.stream import MaybePage, Request
from windrow.sources.youtube.streams import PARTS, QUOTAS, VideoDays, Videos

CHANNEL = "UC" + "c" * 22
CHANNELS = {"items": [{"id": CHANNEL, "contentDetails": {"relatedPlaylists": {"uploads": "UU" + "c" * 22}}}]}
AT = datetime(2026, 11, 21, 14, tzinfo=UTC)  # the 21st in California, so the 20th is the last day that has ended
DAYS = VideoDays()
VIDEOS = Videos()
HEADERS = ["day", *(column.field for column in VideoDays.contract.columns if column.field not in {"video", "day"})]


def playlist(*ids: str, token: str = "") -> dict[str, Any]:
    page: dict[str, Any] = {"items": [{"contentDetails": {"videoId": video}} for video in ids]}
    return page | ({"nextPageToken": token} if token else {})


def missing(status: int) -> QueryRefused:
    return (NotGiven if status == 404 else QueryRefused)("no", advice="no", status=status)


def planned(stream: Any = DAYS, at: datetime = AT, mark: str = "", **params: object) -> list[Query]:
    _, queries = lead(stream, Request(params, at, mark), [CHANNELS, playlist("a", "b")])
    return queries


def span(queries: list[Query]) -> tuple[str, str]:
    found = {(dict(query.params)["startDate"], dict(query.params)["endDate"]) for query in queries}
    assert len(found) == 1
    return found.pop()


# --- listing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [VIDEOS, DAYS])
def test_the_uploads_of_the_own_channel_are_listed_page_by_page(stream: Any):
    pages = [playlist("a", "b", token="p2"), playlist("c", token="p 3&"), playlist("d")]
    asked, _ = lead(stream, Request(at=AT), [CHANNELS, *pages])
    assert [query.path for query in asked] == ["/youtube/v3/channels", *["/youtube/v3/playlistItems"] * 3]
    assert dict(asked[0].params)["mine"] == "true"
    assert [dict(query.params).get("pageToken") for query in asked[1:]] == [None, "p2", "p 3&"]
    assert {dict(query.params)["playlistId"] for query in asked[1:]} == {"UU" + "c" * 22}


def test_both_streams_ask_the_same_so_that_a_run_asks_it_once():
    replies = [CHANNELS, playlist("a", token="x"), playlist("b")]
    assert lead(VIDEOS, Request(at=AT), replies)[0] == lead(DAYS, Request(at=AT), replies)[0]


def test_a_channel_is_asked_for_by_its_id():
    asked, queries = lead(DAYS, Request({"channel": CHANNEL}, AT), [CHANNELS, playlist("a")])
    assert dict(asked[0].params) == {"part": "contentDetails", "id": CHANNEL}
    assert dict(queries[0].params)["ids"] == f"channel=={CHANNEL}"


@pytest.mark.parametrize(("params", "said"), [({"channel": CHANNEL}, CHANNEL), ({}, "gave its consent has no channel")])
def test_a_channel_that_is_not_there_is_told(params: dict[str, object], said: str):
    with pytest.raises(BadParameter, match=said):
        lead(DAYS, Request(params, AT), [{"pageInfo": {"totalResults": 0}}])


def test_a_channel_without_uploads_is_an_empty_plan():
    assert lead(DAYS, Request(at=AT), [CHANNELS, missing(404)])[1] == []
    assert lead(VIDEOS, Request(at=AT), [CHANNELS, playlist()])[1] == []


@pytest.mark.parametrize("bad", [missing(403), {}, {"items": "x"}])
def test_a_page_that_cannot_be_had_is_told_and_the_videos_before_are_planned(bad: Any):
    driver = led(DAYS, Request(at=AT), [CHANNELS, playlist("a", token="x"), bad])
    assert ([error.key for error in driver.left_out], len(driver.plan)) == ([driver.queries[2].key], 1)


@pytest.mark.parametrize("stream", [VIDEOS, DAYS])
def test_a_page_that_is_not_found_is_a_gap_and_the_videos_before_are_planned(stream: Any):
    driver = led(stream, Request(at=AT), [CHANNELS, playlist("a", token="x"), missing(404)])
    assert len(driver.plan) == 1
    [gap] = driver.gaps
    assert (gap.query, gap.status) == (driver.queries[2], 404)
    assert "HTTP 404" in gap.reason


def promised(total: int, *ids: str, token: str = "") -> dict[str, Any]:
    return playlist(*ids, token=token) | {"pageInfo": {"totalResults": total, "resultsPerPage": 50}}


@pytest.mark.parametrize("stream", [VIDEOS, DAYS])
def test_a_playlist_that_lists_fewer_videos_than_it_says_is_a_gap(stream: Any):
    driver = led(stream, Request(at=AT), [CHANNELS, promised(100, "a", token="x"), promised(100, "b")])
    [gap] = driver.gaps
    assert "100 videos" in gap.reason
    assert "listed 2" in gap.reason
    assert gap.query.key not in {query.key for query in driver.plan + driver.queries}
    assert lead(stream, Request(at=AT), [CHANNELS, promised(2, "a", token="x"), promised(2, "b")])[1]


@pytest.mark.parametrize("total", [25_000, 20_000])
def test_a_playlist_that_ends_at_the_cap_of_the_api_is_a_gap_with_a_way_around_it(total: int):
    """Its totalResults may end there too."""
    pages = [
        promised(
            total, *(f"v{number}" for number in range(first, first + 50)), token=str(first) if first < 19_950 else ""
        )
        for first in range(0, 20_000, 50)
    ]
    driver = led(VIDEOS, Request(at=AT), [CHANNELS, *pages])
    assert len(driver.plan) == 400
    [gap] = driver.gaps
    assert all(word in gap.reason for word in ("20,000", "search.list", "publishedBefore"))
    assert len(gap.reason) <= 200, "or the receipt cuts it"


@pytest.mark.parametrize("bad", [{"id": "x"}, {"contentDetails": {"videoId": ""}}, {"contentDetails": {"videoId": 5}}])
def test_a_video_without_an_id_is_told_and_the_others_are_planned(bad: dict[str, Any]):
    page = playlist("a", "b", token="x")
    page["items"].insert(1, bad)
    driver = led(DAYS, Request(at=AT), [CHANNELS, page, playlist("c")])
    assert [dict(query.params)["filters"][-1] for query in driver.plan] == ["a", "b", "c"]
    assert [error.key for error in driver.left_out] == [driver.queries[1].key]


@pytest.mark.parametrize(
    "replies",
    [[[]], [{"items": [{}]}], [{"items": [{"contentDetails": None}]}], [{}],
     [{"items": [{"contentDetails": {"relatedPlaylists": {"uploads": None}}}]}]],
)  # fmt: skip
def test_a_list_of_another_shape_is_not_guessed_at(replies: list[Any]):
    with pytest.raises(Unreadable):
        lead(DAYS, Request(at=AT), replies)


@pytest.mark.parametrize("stream", [VIDEOS, DAYS])
@pytest.mark.parametrize("tokens", [["x", "x"], ["x", "y", "x"]])
def test_pages_of_a_list_that_lead_in_a_circle_are_told(stream: Any, tokens: list[str]):
    pages = [playlist(f"v{number}", token=token) for number, token in enumerate(tokens)]
    driver = led(stream, Request(at=AT), [CHANNELS, *pages])
    assert "which was called before" in driver.left_out[0].what
    assert driver.plan


def test_a_video_that_is_listed_twice_is_asked_for_once():
    """As when a new upload moves it onto the next page while the pages are read."""
    pages = [playlist("a", "b", token="p2"), playlist("b", "c", "c")]
    _, details = lead(VIDEOS, Request(at=AT), [CHANNELS, *pages])
    assert [dict(query.params)["id"] for query in details] == ["a,b,c"]
    _, reports = lead(DAYS, Request(at=AT), [CHANNELS, *pages])
    assert [dict(query.params)["filters"] for query in reports] == ["video==a", "video==b", "video==c"]


@given(st.integers(0, 120))
def test_details_are_asked_for_50_at_a_time(number: int):
    ids = [f"v{place}" for place in range(number)]
    _, queries = lead(VIDEOS, Request(at=AT), [CHANNELS, playlist(*ids)])
    asked = [dict(query.params)["id"].split(",") for query in queries]
    assert [video for batch in asked for video in batch] == ids
    assert all(len(batch) == 50 for batch in asked[:-1])
    assert len(queries) == -(-number // 50)


def test_nobody_draws_on_the_quota_of_searches():
    asked, queries = lead(VIDEOS, Request(at=AT), [CHANNELS, playlist("a")])
    draws = {quota.name for query in asked + queries for quota in QUOTAS if query.path.startswith(quota.paths)}
    assert draws == {"youtube.data"}


# --- days --------------------------------------------------------------------------------------


def test_without_params_it_is_the_last_seven_days_that_have_ended():
    assert span(planned()) == ("2026-11-14", "2026-11-20")


@pytest.mark.parametrize(
    ("at", "last"),
    [(datetime(2026, 11, 21, 7, 59, tzinfo=UTC), "2026-11-19"), (datetime(2026, 11, 21, 8, tzinfo=UTC), "2026-11-20"),
     (datetime(2026, 7, 1, 6, 59, tzinfo=UTC), "2026-06-29"), (datetime(2026, 7, 1, 7, tzinfo=UTC), "2026-06-30")],
)  # fmt: skip
def test_a_day_ends_at_midnight_in_california(at: datetime, last: str):
    assert span(planned(at=at))[1] == last


def test_the_week_up_to_the_watermark_is_read_again_and_all_days_since():
    assert span(planned(mark="2026-11-18")) == ("2026-11-12", "2026-11-20")
    assert span(planned(mark="2026-10-01")) == ("2026-09-25", "2026-11-20")
    assert span(planned(mark="2027-01-01")) == ("2026-11-14", "2026-11-20")


def test_a_range_of_its_own_stands_above_the_watermark():
    assert span(planned(mark="2026-11-18", start_date="2024-11-21", end_date="2024-12-01")) == (
        "2024-11-21", "2024-12-01"
    )  # fmt: skip
    assert span(planned(start_date="2024-11-21")) == ("2024-11-21", "2026-11-20")
    assert span(planned(end_date="2024-12-01")) == ("2024-11-25", "2024-12-01")


@pytest.mark.parametrize(
    ("params", "follows"),
    [({}, True), ({"granularity": "day"}, True), ({"start_date": "2026-01-01"}, False),
     ({"end_date": "2026-01-01"}, False), ({"channel": CHANNEL}, False), ({"channel": None}, True)],
)  # fmt: skip
def test_only_a_run_without_a_range_and_a_channel_of_its_own_follows_the_watermark(params: Any, follows: bool):
    assert DAYS.follows_watermark(params) is follows


@pytest.mark.parametrize("stream", [VIDEOS, DAYS])
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"start_date": "2026-11-10", "end_date": "2026-11-09"}, "is after end_date"),
        ({"end_date": "2026-11-21"}, "has not ended"),
        ({"start_date": "2027-01-01"}, "has not ended"),
        ({"start_date": "yesterday"}, "not a valid date"),
        ({"end_date": "2026-02-30"}, "not a valid date"),
        ({"end_date": 5}, "not a valid date"),
        ({"start_date": "2005-02-13"}, "before the first day of YouTube"),
        ({"start_date": "0001-01-01"}, "before the first day of YouTube"),
        ({"end_date": "0001-01-03"}, "before the first day of YouTube"),
    ],
)
def test_days_that_cannot_be_meant_are_refused_before_the_first_call(stream: Any, params: Any, said: str):
    with pytest.raises(BadParameter, match=said):
        lead(stream, Request(params, AT))


def test_the_first_day_of_youtube_can_be_asked_for():
    assert span(planned(start_date="2005-02-14", end_date="2005-02-14")) == ("2005-02-14", "2005-02-14")


def test_the_scope_names_the_days():
    assert DAYS.scope(Request({"start_date": "2026-11-01"}, AT)) == {"first": "2026-11-01", "last": "2026-11-20"}


def test_a_range_is_one_report_a_video():
    queries = planned(start_date="2024-11-21")
    assert [dict(query.params)["filters"] for query in queries] == ["video==a", "video==b"]
    assert {dict(query.params)["dimensions"] for query in queries} == {"day"}
    assert len({query.key for query in queries}) == 2


@given(st.dates(date(2020, 1, 1), date(2026, 11, 20)), st.integers(0, 40))
def test_by_day_it_is_one_report_a_video_and_day(first: date, more: int):
    last = min(first + timedelta(days=more), date(2026, 11, 20))
    queries = planned(granularity="day", start_date=first.isoformat(), end_date=last.isoformat())
    asked = [(dict(query.params)["startDate"], dict(query.params)["filters"]) for query in queries]
    days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
    assert asked == [(day, f"video=={video}") for day in days for video in "ab"]
    assert all(dict(query.params)["startDate"] == dict(query.params)["endDate"] for query in queries)
    assert len({query.key for query in queries}) == len(queries)


def test_two_years_of_200_videos_are_146000_reports_by_day_and_200_by_range():
    replies = [CHANNELS, playlist(*(f"v{number}" for number in range(200)))]
    params = {"start_date": "2024-11-21", "end_date": "2026-11-20"}
    assert len(lead(DAYS, Request(params, AT), replies)[1]) == 200
    assert len(lead(DAYS, Request(params | {"granularity": "day"}, AT), replies)[1]) == 200 * 730


# --- reports -----------------------------------------------------------------------------------


def report(*days: str, names: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    names = names or HEADERS
    row = {name: place for place, name in enumerate(names)}
    found: dict[str, Any] = {
        "kind": "youtubeAnalytics#resultTable",
        "columnHeaders": [{"name": name} for name in names],
    }
    if days:
        found["rows"] = [[day if name == "day" else row[name] for name in names] for day in days]
    return found | changes


QUERY = planned(start_date="2026-11-01")[0]


def test_columns_are_found_by_their_names():
    [record] = DAYS.records(QUERY, report("2026-11-02"))
    [turned] = DAYS.records(QUERY, report("2026-11-02", names=HEADERS[::-1]))
    assert (record["video_id"], record["day"], record["views"]) == ("a", date(2026, 11, 2), HEADERS.index("views"))
    assert turned["views"] == HEADERS[::-1].index("views")
    assert record.keys() == turned.keys()


def test_a_report_without_data_has_no_rows():
    assert list(DAYS.records(QUERY, report())) == []


def test_an_unknown_column_is_kept():
    [record] = DAYS.records(QUERY, report("2026-11-02", names=[*HEADERS, "wonder"]))
    assert json.loads(str(record["_extra"])) == {"wonder": len(HEADERS)}


def test_pages_are_read_as_one_report():
    records = DAYS.records(QUERY, [report("2026-11-01", "2026-11-02"), report("2026-11-03"), report()])
    assert [record["day"] for record in records] == [date(2026, 11, day) for day in (1, 2, 3)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([report("2026-11-02"), report("2026-11-02")], "twice"),
        (report("2026-11-21"), "not between"),
        (report("2026-10-31"), "not between"),
        (report("2026-11-02", errors={"code": "x"}), "errors"),
        (report("2026-11-02", columnHeaders=[{"name": "day"}]), "columnHeaders"),
        (report("2026-11-02", columnHeaders=None), "columnHeaders"),
        (report("2026-11-02", names=["views", "day"]), "engagedViews"),
        ([], "a report"),
        (None, "a report"),
        ("x", "a report"),
        (report(rows=["2026-11-02"]), "columnHeaders"),
        (report(rows=5), "columnHeaders"),
    ],
)
def test_a_report_of_another_shape_is_not_guessed_at(answer: object, said: str):
    with pytest.raises(Unreadable, match=said):
        DAYS.records(QUERY, answer)


def answered(query: Query, answer: object, at: datetime = AT) -> Answer:
    return Answer(query, Outcome.ANSWERED, 200, json.dumps(answer), at)


def test_a_report_that_ends_early_is_asked_to_go_on_until_a_page_is_empty():
    first = report("2026-11-01", "2026-11-02")
    second = DAYS.next_page(QUERY, answered(QUERY, first))
    assert isinstance(second, MaybePage)
    assert dict(second.params) == dict(QUERY.params) | {"startIndex": "3"}
    third = DAYS.next_page(second, answered(second, report("2026-11-03")))
    assert third is not None
    assert dict(third.params)["startIndex"] == "4"
    assert DAYS.next_page(third, answered(third, report())) is None
    assert DAYS.next_page(QUERY, answered(QUERY, [first, report("2026-11-03"), report()])) is None


def test_a_report_is_only_asked_to_go_on_where_no_page_for_the_same_days_was_longer():
    """The API cuts all pages at one length: a shorter one is whole, and its video had no views on the last days."""
    stream = VideoDays()
    other = planned(start_date="2026-11-02")[0]
    for query, days, more in (
        (QUERY, 2, True),
        (QUERY, 3, True),
        (QUERY, 2, False),
        (QUERY, 3, True),
        (other, 2, True),
    ):
        page = report(*(f"2026-11-0{day}" for day in range(3, 3 + days)))
        assert (stream.next_page(query, answered(query, page)) is not None) is more
    led(stream, Request(at=AT), [CHANNELS, playlist("a")])
    assert stream.next_page(QUERY, answered(QUERY, report("2026-11-02"))) is not None, "a new plan"


@pytest.mark.parametrize("page", [report(), report("2026-11-01", "2026-11-14"), report("2026-11-20")])
def test_a_report_that_is_whole_costs_no_further_call(page: object):
    assert DAYS.next_page(QUERY, answered(QUERY, page)) is None


def test_only_days_that_are_young_may_be_missing_at_the_end():
    """Figures of old days are all there: a report that ends a day before its range may have been cut."""
    old = planned(start_date="2025-01-01", end_date="2025-01-31")[0]
    assert DAYS.next_page(old, answered(old, report("2025-01-30"))) is not None
    assert DAYS.next_page(old, answered(old, report("2025-01-31"))) is None
    soon = answered(old, report("2025-01-30"), datetime(2025, 2, 2, tzinfo=UTC))
    assert DAYS.next_page(old, soon) is None


def test_a_page_that_begins_before_its_place_is_told():
    """As when the API takes no notice of startIndex, and tells the first page again and again."""
    first = report("2026-11-01", "2026-11-02", "2026-11-03")
    second = DAYS.next_page(QUERY, answered(QUERY, first))
    assert second is not None
    with pytest.raises(Unreadable, match="row 4"):
        DAYS.next_page(second, answered(second, first))


# --- videos ------------------------------------------------------------------------------------

DETAILS = Query.of("/youtube/v3/videos", {"part": "snippet,contentDetails,statistics", "id": "a,b"})


def video(video_id: str, **statistics: str) -> dict[str, Any]:
    return {
        "kind": "youtube#video",
        "id": video_id,
        "snippet": {"channelId": CHANNEL, "title": 'Täg "1" 🎈', "publishedAt": "2025-01-02T03:04:05Z", "tags": ["x"]},
        "contentDetails": {"duration": "PT3M5S"},
        "statistics": {"viewCount": "12345678901234567", **statistics},
    }


def test_counts_are_texts_and_become_numbers_and_hidden_ones_are_null():
    record, _ = VIDEOS.records(DETAILS, {"items": [video("a", commentCount="0"), video("b")]})
    assert (record["view_count"], record["comment_count"], record["like_count"]) == (12345678901234567, 0, None)
    assert (record["title"], record["available"]) == ('Täg "1" 🎈', True)
    assert record["published_at"] == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert json.loads(str(record["_extra"])) == {"kind": "youtube#video", "tags": ["x"]}


def test_fields_of_the_reference_are_no_warning_and_a_new_one_is():
    asked, today = PARTS.split(","), date(2026, 11, 20)
    items = [resource("video", one.id, video_parts(one, DEMO, today), asked) for one in DEMO.videos[:50]]
    details = Query.of("/youtube/v3/videos", {"part": PARTS, "id": ",".join(item["id"] for item in items)})
    assert measured(VIDEOS, VIDEOS.records(details, {"items": items}))["unknown_fields"] == []
    items[7]["snippet"]["mood"] = "calm"
    assert measured(VIDEOS, VIDEOS.records(details, {"items": items}))["unknown_fields"] == [["mood", 1]]


@pytest.mark.parametrize("count", ["many", "", "-1", "1.5", str(2**63), "9" * 5000])
def test_an_impossible_count_rejects_its_video_alone(count: str):
    ids = [f"v{number}" for number in range(50)]
    details = Query.of("/youtube/v3/videos", {"part": "statistics", "id": ",".join(ids)})
    page = {"items": [video(one, likeCount=count if one == "v7" else "7") for one in ids]}
    assert [record["video_id"] for record in VIDEOS.records(details, page)] == [one for one in ids if one != "v7"]
    [error] = VIDEOS.read(details, page)[1]
    assert "'v7'" in error.reason
    assert "'likeCount' must be INTEGER" in error.reason


@pytest.mark.parametrize("odd", [None, {"snippet": {}}, {"id": ""}])
def test_an_item_without_an_id_leaves_out_the_video_that_it_may_be(odd: object):
    """It is not taken for a video that was deleted."""
    page = {"items": [video("a"), odd]}
    assert [record["video_id"] for record in VIDEOS.records(DETAILS, page)] == ["a"]
    assert "'b' is not in the answer, or has no id" in VIDEOS.read(DETAILS, page)[1][-1].reason


def test_where_no_video_can_be_read_it_is_the_page():
    with pytest.raises(Unreadable, match="likeCount"):
        VIDEOS.records(DETAILS, {"items": [video("a", likeCount="many"), video("b", likeCount="many")]})


def test_a_video_that_vanished_is_a_record_and_the_order_is_that_of_the_question():
    first, second = VIDEOS.records(DETAILS, {"items": [video("b")]})
    assert (first["video_id"], first["available"], first["title"]) == ("a", False, None)
    assert (second["video_id"], second["available"]) == ("b", True)


def test_a_list_of_videos_that_is_empty_says_so():
    empty = {"kind": "youtube#videoListResponse", "pageInfo": {"totalResults": 0, "resultsPerPage": 0}}
    for answer in (empty, empty | {"items": []}):
        assert [record["available"] for record in VIDEOS.records(DETAILS, answer)] == [False, False]


@pytest.mark.parametrize("answer", [[], {}, {"items": 5}, {"items": [video("stranger")]}, None])
def test_videos_of_another_shape_are_not_guessed_at(answer: object):
    with pytest.raises(Unreadable):
        VIDEOS.records(DETAILS, answer)
