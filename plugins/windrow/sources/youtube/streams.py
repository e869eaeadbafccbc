"""YouTube: the videos of a channel, and their daily figures.

``GET /youtube/v3/...`` is the Data API v3: a channel has a playlist of its uploads, whose pages have the ids of the
videos. ``GET /v2/reports`` is the Analytics API v2. A report by day is about one video: for several videos in its
filter it returns the sum, and by video *and* day it is refused. So there is one query per video, for all days.

Days are those of California. Figures arrive after two to three days, and still change for some days.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, NotGiven, Unreadable, Unusable
from windrow.model.plausible import Plausible
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.rows import RawRows
from windrow.model.stream import Asked, Flow, Gap, MaybePage, PlanFlow, Planned, Request, Stream, read_each, read_some
from windrow.model.table import Table
from windrow.sources.youtube.policy import GOOGLE_POLICY, items, total_results

PACIFIC = ZoneInfo("America/Los_Angeles")
TRAILING_DAYS = 7
"""Days before the watermark that are read again, because figures still change for some days."""
PARTS = "snippet,contentDetails,statistics"
"""The requested parts of a video resource."""
_DIGITS = len(str(2**64))
"""Digits of the largest count of YouTube, an unsigned integer of 64 bits."""
SETTLED_AFTER = timedelta(days=7)
"""Older days have their figures for certain: a report that ends before them may have another page."""
PLAYLIST_CAP = 20_000
"""YouTube lists at most so many videos of a playlist of uploads; its totalResults may end there too."""
FIRST_DAY = date(2005, 2, 14)
"""The first day of YouTube."""
QUOTAS = (
    Quota("youtube.search", Period.PACIFIC_DAY, 100, ("/youtube/v3/search",)),
    Quota("youtube.data", Period.PACIFIC_DAY, 10_000, ("/youtube/v3/",)),
    Quota("youtube.analytics", Period.PACIFIC_DAY, None, ("/v2/reports",)),
)
"""Units per day, https://developers.google.com/youtube/v3/determine_quota_cost. Google does not publish the number for
reports: that of a project is in its console, and belongs into the extra of the Airflow connection."""


class Videos(Stream):
    """One record per listed video, with its current details. A listed video that was deleted has a record too."""

    dataset = "youtube_videos"
    endpoint = "/youtube/v3/videos"
    table = Table(key=("video_id",), cluster=("channel_id",), description="Videos, one row each.")
    plausible = Plausible()
    ignored = frozenset({
        *("kind", "etag"),
        *("description", "thumbnails", "channelTitle", "tags", "categoryId", "liveBroadcastContent", "localized"),
        *("defaultLanguage", "defaultAudioLanguage"),
        *("dimension", "definition", "caption", "licensedContent", "regionRestriction", "contentRating", "projection"),
        *("hasCustomThumbnail", "favoriteCount", "dislikeCount"),
    })
    """What the reference of the API lists of the requested parts, besides the columns. Any other field is a warning."""
    policy = GOOGLE_POLICY
    quotas = QUOTAS
    person = {"channel_id": ("channelId", "id")}  # noqa: RUF012 - as declared
    contract = Contract((
        Column("video_id", "id", Kind.STRING, "Id of the video.", required=True),
        Column(
            "available",
            "available",
            Kind.BOOLEAN,
            "False if it is listed, but was deleted or is private.",
            required=True,
        ),
        Column("channel_id", "channelId", Kind.STRING, "Id of the channel."),
        Column("title", "title", Kind.STRING, "Title of the video."),
        Column("published_at", "publishedAt", Kind.TIMESTAMP, "When it was published."),
        Column("duration", "duration", Kind.STRING, "Length, in the notation of ISO 8601."),
        Column("view_count", "viewCount", Kind.INTEGER, "Views so far; null if hidden."),
        Column("like_count", "likeCount", Kind.INTEGER, "Likes so far; null if hidden."),
        Column("comment_count", "commentCount", Kind.INTEGER, "Comments so far; null if hidden."),
    ))

    def plan(self, request: Request) -> PlanFlow:
        """Plan a call for the details of 50 videos at a time."""
        _span(request)  # an invalid range is reported before the first call
        uploads = yield from _uploads(request)
        yield Planned(
            Query.of("/youtube/v3/videos", {"part": PARTS, "id": ",".join(uploads[place : place + 50])})
            for place in range(0, len(uploads), 50)
        )

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the requested videos, in that order. The answer does not contain deleted ones."""
        return self.read(query, answer)[0]

    def read(self, query: Query, answer: object) -> tuple[list[dict[str, object]], list[Unreadable]]:
        """Read each video by itself: an impossible value does not affect the others."""
        found = items(answer)
        if found is None:
            raise Unreadable('a list of videos must look like {"items": [{"id": ...}, ...]}')
        by_id, nameless = read_each(found, lambda item: (_id_at(item, "id"), item))
        resources = dict(by_id)
        requested = dict(query.params)["id"].split(",")
        strangers = resources.keys() - set(requested)
        if strangers:
            raise Unreadable(f"the answer has videos that were not requested: {sorted(strangers)[:3]}")

        def read_video(video_id: str) -> dict[str, object]:
            if nameless and video_id not in resources:
                raise Unreadable(f"video {video_id!r} is not in the answer, or has no id there")
            return self._record(video_id, resources.get(video_id))

        videos, errors = read_some(requested, read_video)
        return videos, nameless + errors

    def _record(self, video_id: str, item: object) -> dict[str, object]:
        try:
            return self.contract.record(_video(video_id, item))
        except Unreadable as error:
            raise Unreadable(f"video {video_id!r}: {error.reason}") from None


class VideoDays(Stream):
    """One record per video and day."""

    dataset = "youtube_video_days"
    endpoint = "/v2/reports"
    table = Table(
        key=("video_id", "day"),
        partition="day",
        cluster=("video_id",),
        description="Figures of a video on a day, one row each.",
    )
    plausible = Plausible()
    policy = GOOGLE_POLICY
    quotas = QUOTAS
    contract = Contract((
        Column("video_id", "video", Kind.STRING, "Id of the video.", required=True),
        Column("day", "day", Kind.DATE, "Day in California.", required=True),
        Column("views", "views", Kind.INTEGER, "Views; since August 2026 every start of playback.", required=True),
        Column("engaged_views", "engagedViews", Kind.INTEGER, "Views by the older definition.", required=True),
        Column("minutes_watched", "estimatedMinutesWatched", Kind.INTEGER, "Minutes watched.", required=True),
        Column("mean_view_seconds", "averageViewDuration", Kind.INTEGER, "Mean length of a view, seconds."),
        Column("likes", "likes", Kind.INTEGER, "Likes, minus removed ones.", required=True),
        Column("comments", "comments", Kind.INTEGER, "Comments.", required=True),
        Column("shares", "shares", Kind.INTEGER, "Shares.", required=True),
        Column("subscribers_gained", "subscribersGained", Kind.INTEGER, "Subscribers gained.", required=True),
        Column("subscribers_lost", "subscribersLost", Kind.INTEGER, "Subscribers lost.", required=True),
    ))

    def __init__(self) -> None:
        self._longest: dict[tuple[str, str], int] = {}
        """Rows of the longest first page of a report, by the first and the last day."""

    def plan(self, request: Request) -> PlanFlow:
        """Plan one report per video for the whole range; with granularity ``day`` one per video and day."""
        self._longest.clear()
        span = _span(request)
        channel = request.params.get("channel") or "MINE"
        uploads = yield from _uploads(request)
        parts = span.days if request.params.get("granularity") == "day" else (span,)
        yield Planned(self._report(str(channel), video, part) for part in parts for video in uploads)

    def scope(self, request: Request) -> Mapping[str, str]:
        """Return the first and the last requested day."""
        span = _span(request)
        return {"first": span.first.isoformat(), "last": span.last.isoformat()}

    def follows_watermark(self, params: Mapping[str, object]) -> bool:
        """Return False for a run with its own range, which may skip days, and for another channel."""
        return not any(params.get(name) for name in ("start_date", "end_date", "channel"))

    def raw_rows(self, query: Query, answer: Any) -> RawRows:
        """Return the rows of a report of one page, column by column. `records` decides about any other answer."""
        params = dict(query.params)
        names = [header["name"] for header in answer["columnHeaders"]]
        rows = RawRows.of_lists(names, answer.get("rows") or [], {"video": params["filters"].removeprefix("video==")})
        days = rows.columns.get("day", ())
        inside = all(params["startDate"] <= day <= params["endDate"] for day in days)
        if answer.get("errors") or not inside or len(set(days)) < len(days):
            raise Unreadable("the report has errors, or other days than the requested ones")
        return rows

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Return the next page of a report that may be cut.

        Google publishes no page length. A page may be cut if days are missing at its end, unless these are so young
        that their figures may not have arrived, and if no first page for the same days was longer: the API cuts all
        pages at one length. Where a page was cut, pages follow until one is empty or has the last day.
        """
        pages = [_rows(page) for page in _pages(answer.parsed)]
        params = dict(query.params)
        start = int(params.get("startIndex", "1"))
        rows = len(pages[-1])
        if not rows:
            return None
        days = [str(row.get("day")) for page in pages for row in page]
        soonest = date.fromisoformat(params["startDate"]) + timedelta(days=start - 1)  # as each day has one row at most
        if min(days) < soonest.isoformat():
            raise Unreadable(f"requested rows from row {start} on, but the API starts again with {min(days)!r:.20}")
        span = params["startDate"], params["endDate"]
        if start == 1:
            self._longest[span] = max(self._longest.get(span, 0), rows)
            if rows < self._longest[span]:
                return None
        settled = answer.fetched_at.astimezone(PACIFIC).date() - SETTLED_AFTER
        if max(days) >= min(params["endDate"], settled.isoformat()):
            return None
        return MaybePage.of(query.path, params | {"startIndex": str(start + len(days))})

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read a report, all its pages. The columns are found by their names."""
        return self.read(query, answer)[0]

    def read(self, query: Query, answer: object) -> tuple[list[dict[str, object]], list[Unreadable]]:
        """Read each day by itself: an impossible value does not affect the others."""
        params = dict(query.params)
        video = params["filters"].removeprefix("video==")
        rows = [row for page in _pages(answer) for row in _rows(page)]
        days = [str(row.get("day")) for row in rows]
        if len(days) != len(set(days)):
            raise Unreadable("the report has a day twice")
        strange = [day for day in days if not params["startDate"] <= day <= params["endDate"]]
        if strange:
            raise Unreadable(f"{strange[0]!r:.20} is not between {params['startDate']} and {params['endDate']}")
        return read_some(rows, lambda row: self.contract.record({"video": video, **row}))

    def _report(self, channel: str, video: str, span: "Span") -> Query:
        metrics = [column.field for column in self.contract.columns if column.field not in {"video", "day"}]
        return Query.of(
            "/v2/reports",
            {
                "ids": f"channel=={channel}",
                "startDate": span.first.isoformat(),
                "endDate": span.last.isoformat(),
                "metrics": ",".join(metrics),
                "dimensions": "day",
                "filters": f"video=={video}",
                "sort": "day",
            },
        )


# --- which days ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A range of days, from ``first`` to ``last``, both included."""

    first: date
    last: date

    @property
    def days(self) -> Iterator["Span"]:
        """Each day, as a range of one day."""
        for number in range((self.last - self.first).days + 1):
            day = self.first + timedelta(days=number)
            yield Span(day, day)


def _span(request: Request) -> Span:
    """Return the days of a run: those of its params, or all since the watermark and the week before it.

    :raises BadParameter: a day is invalid, has no figures, or the last day is before the first.
    """
    yesterday = request.at.astimezone(PACIFIC).date() - timedelta(days=1)
    last = _day(request.params.get("end_date"), "end_date", yesterday) or yesterday
    mark = min(date.fromisoformat(request.watermark), yesterday) if request.watermark else last
    first = _day(request.params.get("start_date"), "start_date", yesterday)
    first = first or min(mark, last) - timedelta(days=TRAILING_DAYS - 1)
    if first > last:
        raise BadParameter(
            f"start_date {first} is after end_date {last}.", advice="Trigger a run with the two dates swapped."
        )
    return Span(first, last)


def _day(value: object, name: str, yesterday: date) -> date | None:
    """Read a day that YouTube may have figures of; None if it is empty."""
    if value is None or value == "":
        return None
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        raise BadParameter(
            f"{name} is {value!r:.40}, which is not a valid date.", advice="Use a date like 2026-11-20."
        ) from None
    if day > yesterday:
        raise BadParameter(
            f"{name} is {day}, which has not ended in California. The last day that has ended there is {yesterday}.",
            advice="Trigger a run with an earlier day, or without end_date.",
        )
    if day < FIRST_DAY:
        raise BadParameter(
            f"{name} is {day}, which is before the first day of YouTube, {FIRST_DAY}.",
            advice="Trigger a run with a later day.",
        )
    return day


# --- which videos ----------------------------------------------------------------------------------


def _uploads(request: Request) -> Flow[list[str]]:
    """Find the ids of all videos of the channel, each once, in the order of the playlist of its uploads.

    It takes five calls for 200 videos. The search endpoint would take a hundred times the units, and skips videos.

    A page that cannot be read ends the list, and an item without an id is left out; both are in the quarantine. A
    playlist that ends before the number of videos that it has is a gap.

    :raises Unusable: there is no list.
    """
    channel = request.params.get("channel")
    query = Query.of(
        "/youtube/v3/channels", {"part": "contentDetails", **({"id": str(channel)} if channel else {"mine": "true"})}
    )
    channels: Answer = yield Asked(query, _playlist)
    playlist = _playlist(channels.parsed)
    if playlist is None:
        raise BadParameter(
            f"YouTube does not find the channel {channel!r}."
            if channel
            else "The account that gave its consent has no channel.",
            advice="Use the id of a channel, which begins with UC, or leave channel out for that of the account.",
        )
    videos: dict[str, None] = {}  # ordered, without duplicates: a new upload moves a video to the next page too
    listed = 0
    page = {"part": "contentDetails", "playlistId": playlist, "maxResults": "50"}
    while True:
        query = Query.of("/youtube/v3/playlistItems", page)
        try:
            answer: Answer = yield Asked(query, _listed)
        except NotGiven as error:
            if "pageToken" not in page:
                return []  # a channel that never had an upload has no such playlist
            yield Gap(
                query, f"YouTube listed {listed:,} videos of {playlist}, then HTTP {error.status}.", error.status or 0
            )
            return list(videos)
        except Unusable:
            return list(videos)
        found = _listed(answer.parsed)
        listed += len(found)
        ids, errors = read_each(found, lambda item: _id_at(item, "contentDetails", "videoId"))
        videos |= dict.fromkeys(ids)
        if errors:
            yield Unreadable(f"{len(errors)} items are left out, the first because {errors[0].reason}")
        token = answer.parsed.get("nextPageToken") if isinstance(answer.parsed, Mapping) else ""
        if not token:
            break
        page["pageToken"] = str(token)
    total = total_results(answer.parsed)
    if listed < total or listed >= PLAYLIST_CAP:
        yield _rest_of(playlist, listed, total)
    return list(videos)


def _rest_of(playlist: str, listed: int, total: int) -> Gap:
    """Make the gap for videos of a playlist that YouTube does not list."""
    advice = "A new run lists it again."
    if listed >= PLAYLIST_CAP:
        advice = f"Its cap is {PLAYLIST_CAP:,}: search.list finds older ones by channelId and publishedBefore."
    rest = Query.of("/youtube/v3/playlistItems", known_by={"playlistId": playlist, "after": str(listed)})
    return Gap(rest, f"{playlist} has {total:,} videos, and YouTube listed {listed:,}. {advice}", 200)


def _playlist(answer: object) -> str | None:
    """Return the id of a channel's playlist of uploads; None if the channel does not exist."""
    found = items(answer)
    if found is None:
        raise Unreadable("a list of channels must have items")
    if not found:
        return None
    return _id_at(found[0], "contentDetails", "relatedPlaylists", "uploads")


def _listed(answer: object) -> Sequence[object]:
    found = items(answer)
    if found is None:
        raise Unreadable("a page of a playlist must have items")
    return found


def _id_at(item: object, *names: str) -> str:
    """Return the id that an item has at the end of these names."""
    found = item
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, str) or not found:
        raise Unreadable(f"an item of a list has no {'.'.join(names)}")
    return found


def _video(video_id: str, item: object) -> dict[str, object]:
    """Join the parts of a video resource. Counts are strings there, because they have up to 64 bits."""
    if not isinstance(item, Mapping):
        return {"id": video_id, "available": False}
    parts = PARTS.split(",")
    fields = {name: value for name, value in item.items() if name not in parts}
    for part in parts:
        content = item.get(part)
        if isinstance(content, Mapping):
            fields |= content
    for name in ("viewCount", "likeCount", "commentCount"):
        value = fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
            fields[name] = int(value)
    return fields | {"id": video_id, "available": True}


# --- reports ---------------------------------------------------------------------------------------


def _pages(answer: object) -> Sequence[object]:
    return answer if answer and isinstance(answer, list) else (answer,)


def _rows(page: object) -> list[dict[str, object]]:
    """Read the rows of a page by the names of its columns. A report without data has no ``rows``.

    :raises Unreadable: this is not a report, or it has errors.
    """
    if not isinstance(page, Mapping):
        raise Unreadable("a report must be an object")
    if page.get("errors"):
        raise Unreadable(f"the report has errors: {page['errors']!r:.200}")
    rows, headers = page.get("rows") or [], page.get("columnHeaders")
    try:
        names = [str(header["name"]) for header in headers]  # type: ignore[union-attr]
        if all(isinstance(row, list) for row in rows):
            return [dict(zip(names, row, strict=True)) for row in rows]
    except (KeyError, TypeError, ValueError):
        pass
    raise Unreadable("a report must have columnHeaders, and rows of the same length")
