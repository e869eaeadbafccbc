"""Artists of Spotify, their albums and top tracks, and the audio features of these.

What a client id may call depends on its age: those created since 2026-02-11 have no batches, no top tracks and no audio
features, and get fewer fields. `Capabilities` says which; a plan then makes as few calls as possible.

A list may have null in place of an album or a track. Nulls are dropped; the first record of the answer has their number
in ``_extra`` as ``dropped``.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from itertools import chain, repeat
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, NotGiven, QueryRefused, RateLimited, Unreadable, Unusable
from windrow.model.plausible import Plausible
from windrow.model.query import Query
from windrow.model.stream import Asked, Flow, PlanFlow, Planned, Request, Stream
from windrow.sources.spotify.access import CLIENTS, POLICY, QUOTAS, Capabilities
from windrow.sources.spotify.artists import is_artist_id

ARTISTS_A_CALL = 50
FEATURES_A_CALL = 100
ALBUMS_A_PAGE = (50, 10)
"""Sizes of a page of albums to try. The specification allows 10; older client ids get 50."""
TOP_TRACKS, NEWEST_ALBUM = "top_tracks", "newest_album"
"""What the tracks of an artist are ranked by."""
_OWN = {"include_groups": "album,single"}
"""Without it, the albums of an artist include compilations, and albums of others on which the artist appears."""
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_NOT_KEPT = ("available_markets", "copyrights", "disc_number", "external_urls", "href", "images", "is_local")
"""Fields that say nothing about the music; the staged answer has them all the same."""


class SpotifyStream(Stream):
    """What the streams have in common: the artists, and what the client id may call.

    Params of the run: ``artists`` (their ids), ``capabilities`` (the fields of `Capabilities`).
    """

    policy = POLICY
    quotas = QUOTAS
    person = {"artist_id": ("id",), "request": ()}  # noqa: RUF012 - as declared
    person_items = {"top_tracks": ("artist_id",), "artist_requests": ("request", "artist_id")}  # noqa: RUF012

    def plan(self, request: Request) -> PlanFlow:
        """Plan the calls for each artist, once."""
        yield from self.plan_for(*_asked_for(request))

    @abstractmethod
    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Plan the calls for these artists."""


def _asked_for(request: Request) -> tuple[list[str], Capabilities]:
    """Read the params of a run.

    :raises BadParameter: the artists are not ids.
    """
    ids = request.params.get("artists")
    if not isinstance(ids, list) or not all(isinstance(one, str) and is_artist_id(one) for one in ids):
        raise BadParameter(
            f"The param 'artists' must be a list of ids of artists, not {str(ids)[:60]!r}.",
            advice="Look up names first: `windrow.sources.spotify.artists.look_up`.",
        )
    may = Capabilities(**_mapping(request.params.get("capabilities") or asdict(CLIENTS["extended"])))
    return list(dict.fromkeys(ids)), may


def in_batches(
    ids: Sequence[str],
    size: int,
    batch: Callable[[Sequence[str]], Query],
    single: Callable[[str], Query],
    read: Callable[[Query, object], object],
    *,
    final: int = 0,
) -> PlanFlow:
    """Plan calls for many ids at once. A batch that is refused is replaced by a call for each of its ids.

    After a 403 no further batch is tried: the client id may not call the endpoint.

    :param read: reads the answer to a batch, or raises `Unreadable`.
    :param final: a status for which calls for single ids do not help; the batch stays in the plan.
    """
    may = True
    for part in parts(ids, size):
        query = batch(part)
        trouble: Unusable | None = None
        if may:
            try:
                yield Asked(query, partial(read, query), has_alternative=True)
            except Unusable as error:
                trouble, may = error, error.status != HTTPStatus.FORBIDDEN or final == HTTPStatus.FORBIDDEN
            if trouble is None or trouble.status == final:
                yield Planned([query])
                continue
        yield Planned(map(single, part))


class Artists(SpotifyStream):
    """One record for each artist, also for an artist who no longer exists."""

    dataset = "spotify_artists"
    endpoint = "/artists/{id}"
    plausible = Plausible(rows=0, not_compared=("genres", "popularity", "followers"))  # for some client ids
    contract = Contract((
        Column("artist_id", "id", Kind.STRING, "Id of the artist.", required=True),
        Column("is_known", "known", Kind.BOOLEAN, "False if the API no longer has the artist.", required=True),
        Column("name", "name", Kind.STRING, "Name of the artist."),
        Column("genres", "genres", Kind.STRING, "Genres as a JSON array; deprecated by the API."),
        Column("popularity", "popularity", Kind.INTEGER, "0 to 100; newer client ids do not get it."),
        Column("followers", "followers", Kind.INTEGER, "Followers; newer client ids do not get it."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Plan a call for 50 artists, or for each."""
        if may.batches:
            yield from in_batches(
                ids,
                ARTISTS_A_CALL,
                lambda part: Query.of("/artists", {"ids": ",".join(part)}),
                lambda artist_id: Query.of(f"/artists/{artist_id}"),
                self.records,
            )
        else:
            yield Planned(Query.of(f"/artists/{artist_id}") for artist_id in ids)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read one artist, or a batch in the order of the request."""
        if not query.params:
            return (self._record(query.path.rpartition("/")[2], answer),)
        asked = dict(query.params)["ids"].split(",")
        artists = _list(answer, "artists")
        if len(artists) != len(asked):
            raise Unreadable(f"the request has {len(asked)} artists, the answer has {len(artists)}")
        return [self._record(artist_id, artist) for artist_id, artist in zip(asked, artists, strict=True)]

    def _record(self, artist_id: str, artist: object) -> dict[str, object]:
        if artist is None:
            return self.contract.record({"id": artist_id, "known": False})
        fields = _kept(artist, "type", "uri")
        if fields.get("id") != artist_id:
            raise Unreadable(f"the request is for the artist {artist_id!r}, the answer for {fields.get('id')!r}")
        genres, followers = fields.get("genres"), fields.get("followers")
        return self.contract.record(
            fields
            | {"known": True}
            | {"genres": orjson.dumps(genres).decode() if genres is not None else None}
            | {"followers": _mapping(followers).get("total") if followers is not None else None}
        )


class Albums(SpotifyStream):
    """One record for each album of an artist."""

    dataset = "spotify_albums"
    endpoint = "/artists/{id}/albums"
    plausible = Plausible(rows=0, not_compared=("album_group",))  # newer client ids do not get it
    contract = Contract((
        Column("artist_id", "artist", Kind.STRING, "Id of the requested artist.", required=True),
        Column("album_id", "id", Kind.STRING, "Id of the album.", required=True),
        Column("name", "name", Kind.STRING, "Name of the album.", required=True),
        Column("album_type", "album_type", Kind.STRING, "album, single or compilation."),
        Column(
            "album_group", "album_group", Kind.STRING, "How it belongs to the artist; newer client ids do not get it."
        ),
        Column("released_on", "release_date", Kind.STRING, "Day, month or year of the release, as far as known."),
        Column("tracks", "total_tracks", Kind.INTEGER, "Number of tracks."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Plan the albums of each artist, in the largest pages that the API allows: it refuses larger ones."""
        rest, size = list(ids), ALBUMS_A_PAGE[-1]
        while may.batches and rest:
            artist_id = rest.pop(0)
            try:
                size = yield from self._page_size(artist_id)
            except Unusable:  # this artist has no answer, so the next one is tried
                continue
            break
        yield Planned(albums_of(artist_id, size) for artist_id in rest)

    def _page_size(self, artist_id: str) -> Flow[int]:
        """Find the size of a page, and plan the albums of this artist with it."""
        for size in ALBUMS_A_PAGE:
            query = albums_of(artist_id, size)
            can_be_smaller = size != ALBUMS_A_PAGE[-1]
            try:
                yield Asked(query, partial(_list, name="items"), has_alternative=can_be_smaller)
            except QueryRefused as refused:
                if refused.status == HTTPStatus.BAD_REQUEST and can_be_smaller:
                    continue
                yield Planned([query])  # so the harvest records what the API says about this artist
                raise
            else:
                break
        yield Planned([query])
        return size

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Follow the pages of the list."""
        return next_page_of(query, answer)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the albums of one page, or of all."""
        artist_id = query.path.split("/")[2]
        pages = answer if isinstance(answer, list) else [answer]
        albums, dropped = _without_nulls(album for page in pages for album in _list(page, "items"))
        return [
            self.contract.record(
                _kept(album, "artists", "type", "uri", "release_date_precision") | {"artist": artist_id} | extra
            )
            for album, extra in zip(albums, _counted(dropped), strict=False)
        ]


class TopTracks(SpotifyStream):
    """One record for each top track of an artist, the best first; for an artist without any, a record without a track.

    If the client id may not call top tracks, they are the tracks of the artist's newest album, marked as such.

    With the param ``now`` the plan makes all calls itself, and omits an artist whose endpoints have no quota left: the
    run never waits for one.
    """

    dataset = "spotify_top_tracks"
    endpoint = "/artists/{id}/top-tracks"
    plausible = Plausible(rows=0, not_compared=("popularity",))
    contract = Contract((
        Column("artist_id", "artist", Kind.STRING, "Id of the requested artist.", required=True),
        Column("rank", "rank", Kind.INTEGER, "1 for the first track; 0 if there is none.", required=True),
        Column(
            "ranked_by",
            "ranked_by",
            Kind.STRING,
            "top_tracks, or newest_album if the client id does not get these.",
            required=True,
        ),
        Column("track_id", "id", Kind.STRING, "Id of the track."),
        Column("name", "name", Kind.STRING, "Name of the track."),
        Column("artist_name", "artist_name", Kind.STRING, "Name of the artist in the track."),
        Column("album_id", "album_id", Kind.STRING, "Id of its album."),
        Column("album_name", "album_name", Kind.STRING, "Name of its album."),
        Column("released_on", "released_on", Kind.STRING, "Day, month or year of the release of its album."),
        Column("duration_ms", "duration_ms", Kind.INTEGER, "Length in milliseconds."),
        Column("explicit", "explicit", Kind.BOOLEAN, "Whether its lyrics are marked as explicit."),
        Column("popularity", "popularity", Kind.INTEGER, "0 to 100; newer client ids do not get it."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Plan the top tracks of each artist, or else the newest album of each."""
        if may.top_tracks:
            yield Planned(top_tracks_of(artist_id) for artist_id in ids)
            return
        for artist_id in ids:
            try:
                newest, listed = yield from newest_album_of(artist_id)
                # the list stands for an artist without albums, so that the receipt has it
                yield Planned([newest or listed.query])
            except NotGiven as missing:  # as for an artist who no longer exists
                yield Planned([query for query in [own_albums_of(artist_id)] if query.key == missing.key])
            except Unusable:
                continue

    def plan(self, request: Request) -> PlanFlow:
        """Plan the calls; with the param ``now`` make them, too."""
        if request.params.get("now"):
            yield from self._plan_now(*_asked_for(request))
        else:
            yield from super().plan(request)

    def _plan_now(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Call for each artist, and plan the call that has the answer."""
        for artist_id in ids:
            try:
                answer = yield from fetch(artist_id, may)
                yield Planned([answer.query])
            except NotGiven as missing:
                calls = (top_tracks_of(artist_id), own_albums_of(artist_id))
                yield Planned([query for query in calls if query.key == missing.key])
            except (RateLimited, Unusable):  # the artist is requested again by the next run
                continue

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the tracks of one artist. Tracks of others on an album are left out."""
        artist_id, ranked_by = artist_of(query), TOP_TRACKS if query.path.endswith("/top-tracks") else NEWEST_ALBUM
        if query.path.startswith("/albums/"):
            album = _mapping(answer)
            tracks, dropped = _without_nulls(_list(album.get("tracks"), "items"))
            tracks = [_mapping(track) | {"album": album} for track in tracks if _is_by(artist_id, track)]
        elif query.path.endswith("/albums"):
            tracks, dropped = [], 0
            if albums := _own(artist_id, answer):
                raise Unreadable(f"the artist had no albums when the run was planned, and now has {len(albums)}")
        else:
            tracks, dropped = _without_nulls(_list(answer, "tracks"))
        extra = _counted(dropped)
        if not tracks:
            nothing = {"artist": artist_id, "rank": 0, "ranked_by": ranked_by}
            return (self.contract.record(nothing | next(extra)),)
        return [
            self._record(artist_id, track, {"rank": rank, "ranked_by": ranked_by} | more)
            for rank, (track, more) in enumerate(zip(tracks, extra, strict=False), 1)
        ]

    def _record(self, artist_id: str, track: object, about: Mapping[str, object]) -> dict[str, object]:
        fields = _kept(track, "album", "artists", "external_ids", "preview_url", "track_number", "type", "uri")
        if not fields.get("id"):
            raise Unreadable(f"the track of rank {about['rank']} has no id")
        album = _mapping(_mapping(track).get("album"))
        return self.contract.record({
            **fields,
            **about,
            "artist": artist_id,
            "artist_name": _name_of(artist_id, _mapping(track).get("artists")),
            "album_id": album.get("id"),
            "album_name": album.get("name"),
            "released_on": album.get("release_date"),
        })


class AudioFeatures(SpotifyStream):
    """One record for each top track that has audio features."""

    dataset = "spotify_audio_features"
    endpoint = "/audio-features/{id}"
    planned_from = TopTracks.dataset
    plausible = Plausible(rows=0)
    contract = Contract((
        Column("track_id", "id", Kind.STRING, "Id of the track.", required=True),
        Column("tempo", "tempo", Kind.FLOAT, "Beats per minute."),
        Column("energy", "energy", Kind.FLOAT, "0 to 1."),
        Column("danceability", "danceability", Kind.FLOAT, "0 to 1."),
        Column("valence", "valence", Kind.FLOAT, "0 (sad) to 1 (happy)."),
        Column("acousticness", "acousticness", Kind.FLOAT, "0 to 1."),
        Column("instrumentalness", "instrumentalness", Kind.FLOAT, "0 to 1."),
        Column("speechiness", "speechiness", Kind.FLOAT, "0 to 1."),
        Column("liveness", "liveness", Kind.FLOAT, "0 to 1."),
        Column("loudness", "loudness", Kind.FLOAT, "Decibels, below 0."),
        Column("key", "key", Kind.INTEGER, "0 for C, 1 for C sharp, ...; -1 if none was found."),
        Column("mode", "mode", Kind.INTEGER, "1 for major, 0 for minor."),
        Column("time_signature", "time_signature", Kind.INTEGER, "Beats per bar."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Plan the features of all tracks that the run has found, 100 in a call."""
        tracks: dict[str, None] = {}
        for artist_id in ids:
            try:
                answer: Answer = yield Asked(top_tracks_of(artist_id), _track_ids)
            except Unusable:  # missing, as the receipt of the top tracks says; or in the quarantine
                continue
            tracks |= dict.fromkeys(_track_ids(answer.parsed))
        yield from in_batches(
            list(tracks),
            FEATURES_A_CALL,
            lambda part: Query.of("/audio-features", {"ids": ",".join(part)}),
            lambda track_id: Query.of(f"/audio-features/{track_id}"),
            self.records,
            final=HTTPStatus.FORBIDDEN,
        )

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read one track, or a batch; a track without features is null there."""
        listed = _list(answer, "audio_features") if query.params else [answer]
        dropped = ("type", "uri", "track_href", "analysis_url", "duration_ms")
        return [self.contract.record(_kept(features, *dropped)) for features in listed if features is not None]


def fetch(artist_id: str, may: Capabilities = CLIENTS["extended"]) -> Flow[Answer]:
    """Request the top tracks of one artist, or the newest album if these are refused or have no quota left.

    :returns: an answer that `TopTracks` reads.
    :raises RateLimited: neither has a quota left.
    """
    if may.top_tracks:
        query = top_tracks_of(artist_id)
        try:
            tracks: Answer = yield Asked(query, partial(TopTracks().records, query))
            return tracks
        except RateLimited:
            pass
        except QueryRefused as refused:
            if refused.status != HTTPStatus.FORBIDDEN:
                raise
    newest, listed = yield from newest_album_of(artist_id)
    if newest is None:
        return listed
    album: Answer = yield Asked(newest, partial(TopTracks().records, newest))
    return album


def newest_album_of(artist_id: str) -> Flow[tuple[Query | None, Answer]]:
    """Find the newest of the artist's own albums and singles, on all pages.

    :returns: the query for the album, or None if there is none; and the first page.
    """
    query: Query | None = own_albums_of(artist_id)
    found: list[Mapping[str, Any]] = []
    first: Answer | None = None
    while query:
        page: Answer = yield Asked(query, partial(_own, artist_id))
        first = first or page
        found += _own(artist_id, page.parsed)
        query = next_page_of(query, page)
    assert first is not None  # noqa: S101 - there is at least one page
    if not found:
        return None, first
    newest = max(found, key=lambda album: (_released_on(album), str(album["id"])))
    return Query.of(f"/albums/{newest['id']}", known_by={"artist": artist_id}), first


def artist_of(query: Query) -> str:
    """Return the id of the artist whose tracks or albums a query requests."""
    if query.path.startswith("/albums/"):
        return parse_qs(urlsplit(query.key).query)["artist"][0]
    return query.path.split("/")[2]


def next_page_of(query: Query, answer: Answer) -> Query | None:
    """Return the query for the next page of a list."""
    following = _mapping(answer.parsed).get("next")
    if not isinstance(following, str):
        return None
    page = {name: values[0] for name, values in parse_qs(urlsplit(following).query).items()}
    return Query.of(query.path, dict(query.params) | page)


def _track_ids(answer: object) -> list[str]:
    """Return the ids of top tracks. Those that the API would refuse, with all others of their batch, are left out."""
    tracks, _ = _without_nulls(_list(answer, "tracks"))
    return [track_id for track in tracks if is_artist_id(track_id := str(_mapping(track).get("id")))]


def _own(artist_id: str, page: object) -> list[Mapping[str, Any]]:
    """Return the artist's own albums and singles of a page: no compilations, and no albums of others."""
    albums, _ = _without_nulls(_list(page, "items"))
    return [
        album
        for album in map(_mapping, albums)
        if isinstance(album.get("id"), str)
        and album.get("album_type") != "compilation"
        and album.get("album_group") not in {"compilation", "appears_on"}
        and _is_by(artist_id, album)
    ]


def _is_by(artist_id: str, thing: object) -> bool:
    """Return whether an album or a track is by an artist. One that does not name its artists counts as theirs."""
    artists = _mapping(thing).get("artists")
    return not isinstance(artists, list) or any(_mapping(one).get("id") == artist_id for one in artists if one)


def _released_on(album: Mapping[str, Any]) -> str:
    """Return the release date, which sorts as text; empty if it is missing or invalid."""
    date = album.get("release_date")
    return date if isinstance(date, str) and _DATE.fullmatch(date) else ""


def _without_nulls(listed: Iterable[Any]) -> tuple[list[Any], int]:
    """Return the elements that are not null, and the number of nulls."""
    elements = list(listed)
    kept = [one for one in elements if one is not None]
    return kept, len(elements) - len(kept)


def _counted(dropped: int) -> Iterator[dict[str, int]]:
    """Return fields for the records of one answer: the number of dropped elements for the first, if there are any."""
    return chain([{"dropped": dropped} if dropped else {}], repeat({}))


def top_tracks_of(artist_id: str) -> Query:
    """Return the query for an artist's top tracks."""
    return Query.of(f"/artists/{artist_id}/top-tracks", {"market": "US"})


def albums_of(artist_id: str, size: int) -> Query:
    """Return the query for the first page of an artist's albums, of all kinds."""
    return Query.of(f"/artists/{artist_id}/albums", {"limit": str(size)})


def own_albums_of(artist_id: str) -> Query:
    """Return the query for the first page of an artist's own albums and singles."""
    return Query.of(f"/artists/{artist_id}/albums", _OWN | {"limit": str(ALBUMS_A_PAGE[-1])})


def parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Split ids into parts for one call each."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _list(answer: object, name: str) -> list[Any]:
    """Return the list in a field of an answer.

    :raises Unreadable: the field is not a list.
    """
    found = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise Unreadable(f"field {name!r} must be a list, in {str(answer)[:60]}")
    return found


def _mapping(value: object) -> dict[str, Any]:
    """Return a JSON object of an answer.

    :raises Unreadable: it is not an object.
    """
    if not isinstance(value, Mapping):
        raise Unreadable(f"expected a JSON object, not {str(value)[:60]}")
    return dict(value)


def _kept(fields: object, *dropped: str) -> dict[str, Any]:
    """Return the fields without those that say nothing about the music."""
    gone = {*_NOT_KEPT, *dropped}
    return {name: value for name, value in _mapping(fields).items() if name not in gone}


def _name_of(artist_id: str, artists: object) -> str | None:
    """Return the name of an artist, from the artists of a track."""
    listed, _ = _without_nulls(artists if isinstance(artists, list) else [])
    return next((one.get("name") for one in map(_mapping, listed) if one.get("id") == artist_id), None)
