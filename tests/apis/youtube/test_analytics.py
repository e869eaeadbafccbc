"""YouTube Analytics API v2 by its contract."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.apis.testing import FakeApi, Reply
from local_cloud.apis.youtube.catalog import DEMO, EMPTY, SECOND, Video
from local_cloud.apis.youtube.figures import Figures, added, days, final, known
from tests.apis.youtube.conftest import Ask

REPORTS = "/v2/reports"
TODAY = date(2026, 11, 20)
METRICS = (
    "views,engagedViews,estimatedMinutesWatched,averageViewDuration,likes,comments,shares,"
    "subscribersGained,subscribersLost"
)
OLD = DEMO.videos[20]
OCTOBER = {"startDate": "2026-10-01", "endDate": "2026-10-31"}
BY_DAY: dict[str, Any] = {"ids": "channel==MINE", "metrics": "views", "dimensions": "day"} | OCTOBER
TOP: dict[str, Any] = BY_DAY | {"dimensions": "video", "sort": "-views", "maxResults": "200"}


def of(video: Video) -> dict[str, str]:
    return {"filters": f"video=={video.id}"}


def rows(reply: Reply) -> list[list[Any]]:
    assert reply.status == 200, reply.body
    answer = reply.json()
    assert answer.get("rows", None) != [], "rows without data are left out"
    return list(answer.get("rows", []))


def refused(reply: Reply) -> tuple[int, str, str]:
    error = reply.json()["error"]
    assert error["code"] == reply.status
    return reply.status, error["errors"][0]["reason"], error["message"]


def in_october(video: Video) -> Figures:
    return added(final(video, day) for day in days(date(2026, 10, 1), date(2026, 10, 31))) or Figures()


class TestByDay:
    def test_a_video_over_a_month(self, ask: Ask) -> None:
        answer = ask(REPORTS, **BY_DAY | of(OLD) | {"metrics": METRICS}).json()
        assert answer["kind"] == "youtubeAnalytics#resultTable"
        assert answer["columnHeaders"][0] == {"name": "day", "columnType": "DIMENSION", "dataType": "STRING"}
        assert [header["name"] for header in answer["columnHeaders"][1:]] == METRICS.split(",")
        assert {(header["columnType"], header["dataType"]) for header in answer["columnHeaders"][1:]} == {
            ("METRIC", "INTEGER")
        }
        expected = []
        for day in days(date(2026, 10, 1), date(2026, 10, 31)):
            of_day = final(OLD, day)
            assert of_day is not None
            numbers = (of_day.views, of_day.engaged_views, of_day.minutes_watched, of_day.average_seconds, *of_day[3:8])
            expected.append([day.isoformat(), *numbers])
        assert answer["rows"] == expected

    def test_two_years_come_in_one_call(self, ask: Ask) -> None:
        assert len(rows(ask(REPORTS, **BY_DAY | of(OLD) | {"startDate": "2024-11-01", "endDate": "2026-10-31"}))) == 730

    def test_columns_follow_the_order_asked(self, ask: Ask) -> None:
        query = BY_DAY | of(OLD)
        one, other = (rows(ask(REPORTS, **query | {"metrics": each})) for each in ("likes,views", "views,likes"))
        assert [[day, likes, views] for day, views, likes in other] == one
        assert one != other

    def test_several_videos_are_added_up(self, ask: Ask) -> None:
        one, other = DEMO.videos[20], DEMO.videos[30]
        together = rows(ask(REPORTS, **BY_DAY | {"filters": f"video=={one.id},{other.id}"}))
        apart = [rows(ask(REPORTS, **BY_DAY | of(video))) for video in (one, other)]
        assert together == [[day, views + more] for (day, views), (_, more) in zip(*apart, strict=True)]
        twice = rows(ask(REPORTS, **BY_DAY | {"filters": f"video=={one.id},{one.id}"}))
        assert twice == apart[0], "naming one twice does not double it"

    def test_the_mean_of_a_sum_is_weighted(self, ask: Ask) -> None:
        query = BY_DAY | {"metrics": "averageViewDuration", "startDate": "2026-10-01", "endDate": "2026-10-01"}
        pair = [DEMO.videos[20], DEMO.videos[30]]
        both = [final(video, date(2026, 10, 1)) or Figures() for video in pair]
        seconds = sum(each.seconds_watched for each in both) // sum(each.engaged_views for each in both)
        assert rows(ask(REPORTS, **query | {"filters": f"video=={pair[0].id},{pair[1].id}"})) == [
            ["2026-10-01", seconds]
        ]

    def test_without_a_filter_it_is_the_channel(self, ask: Ask) -> None:
        query = BY_DAY | {"startDate": "2026-10-05", "endDate": "2026-10-06", "metrics": "views,likes"}
        expected = []
        for day in (date(2026, 10, 5), date(2026, 10, 6)):
            total = added(final(video, day) for video in DEMO.videos) or Figures()
            expected.append([day.isoformat(), total.views, total.likes])
        assert rows(ask(REPORTS, **query)) == expected
        assert rows(ask(REPORTS, **query | {"ids": f"channel=={DEMO.id}"})) == expected

    def test_rows_begin_with_the_publication_in_california(self, ask: Ask) -> None:
        evening = next(video for video in DEMO.videos if video.first_day != video.published_at.date())
        around = {
            "startDate": (evening.first_day - timedelta(days=3)).isoformat(),
            "endDate": (evening.first_day + timedelta(days=3)).isoformat(),
        }
        got = rows(ask(REPORTS, **BY_DAY | of(evening) | around))
        assert [row[0] for row in got] == [
            (evening.first_day + timedelta(days=number)).isoformat() for number in range(4)
        ]

    @pytest.mark.parametrize(
        "change",
        [
            {"startDate": "2020-01-01", "endDate": "2020-12-31"},
            {"startDate": "2027-01-01", "endDate": "2027-01-02"},
            {"filters": "video==nothingthat"},
            {"filters": f"video=={SECOND.videos[0].id}"},
            {"ids": f"channel=={EMPTY.id}"},
        ],
        ids=["before", "after", "unknown video", "of another channel", "empty channel"],
    )
    def test_without_data_there_are_no_rows(self, ask: Ask, change: dict[str, str]) -> None:
        answer = ask(REPORTS, **BY_DAY | change).json()
        assert answer.keys() == {"kind", "columnHeaders"}
        assert len(answer["columnHeaders"]) == 2

    def test_a_deleted_video_counts_for_its_channel_only(self, api: FakeApi, ask: Ask) -> None:
        before = rows(ask(REPORTS, **BY_DAY))
        api.youtube(vanished=[OLD.id])
        assert rows(ask(REPORTS, **BY_DAY | of(OLD))) == []
        assert rows(ask(REPORTS, **BY_DAY)) == before
        assert OLD.id not in [row[0] for row in rows(ask(REPORTS, **TOP))]

    def test_other_channels_of_the_account(self, ask: Ask) -> None:
        query = BY_DAY | of(SECOND.videos[0]) | {"ids": f"channel=={SECOND.id}"}
        assert len(rows(ask(REPORTS, **query))) == 31


class TestFreshness:
    QUERY = BY_DAY | of(OLD) | {"startDate": "2026-11-10", "endDate": "2026-11-30"}

    def test_the_end_is_cut_to_what_is_there(self, ask: Ask) -> None:
        assert rows(ask(REPORTS, **self.QUERY))[-1][0] == "2026-11-18"

    def test_it_is_cut_by_the_day_of_california(self, api: FakeApi, ask: Ask) -> None:
        api.youtube(now="2026-11-21T07:59:59Z")
        assert rows(ask(REPORTS, **self.QUERY))[-1][0] == "2026-11-18"
        api.youtube(now="2026-11-21T08:00:00Z")
        assert rows(ask(REPORTS, **self.QUERY))[-1][0] == "2026-11-19"

    def test_the_youngest_days_fill_in_and_then_stay(self, api: FakeApi, ask: Ask) -> None:
        whole = final(OLD, date(2026, 11, 18))
        assert whole is not None
        seen = []
        for day in range(20, 26):
            api.youtube(now=f"2026-11-{day}T12:00:00-08:00")
            seen.append(dict(rows(ask(REPORTS, **self.QUERY)))["2026-11-18"])
        assert seen == [whole.views * 70 // 100, whole.views * 90 // 100, *[whole.views] * 4]
        assert seen[0] < seen[1] < seen[2]

    def test_a_slow_metric_shortens_the_report(self, api: FakeApi, ask: Ask) -> None:
        api.youtube(monetized=True)
        both = ask(REPORTS, **self.QUERY | {"metrics": "views,estimatedRevenue"})
        assert both.json()["columnHeaders"][2]["dataType"] == "FLOAT"
        assert rows(both)[-1][0] == "2026-11-17"
        whole = final(OLD, date(2026, 11, 10))
        assert whole is not None
        assert rows(both)[0] == ["2026-11-10", whole.views, whole.revenue_micros / 1_000_000]


class TestPages:
    def test_start_index_counts_from_one(self, ask: Ask) -> None:
        query = BY_DAY | of(OLD)
        whole = rows(ask(REPORTS, **query))
        assert rows(ask(REPORTS, **query, startIndex=1, maxResults=10)) == whole[:10]
        assert rows(ask(REPORTS, **query, startIndex=11, maxResults=10)) == whole[10:20]
        assert rows(ask(REPORTS, **query, startIndex=31, maxResults=10)) == whole[30:]
        assert rows(ask(REPORTS, **query, startIndex=32, maxResults=10)) == []

    def test_a_limit_of_rows_makes_730_days_need_pages(self, api: FakeApi, ask: Ask) -> None:
        query = BY_DAY | of(OLD) | {"startDate": "2024-11-01", "endDate": "2026-10-31"}
        whole = rows(ask(REPORTS, **query))
        api.youtube(report_page_rows=500)
        first = rows(ask(REPORTS, **query))
        assert first == whole[:500]
        assert first + rows(ask(REPORTS, **query, startIndex=501)) == whole
        assert rows(ask(REPORTS, **query, maxResults=600)) == first
        assert rows(ask(REPORTS, **query, maxResults=7)) == whole[:7]

    @pytest.mark.parametrize(("name", "value"), [("startIndex", 0), ("maxResults", 0), ("startIndex", "two")])
    def test_other_numbers_are_refused(self, ask: Ask, name: str, value: Any) -> None:
        assert refused(ask(REPORTS, **BY_DAY | {name: value}))[:2] == (400, "invalidParameter")


class TestSorting:
    @pytest.mark.parametrize("sort", ["day", "-day", "views", "-views", "-likes,day"])
    def test_by_any_column(self, ask: Ask, sort: str) -> None:
        query = BY_DAY | of(OLD) | {"metrics": "views,likes"}
        got = rows(ask(REPORTS, **query, sort=sort))
        names = ["day", "views", "likes"]
        expected = rows(ask(REPORTS, **query))
        for key in sort.split(",")[::-1]:
            expected.sort(key=lambda row: row[names.index(key.lstrip("-"))], reverse=key[0] == "-")
        assert got == expected

    def test_not_by_what_was_not_asked_for(self, ask: Ask) -> None:
        assert refused(ask(REPORTS, **BY_DAY, sort="likes"))[:2] == (400, "badRequest")


class TestTopVideos:
    def test_all_videos_by_their_views(self, ask: Ask) -> None:
        totals = {video.id: in_october(video).views for video in DEMO.videos if video.first_day < date(2026, 11, 1)}
        got = rows(ask(REPORTS, **TOP))
        assert dict(got) == totals
        assert [views for _, views in got] == sorted(totals.values(), reverse=True)

    def test_the_first_few(self, ask: Ask) -> None:
        assert rows(ask(REPORTS, **TOP | {"maxResults": 3})) == rows(ask(REPORTS, **TOP))[:3]

    def test_of_a_filter(self, ask: Ask) -> None:
        assert rows(ask(REPORTS, **TOP | of(OLD))) == [[OLD.id, in_october(OLD).views]]

    def test_those_without_a_day_in_the_range_are_left_out(self, ask: Ask) -> None:
        early = rows(ask(REPORTS, **TOP | {"startDate": "2024-01-01", "endDate": "2024-03-31"}))
        assert {row[0] for row in early} == {video.id for video in DEMO.videos if video.first_day <= date(2024, 3, 31)}

    @pytest.mark.parametrize(
        "change", [{"maxResults": 201}, {"maxResults": ""}, {"sort": "views"}, {"sort": ""}, {"sort": "-views,video"}]
    )
    def test_it_needs_a_descending_order_and_an_end(self, ask: Ask, change: dict[str, Any]) -> None:
        assert refused(ask(REPORTS, **TOP | change)) == (400, "badRequest", "The query is not supported.")


def test_without_dimensions_there_is_one_row_of_totals(ask: Ask) -> None:
    query = BY_DAY | of(OLD) | {"dimensions": "", "metrics": "views,averageViewDuration"}
    total = in_october(OLD)
    assert rows(ask(REPORTS, **query)) == [[total.views, total.average_seconds]]


def test_the_totals_of_a_channel_hold_all_its_videos(ask: Ask) -> None:
    query = BY_DAY | {"dimensions": "", "startDate": "2000-01-01"}
    end = date(2026, 10, 31)
    total = added(final(video, day) for video in DEMO.videos for day in days(video.first_day, end)) or Figures()
    assert rows(ask(REPORTS, **query)) == [[total.views]]


def test_totals_end_with_the_slowest_metric(api: FakeApi, ask: Ask) -> None:
    api.youtube(monetized=True)
    query = BY_DAY | of(OLD) | {"dimensions": "", "startDate": "2026-11-17", "endDate": "2026-11-18"}
    so_far = known(OLD, date(2026, 11, 17), TODAY) or Figures()
    assert rows(ask(REPORTS, **query | {"metrics": "views,estimatedRevenue"})) == [[so_far.views, so_far.revenue]]
    both = added(known(OLD, date(2026, 11, day), TODAY) for day in (17, 18)) or Figures()
    assert rows(ask(REPORTS, **query | {"metrics": "views"})) == [[both.views]]


class TestRefusals:
    @pytest.mark.parametrize("dimensions", ["video,day", "day,video", "country", "month", "day,country"])
    @pytest.mark.parametrize("filters", ["", f"video=={OLD.id}"])
    def test_other_dimensions_are_not_supported(self, ask: Ask, dimensions: str, filters: str) -> None:
        query = TOP | {"dimensions": dimensions, "filters": filters}
        assert refused(ask(REPORTS, **query)) == (400, "badRequest", "The query is not supported.")

    @pytest.mark.parametrize("filters", ["country==US", f"video=={OLD.id};country==US", "video==", "video==a,,b"])
    def test_nor_are_other_filters(self, ask: Ask, filters: str) -> None:
        assert refused(ask(REPORTS, **BY_DAY | {"filters": filters}))[0] == 400

    @pytest.mark.parametrize("name", ["ids", "startDate", "endDate", "metrics"])
    def test_what_is_required(self, ask: Ask, name: str) -> None:
        without = {key: value for key, value in BY_DAY.items() if key != name}
        assert refused(ask(REPORTS, **without)) == (400, "required", "Required")
        assert refused(ask(REPORTS, **without | {name: ","})) == (400, "required", "Required")

    @pytest.mark.parametrize(
        "change",
        [
            {"ids": "MINE"},
            {"ids": "contentOwner==somebody"},
            {"startDate": "2026-13-01"},
            {"endDate": "20261031"},
            {"endDate": "2026-W44-1"},
            {"startDate": "today"},
            {"startDate": "2026-10-31", "endDate": "2026-10-30"},
            {"metrics": "views,watchTime"},
            {"page": "2"},
        ],
    )
    def test_a_wrong_value(self, ask: Ask, change: dict[str, str]) -> None:
        status, _, message = refused(ask(REPORTS, **BY_DAY | change))
        assert status == 400
        (value,) = list(change.values())[-1:]
        assert value.rpartition(",")[2] in message or "date" in message or "page" in message

    def test_a_channel_of_somebody_else_is_forbidden(self, ask: Ask) -> None:
        reply = ask(REPORTS, **BY_DAY | {"ids": "channel==UCnobody0000000000000000"})
        assert refused(reply) == (403, "forbidden", "Forbidden")

    def test_money_is_forbidden_unless_there_is_some(self, ask: Ask) -> None:
        reply = ask(REPORTS, **BY_DAY | {"metrics": "views,estimatedRevenue"})
        assert refused(reply) == (403, "forbidden", "Forbidden")
        assert reply.json()["error"]["status"] == "PERMISSION_DENIED"


class TestAnyRange:
    @settings(max_examples=60, deadline=None)
    @given(
        video=st.sampled_from(DEMO.videos),
        start=st.dates(date(2023, 9, 1), date(2026, 12, 31)),
        length=st.integers(0, 40),
    )
    def test_rows_are_the_days_that_have_figures(
        self, api_of_module: FakeApi, token_of_module: str, video: Video, start: date, length: int
    ) -> None:
        end = start + timedelta(days=length)
        query = BY_DAY | of(video) | {"startDate": start.isoformat(), "endDate": end.isoformat()}
        expected = []
        for day in days(start, end):
            so_far = known(video, day, TODAY)
            if so_far:
                expected.append([day.isoformat(), so_far.views])
        assert rows(api_of_module.get(REPORTS, token_of_module, **query)) == expected


@pytest.fixture(scope="module")
def api_of_module(api_server: FakeApi) -> FakeApi:
    api_server.heal()
    api_server.youtube(now="2026-11-20T12:00:00-08:00", report_page_rows=None, vanished=[], consent=True)
    return api_server


@pytest.fixture(scope="module")
def token_of_module(api_of_module: FakeApi) -> str:
    return api_of_module.google_token()
