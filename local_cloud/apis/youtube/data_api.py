"""YouTube Data API v3: channels, playlistItems, videos and search, as far as a harvest of channels needs them.

Chosen, as Google's pages leave it open:

* a channel without videos has no uploads playlist: 404 playlistNotFound, as others have seen it on the real API;
* the uploads still list a deleted video, as "Deleted video", and `videos` leaves it out without a word;
* counts of a video are the sums over all Pacific days before today;
* `search` finds videos by words of their titles, newest first; other types and orders are refused.
"""

import base64
from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from multidict import MultiMapping

from local_cloud.apis.endpoint import Endpoint
from local_cloud.apis.youtube.catalog import CHANNELS, DEMO, VIDEOS
from local_cloud.apis.youtube.errors import Refusal, invalid
from local_cloud.apis.youtube.params import Params
from local_cloud.apis.youtube.resources import (
    Json,
    channel_parts,
    envelope,
    playlist_item_parts,
    resource,
    search_result,
    video_parts,
)
from local_cloud.apis.youtube.routes import Routes
from local_cloud.apis.youtube.settings import SettingsSwitch

API = "youtube"
MAX_IDS = 50
CHANNEL_FILTERS = ("id", "mine", "forHandle")
Item = TypeVar("Item")


class DataApi:
    """Answers calls of the Data API."""

    def __init__(self, settings: SettingsSwitch) -> None:
        self._settings = settings

    def endpoints(self, routes: Routes) -> Iterator[Endpoint]:
        """Describe the routes."""
        base = "/youtube/v3"
        yield routes.get(API, f"{base}/channels", self.channels, "data")
        yield routes.get(API, f"{base}/playlistItems", self.playlist_items, "data", items="items")
        yield routes.get(API, f"{base}/videos", self.videos, "data", items="items", key=video_ids)
        yield routes.get(API, f"{base}/search", self.search, "search", items="items")

    def channels(self, query: MultiMapping[str]) -> Json:
        """Answer with channels by id, by handle, or with that of the account. Without any there are no items."""
        params = Params(query, {"part", "maxResults", "pageToken", *CHANNEL_FILTERS})
        now, today = self._settings.now(), self._settings.today()
        parts = _parts(params, channel_parts(DEMO, now, today))
        per_page = params.whole("maxResults", 5, 0, 50) or 0
        wanted = _filter(params, CHANNEL_FILTERS)
        if wanted == "mine":
            if params.text("mine") != "true":
                raise invalid("mine", "Invalid value at 'mine'. The only value is true")
            found = [DEMO]
        elif wanted == "forHandle":
            handle = params.text("forHandle").removeprefix("@").casefold()
            found = [channel for channel in CHANNELS.values() if channel.handle == handle]
        else:
            found = [CHANNELS[each] for each in _ids(params) if each in CHANNELS]
        items = [resource("channel", each.id, channel_parts(each, now, today), parts) for each in found]
        answer = envelope("channel", items, len(items), per_page)
        if not items:
            del answer["items"]
        return answer

    def playlist_items(self, query: MultiMapping[str]) -> Json:
        """Answer with a page of a channel's uploads, newest first."""
        params = Params(query, {"part", "playlistId", "maxResults", "pageToken"})
        any_video = next(iter(VIDEOS.values()))
        parts = _parts(params, playlist_item_parts(any_video, DEMO, 0, vanished=False))
        _filter(params, ("playlistId",))
        playlist_id = params.text("playlistId")
        channel = next((each for each in CHANNELS.values() if each.uploads == playlist_id), None)
        videos = channel.published(self._settings.now()) if channel else []
        if channel is None or not videos:
            raise Refusal(
                404,
                "The playlist identified with the request's <code>playlistId</code> parameter cannot be found.",
                "playlistNotFound",
                domain="youtube.playlistItem",
                location="playlistId",
            )
        per_page, start = _page(params, playlist_id)
        settings = self._settings.current
        total = len(videos) if settings.promised is None else settings.promised
        videos = videos[: settings.playlist_cap]
        vanished = self._settings.current.vanished
        items = [
            resource(
                "playlistItem",
                _opaque(f"{playlist_id}.{video.id}"),
                playlist_item_parts(video, channel, position, vanished=video.id in vanished),
                parts,
            )
            for position, video in _sliced(videos, start, per_page)
        ]
        tokens = _neighbours(playlist_id, start, per_page, len(videos))
        return envelope("playlistItem", items, total, per_page, tokens)

    def videos(self, query: MultiMapping[str]) -> Json:
        """Answer with the videos that exist of at most 50 that are asked for, in the order asked."""
        params = Params(query, {"part", "id", "maxResults", "pageToken"})
        now, today = self._settings.now(), self._settings.today()
        parts = _parts(params, video_parts(next(iter(VIDEOS.values())), DEMO, today))
        _filter(params, ("id",))
        params.whole("maxResults", 5, 1, 50)  # has no effect beside id
        vanished = self._settings.current.vanished
        found = [VIDEOS[each] for each in _ids(params) if each in VIDEOS and each not in vanished]
        items = [
            resource("video", video.id, video_parts(video, CHANNELS[video.channel_id], today), parts)
            for video in found
            if video.published_at <= now
        ]
        for item in items:
            if item["id"] in self._settings.current.impossible and "statistics" in item:
                item["statistics"]["viewCount"] = "-1"
        return envelope("video", items, len(items), len(items))

    def search(self, query: MultiMapping[str]) -> Json:
        """Answer with a page of the videos whose titles hold all words of `q`, newest first."""
        params = Params(query, {"part", "q", "channelId", "type", "order", "maxResults", "pageToken"})
        _parts(params, {"snippet"})
        for name, only in (("type", "video"), ("order", "date")):
            if params.text(name) != only:
                raise invalid(name, f"This fake of search knows {name}={only} only")
        words = params.text("q").casefold().split()
        channel_id = params.text("channelId")
        now, vanished = self._settings.now(), self._settings.current.vanished
        found = sorted(
            (
                video
                for channel in CHANNELS.values()
                for video in channel.published(now)
                if channel_id in {"", channel.id}
                and video.id not in vanished
                and all(word in video.title.casefold() for word in words)
            ),
            key=lambda video: video.published_at,
            reverse=True,
        )
        listing = f"search {channel_id} {' '.join(words)}"
        per_page, start = _page(params, listing)
        items = [search_result(video, CHANNELS[video.channel_id]) for _, video in _sliced(found, start, per_page)]
        tokens = _neighbours(listing, start, per_page, len(found))
        return envelope("search", items, len(found), per_page, tokens)


def video_ids(query: MultiMapping[str]) -> str:
    """Name a call of `videos` by the ids it asks for."""
    return ",".join(Params(query, query).names("id"))


def _parts(params: Params, known: Collection[str]) -> list[str]:
    """Read the parts asked for."""
    params.required("part")
    parts = params.names("part")
    for part in parts:
        if part != "id" and part not in known:
            raise invalid("part", f"'{part}'", "unknownPart")
    return parts


def _filter(params: Params, names: Sequence[str]) -> str:
    """Give the one of these parameters that is there."""
    there = [name for name in names if params.text(name)]
    if not there:
        raise Refusal(400, f"No filter selected. Expected one of: {', '.join(names)}", "missingRequiredParameter")
    if len(there) > 1:
        message = f"Incompatible parameters specified in the request: {', '.join(there)}"
        raise Refusal(400, message, "incompatibleParameters")
    return there[0]


def _ids(params: Params) -> list[str]:
    ids = params.names("id")
    if len(ids) > MAX_IDS:
        raise invalid("id", "The request specifies an invalid filter parameter.", "invalidFilters")
    return ids


# --- pages -------------------------------------------------------------------------------------


def _opaque(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _page_token(listing: str, start: int) -> str:
    """Make the token of a page; it is good for this listing only."""
    return _opaque(f"{start}:{listing}")


def _page(params: Params, listing: str) -> tuple[int, int]:
    """Read how many items a page has, and where this one starts."""
    per_page = params.whole("maxResults", 5, 0, 50) or 0
    token = params.text("pageToken")
    if not token:
        return per_page, 0
    try:
        start = int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(":")[0])
    except ValueError:
        start = -1
    if start < 0 or token != _page_token(listing, start):
        raise invalid("pageToken", "The request specifies an invalid page token.", "invalidPageToken")
    return per_page, start


def _sliced(items: Sequence[Item], start: int, per_page: int) -> Iterator[tuple[int, Item]]:
    """Give the items of a page with their positions."""
    yield from enumerate(items[start : start + per_page], start)


def _neighbours(listing: str, start: int, per_page: int, total: int) -> Json:
    """Make the tokens of the pages after and before this one, where there are such."""
    tokens = {}
    if per_page and start + per_page < total:
        tokens["nextPageToken"] = _page_token(listing, start + per_page)
    if per_page and start:
        tokens["prevPageToken"] = _page_token(listing, max(0, start - per_page))
    return tokens
