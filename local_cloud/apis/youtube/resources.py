"""The Data API's resources as JSON, part by part. Counts are texts, and a hidden one is not there."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from local_cloud.apis.youtube.catalog import Channel, Video
from local_cloud.apis.youtube.figures import Figures, added, days, final

Json = dict[str, Any]
Parts = dict[str, Callable[[], Json]]


def instant(at: datetime) -> str:
    """Write an instant as the API does: 2026-10-31T07:00:00Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: int) -> str:
    """Write a duration as the API does: PT1H2M3S, with nothing that is zero."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    units = zip((hours, minutes, seconds), "HMS", strict=True)
    return "PT" + "".join(f"{number}{unit}" for number, unit in units if number)


def with_etag(resource: Json) -> Json:
    """Put the etag after the kind; it changes with the resource."""
    etag = hashlib.blake2b(json.dumps(resource).encode(), digest_size=15).hexdigest()
    return {"kind": resource["kind"], "etag": etag} | resource


@lru_cache(maxsize=1024)
def lifetime(video: Video, today: date) -> Figures:
    """Add up what a video did on all days before `today`."""
    so_far = days(video.first_day, today - timedelta(days=1))
    return added(final(video, day) for day in so_far) or Figures()


def channel_parts(channel: Channel, now: datetime, today: date) -> Parts:
    """Give the parts of a channel."""
    return {
        "snippet": lambda: {
            "title": channel.title,
            "description": "",
            "customUrl": f"@{channel.handle}",
            "publishedAt": instant(channel.created_at),
            "thumbnails": thumbnails(channel.id),
        },
        "contentDetails": lambda: {"relatedPlaylists": {"likes": "", "uploads": channel.uploads}},
        "statistics": lambda: {
            "viewCount": str(sum(lifetime(video, today).views for video in channel.published(now))),
            "subscriberCount": str(channel.subscribers),
            "hiddenSubscriberCount": False,
            "videoCount": str(len(channel.published(now))),
        },
        "status": lambda: {"privacyStatus": "public", "isLinked": True},
    }


def video_parts(video: Video, channel: Channel, today: date) -> Parts:
    """Give the parts of a video."""
    return {
        "snippet": lambda: {
            "publishedAt": instant(video.published_at),
            "channelId": video.channel_id,
            "title": video.title,
            "description": video.description,
            "thumbnails": thumbnails(video.id),
            "channelTitle": channel.title,
            **({"tags": list(video.tags)} if video.tags else {}),
            "categoryId": "26",
            "liveBroadcastContent": "none",
        },
        "contentDetails": lambda: {
            "duration": duration(video.seconds),
            "dimension": "2d",
            "definition": "hd",
            "caption": "false",
            "licensedContent": True,
            "projection": "rectangular",
        },
        "status": lambda: {"uploadStatus": "processed", "privacyStatus": "public", "madeForKids": False},
        "statistics": lambda: _video_statistics(video, today),
    }


def _video_statistics(video: Video, today: date) -> Json:
    figures = lifetime(video, today)
    counts = {"viewCount": str(figures.views)}
    if not video.likes_hidden:
        counts["likeCount"] = str(figures.likes)
    counts["favoriteCount"] = "0"
    if not video.comments_off:
        counts["commentCount"] = str(figures.comments)
    return counts


def playlist_item_parts(video: Video, channel: Channel, position: int, *, vanished: bool) -> Parts:
    """Give the parts of an entry of the uploads; that of a deleted video has no title and no publication."""
    return {
        "snippet": lambda: {
            "publishedAt": instant(video.published_at),
            "channelId": channel.id,
            "title": "Deleted video" if vanished else video.title,
            "description": "This video is unavailable." if vanished else video.description,
            "thumbnails": {} if vanished else thumbnails(video.id),
            "channelTitle": channel.title,
            "playlistId": channel.uploads,
            "position": position,
            "resourceId": {"kind": "youtube#video", "videoId": video.id},
        },
        "contentDetails": lambda: {
            "videoId": video.id,
            **({} if vanished else {"videoPublishedAt": instant(video.published_at)}),
        },
        "status": lambda: {"privacyStatus": "privacyStatusUnspecified" if vanished else "public"},
    }


def search_result(video: Video, channel: Channel) -> Json:
    """Give a hit; it has no parts to choose."""
    return with_etag({
        "kind": "youtube#searchResult",
        "id": {"kind": "youtube#video", "videoId": video.id},
        "snippet": {
            "publishedAt": instant(video.published_at),
            "channelId": channel.id,
            "title": video.title,
            "description": video.description[:100],
            "thumbnails": thumbnails(video.id),
            "channelTitle": channel.title,
            "liveBroadcastContent": "none",
        },
    })


def thumbnails(of: str) -> Json:
    """Give an address of a picture, which is not served."""
    return {"default": {"url": f"https://i.ytimg.com/vi/{of}/default.jpg", "width": 120, "height": 90}}


def resource(kind: str, resource_id: str, parts: Parts, asked: Collection[str]) -> Json:
    """Put a resource together out of the parts that were asked for."""
    return with_etag(
        {"kind": f"youtube#{kind}", "id": resource_id} | {name: make() for name, make in parts.items() if name in asked}
    )


def envelope(kind: str, items: Iterable[Json], total: int, per_page: int, tokens: Json | None = None) -> Json:
    """Put the items of a page into an answer, with the tokens of the pages beside it."""
    return with_etag(
        {"kind": f"youtube#{kind}ListResponse"}
        | (tokens or {})
        | {"items": list(items), "pageInfo": {"totalResults": total, "resultsPerPage": per_page}}
    )
