"""YouTube Analytics API v2: `reports.query`, as far as a harvest of videos by day needs it.

Three reports: by day over the channel or over the videos of a filter (their sum!), by video ("top videos"), and one
row of totals. A video and a day together are not to be had, as on the real API.

Chosen, as Google's pages leave it open:

* rows by day come oldest first unless sorted; a day without a view has a row of zeros;
* a report has no limit of rows except maxResults, and `report_page_rows` if it is set;
* the account owns the three channels of the catalog, and another one is Forbidden;
* a deleted video, one that is not out yet, and one of another channel have no rows of their own. The totals of a
  channel still hold what its deleted videos did;
* the one metric of money lags three days behind, and so shortens a report that asks for it.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import date

from multidict import MultiMapping

from local_cloud.apis.endpoint import Endpoint
from local_cloud.apis.youtube.catalog import CHANNELS, DEMO, Channel, Video
from local_cloud.apis.youtube.errors import Refusal, invalid
from local_cloud.apis.youtube.figures import METRICS, MONEY_METRICS, Metric, added, day_rows, days, known, last_day
from local_cloud.apis.youtube.params import Params
from local_cloud.apis.youtube.resources import Json
from local_cloud.apis.youtube.routes import Routes
from local_cloud.apis.youtube.settings import SettingsSwitch

API = "youtube_analytics"
PARAMS = (
    *("ids", "startDate", "endDate", "metrics", "dimensions", "filters", "sort", "maxResults", "startIndex"),
    *("currency", "includeHistoricalChannelData"),
)
MAX_TOP_VIDEOS = 200
MAX_FILTERED_VIDEOS = 500
Row = list[str | int | float]


@dataclass(frozen=True)
class Report:
    """What a call asks for. `video_ids` is None without a filter, `start` counts from 0."""

    channel: Channel
    first: date
    last: date
    metrics: Sequence[Metric]
    dimensions: Sequence[str]
    video_ids: Set[str] | None
    sort: Sequence[str]
    start: int
    rows: int | None

    @property
    def columns(self) -> list[str]:
        """The names of the columns: dimensions, then metrics."""
        return [*self.dimensions, *(metric.name for metric in self.metrics)]


class AnalyticsApi:
    """Answers calls of the Analytics API."""

    def __init__(self, settings: SettingsSwitch) -> None:
        self._settings = settings

    def endpoints(self, routes: Routes) -> Iterator[Endpoint]:
        """Describe the route."""
        yield routes.get(API, "/v2/reports", self.reports, "analytics")

    def reports(self, query: MultiMapping[str]) -> Json:
        """Answer with the table of a report; without data it has no `rows`."""
        report = read_report(Params(query, PARAMS))
        settings = self._settings.current
        if not settings.monetized and any(metric.name in MONEY_METRICS for metric in report.metrics):
            raise Refusal(403, "Forbidden", "forbidden")
        start = report.start
        if start and settings.report_paging == "refused":
            raise Refusal(400, "The query is not supported.", "badRequest")
        rows = _sorted(self._rows(report), report)[start if settings.report_paging == "ok" else 0 :]
        limits = [limit for limit in (report.rows, settings.report_page_rows) if limit is not None]
        rows = rows[: min(limits)] if limits else rows
        return {"kind": "youtubeAnalytics#resultTable", "columnHeaders": headers(report)} | (
            {"rows": rows} if rows else {}
        )

    def _rows(self, report: Report) -> list[Row]:
        """Give all rows, by day or by age."""
        now, today = self._settings.now(), self._settings.today()
        published = [video for video in report.channel.videos if video.published_at <= now]
        own = [video for video in published if video.id not in self._settings.current.vanished]
        if report.video_ids is not None:
            own = [video for video in own if video.id in report.video_ids]
        if "video" in report.dimensions:
            return [[video.id, *row] for video in own for row in _totals([video], report, today)]
        summed = published if report.video_ids is None else own
        if not summed:
            return []
        first = max(report.first, summed[0].first_day)
        if "day" in report.dimensions:
            last = report.last
            if {video.id for video in summed} <= self._settings.current.idle:
                last = report.first + (last - report.first) // 2
            return day_rows(summed, first, last, today, [metric.name for metric in report.metrics])
        return _totals(summed, report, today)


def read_report(params: Params) -> Report:
    """Read what a call asks for; raises Refusal."""
    for name in ("ids", "startDate", "endDate", "metrics"):
        if not params.names(name):
            raise invalid(name, "Required", "required")
    channel = _channel(params.text("ids"))
    first, last = params.day("startDate"), params.day("endDate")
    if first > last:
        raise Refusal(400, "The start date must not be later than the end date.", "badRequest")
    metrics = []
    for name in params.names("metrics"):
        if name not in METRICS:
            raise Refusal(400, f"Unknown identifier ({name}) given in field parameters.metrics.", "badRequest")
        metrics.append(METRICS[name])
    report = Report(
        channel=channel,
        first=first,
        last=last,
        metrics=metrics,
        dimensions=params.names("dimensions"),
        video_ids=_filtered(params.text("filters")),
        sort=params.names("sort"),
        start=(params.whole("startIndex", 1, 1) or 1) - 1,
        rows=params.whole("maxResults", None, 1),
    )
    if report.dimensions not in ([], ["day"], ["video"]):
        raise _unsupported()
    for key in report.sort:
        if key.removeprefix("-") not in report.columns:
            raise Refusal(400, f"Unknown identifier ({key}) given in field parameters.sort.", "badRequest")
    if report.dimensions == ["video"]:
        descending = bool(report.sort) and all(key.startswith("-") for key in report.sort)
        if not descending or report.rows is None or report.rows > MAX_TOP_VIDEOS:
            raise _unsupported()
    return report


def headers(report: Report) -> list[Json]:
    """Describe the columns."""
    dimensions = [{"name": name, "columnType": "DIMENSION", "dataType": "STRING"} for name in report.dimensions]
    return dimensions + [
        {"name": metric.name, "columnType": "METRIC", "dataType": metric.data_type} for metric in report.metrics
    ]


def _unsupported() -> Refusal:
    return Refusal(400, "The query is not supported.", "badRequest")


def _channel(ids: str) -> Channel:
    kind, _, channel_id = ids.partition("==")
    if kind != "channel" or not channel_id:
        raise invalid("ids", f"Invalid value '{ids}'. Values must match the following format: channel==ID")
    if channel_id == "MINE":
        return DEMO
    if channel_id not in CHANNELS:
        raise Refusal(403, "Forbidden", "forbidden")
    return CHANNELS[channel_id]


def _filtered(filters: str) -> Set[str] | None:
    """Read the ids of the one filter there is: `video==ID,ID`."""
    if not filters:
        return None
    name, _, ids = filters.partition("==")
    listed = ids.split(",")
    if name != "video" or not all(listed) or len(listed) > MAX_FILTERED_VIDEOS or ";" in ids:
        raise _unsupported()
    return frozenset(listed)


def _totals(videos: Sequence[Video], report: Report, today: date) -> list[Row]:
    """Give the one row of `videos` over all days of the report, without its dimension; none without data."""
    first = max(report.first, min(video.first_day for video in videos))
    last = min(report.last, last_day(today, report.metrics))
    figures = added(known(video, day, today) for day in days(first, last) for video in videos)
    return [[metric.of(figures) for metric in report.metrics]] if figures else []


def _sorted(rows: list[Row], report: Report) -> list[Row]:
    """Sort by the first key, then by the second, and so on."""
    for key in reversed(report.sort):
        column = report.columns.index(key.removeprefix("-"))
        rows.sort(key=lambda row: row[column], reverse=key.startswith("-"))
    return rows
