"""YouTube: the videos of a channel, and what each was watched a day.

``GET /youtube/v3/...`` is the Data API v3: a channel names the playlist of its uploads, whose pages name the videos.
``GET /v2/reports`` is the Analytics API v2. A report by day holds one video: with several in its filter it adds
them up, and by video *and* day it is refused. So it is one query a video, over all the days that are wanted.

Days are those of California. Figures come two to three days late and fill in for a while after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, NotGiven, Unreadable, Unusable
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.rows import Rows
from windrow.model.stream import Asked, Flow, PlanFlow, Planned, Request, Stream
from windrow.sources.youtube.policy import GOOGLE_POLICY, items

PACIFIC = ZoneInfo("America/Los_Angeles")
TRAILING_DAYS = 7
"""Days before the watermark that are read again: figures fill in for some days."""
PARTS = "snippet,contentDetails,statistics"
"""The parts of a video's resource that are asked for."""
_DIGITS = len(str(2**64))
"""Of the largest count that YouTube may tell."""
SETTLED_AFTER = timedelta(days=7)
"""Days that are older have figures for sure: a report that ends before them may have another page."""
FIRST_DAY = date(2005, 2, 14)
"""When YouTube began."""
QUOTAS = (
    Quota("youtube.search", Period.PACIFIC_DAY, 100, ("/youtube/v3/search",)),
    Quota("youtube.data", Period.PACIFIC_DAY, 10_000, ("/youtube/v3/",)),
    Quota("youtube.analytics", Period.PACIFIC_DAY, None, ("/v2/reports",)),
)
"""Units a day, https://developers.google.com/youtube/v3/determine_quota_cost. Google publishes no number for reports:
a project's own is in its console, and belongs into the extra of the Airflow connection."""


class Videos(Stream):
    """One record a listed video, as it is now. One that is listed and has vanished is a record all the same."""

    dataset = "youtube_videos"
    policy = GOOGLE_POLICY
    quotas = QUOTAS
    contract = Contract((
        Column("video_id", "id", Kind.STRING, "Id of the video.", required=True),
        Column("available", "available", Kind.BOOLEAN, "False if it is listed and cannot be had.", required=True),
        Column("channel_id", "channelId", Kind.STRING, "Id of the channel."),
        Column("title", "title", Kind.STRING, "Title of the video."),
        Column("published_at", "publishedAt", Kind.TIMESTAMP, "When it was published."),
        Column("duration", "duration", Kind.STRING, "Length, in the notation of ISO 8601."),
        Column("view_count", "viewCount", Kind.INTEGER, "Views so far; null where hidden."),
        Column("like_count", "likeCount", Kind.INTEGER, "Likes so far; null where hidden."),
        Column("comment_count", "commentCount", Kind.INTEGER, "Comments so far; null where hidden."),
    ))

    def plan(self, request: Request) -> PlanFlow:
        """Ask for the details of 50 videos at a time."""
        _span(request)  # a range that cannot be meant is told before the first call
        uploads = yield from _uploads(request)
        yield Planned(
            Query.of("/youtube/v3/videos", {"part": PARTS, "id": ",".join(uploads[place : place + 50])})
            for place in range(0, len(uploads), 50)
        )

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the videos that were asked for, in that order; those that the answer leaves out have vanished."""
        found = items(answer)
        if found is None:
            raise Unreadable('a list of videos should look like {"items": [{"id": ...}, ...]}')
        by_id = {str(item.get("id")): item for item in found}
        asked = dict(query.params)["id"].split(",")
        strangers = by_id.keys() - set(asked)
        if strangers:
            raise Unreadable(f"asked for other videos than {sorted(strangers)[:3]}")
        return [self.contract.record(_video(video_id, by_id.get(video_id))) for video_id in asked]


class VideoDays(Stream):
    """One record a video and day."""

    dataset = "youtube_video_days"
    policy = GOOGLE_POLICY
    quotas = QUOTAS
    contract = Contract((
        Column("video_id", "video", Kind.STRING, "Id of the video.", required=True),
        Column("day", "day", Kind.DATE, "Day in California.", required=True),
        Column("views", "views", Kind.INTEGER, "Views; from August 2026 on each start of playback.", required=True),
        Column("engaged_views", "engagedViews", Kind.INTEGER, "Views by the older definition.", required=True),
        Column("minutes_watched", "estimatedMinutesWatched", Kind.INTEGER, "Minutes watched.", required=True),
        Column("mean_view_seconds", "averageViewDuration", Kind.INTEGER, "Mean length of a view, seconds."),
        Column("likes", "likes", Kind.INTEGER, "Likes, less those withdrawn.", required=True),
        Column("comments", "comments", Kind.INTEGER, "Comments.", required=True),
        Column("shares", "shares", Kind.INTEGER, "Shares.", required=True),
        Column("subscribers_gained", "subscribersGained", Kind.INTEGER, "Subscribers won.", required=True),
        Column("subscribers_lost", "subscribersLost", Kind.INTEGER, "Subscribers lost.", required=True),
    ))

    def plan(self, request: Request) -> PlanFlow:
        """Ask for one report a video over the whole range; with granularity ``day`` for one a video and day."""
        span = _span(request)
        channel = request.params.get("channel") or "MINE"
        uploads = yield from _uploads(request)
        parts = span.days if request.params.get("granularity") == "day" else (span,)
        yield Planned(self._report(str(channel), video, part) for part in parts for video in uploads)

    def scope(self, request: Request) -> Mapping[str, str]:
        """Name the first and the last day that are asked for."""
        span = _span(request)
        return {"first": span.first.isoformat(), "last": span.last.isoformat()}

    def follows_watermark(self, params: Mapping[str, object]) -> bool:
        """A run with a range of its own may leave days out behind it, and another channel has days of its own."""
        return not any(params.get(name) for name in ("start_date", "end_date", "channel"))

    def rows(self, query: Query, answer: Any) -> Rows:
        """Return the rows of a report of one page, column by column. `records` decides about any other answer."""
        params = dict(query.params)
        names = [header["name"] for header in answer["columnHeaders"]]
        rows = Rows.of_lists(names, answer.get("rows") or [], {"video": params["filters"].removeprefix("video==")})
        days = rows.columns.get("day", ())
        inside = all(params["startDate"] <= day <= params["endDate"] for day in days)
        if answer.get("errors") or not inside or len(set(days)) < len(days):
            raise Unreadable("the report has errors, or other days than the requested ones")
        return rows

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Go on behind the rows so far, while they end early.

        No length of a page is published, so none is relied upon: a page that lacks days at its end is asked to be
        continued, unless these are so young that their figures may not have come yet. One without rows is the end.
        """
        pages = [_rows(page) for page in _pages(answer.parsed)]
        params = dict(query.params)
        start = int(params.get("startIndex", "1"))
        if not pages[-1]:
            return None
        days = [str(row.get("day")) for page in pages for row in page]
        soonest = date.fromisoformat(params["startDate"]) + timedelta(days=start - 1)  # as each day has one row at most
        if min(days) < soonest.isoformat():
            raise Unreadable(f"asked to go on from row {start}, the API begins anew with {min(days)!r:.20}")
        settled = answer.fetched_at.astimezone(PACIFIC).date() - SETTLED_AFTER
        if max(days) >= min(params["endDate"], settled.isoformat()):
            return None
        return Query.of(query.path, params | {"startIndex": str(start + len(days))})

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read a report, all its pages. The columns are found by their names."""
        params = dict(query.params)
        video = params["filters"].removeprefix("video==")
        rows = [row for page in _pages(answer) for row in _rows(page)]
        days = [str(row.get("day")) for row in rows]
        if len(days) != len(set(days)):
            raise Unreadable("the report has a day twice")
        strange = [day for day in days if not params["startDate"] <= day <= params["endDate"]]
        if strange:
            raise Unreadable(f"{strange[0]!r:.20} is not between {params['startDate']} and {params['endDate']}")
        return [self.contract.record({"video": video, **row}) for row in rows]

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
    """Days, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> Iterator["Span"]:
        """Each day as a span of its own."""
        for number in range((self.last - self.first).days + 1):
            day = self.first + timedelta(days=number)
            yield Span(day, day)


def _span(request: Request) -> Span:
    """Say which days a run is about: those of its params, or the week up to the watermark and all days since.

    :raises BadParameter: a day is none, or YouTube has none like it, or the end comes before the start.
    """
    yesterday = request.at.astimezone(PACIFIC).date() - timedelta(days=1)
    last = _day(request.params.get("end_date"), "end_date", yesterday) or yesterday
    mark = min(date.fromisoformat(request.watermark), yesterday) if request.watermark else last
    first = _day(request.params.get("start_date"), "start_date", yesterday)
    first = first or min(mark, last) - timedelta(days=TRAILING_DAYS - 1)
    if first > last:
        raise BadParameter(
            f"start_date {first} comes after end_date {last}.", advice="Trigger it again with the two changed over."
        )
    return Span(first, last)


def _day(value: object, name: str, yesterday: date) -> date | None:
    """Read a day that YouTube may have figures of; None where it is left empty."""
    if value is None or value == "":
        return None
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        raise BadParameter(f"{name} is {value!r:.40}, and no day.", advice="Give it like 2026-11-20.") from None
    if day > yesterday:
        raise BadParameter(
            f"{name} is {day}, and that day has not ended in California: the last one that has is {yesterday}.",
            advice="Trigger it again with an earlier day, or leave end_date out.",
        )
    if day < FIRST_DAY:
        raise BadParameter(
            f"{name} is {day}, and there was no YouTube before {FIRST_DAY}.",
            advice="Trigger it again with a later day.",
        )
    return day


# --- which videos ----------------------------------------------------------------------------------


def _uploads(request: Request) -> Flow[list[str]]:
    """Find the ids of all videos of the channel, each once, in the order of the playlist of its uploads.

    Five calls for 200 videos. The endpoint for searches would take a hundred times the units and skip some.

    A page that cannot be had ends the list, and an item without an id is left out.

    :raises Unusable: there is no list.
    """
    channel = request.params.get("channel")
    asked = Query.of(
        "/youtube/v3/channels", {"part": "contentDetails", **({"id": str(channel)} if channel else {"mine": "true"})}
    )
    channels: Answer = yield Asked(asked, _playlist)
    playlist = _playlist(channels.parsed)
    if playlist is None:
        raise BadParameter(
            f"YouTube knows no channel {channel!r}." if channel else "The account that consented has no channel.",
            advice="Give the id of a channel, which begins with UC, or leave channel out for the account's own.",
        )
    videos: dict[str, None] = {}  # a set in order: an upload in between moves a video onto the next page too
    page = {"part": "contentDetails", "playlistId": playlist, "maxResults": "50"}
    while True:
        try:
            answer: Answer = yield Asked(Query.of("/youtube/v3/playlistItems", page), _listed)
        except NotGiven:
            if "pageToken" in page:
                raise
            return []  # a channel that never had an upload has no such playlist
        except Unusable:
            return list(videos)
        for item in _listed(answer.parsed):
            try:
                videos[_id_at(item, "contentDetails", "videoId")] = None
            except Unreadable as error:
                yield error
        token = answer.parsed.get("nextPageToken") if isinstance(answer.parsed, Mapping) else ""
        if not token:
            return list(videos)
        page["pageToken"] = str(token)


def _playlist(answer: object) -> str | None:
    """Return the id of a channel's playlist of uploads; None when there is no such channel."""
    found = items(answer)
    if found is None:
        raise Unreadable("a list of channels should have items")
    if not found:
        return None
    return _id_at(found[0], "contentDetails", "relatedPlaylists", "uploads")


def _listed(answer: object) -> Sequence[Mapping[str, object]]:
    found = items(answer)
    if found is None:
        raise Unreadable("a page of a playlist should have items")
    return found


def _id_at(item: object, *names: str) -> str:
    """Return the id that an item has at the end of these names."""
    found = item
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, str) or not found:
        raise Unreadable(f"an item of a list should have {'.'.join(names)}")
    return found


def _video(video_id: str, item: Mapping[str, object] | None) -> dict[str, object]:
    """Lay the parts of a video's resource side by side. Counts are texts there, as they have up to 64 bits."""
    if item is None:
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
    """Read the rows of a page by the names of its columns. A report without data leaves ``rows`` out.

    :raises Unreadable: it is no report, or one with errors.
    """
    if not isinstance(page, Mapping):
        raise Unreadable("a report should be an object")
    if page.get("errors"):
        raise Unreadable(f"the report has errors: {page['errors']!r:.200}")
    rows, headers = page.get("rows") or [], page.get("columnHeaders")
    try:
        names = [str(header["name"]) for header in headers]  # type: ignore[union-attr]
        if all(isinstance(row, list) for row in rows):
            return [dict(zip(names, row, strict=True)) for row in rows]
    except (KeyError, TypeError, ValueError):
        pass
    raise Unreadable("a report should have columnHeaders, and rows as long as these")
