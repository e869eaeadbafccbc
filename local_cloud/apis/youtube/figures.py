"""What every video did on every day: pure functions, so that a test can compare a warehouse with them exactly.

A day has *final* figures, which never change. The API lags behind them: a day appears two days after it, with 70 %
of its figures, has 90 % a day later, and all of them from the fourth day on.

From 2026-08-24 on `views` counts every start of playback and `engagedViews` what `views` used to count; before that
the two are equal.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from operator import attrgetter
from typing import Literal, NamedTuple

from local_cloud.apis.youtube.catalog import Video

LAG_DAYS = 2
"""The youngest day that has figures lies so many Pacific days before today."""
FILLED_PERCENT = {2: 70, 3: 90}
"""What is known of a day so many days later; later still, all."""
STARTS_COUNT_FROM = date(2026, 8, 24)
WEEKDAYS = (82, 80, 84, 90, 104, 138, 122)
"""Percent, Monday first."""
MASK = (1 << 64) - 1


class Figures(NamedTuple):
    """What can be added up over videos and days."""

    views: int = 0
    engaged_views: int = 0
    seconds_watched: int = 0
    likes: int = 0
    comments: int = 0
    shares: int = 0
    subscribers_gained: int = 0
    subscribers_lost: int = 0
    revenue_micros: int = 0
    """Millionths of a dollar."""

    @property
    def minutes_watched(self) -> int:
        """Whole minutes."""
        return self.seconds_watched // 60

    @property
    def average_seconds(self) -> int:
        """Seconds watched an engaged view; 0 without views."""
        return self.seconds_watched // self.engaged_views if self.engaged_views else 0

    @property
    def revenue(self) -> float:
        """Dollars."""
        return self.revenue_micros / 1_000_000


@dataclass(frozen=True)
class Metric:
    """One metric of a report, by the API's name. A slow one has no figures for days that others have."""

    name: str
    of: Callable[[Figures], int | float]
    data_type: Literal["INTEGER", "FLOAT"] = "INTEGER"
    lag_days: int = LAG_DAYS


METRICS = {
    metric.name: metric
    for metric in (
        Metric("views", attrgetter("views")),
        Metric("engagedViews", attrgetter("engaged_views")),
        Metric("estimatedMinutesWatched", attrgetter("minutes_watched")),
        Metric("averageViewDuration", attrgetter("average_seconds")),
        Metric("likes", attrgetter("likes")),
        Metric("comments", attrgetter("comments")),
        Metric("shares", attrgetter("shares")),
        Metric("subscribersGained", attrgetter("subscribers_gained")),
        Metric("subscribersLost", attrgetter("subscribers_lost")),
        Metric("estimatedRevenue", attrgetter("revenue"), "FLOAT", lag_days=3),
    )
}
MONEY_METRICS = {"estimatedRevenue"}
"""Only for a channel that is monetized."""


def final(video: Video, day: date) -> Figures | None:
    """Give the figures of a video on a Pacific day once all are known; None before its publication."""
    age = (day - video.first_day).days
    if age < 0:
        return None
    bits = _mixed(video.seed ^ day.toordinal())  # a byte for each thing that varies
    noise = bits & 255
    level = 30_000 // (age + 30) + 6  # per mille of the first day: 500 after a month, 80 after a year
    engaged = video.popularity * level * WEEKDAYS[day.weekday()] * (192 + noise) // 32_000_000
    if bits >> 8 & 255 < 2:  # somebody linked to it
        engaged = engaged * (4 + (noise & 3)) + 25
    chance = bits >> 48 & 511
    return Figures(
        views=engaged if day < STARTS_COUNT_FROM else engaged + engaged * (15 + (bits >> 16 & 31)) // 100,
        engaged_views=engaged,
        seconds_watched=engaged * (video.seconds * (25 + (bits >> 24 & 31)) // 100),
        likes=(engaged * (20 + (bits >> 32 & 31)) + chance) // 1000,
        comments=(engaged * (1 + (bits >> 40 & 3)) + chance) // 1000,
        shares=(engaged * (2 + (bits >> 42 & 7)) + chance) // 1000,
        subscribers_gained=(engaged * (1 + (bits >> 45 & 7)) + chance) // 1000,
        subscribers_lost=(engaged + (bits >> 57)) // 1000,
        revenue_micros=engaged * (500 + (bits >> 16 & 1023)),
    )


def known(video: Video, day: date, today: date) -> Figures | None:
    """Give what the API knows on the Pacific day `today` about an earlier one; None when it knows nothing."""
    lag = (today - day).days
    if lag < LAG_DAYS:
        return None
    figures = final(video, day)
    percent = FILLED_PERCENT.get(lag, 100)
    if figures is None or percent == 100:
        return figures
    return Figures(*(figure * percent // 100 for figure in figures))


def added(all_figures: Iterable[Figures | None]) -> Figures | None:
    """Add figures up; None when there are none."""
    there = [figures for figures in all_figures if figures is not None]
    if len(there) < 2:
        return there[0] if there else None
    return Figures(*map(sum, zip(*there, strict=True)))


def last_day(today: date, metrics: Iterable[Metric]) -> date:
    """Give the last day for which every one of `metrics` has figures."""
    return today - timedelta(days=max(metric.lag_days for metric in metrics))


def days(start: date, end: date) -> Iterator[date]:
    """Give the days from `start` to `end`, both included."""
    return map(date.fromordinal, range(start.toordinal(), end.toordinal() + 1))


def day_rows(
    videos: Sequence[Video], start: date, end: date, today: date, metrics: Sequence[str]
) -> list[list[str | int | float]]:
    """Give the rows of a report by day over `videos` as it is on `today`: the day, then `metrics` by their names.

    A day for which not all metrics have figures, and one on which no video is out yet, has no row.
    """
    columns = [METRICS[name] for name in metrics]
    rows = []
    for day in days(start, min(end, last_day(today, columns))):
        figures = added(known(video, day, today) for video in videos)
        if figures is not None:
            rows.append([day.isoformat(), *(column.of(figures) for column in columns)])
    return rows


def _mixed(number: int) -> int:
    """Scatter a number of 64 bits over 64 bits (splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & MASK
    return number ^ number >> 31
