"""The channels and videos, and the days of California they are published on."""

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from local_cloud.apis.youtube.catalog import AWKWARD_TITLES, CHANNELS, DEMO, EMPTY, SECOND, VIDEOS
from local_cloud.apis.youtube.pacific import next_midnight, pacific_day
from local_cloud.apis.youtube.resources import duration


def test_there_are_200_videos_and_3_and_none() -> None:
    assert [len(channel.videos) for channel in (DEMO, SECOND, EMPTY)] == [200, 3, 0]
    assert len(VIDEOS) == 203


def test_ids_look_like_youtubes() -> None:
    for channel in CHANNELS.values():
        assert re.fullmatch(r"UC[\w-]{22}", channel.id)
        assert channel.uploads == f"UU{channel.id[2:]}"
    assert all(re.fullmatch(r"[\w-]{11}", video_id, re.ASCII) for video_id in VIDEOS)
    assert any(video_id.startswith("-") for video_id in VIDEOS)


def test_titles_are_as_awkward_as_people_make_them() -> None:
    titles = {video.title for video in DEMO.videos}
    assert set(AWKWARD_TITLES) <= titles
    assert max(map(len, titles)) == 100
    assert all(re.fullmatch(r"[^<>\n]{1,100}", title) and "{" not in title for title in titles)


def test_publication_is_spread_over_three_years() -> None:
    instants = [video.published_at for video in DEMO.videos]
    assert instants == sorted(instants)
    assert datetime(2023, 11, 2, tzinfo=UTC) <= instants[0] < datetime(2024, 2, 1, tzinfo=UTC)
    assert datetime(2026, 9, 1, tzinfo=UTC) < instants[-1] < datetime(2026, 11, 1, tzinfo=UTC)
    assert max(later - one for one, later in pairwise(instants)) < timedelta(days=60)


def test_some_were_published_on_another_day_in_california_than_in_utc() -> None:
    assert 30 < sum(video.first_day != video.published_at.date() for video in VIDEOS.values()) < 100


def test_some_hide_their_likes_and_some_take_no_comments() -> None:
    assert any(video.likes_hidden for video in VIDEOS.values())
    assert any(video.comments_off for video in VIDEOS.values())


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(45, "PT45S"), (60, "PT1M"), (754, "PT12M34S"), (3600, "PT1H"), (7142, "PT1H59M2S")],
)
def test_durations(seconds: int, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("instant", "day", "midnight", "hours_left"),
    [
        ("2026-11-21T07:59:59+00:00", date(2026, 11, 20), "2026-11-21T00:00:00-08:00", 0),
        ("2026-11-21T08:00:00+00:00", date(2026, 11, 21), "2026-11-22T00:00:00-08:00", 24),
        ("2026-07-01T07:00:00+00:00", date(2026, 7, 1), "2026-07-02T00:00:00-07:00", 24),
        ("2026-03-08T08:00:00+00:00", date(2026, 3, 8), "2026-03-09T00:00:00-07:00", 23),  # summer time begins
        ("2026-11-01T07:00:00+00:00", date(2026, 11, 1), "2026-11-02T00:00:00-08:00", 25),  # and ends
    ],
)
def test_days_of_california(instant: str, day: date, midnight: str, hours_left: int) -> None:
    at = datetime.fromisoformat(instant)
    assert pacific_day(at) == day
    assert next_midnight(at).isoformat() == midnight
    assert round((next_midnight(at).astimezone(UTC) - at) / timedelta(hours=1)) == hours_left
