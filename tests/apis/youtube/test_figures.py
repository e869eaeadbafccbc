"""The figures: what must hold of them whatever the video and the day."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.apis.youtube.catalog import DEMO, VIDEOS, Video
from local_cloud.apis.youtube.figures import (
    METRICS,
    STARTS_COUNT_FROM,
    Figures,
    added,
    day_rows,
    days,
    final,
    known,
    last_day,
)

videos = st.sampled_from(list(VIDEOS.values()))
some_days = st.dates(date(2023, 10, 1), date(2026, 12, 31))
TODAY = date(2026, 11, 20)


@given(videos, some_days)
def test_a_day_has_figures_from_the_publication_on(video: Video, day: date) -> None:
    figures = final(video, day)
    assert (figures is None) == (day < video.first_day)
    if figures is not None:
        assert all(isinstance(figure, int) and figure >= 0 for figure in figures)


@given(videos, some_days)
def test_views_and_engaged_views_part_on_one_day(video: Video, day: date) -> None:
    figures = final(video, max(day, video.first_day)) or Figures()
    if max(day, video.first_day) < STARTS_COUNT_FROM:
        assert figures.views == figures.engaged_views
    else:
        assert figures.views >= figures.engaged_views
        assert figures.engaged_views < 7 or figures.views > figures.engaged_views


def test_that_day_is_the_24th_of_august() -> None:
    before, since = (added(final(video, date(2026, 8, day)) for video in DEMO.videos) or Figures() for day in (23, 24))
    assert before.views == before.engaged_views
    assert since.views > since.engaged_views


@given(videos, some_days)
def test_the_metrics_of_time_agree(video: Video, day: date) -> None:
    figures = final(video, max(day, video.first_day)) or Figures()
    assert figures.average_seconds <= video.seconds
    assert figures.minutes_watched == figures.average_seconds * figures.engaged_views // 60


@given(videos, some_days, st.integers(0, 30))
def test_a_day_appears_late_and_fills_in(video: Video, day: date, lag: int) -> None:
    day = max(day, video.first_day)
    whole, so_far = final(video, day), known(video, day, day + timedelta(days=lag))
    assert whole is not None
    if lag < 2:
        assert so_far is None
    elif lag in {2, 3}:
        percent = {2: 70, 3: 90}[lag]
        assert so_far == Figures(*(figure * percent // 100 for figure in whole))
    else:
        assert so_far == whole


def test_figures_are_these_on_every_machine() -> None:
    """A change here changes what every benchmark and stored warehouse is compared with."""
    video = DEMO.videos[20]
    assert (video.id, video.first_day) == ("SgvuEHuazL5", date(2024, 3, 9))
    assert final(video, date(2024, 3, 9)) == Figures(1534, 1534, 3176914, 54, 3, 4, 12, 1, 925002)
    assert final(video, date(2026, 11, 12)) == Figures(48, 37, 87172, 1, 0, 0, 0, 0, 22644)


def test_a_video_decays_has_weekends_and_now_and_then_a_spike() -> None:
    def views_from(age: int) -> int:
        return sum(
            (final(video, video.first_day + timedelta(days=age + each)) or Figures()).engaged_views
            for video in DEMO.videos
            for each in range(7)
        )

    by_age = [views_from(age) for age in (0, 28, 112, 336)]
    assert all(older < younger * 0.8 for younger, older in pairwise(by_age))

    month = [final(video, day) for video in DEMO.videos[:100] for day in days(date(2026, 9, 7), date(2026, 10, 4))]
    weekdays = [sum(each.engaged_views for each in month[number::7] if each) for number in range(7)]
    assert max(weekdays) == weekdays[5] > 1.3 * weekdays[1]

    spikes = 0
    for video in DEMO.videos[:100]:
        views = [(final(video, day) or Figures()).engaged_views for day in days(date(2026, 8, 1), date(2026, 10, 1))]
        spikes += sum(
            here > 2.5 * max(1, before, after) for before, here, after in zip(views, views[1:], views[2:], strict=False)
        )
    assert 10 < spikes < 100


@pytest.mark.parametrize("metrics", [["views"], ["likes", "views"]])
def test_rows_hold_the_metrics_in_the_order_asked(metrics: list[str]) -> None:
    video = DEMO.videos[0]
    rows = day_rows([video], date(2026, 1, 1), date(2026, 1, 3), TODAY, metrics)
    whole = [final(video, day) for day in days(date(2026, 1, 1), date(2026, 1, 3))]
    assert [row[0] for row in rows] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [row[1:] for row in rows] == [[getattr(figures, name) for name in metrics] for figures in whole]


def test_rows_end_with_the_slowest_metric() -> None:
    assert last_day(TODAY, [METRICS["views"]]) == date(2026, 11, 18)
    assert last_day(TODAY, [METRICS["views"], METRICS["estimatedRevenue"]]) == date(2026, 11, 17)
    rows = day_rows([DEMO.videos[0]], date(2026, 11, 1), TODAY, TODAY, ["views", "estimatedRevenue"])
    assert rows[-1][0] == "2026-11-17"


def test_adding_up_nothing_is_nothing() -> None:
    assert added([]) is None
    assert added([None, None]) is None
    one = Figures(*range(9))
    assert added([None, one]) == one
    assert added([one, one]) == Figures(*range(0, 18, 2))
