"""Artists, albums and tracks as the API writes them, with the fields that a kind of client id still gets."""

from collections.abc import Sequence
from typing import Any

from local_cloud.apis.spotify.catalogue import MARKETS, Album, Artist, Track

Json = dict[str, Any]

WITHDRAWN = {
    "artist": ("followers", "popularity"),
    "album": ("available_markets", "label", "popularity"),
    "track": ("available_markets", "popularity"),
}
"""Fields that new client ids do not get any more."""


class Shapes:
    """Writes things of the catalogue.

    :param url: address of the API, for links.
    """

    def __init__(self, url: str, *, new_client: bool) -> None:
        self._url = url
        self._new = new_client

    def artist(self, artist: Artist) -> Json:
        """An artist, whole."""
        return self._given({
            **self.artist_link(artist),
            "followers": {"href": None, "total": artist.followers},
            "genres": list(artist.genres),
            "images": [{"url": f"https://i.example.com/{artist.id}", "height": 640, "width": 640}],
            "popularity": artist.popularity,
        })

    def artist_link(self, artist: Artist) -> Json:
        """An artist as albums and tracks name it."""
        return self._thing("artist", artist.id) | {"name": artist.name}

    def album_link(self, album: Album) -> Json:
        """An album as lists and tracks name it."""
        return self._given({
            **self._thing("album", album.id),
            "album_type": album.kind,
            "artists": [self.artist_link(album.artist)],
            "available_markets": list(MARKETS),
            "images": [{"url": f"https://i.example.com/{album.id}", "height": 640, "width": 640}],
            "name": album.name,
            "release_date": album.released_on,
            "release_date_precision": "day" if "-" in album.released_on else "year",
            "total_tracks": len(album.tracks),
        })

    def listed_album(self, album: Album, group: str) -> Json:
        """An album in the list of an artist, who belongs to it in some way."""
        return self.album_link(album) | {"album_group": group}

    def album(self, album: Album) -> Json:
        """An album, whole, with its tracks."""
        tracks = [self._given(self._track(track)) for track in album.tracks]
        return self._given({
            **self.album_link(album),
            "copyrights": [{"text": f"{album.released_on[:4]} {album.label}", "type": "P"}],
            "external_ids": {"upc": f"{int.from_bytes(album.id.encode()[:5]):013d}"},
            "genres": [],
            "label": album.label,
            "popularity": album.popularity,
            "tracks": paging(f"{self._url}/albums/{album.id}/tracks", tracks, len(tracks) or 1, 0, len(tracks)),
        })

    def track(self, track: Track) -> Json:
        """A track, whole, with its album."""
        return self._given({
            **self._track(track),
            "album": self.album_link(track.album),
            "external_ids": {"isrc": track.isrc},
            "popularity": track.popularity,
        })

    def features(self, track: Track) -> Json | None:
        """The audio features of a track; None where there are none."""
        if track.features is None:
            return None
        return {
            **track.features,
            "type": "audio_features",
            "id": track.id,
            "uri": f"spotify:track:{track.id}",
            "track_href": f"{self._url}/tracks/{track.id}",
            "analysis_url": f"{self._url}/audio-analysis/{track.id}",
            "duration_ms": track.duration_ms,
        }

    def _track(self, track: Track) -> Json:
        return {
            **self._thing("track", track.id),
            "artists": [self.artist_link(track.album.artist)],
            "available_markets": list(MARKETS),
            "disc_number": 1,
            "duration_ms": track.duration_ms,
            "explicit": track.explicit,
            "is_local": False,
            "name": track.name,
            "preview_url": None,
            "track_number": track.number,
        }

    def _thing(self, kind: str, id_: str) -> Json:
        return {
            "external_urls": {"spotify": f"https://open.example.com/{kind}/{id_}"},
            "href": f"{self._url}/{kind}s/{id_}",
            "id": id_,
            "type": kind,
            "uri": f"spotify:{kind}:{id_}",
        }

    def _given(self, thing: Json) -> Json:
        """Leave out what this client id does not get."""
        gone = WITHDRAWN[thing["type"]] if self._new else ()
        return {name: value for name, value in thing.items() if name not in gone}


def paging(url: str, items: Sequence[Json | None], limit: int, offset: int, total: int) -> Json:
    """Write a page of a list."""

    def link(start: int) -> str:
        return f"{url}{'&' if '?' in url else '?'}offset={start}&limit={limit}"

    return {
        "href": link(offset),
        "items": list(items),
        "limit": limit,
        "next": link(offset + limit) if offset + limit < total else None,
        "offset": offset,
        "previous": link(max(0, offset - limit)) if offset else None,
        "total": total,
    }
