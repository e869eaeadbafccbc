"""The work of the YouTube benchmark: one report a video and day.

Imported by every contender, so it imports nothing that would count as a contender's memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

from local_cloud.apis.youtube.catalog import DEMO
from local_cloud.apis.youtube.pacific import pacific_day

TOKEN_PATH = "/token"  # noqa: S105 - an address, not a token
PATH = "/v2/reports"
DATASET = "youtube_video_days"
NOW = "2026-11-20T18:00:00+00:00"
"""Where the clock of the fake YouTube stands."""
LAG = timedelta(days=2)
"""The last day that has figures, before the Pacific day of that instant."""
METRICS = (
    *("views", "engagedViews", "estimatedMinutesWatched", "averageViewDuration", "likes", "comments", "shares"),
    *("subscribersGained", "subscribersLost"),
)
VIDEOS = len(DEMO.videos)
TIMEOUT_S = 30.0
Report = tuple[str, date]
"""What one call is about: the id of a video, and a day."""


@dataclass(frozen=True, slots=True)
class Job:
    """One measured piece of work. ``folder`` outlives its processes."""

    api_url: str
    mongo_url: str
    database: str
    calls: int
    """The first so many of the reports on all ``days``."""
    days: int
    connections: int
    client_id: str
    client_secret: str
    refresh_token: str
    folder: str

    @property
    def grant(self) -> dict[str, str]:
        """The form that a token is had for."""
        client = {"client_id": self.client_id, "client_secret": self.client_secret}
        return {"grant_type": "refresh_token", "refresh_token": self.refresh_token, **client}

    @property
    def at(self) -> datetime:
        """The instant of the run."""
        return datetime.fromisoformat(NOW)

    @property
    def last(self) -> date:
        """The last day."""
        return pacific_day(self.at) - LAG

    @property
    def first(self) -> date:
        """The first day."""
        return self.last - timedelta(days=self.days - 1)

    def reports(self) -> Iterator[Report]:
        """Name the reports, in the order in which Windrow plans them. The peers are told; Windrow asks the API."""
        videos = [video.id for video in DEMO.published(self.at)]
        days = (self.first + timedelta(days=number) for number in range(self.days))
        return islice(((video, day) for day in days for video in videos), self.calls)


def params(report: Report) -> dict[str, str]:
    """Write the parameters of one call."""
    video, day = report
    return {
        "ids": "channel==MINE",
        "startDate": day.isoformat(),
        "endDate": day.isoformat(),
        "metrics": ",".join(METRICS),
        "dimensions": "day",
        "filters": f"video=={video}",
        "sort": "day",
    }


def name(report: Report) -> str:
    """Name a report, for the ``_id`` of its document."""
    video, day = report
    return f"{video}|{day.isoformat()}"
