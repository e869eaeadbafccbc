"""The SQL files of YouTube, run on BigQuery as the DAG runs them."""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from local_cloud.settings import Settings
from tests.integration.warehouse import Row, Warehouse, broken, columns, declared, undescribed
from windrow.model.plan import slug
from windrow.sources.youtube.streams import PACIFIC, VideoDays, Videos

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
LAST = date(2026, 11, 17)
"""The last day that figures come for."""
OLD = datetime(2020, 1, 1, tzinfo=UTC)
"""When most videos were published."""


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Warehouse:
    return Warehouse(cloud, "youtube")


@pytest.fixture
def final(warehouse: Warehouse) -> Warehouse:
    """The warehouse with empty final tables."""
    warehouse.drop("coverage")
    warehouse.empty("videos", "video_days")
    return warehouse


def video(name: str, fetched_at: datetime = NOON, run_id: str = "one", **changes: Any) -> Row:
    fields = {
        "id": name, "available": True, "channelId": "UCa", "title": f"About {name}", "publishedAt": OLD.isoformat(),
        "duration": "PT3M", "viewCount": 10, "likeCount": 2, "commentCount": 1,
    }  # fmt: skip
    return Videos.contract.record(fields | changes) | lineage(f"videos {name}", fetched_at, run_id)


def vanished(name: str, fetched_at: datetime = NOON, run_id: str = "one") -> Row:
    record = Videos.contract.record({"id": name, "available": False})
    return record | lineage(f"videos {name}", fetched_at, run_id)


def figures(name: str, day: date = LAST, fetched_at: datetime = NOON, run_id: str = "one", **changes: Any) -> Row:
    fields = {
        "video": name, "day": day.isoformat(), "views": 10, "engagedViews": 8, "estimatedMinutesWatched": 20,
        "averageViewDuration": 120, "likes": 2, "comments": 1, "shares": 0, "subscribersGained": 3,
        "subscribersLost": 1,
    }  # fmt: skip
    return VideoDays.contract.record(fields | changes) | lineage(f"reports {name}", fetched_at, run_id)


def lineage(key: str, fetched_at: datetime, run_id: str) -> Row:
    return {"_key": key, "_fetched_at": fetched_at, "_run_id": run_id}


def ago(days: int) -> date:
    return LAST - timedelta(days=days)


def scope(first: date, last: date = LAST) -> dict[str, Any]:
    """What SQL files read of the run's plan: the days that were asked for."""
    asked = {"first": first.isoformat(), "last": last.isoformat()}
    return {"ti": SimpleNamespace(xcom_pull={"plan_days": asked}.__getitem__)}


def merge(warehouse: Warehouse, videos: Iterable[Row] = (), days: Iterable[Row] = (), run_id: str = "one") -> None:
    """Land records and merge them."""
    for stream, folder, rows in ((Videos, "videos", videos), (VideoDays, "video_days", days)):
        if rows:
            warehouse.land(stream, *rows, run_id=run_id)
            warehouse.run(f"{folder}/merge.sql", run_id)


def days_of(warehouse: Warehouse) -> list[Row]:
    return warehouse.rows("video_days", "video_id, day")


def videos_of(warehouse: Warehouse) -> list[Row]:
    return warehouse.rows("videos", "video_id")


# --- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "table", "partitioned_by", "clustered_by"),
    [(Videos, "videos", None, ["channel_id"]), (VideoDays, "video_days", "day", ["video_id"])],
)
def test_a_final_table_is_that_of_the_contract(final, stream, table, partitioned_by, clustered_by):
    found = final.client.get_table(f"youtube.{table}")
    assert columns(found) == declared(stream.contract)
    assert undescribed(final.text(f"{table}/create.sql"), stream.contract) == []
    partitioning = found.time_partitioning
    assert (partitioning and (partitioning.type_, partitioning.field)) == (partitioned_by and ("DAY", partitioned_by))
    assert found.clustering_fields == clustered_by


def test_creating_twice_keeps_the_rows(final):
    merge(final, [video("a")], [figures("a")])
    final.run("videos/create.sql")
    final.run("video_days/create.sql")
    assert (len(videos_of(final)), len(days_of(final))) == (1, 1)


# --- merging days --------------------------------------------------------------------------------


def test_merging_days_twice_changes_nothing(final):
    rows = [figures(name, ago(number)) for name in "ab" for number in (400, 2, 0)]
    merge(final, days=rows)
    once = days_of(final)
    final.run("video_days/merge.sql")
    assert once == rows
    assert days_of(final) == once


def test_every_column_of_a_newer_answer_about_a_day_replaces_the_older(final):
    merge(final, days=[figures("a"), figures("a", ago(1)), figures("b")])
    changed = figures(
        "a", LAST, LATER, "two", views=99, engagedViews=98, estimatedMinutesWatched=97, averageViewDuration=None,
        likes=-4, comments=95, shares=94, subscribersGained=93, subscribersLost=92, redViews=1,
    ) | {"_key": "other key"}  # fmt: skip
    merge(final, days=[changed], run_id="two")
    assert days_of(final) == [figures("a", ago(1)), changed, figures("b")]


def test_a_run_about_other_days_leaves_these_alone_and_adds_its_own(final):
    here = [figures("a", ago(number)) for number in (9, 8)]
    merge(final, days=here)
    around = [figures("a", ago(number), LATER, "two", views=50) for number in (10, 7)]
    merge(final, days=around, run_id="two")
    assert days_of(final) == [around[0], *here, around[1]]


def test_an_older_answer_about_a_day_does_not_turn_it_back_and_still_counts_as_merged(final):
    newer = figures("a", LAST, LATER, "new", views=9)
    merge(final, days=[newer], run_id="new")
    merge(final, days=[figures("a", LAST, NOON, "old"), figures("a", ago(1), NOON, "old")], run_id="old")
    assert days_of(final) == [figures("a", ago(1), NOON, "old"), newer]
    final.land(Videos, video("a", run_id="old"), run_id="old")
    final.run("coverage/query.sql", "old", **scope(ago(1)))
    (proof,) = final.run("video_days/prove.sql", "old")
    assert (proof["loaded"], proof["merged"], proof["total"]) == (2, 2, 2)


# --- merging videos ------------------------------------------------------------------------------


def test_merging_videos_twice_changes_nothing(final):
    rows = [video("a"), video("b", likeCount=None), vanished("c")]
    merge(final, rows)
    once = videos_of(final)
    final.run("videos/merge.sql")
    assert once == rows
    assert videos_of(final) == once


@pytest.mark.parametrize("hidden", [False, True], ids=["shown", "hidden"])
def test_every_column_of_a_newer_answer_about_a_video_replaces_the_older(final, hidden):
    merge(final, [video("a", new_field=1)])
    changes = {
        "channelId": "UCb", "title": "Other", "publishedAt": NOON.isoformat(), "duration": "PT9M", "viewCount": 9,
        "likeCount": 8, "commentCount": 7, "other_field": 2,
    }  # fmt: skip
    if hidden:  # what the API leaves out of an answer now is not known any more
        changes |= {"duration": None, "viewCount": None, "likeCount": None, "commentCount": None}
        del changes["other_field"]
    changed = video("a", LATER, "two", **changes) | {"_key": "other key"}
    merge(final, [changed], run_id="two")
    assert videos_of(final) == [changed]


def test_a_video_that_vanished_keeps_what_was_known_of_it(final):
    known = video("a", new_field=1)
    merge(final, [known])
    merge(final, [vanished("a", LATER, "two")], run_id="two")
    assert videos_of(final) == [known | {"available": False} | lineage("videos a", LATER, "two")]


def test_a_video_that_is_back_is_available_again(final):
    merge(final, [vanished("a")])
    back = video("a", LATER, "two")
    merge(final, [back], run_id="two")
    assert videos_of(final) == [back]


def test_an_older_answer_about_a_video_does_not_turn_it_back_and_still_counts_as_merged(final):
    newer = video("a", LATER, "new", title="New")
    merge(final, [newer], run_id="new")
    merge(final, [vanished("a", NOON, "old"), vanished("b", NOON, "old")], run_id="old")
    assert videos_of(final) == [newer, vanished("b", NOON, "old")]
    assert final.run("videos/prove.sql", "old") == [
        {"loaded": 2, "merged": 2, "total": 2, "vanished": 2, "no_longer_listed": 0}
    ]


def test_proof_sees_a_video_that_was_not_merged(final):
    merge(final, [video("a"), video("b"), vanished("c")])
    final.query("DELETE FROM youtube.videos WHERE video_id = 'b'")
    assert final.run("videos/prove.sql") == [
        {"loaded": 3, "merged": 2, "total": 2, "vanished": 1, "no_longer_listed": 0}
    ]


def test_proof_counts_videos_of_this_channel_that_are_not_listed_any_more(final):
    """As most deleted ones are: they leave the list of uploads without a word."""
    before = [video(name) for name in "abc"] + [vanished("d"), video("other", channelId="UCb")]
    merge(final, before)
    now = [video("a", LATER, "two"), video("new", LATER + timedelta(minutes=1), "two"), vanished("d", LATER, "two")]
    merge(final, now, run_id="two")
    (proof,) = final.run("videos/prove.sql", "two")
    assert (proof["merged"], proof["vanished"], proof["no_longer_listed"]) == (3, 1, 2)


# --- audits and the check ------------------------------------------------------------------------

TODAY = (datetime.now(PACIFIC) + timedelta(minutes=10)).date()
"""The day in California, also if midnight comes while the tests run."""


@pytest.mark.parametrize(
    ("rows", "failed"),
    [
        ([figures("a"), figures("b"), figures("a", ago(1))], set()),
        ([figures("a", views=0, engagedViews=0, estimatedMinutesWatched=0, likes=-5)], set()),
        ([figures("a"), figures("a") | {"_key": "another"}], {"one_row_a_video_and_day"}),
        ([figures("a", estimatedMinutesWatched=-1)], {"nothing_is_negative"}),
        ([figures("a", engagedViews=-1)], {"nothing_is_negative"}),
        ([figures("a", views=-1, engagedViews=0)], {"nothing_is_negative", "engaged_views_are_views"}),
        ([figures("a", views=7, engagedViews=8)], {"engaged_views_are_views"}),
        ([figures("a"), figures("a", TODAY)], {"days_have_ended"}),
    ],
)
def test_the_audit_of_days_finds_what_should_not_be_merged(final, rows, failed):
    final.land(VideoDays, *rows)
    assert broken(final.run("video_days/audit.sql")) == failed


@pytest.mark.parametrize(
    ("rows", "failed"),
    [
        ([video("a"), video("b", viewCount=None), vanished("c")], set()),
        ([video("a"), video("a") | {"_key": "another"}], {"one_row_a_video"}),
        ([video("a"), video("b", channelId=None)], {"what_is_there_is_whole"}),
        ([video("a"), video("b", publishedAt=None)], {"what_is_there_is_whole"}),
    ],
)
def test_the_audit_of_videos_finds_what_should_not_be_merged(final, rows, failed):
    final.land(Videos, *rows)
    assert broken(final.run("videos/audit.sql")) == failed


@pytest.mark.parametrize(
    ("stream", "row", "folder"), [(Videos, video("a"), "videos"), (VideoDays, figures("a"), "video_days")]
)
def test_an_empty_landing_does_not_pass_the_audit(final, stream, row, folder):
    final.land(stream, row, run_id="empty")
    final.query(f"DELETE FROM windrow_landing.{stream.dataset}_{slug('empty')} WHERE TRUE")  # noqa: S608
    assert "has_rows" in broken(final.run(f"{folder}/audit.sql", "empty"))


@pytest.mark.parametrize(("late_days", "failed"), [(0, set()), (5, set()), (6, {"figures_are_fresh"})])
def test_the_check_finds_figures_that_are_late(final, late_days, failed):
    merge(final, days=[figures("a", ago(1)), figures("a"), figures("b", ago(30))])
    asked = scope(ago(40), LAST + timedelta(days=late_days))
    assert broken(final.run("video_days/check.sql", **asked)) == failed


def test_the_check_looks_at_this_run_and_not_at_newer_ones(final):
    merge(final, days=[figures("a", LAST)], run_id="new")
    merge(final, days=[figures("a", ago(100), run_id="old")], run_id="old")
    assert broken(final.run("video_days/check.sql", "old", **scope(ago(110), ago(95)))) == set()
    assert broken(final.run("video_days/check.sql", "old", **scope(ago(110), ago(94)))) == {"figures_are_fresh"}


def test_the_check_finds_a_day_that_is_there_twice(final):
    merge(final, days=[figures("a"), figures("b")])
    final.query("INSERT INTO youtube.video_days SELECT * FROM youtube.video_days WHERE video_id = 'b'")
    assert broken(final.run("video_days/check.sql", **scope(ago(1)))) == {"one_row_a_video_and_day"}


# --- coverage ------------------------------------------------------------------------------------


def in_california(day: date, hour: int) -> str:
    """An hour of a day in California."""
    return datetime.combine(day, time(hour), PACIFIC).astimezone(UTC).isoformat()


def cover(warehouse: Warehouse, videos: Iterable[Row], days: Iterable[Row], first: date, run_id: str = "one") -> None:
    warehouse.land(Videos, *videos, run_id=run_id)
    warehouse.land(VideoDays, *days, run_id=run_id)
    warehouse.run("coverage/query.sql", run_id, **scope(first))


def covered(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Expected and returned days: run, video, first, last, expected, returned."""
    return [tuple(row.values()) for row in warehouse.rows("coverage", "run_id, video_id")]


def test_a_video_is_expected_from_its_publication_or_from_the_first_day_that_was_asked_for(final):
    videos = [
        video("born", publishedAt=in_california(ago(3), 23)),  # in UTC it is the next day
        video("fresh", publishedAt=in_california(LAST, 0)),
        video("new", publishedAt=in_california(ago(-2), 0)),  # after the last day that came
        video("old"),
        video("quiet"),
        vanished("gone"),
    ]
    days = [figures("old", ago(number)) for number in (9, 8, 7, 2, 1, 0)] + [figures("born", ago(1)), figures("fresh")]
    cover(final, videos, days, ago(9))
    assert covered(final) == [
        ("one", "born", ago(3), LAST, 4, 1),
        ("one", "fresh", LAST, LAST, 1, 1),
        ("one", "gone", ago(9), LAST, 10, 0),
        ("one", "new", ago(-2), LAST, 0, 0),
        ("one", "old", ago(9), LAST, 10, 6),
        ("one", "quiet", ago(9), LAST, 10, 0),
    ]


def test_days_are_expected_up_to_the_last_that_came_for_any_video(final):
    """Figures come late: what is asked for beyond them is nobody's gap."""
    cover(final, [video("a"), video("b")], [figures("a", ago(2)), figures("b", ago(1))], ago(3))
    assert covered(final) == [("one", "a", ago(3), ago(1), 3, 1), ("one", "b", ago(3), ago(1), 3, 1)]


def test_coverage_of_a_run_is_replaced_when_it_is_done_again_and_that_of_others_is_not(final):
    cover(final, [video("a")], [figures("a")], ago(1), "one")
    cover(final, [video("a"), video("b")], [figures("a", ago(1))], ago(1), "two")
    cover(final, [video("b")], [figures("b"), figures("b", ago(1))], ago(1), "one")
    final.run("coverage/query.sql", "one", **scope(ago(1)))
    assert covered(final) == [
        ("one", "b", ago(1), LAST, 2, 2),
        ("two", "a", ago(1), ago(1), 1, 1),
        ("two", "b", ago(1), ago(1), 1, 0),
    ]


# --- the proof of days ---------------------------------------------------------------------------


def test_proof_tells_what_is_there_and_what_is_missing(final):
    merge(final, [video("z", run_id="before")], [figures("z", ago(50), run_id="before")], "before")
    final.run("coverage/query.sql", "before", **scope(ago(60)))
    videos = [video(name) for name in "abcd"]
    days = [figures("a", ago(number)) for number in range(3)] + [figures("b", ago(2)), figures("c", ago(0))]
    merge(final, videos, days)
    final.run("coverage/query.sql", "one", **scope(ago(2)))
    final.query("DELETE FROM youtube.video_days WHERE video_id = 'c'")
    assert final.run("video_days/prove.sql") == [
        {
            "loaded": 5, "merged": 4, "total": 5, "videos": 4, "expected_days": 12, "returned_days": 5,
            "videos_with_missing_days": 3, "most_missing": "d 0 of 3; b 1 of 3; c 1 of 3", "watermark": "2026-11-17",
        }
    ]  # fmt: skip


def test_proof_names_the_ten_videos_that_miss_most(final):
    names = [f"v{number:02d}" for number in range(14)]
    days = [figures(name, ago(day)) for number, name in enumerate(names) for day in range(number + 1)]
    merge(final, [video(name) for name in names], days)
    final.run("coverage/query.sql", "one", **scope(ago(13)))
    (proof,) = final.run("video_days/prove.sql")
    assert proof["videos_with_missing_days"] == 13
    assert proof["most_missing"].split("; ") == [f"v{number:02d} {number + 1} of 14" for number in range(10)]


def test_proof_names_no_video_when_none_misses_a_day(final):
    merge(final, [video("a")], [figures("a"), figures("a", ago(1))])
    final.run("coverage/query.sql", "one", **scope(ago(1)))
    (proof,) = final.run("video_days/prove.sql")
    assert (proof["expected_days"], proof["returned_days"], proof["videos_with_missing_days"]) == (2, 2, 0)
    assert proof["most_missing"] is None


def test_proof_has_the_watermark_of_its_own_run(final):
    merge(final, [video("a")], [figures("a")], run_id="new")
    merge(final, [video("a")], [figures("a", ago(90))], run_id="old")
    final.run("coverage/query.sql", "old", **scope(ago(100)))
    (proof,) = final.run("video_days/prove.sql", "old")
    assert proof["watermark"] == ago(90).isoformat()


# --- marts ---------------------------------------------------------------------------------------


def random_days(names: Iterable[str], days: int) -> list[Row]:
    """Figures of the same randomness in every run, with days left out here and there."""
    dice = random.Random(7)
    counts = ("views", "estimatedMinutesWatched", "likes", "comments", "shares", "subscribersGained", "subscribersLost")
    return [
        figures(name, ago(number), engagedViews=0, **{count: dice.randrange(1000) for count in counts})
        for name in names
        for number in range(days)
        if dice.random() > 0.2
    ]


def test_channel_days_are_the_sums_of_their_videos(final):
    channels = {"a": "UCx", "b": "UCx", "c": "UCy"}
    rows = random_days("abc?", 20)
    merge(final, [video(name, channelId=channel) for name, channel in channels.items()], rows)
    final.run("channel_days/query.sql")
    groups = defaultdict(list)
    for row in rows:
        groups[channels.get(row["video_id"]), row["day"]].append(row)
    expected = [
        {
            "channel_id": channel,
            "day": day,
            "videos": len(of_day),
            **{
                name: sum(row[name] for row in of_day)
                for name in ("views", "engaged_views", "minutes_watched", "likes", "comments", "shares")
            },
            "subscribers": sum(row["subscribers_gained"] - row["subscribers_lost"] for row in of_day),
            "fetched_at": NOON,
        }
        for (channel, day), of_day in groups.items()
    ]
    assert len(expected) > 50
    found = final.rows("channel_days", "channel_id, day")
    assert found == sorted(expected, key=lambda row: (row["channel_id"] or "", row["day"]))


def test_a_lifetime_curve_is_cumulative_and_ends_at_all_views(final):
    born = {"a": ago(25), "b": ago(40)}
    videos = [video(name, publishedAt=in_california(day, 23)) for name, day in born.items()]
    rows = random_days("ab?", 20)
    merge(final, [*videos, video("silent"), vanished("?")], [*rows, figures("silent", views=0, engagedViews=0)])
    final.run("lifetime_curve/query.sql")
    found = final.rows("lifetime_curve", "video_id, age_days")
    assert [row for row in found if row["video_id"] == "silent"] == [
        {"video_id": "silent", "title": "About silent", "age_days": (LAST - OLD.date()).days + 1, "views": 0,
         "views_so_far": 0, "share_so_far": None}
    ]  # fmt: skip
    for name, first in born.items():
        curve = [row for row in found if row["video_id"] == name]
        mine = sorted((row for row in rows if row["video_id"] == name), key=lambda row: row["day"])
        total, so_far = sum(row["views"] for row in mine), 0
        assert len(curve) == len(mine) > 10
        for point, row in zip(curve, mine, strict=True):
            so_far += row["views"]
            assert (point["age_days"], point["views"]) == ((row["day"] - first).days, row["views"])
            assert point["views_so_far"] == so_far
            assert point["share_so_far"] == pytest.approx(so_far / total, abs=0.000_051)
        assert curve[-1]["share_so_far"] == 1
    assert {row["video_id"] for row in found} == {"a", "b", "silent"}, "without a publication there is no age"


def test_top_movers_are_the_videos_whose_views_changed_most_between_the_last_two_weeks(final):
    days = [
        *(figures("up", ago(number), views=300 if number < 7 else 100) for number in range(14)),
        *(figures("down", ago(number), views=10 if number < 7 else 500) for number in range(30)),
        *(figures("new", ago(number), views=100) for number in range(6)),
        *(figures("even", ago(number), views=100) for number in range(14)),
        figures("gone", ago(7), views=1_400),
        figures("long ago", ago(14), views=1_000_000),
    ]
    merge(final, [video(name) for name in ("up", "down", "new", "even")], days)
    final.run("top_movers/query.sql")
    found = final.rows("top_movers", "place")
    assert [tuple(row.values()) for row in found] == [
        (LAST, 1, "down", "About down", 70, 3_500, -3_430, -0.98),
        (LAST, 2, "gone", None, 0, 1_400, -1_400, -1.0),
        (LAST, 3, "up", "About up", 2_100, 700, 1_400, 2.0),  # as much as the one before: by their ids
        (LAST, 4, "new", "About new", 600, 0, 600, None),
        (LAST, 5, "even", "About even", 700, 700, 0, 0.0),
    ]


def test_top_movers_are_twenty_at_most(final):
    names = [f"v{number:02d}" for number in range(25)]
    merge(final, [video(name) for name in names], [figures(name, views=10 + int(name[1:])) for name in names])
    final.run("top_movers/query.sql")
    found = final.rows("top_movers", "place")
    assert [(row["place"], row["video_id"]) for row in found] == [
        (place, f"v{25 - place:02d}") for place in range(1, 21)
    ]


@pytest.mark.parametrize("mart", ["channel_days", "lifetime_curve", "top_movers"])
def test_a_mart_done_again_is_replaced(final, mart):
    merge(final, [video("a"), video("b")], [figures("a"), figures("b")])
    final.run(f"{mart}/query.sql")
    final.query("DELETE FROM youtube.video_days WHERE video_id = 'b'")
    final.run(f"{mart}/query.sql")
    assert len(final.rows(mart, "1")) == 1
