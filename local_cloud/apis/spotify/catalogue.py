"""Music that never was: seeded artists, albums and tracks, as awkward as real ones.

Two artists share a name, one has no top tracks, one not even an album, some tracks have no audio features, and names
hold accents, quotes and characters beyond the Latin alphabet.
"""

import string
from dataclasses import dataclass, field
from functools import cache
from random import Random

BASE62 = string.digits + string.ascii_letters
ID_LENGTH = 22

NAMES = (
    *("Halden Pike", "The Larkspur Line", "Nuria Valcàrcel", "Østlyd", "Брусника", "東雲レコード", 'M. "Dot" Okafor'),
    *("Salt & Ledger", "Queue", "Ines Duarte-Maia", "Cobalt Ferry", "Þórunn Vík", "The Unsent", "Okra Parade"),
    *("Lowland Static", "Mirza Beg Trio", "Seven Minute Sun", "Ada Kowalczyk", "Paper Lighthouse", "Ghost Tariff"),
    *("Rue du Départ", "Tin Orchard", "Vesna Kralj", "Half Tide", "No. 9 Platform", "Café Meridian", "D'Arcy Bloom"),
    *("Aurelio y los Faros", "Ninth Cloud Ltd", "Wren", "Kepler Street", "Sunday Cartography", "Lágrima Azul"),
    *("The Gravel Choir", "Monsoon Ledger", "Echo", "Echo", "Mute Button", "Unopened"),
)
"""Of the artists: `Echo` twice, `Mute Button` has no top tracks, and `Unopened` no album either."""
SILENT, NEWCOMER = "Mute Button", "Unopened"
WORDS = (
    *("amber", "asphalt", "banner", "birch", "candle", "cinder", "coast", "copper", "drift", "ember", "fable"),
    *("harbour", "hollow", "ivory", "juniper", "kite", "lantern", "ledger", "marble", "meadow", "neon", "orbit"),
    *("paper", "pepper", "quiet", "raven", "river", "saffron", "shadow", "signal", "silver", "sparrow", "station"),
    *("stone", "summer", "tide", "timber", "velvet", "violet", "wander", "window", "winter"),
)
GENRES = ("indie folk", "synth pop", "art rock", "ambient", "jazz", "chanson", "post-punk", "flamenco")
MARKETS = ("DE", "FR", "GB", "JP", "US")
ALBUM_TYPES = ("album", "album", "single", "compilation")


@dataclass(frozen=True)
class Artist:
    """An artist. `albums` and `top_tracks` are in the order that the API lists them."""

    id: str
    name: str
    popularity: int
    followers: int
    genres: tuple[str, ...]
    albums: list["Album"] = field(default_factory=list, repr=False)
    top_tracks: list["Track"] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Album:
    """An album of one artist."""

    id: str
    name: str
    kind: str
    released_on: str
    popularity: int
    label: str
    artist: Artist = field(repr=False)
    tracks: list["Track"] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Track:
    """A track. `features` is None where the API has none."""

    id: str
    name: str
    number: int
    duration_ms: int
    explicit: bool
    popularity: int
    isrc: str
    album: Album = field(repr=False)
    features: dict[str, float | int] | None = field(repr=False)


class Catalogue:
    """All music of one seed; the same seed gives the same music."""

    def __init__(self, seed: int = 1979) -> None:
        self._random = Random(seed)
        self.artists: dict[str, Artist] = {}
        self.albums: dict[str, Album] = {}
        self.tracks: dict[str, Track] = {}
        for name in NAMES:
            self._make_artist(name)

    def named(self, words: str) -> list[Artist]:
        """Find artists by words of their names, the exact names first, then the popular ones."""
        wanted = words.casefold().strip()
        found = [one for one in self.artists.values() if all(w in one.name.casefold() for w in wanted.split())]
        return sorted(found, key=lambda one: (one.name.casefold() != wanted, -one.popularity, one.id))

    def _make_artist(self, name: str) -> None:
        random = self._random
        popularity = random.randint(5, 95)
        artist = Artist(
            id=self._id(),
            name=name,
            popularity=popularity,
            followers=int(1.12**popularity * random.randint(40, 90)),
            genres=tuple(sorted(random.sample(GENRES, random.randint(0, 3)))),
        )
        self.artists[artist.id] = artist
        for _ in range(random.randint(1, 14) if name != NEWCOMER else 0):
            self._make_album(artist)
        artist.albums.sort(key=lambda album: album.released_on, reverse=True)
        if name != SILENT:
            tracks = [track for album in artist.albums for track in album.tracks]
            tracks.sort(key=lambda track: (-track.popularity, track.id))
            artist.top_tracks.extend(tracks[:10])

    def _make_album(self, artist: Artist) -> None:
        random = self._random
        kind = random.choice(ALBUM_TYPES)
        released_on = f"{random.randint(1998, 2026)}"
        if random.random() < 0.9:  # of old ones the API knows the year alone
            released_on += f"-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"
        album = Album(
            id=self._id(),
            name=self._title(),
            kind=kind,
            released_on=released_on,
            popularity=max(0, artist.popularity - random.randint(0, 20)),
            label=f"{random.choice(WORDS).title()} Records",
            artist=artist,
        )
        self.albums[album.id] = album
        artist.albums.append(album)
        for number in range(1, random.randint(2, 4) + (kind != "single") * 5):
            track = Track(
                id=self._id(),
                name=self._title(),
                number=number,
                duration_ms=random.randint(95_000, 420_000),
                explicit=random.random() < 0.1,
                popularity=max(0, album.popularity - random.randint(0, 30)),
                isrc=f"QZ{random.randint(10**9, 10**10 - 1)}",
                album=album,
                features=self._features() if random.random() < 0.95 else None,
            )
            self.tracks[track.id] = track
            album.tracks.append(track)

    def _features(self) -> dict[str, float | int]:
        random = self._random
        shares = ("danceability", "energy", "speechiness", "acousticness", "instrumentalness", "liveness", "valence")
        return {
            **{name: round(random.random(), 3) for name in shares},
            "key": random.randint(-1, 11),
            "loudness": round(random.uniform(-22, -3), 3),
            "mode": random.randint(0, 1),
            "tempo": round(random.uniform(62, 190), 3),
            "time_signature": random.choice((3, 4, 4, 4, 5)),
        }

    def _title(self) -> str:
        first, second = self._random.sample(WORDS, 2)
        return f"{first.title()} {second.title()}"

    def _id(self) -> str:
        return "".join(self._random.choices(BASE62, k=ID_LENGTH))


@cache
def make_music() -> Catalogue:
    """Make the music of the fake Spotify; it is the same every time."""
    return Catalogue()
