"""Artists of Spotify, their albums and top tracks, and the audio features of these.

What a client id may ask depends on its age: those made since 2026-02-11 have no batches, no top tracks and no audio
features, and get fewer fields. `Capabilities` says which; a plan then asks as much as it may, and as cheaply.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, NotGiven, QueryRefused, Unreadable, Unusable
from windrow.model.query import Query
from windrow.model.stream import Asked, Flow, PlanFlow, Planned, Request, Stream
from windrow.sources.spotify.access import CLIENTS, POLICY, QUOTAS, Capabilities
from windrow.sources.spotify.artists import is_artist_id

ARTISTS_A_CALL = 50
FEATURES_A_CALL = 100
_NOT_KEPT = ("available_markets", "copyrights", "disc_number", "external_urls", "href", "images", "is_local")
"""Fields that tell nothing about the music; the staged answer has them all the same."""


class SpotifyStream(Stream):
    """What the streams have in common: who it is about, and what the client id may ask.

    The run's params name ``artists`` (their ids) and ``capabilities`` (as fields of `Capabilities`).
    """

    policy = POLICY
    quotas = QUOTAS

    def plan(self, request: Request) -> PlanFlow:
        """Ask for each artist, once."""
        ids = request.params.get("artists")
        if not isinstance(ids, list) or not all(isinstance(one, str) and is_artist_id(one) for one in ids):
            raise BadParameter(
                f"artists must be a list of ids; it begins {str(ids)[:60]!r}.",
                advice="Look names up before: `windrow.sources.spotify.artists.look_up`.",
            )
        may = Capabilities(**_mapping(request.params.get("capabilities") or asdict(CLIENTS["extended"])))
        yield from self.plan_for(list(dict.fromkeys(ids)), may)

    @abstractmethod
    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Name the calls for these artists."""


class Artists(SpotifyStream):
    """One record an artist; of one that is gone, too."""

    dataset = "spotify_artists"
    contract = Contract((
        Column("artist_id", "id", Kind.STRING, "Id of the artist.", required=True),
        Column("is_known", "known", Kind.BOOLEAN, "False when the API knows the artist no more.", required=True),
        Column("name", "name", Kind.STRING, "Name of the artist."),
        Column("genres", "genres", Kind.STRING, "Genres as a JSON array; deprecated by the API."),
        Column("popularity", "popularity", Kind.INTEGER, "0 to 100; not told to newer client ids."),
        Column("followers", "followers", Kind.INTEGER, "Followers; not told to newer client ids."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Ask for 50 at once, or for each."""
        if may.batches:
            yield Planned(Query.of("/artists", {"ids": ",".join(part)}) for part in parts(ids, ARTISTS_A_CALL))
        else:
            yield Planned(Query.of(f"/artists/{artist_id}") for artist_id in ids)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read one artist, or a batch in the order that was asked."""
        if not query.params:
            return (self._record(query.path.rpartition("/")[2], answer),)
        asked = dict(query.params)["ids"].split(",")
        artists = _list(answer, "artists")
        if len(artists) != len(asked):
            raise Unreadable(f"{len(asked)} artists were asked for, and {len(artists)} are in the answer")
        return [self._record(artist_id, artist) for artist_id, artist in zip(asked, artists, strict=True)]

    def _record(self, artist_id: str, artist: object) -> dict[str, object]:
        if artist is None:
            return self.contract.record({"id": artist_id, "known": False})
        fields = _kept(artist, "type", "uri")
        if fields.get("id") != artist_id:
            raise Unreadable(f"asked for the artist {artist_id!r}, the answer is about {fields.get('id')!r}")
        genres, followers = fields.get("genres"), fields.get("followers")
        return self.contract.record(
            fields
            | {"known": True}
            | {"genres": orjson.dumps(genres).decode() if genres is not None else None}
            | {"followers": _mapping(followers).get("total") if followers is not None else None}
        )


class Albums(SpotifyStream):
    """One record an album of an artist."""

    dataset = "spotify_albums"
    contract = Contract((
        Column("artist_id", "artist", Kind.STRING, "Id of the artist that was asked for.", required=True),
        Column("album_id", "id", Kind.STRING, "Id of the album.", required=True),
        Column("name", "name", Kind.STRING, "Name of the album.", required=True),
        Column("album_type", "album_type", Kind.STRING, "album, single or compilation."),
        Column(
            "album_group", "album_group", Kind.STRING, "How it belongs to the artist; missing for newer client ids."
        ),
        Column("released_on", "release_date", Kind.STRING, "Day, month or year of the release, as known."),
        Column("tracks", "total_tracks", Kind.INTEGER, "Number of tracks."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Ask for the albums of each artist, in pages as large as they may be."""
        yield Planned(albums_of(artist_id, may) for artist_id in ids)

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Follow the pages of the list."""
        following = _mapping(answer.parsed).get("next")
        if not isinstance(following, str):
            return None
        page = {name: values[0] for name, values in parse_qs(urlsplit(following).query).items()}
        return Query.of(query.path, dict(query.params) | page)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the albums of one page, or of all."""
        artist_id = query.path.split("/")[2]
        pages = answer if isinstance(answer, list) else [answer]
        return [
            self.contract.record(
                _kept(album, "artists", "type", "uri", "release_date_precision") | {"artist": artist_id}
            )
            for page in pages
            for album in _list(page, "items")
        ]


class TopTracks(SpotifyStream):
    """One record a top track of an artist, the best first; of one who has none, a record without a track.

    Where the client id is told no top tracks, they are the tracks of the artist's newest album, and say so.
    """

    dataset = "spotify_top_tracks"
    contract = Contract((
        Column("artist_id", "artist", Kind.STRING, "Id of the artist that was asked for.", required=True),
        Column("rank", "rank", Kind.INTEGER, "1 for the first track; 0 where there is none.", required=True),
        Column(
            "ranked_by",
            "ranked_by",
            Kind.STRING,
            "top_tracks, or newest_album where these are not told.",
            required=True,
        ),
        Column("track_id", "id", Kind.STRING, "Id of the track."),
        Column("name", "name", Kind.STRING, "Name of the track."),
        Column("artist_name", "artist_name", Kind.STRING, "Name of the artist, as the track has it."),
        Column("album_id", "album_id", Kind.STRING, "Id of its album."),
        Column("album_name", "album_name", Kind.STRING, "Name of its album."),
        Column("released_on", "released_on", Kind.STRING, "Day, month or year when its album came out."),
        Column("duration_ms", "duration_ms", Kind.INTEGER, "Length in milliseconds."),
        Column("explicit", "explicit", Kind.BOOLEAN, "Whether its words are marked as explicit."),
        Column("popularity", "popularity", Kind.INTEGER, "0 to 100; not told to newer client ids."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Ask for the top tracks of each, or else for the newest album of each."""
        if may.top_tracks:
            yield Planned(top_tracks_of(artist_id) for artist_id in ids)
            return
        for artist_id in ids:
            listed = albums_of(artist_id, may)
            read = partial(_newest_album, artist_id)
            try:
                albums: Answer = yield Asked(listed, read)
                newest = read(albums.parsed)
            except NotGiven:
                newest = None
            except Unusable:
                continue
            # the list stands for an artist without albums, and for one that is gone, so that the receipt tells of both
            yield Planned([newest or listed])

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the tracks of one artist."""
        if query.path.startswith("/albums/"):
            album = _mapping(answer)
            artist_id, ranked_by = parse_qs(urlsplit(query.key).query)["artist"][0], "newest_album"
            tracks = [_mapping(track) | {"album": album} for track in _list(album.get("tracks"), "items")]
        elif query.path.endswith("/albums"):
            artist_id, ranked_by = query.path.split("/")[2], "newest_album"
            if tracks := _list(answer, "items"):
                raise Unreadable(f"the artist had no albums when the run was planned, and has {len(tracks)} now")
        else:
            artist_id, ranked_by = query.path.split("/")[2], "top_tracks"
            tracks = [_mapping(track) for track in _list(answer, "tracks")]
        if not tracks:
            return (self.contract.record({"artist": artist_id, "rank": 0, "ranked_by": ranked_by}),)
        dropped = ("album", "artists", "external_ids", "preview_url", "track_number", "type", "uri")
        records = []
        for rank, track in enumerate(tracks, 1):
            if not track.get("id"):
                raise Unreadable(f"the track of rank {rank} has no id")
            album = _mapping(track.get("album"))
            about = {
                "artist": artist_id,
                "artist_name": _name_of(artist_id, track.get("artists")),
                "rank": rank,
                "ranked_by": ranked_by,
                "album_id": album.get("id"),
                "album_name": album.get("name"),
                "released_on": album.get("release_date"),
            }
            records.append(self.contract.record(_kept(track, *dropped) | about))
        return records


class AudioFeatures(SpotifyStream):
    """One record a top track that has audio features."""

    dataset = "spotify_audio_features"
    planned_from = TopTracks.dataset
    contract = Contract((
        Column("track_id", "id", Kind.STRING, "Id of the track.", required=True),
        Column("tempo", "tempo", Kind.FLOAT, "Beats a minute."),
        Column("energy", "energy", Kind.FLOAT, "0 to 1."),
        Column("danceability", "danceability", Kind.FLOAT, "0 to 1."),
        Column("valence", "valence", Kind.FLOAT, "0, sad, to 1, glad."),
        Column("acousticness", "acousticness", Kind.FLOAT, "0 to 1."),
        Column("instrumentalness", "instrumentalness", Kind.FLOAT, "0 to 1."),
        Column("speechiness", "speechiness", Kind.FLOAT, "0 to 1."),
        Column("liveness", "liveness", Kind.FLOAT, "0 to 1."),
        Column("loudness", "loudness", Kind.FLOAT, "Decibels, below 0."),
        Column("key", "key", Kind.INTEGER, "0 for C, 1 for C sharp, ...; -1 where none was found."),
        Column("mode", "mode", Kind.INTEGER, "1 for major, 0 for minor."),
        Column("time_signature", "time_signature", Kind.INTEGER, "Beats in a bar."),
    ))

    def plan_for(self, ids: Sequence[str], may: Capabilities) -> PlanFlow:
        """Ask for the features of all tracks that the run has found, 100 at once."""
        tracks: dict[str, None] = {}
        for artist_id in ids:
            try:
                answer: Answer = yield Asked(top_tracks_of(artist_id), _track_ids)
            except Unusable:  # the artist is gone, as the receipt of the top tracks tells; or in the quarantine
                continue
            tracks |= dict.fromkeys(_track_ids(answer.parsed))
        yield Planned(
            Query.of("/audio-features", {"ids": ",".join(part)}) for part in parts(list(tracks), FEATURES_A_CALL)
        )

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read a batch; of a track that has no features the API says null."""
        found = [features for features in _list(answer, "audio_features") if features is not None]
        dropped = ("type", "uri", "track_href", "analysis_url", "duration_ms")
        return [self.contract.record(_kept(features, *dropped)) for features in found]


def fetch(artist_id: str) -> Flow[Answer]:
    """Ask for the top tracks of one artist, or for the newest album where these are not told.

    :returns: an answer that `TopTracks` reads.
    """
    try:
        tracks: Answer = yield top_tracks_of(artist_id)
        return tracks
    except QueryRefused as refused:
        if refused.status != 403:
            raise
    albums: Answer = yield albums_of(artist_id, CLIENTS["new"])
    newest = _newest_album(artist_id, albums.parsed)
    return (yield newest) if newest else albums


def _track_ids(answer: object) -> list[str]:
    return [str(_mapping(track).get("id")) for track in _list(answer, "tracks")]


def _newest_album(artist_id: str, albums: object) -> Query | None:
    """Name the call for the album that came out last, of a page of albums."""
    found = [_mapping(album) for album in _list(albums, "items")]
    if not found:
        return None
    newest = max(found, key=lambda album: (str(album.get("release_date")), str(album.get("id"))))
    return Query.of(f"/albums/{newest.get('id')}", known_by={"artist": artist_id})


def top_tracks_of(artist_id: str) -> Query:
    """Name the call for an artist's top tracks."""
    return Query.of(f"/artists/{artist_id}/top-tracks", {"market": "US"})


def albums_of(artist_id: str, may: Capabilities) -> Query:
    """Name the call for the first page of an artist's albums."""
    return Query.of(f"/artists/{artist_id}/albums", {"limit": "50" if may.batches else "10"})


def parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut ids into parts of one call."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _list(answer: object, name: str) -> list[Any]:
    """Return the list that an answer holds under a name.

    :raises Unreadable: there is none.
    """
    found = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(found, list):
        raise Unreadable(f"a list {name!r} was promised, not {str(answer)[:60]}")
    return found


def _mapping(value: object) -> dict[str, Any]:
    """Return an object of an answer.

    :raises Unreadable: it is something else.
    """
    if not isinstance(value, Mapping):
        raise Unreadable(f"an object was promised, not {str(value)[:60]}")
    return dict(value)


def _kept(fields: object, *dropped: str) -> dict[str, Any]:
    """Return the fields of a thing without those that tell nothing about the music."""
    gone = {*_NOT_KEPT, *dropped}
    return {name: value for name, value in _mapping(fields).items() if name not in gone}


def _name_of(artist_id: str, artists: object) -> str | None:
    """Return what a track calls an artist."""
    listed = artists if isinstance(artists, list) else []
    return next((one.get("name") for one in map(_mapping, listed) if one.get("id") == artist_id), None)
