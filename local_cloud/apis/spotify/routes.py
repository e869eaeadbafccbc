"""The routes of the Spotify Web API, below `/spotify/v1`, its token endpoint, and the admin routes of its switches."""

import math
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

from aiohttp import BasicAuth, web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.faults import BadFault
from local_cloud.apis.spotify.access import Gate
from local_cloud.apis.spotify.catalogue import BASE62, ID_LENGTH, Artist, Catalogue
from local_cloud.apis.spotify.shapes import Shapes, paging
from local_cloud.apis.tokens import Client, TokenStore, bearer_token, token_refused

API = "/spotify/v1"
NO_PREMIUM = (
    "Active premium subscription required for the owner of the app. When the subscription status changes, it can "
    "take a few hours before requests are allowed again."
)
BATCHES = {"artists": 50, "albums": 20, "tracks": 50, "audio-features": 100}
"""Ids in one call, at most."""
OFFSETS = range(1001)
GROUPS = ("album", "single", "appears_on", "compilation")

Thing = TypeVar("Thing")
Answer = Callable[[web.Request, Shapes], web.Response]


class NotServed(Exception):
    """A call is refused with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.response = response


class SpotifyApi:
    """Serves a catalogue of music, as much of it as the client id may see."""

    def __init__(self, client: Client, tokens: TokenStore, counters: Counters, catalogue: Catalogue) -> None:
        self._client = client
        self._tokens = tokens
        self._counters = counters
        self._catalogue = catalogue
        self._gate = Gate()

    def endpoints(self) -> Iterator[Endpoint]:
        """Describe the routes."""
        yield Endpoint(
            api="spotify",
            method="POST",
            path="/spotify/api/token",
            answer=self.token,
            refuse=lambda status, message: token_refused(status, "server_error", message),
            issues_tokens=True,
        )
        for path, bucket, answer, closed_to in (
            ("/artists", "artists", self._artists, {"new"}),
            ("/artists/{id}", "artists", self._artist, set()),
            ("/artists/{id}/albums", "artist-albums", self._artist_albums, set()),
            ("/artists/{id}/top-tracks", "top-tracks", self._top_tracks, {"new"}),
            ("/albums", "albums", self._albums, {"new"}),
            ("/albums/{id}", "albums", self._album, set()),
            ("/tracks", "tracks", self._tracks, {"new"}),
            ("/tracks/{id}", "tracks", self._track, set()),
            ("/audio-features", "audio-features", self._features, {"legacy", "new"}),
            ("/audio-features/{id}", "audio-features", self._features_of, {"legacy", "new"}),
            ("/search", "search", self._search, set()),
        ):
            yield Endpoint(
                api="spotify",
                method="GET",
                path=f"{API}{path}",
                answer=self._behind_gate(bucket, answer, closed_to),
                refuse=refuse,
                key=_asked,
                authorize=self._authorize,
            )

    def admin_routes(self) -> Iterable[web.RouteDef]:
        """Give the routes of the switches."""
        return [
            web.get("/_admin/spotify", self.show),
            web.put("/_admin/spotify", self.change),
            web.delete("/_admin/spotify", self.reset),
        ]

    async def show(self, _request: web.Request) -> web.Response:
        """Give the switches."""
        access = self._gate.access
        return json_response(access.__dict__ | {"quotas": dict(access.quotas)})

    async def change(self, request: web.Request) -> web.Response:
        """Change the switches that the body names."""
        try:
            self._gate.change(await request.text())
        except BadFault as bad:
            return json_response({"error": "bad_switch", "message": str(bad)}, 400)
        return await self.show(request)

    async def reset(self, request: web.Request) -> web.Response:
        """Let everything be asked."""
        self._gate.reset()
        return await self.show(request)

    async def token(self, request: web.Request) -> web.Response:
        """Issue a token for HTTP Basic credentials; others Spotify does not take."""
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return token_refused(400, "unsupported_grant_type", "grant_type parameter is missing")
        try:
            given = BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
        except ValueError:
            return token_refused(400, "invalid_client", "Invalid client")
        if Client(given.login, given.password) != self._client:
            return token_refused(400, "invalid_client", "Invalid client secret")
        self._counters.tokens_issued += 1
        return json_response(self._tokens.grant())

    def _authorize(self, request: web.Request) -> web.Response | None:
        token = bearer_token(request)
        if not token:
            return refuse(401, "No token provided")
        state = self._tokens.state(token)
        if state == "good":
            return None
        return refuse(401, "The access token expired" if state == "expired" else "Invalid access token")

    def _behind_gate(
        self, bucket: str, answer: Answer, closed_to: set[str]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Let a call through that the client id may make, and that its bucket still holds."""

        async def gated(request: web.Request) -> web.Response:
            access = self._gate.access
            if not access.premium:
                return web.Response(status=403, text=NO_PREMIUM)
            if access.client in closed_to or ("ids" in request.query and not access.batches):
                return refuse(403, "Forbidden")
            wait_s = self._gate.wait_s(bucket)
            if wait_s:
                error = {"status": 429, "message": "Too many requests", "reason": "QUOTA_EXCEEDED"}
                return json_response({"error": error}, 429, {"Retry-After": str(math.ceil(wait_s))})
            url = f"{request.scheme}://{request.host}{API}"
            try:
                return answer(request, Shapes(url, new_client=access.client == "new"))
            except NotServed as refused:
                return refused.response

        return gated

    def _artist(self, request: web.Request, shapes: Shapes) -> web.Response:
        return json_response(shapes.artist(self._artist_of(request)))

    def _artists(self, request: web.Request, shapes: Shapes) -> web.Response:
        return _batch("artists", request, self._catalogue.artists, shapes.artist)

    def _artist_albums(self, request: web.Request, shapes: Shapes) -> web.Response:
        limit, offset = _page(request, *((10, 5) if self._gate.access.client == "new" else (50, 20)))
        groups = request.query.get("include_groups", ",".join(GROUPS)).split(",")
        if not set(groups) <= set(GROUPS):
            raise NotServed(refuse(400, "Invalid include_groups"))
        artist = self._artist_of(request)
        albums = [shapes.listed_album(album, album.kind) for album in artist.albums]
        if self._gate.access.odd_albums:
            albums = [*self._odd_albums(artist, shapes), *albums]
        items = [one for one in albums if one["album_group"] in groups]
        url = str(request.url.without_query_params("offset", "limit"))
        return json_response(paging(url, self._with_null(items[offset : offset + limit]), limit, offset, len(items)))

    def _odd_albums(self, artist: Artist, shapes: Shapes) -> Iterator[dict[str, Any]]:
        """Make copies of other artists' albums, newer than any, and one of the artist's own without a date."""
        newer = {"release_date": "2026-11-26", "release_date_precision": "day"}
        for number, album in enumerate(list(self._catalogue.albums.values())[:12]):
            if album.artist is not artist:
                group = "compilation" if number % 2 else "appears_on"
                yield (
                    shapes.listed_album(album, group) | {"album_type": "compilation" if number % 2 else "album"} | newer
                )
        for album in artist.albums[-1:]:
            yield shapes.listed_album(album, album.kind) | {"release_date": None}

    def _with_null(self, items: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        return [None, *items] if self._gate.access.null_items else list(items)

    def _top_tracks(self, request: web.Request, shapes: Shapes) -> web.Response:
        artist = self._artist_of(request)
        return json_response({"tracks": self._with_null([shapes.track(track) for track in artist.top_tracks])})

    def _album(self, request: web.Request, shapes: Shapes) -> web.Response:
        return json_response(shapes.album(_find(self._catalogue.albums, request.match_info["id"])))

    def _albums(self, request: web.Request, shapes: Shapes) -> web.Response:
        return _batch("albums", request, self._catalogue.albums, shapes.album)

    def _track(self, request: web.Request, shapes: Shapes) -> web.Response:
        return json_response(shapes.track(_find(self._catalogue.tracks, request.match_info["id"])))

    def _tracks(self, request: web.Request, shapes: Shapes) -> web.Response:
        return _batch("tracks", request, self._catalogue.tracks, shapes.track)

    def _features(self, request: web.Request, shapes: Shapes) -> web.Response:
        return _batch("audio-features", request, self._catalogue.tracks, shapes.features)

    def _features_of(self, request: web.Request, shapes: Shapes) -> web.Response:
        features = shapes.features(_find(self._catalogue.tracks, request.match_info["id"]))
        if features is None:
            raise NotServed(refuse(404, "analysis not found"))
        return json_response(features)

    def _search(self, request: web.Request, shapes: Shapes) -> web.Response:
        access = self._gate.access
        words, kinds = request.query.get("q", ""), request.query.get("type", "")
        if not words:
            raise NotServed(refuse(400, "No search query"))
        if kinds != "artist":
            raise NotServed(refuse(400, "Bad search type field" if kinds else "Missing parameter type"))
        limit, offset = _page(request, *((10, 5) if access.client == "new" else (50, 20)))
        found = self._catalogue.named(re.sub(r'artist:|"', " ", words))
        items = self._with_null([shapes.artist(one) for one in found[offset : offset + limit]])
        url = str(request.url.with_query(q=words, type=kinds))
        return json_response({"artists": paging(url, items, limit, offset, len(found))})

    def _artist_of(self, request: web.Request) -> Artist:
        return _find(self._catalogue.artists, request.match_info["id"])


def refuse(status: int, message: str) -> web.Response:
    """Refuse a call in the API's shape of an error."""
    return json_response({"error": {"status": status, "message": message}}, status)


def _asked(request: web.Request) -> str:
    """Name what a call asks for: its id, its ids, or its words."""
    return request.match_info.get("id") or request.query.get("ids") or request.query.get("q") or ""


def _find(things: dict[str, Thing], id_: str) -> Thing:
    if len(id_) != ID_LENGTH or not set(id_) <= set(BASE62):
        raise NotServed(refuse(400, "Invalid base62 id"))
    if id_ not in things:
        raise NotServed(refuse(404, "Resource not found"))
    return things[id_]


def _batch(name: str, request: web.Request, things: dict[str, Any], shape: Callable[[Any], Any]) -> web.Response:
    """Answer for several ids at once; of one that is not known, with null."""
    ids = [id_ for id_ in request.query.get("ids", "").split(",") if id_]
    if not ids:
        raise NotServed(refuse(400, "Missing required field: ids"))
    if len(ids) > BATCHES[name]:
        raise NotServed(refuse(400, "Too many ids requested"))
    if any(len(id_) != ID_LENGTH or not set(id_) <= set(BASE62) for id_ in ids):
        raise NotServed(refuse(400, "Invalid base62 id"))
    shaped = [shape(things[id_]) if id_ in things else None for id_ in ids]
    return json_response({name.replace("-", "_"): shaped})


def _page(request: web.Request, most: int, default: int) -> tuple[int, int]:
    """Read limit and offset."""
    limit, offset = request.query.get("limit", str(default)), request.query.get("offset", "0")
    if not (limit.isdecimal() and 1 <= int(limit) <= most):
        raise NotServed(refuse(400, "Invalid limit"))
    if not (offset.isdecimal() and int(offset) in OFFSETS):
        raise NotServed(refuse(400, "Invalid offset"))
    return int(limit), int(offset)
