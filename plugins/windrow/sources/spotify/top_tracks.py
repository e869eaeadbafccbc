"""Items of DynamoDB for the chatbot: one for each artist with top tracks, and one for each request.

==================  ==============  ========================================================================
table               key             an item is
==================  ==============  ========================================================================
``top_tracks``      ``artist_id``   the artist's name and tracks, best first; ``fetched_at`` shows its age
``artist_requests`` ``request``     the outcome of a request, by `key_of` its text: an `Outcome`
==================  ==============  ========================================================================
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Any

from windrow.model.errors import Ambiguous, BadParameter, NothingFound
from windrow.sources.spotify.artists import key_of

TOP_TRACKS, ARTIST_ID = "top_tracks", "artist_id"
REQUESTS, REQUEST = "artist_requests", "request"
LONGEST_TEXT, LONGEST_KEY = 300, 1_000
"""Limits of a request: characters, and bytes of its key. DynamoDB accepts a key of 2,048 bytes."""


class Outcome(StrEnum):
    """The outcome of a request for an artist."""

    TAKEN = "taken"
    """It is open; ``told`` says why, if it takes longer."""
    FOUND = "found"
    NO_TRACKS = "no_tracks"
    """The artist exists, and has no top tracks."""
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    """Several artists have this name; ``candidates`` lists their ids."""
    REFUSED = "refused"
    """It is invalid, for example the id of an album."""


def unmet(error: BadParameter) -> dict[str, Any]:
    """Return the outcome of a request for which there is no artist: attributes of its item."""
    outcome = Outcome.REFUSED
    if isinstance(error, Ambiguous):
        return {"outcome": Outcome.AMBIGUOUS.value, "told": str(error), "candidates": list(error.candidates)}
    if isinstance(error, NothingFound):
        outcome = Outcome.UNKNOWN
    return {"outcome": outcome.value, "told": str(error)}


def met(artist_id: str, artist_name: str, tracks: int) -> dict[str, Any]:
    """Return the outcome of a request whose artist was found."""
    outcome = Outcome.FOUND if tracks else Outcome.NO_TRACKS
    return {"outcome": outcome.value, ARTIST_ID: artist_id, "artist_name": artist_name}


def requested(message: object) -> str:
    """Return the text of a request, ``{"artist": "..."}``. Other fields are ignored.

    :raises BadParameter: it is not a request, or too long.
    """
    text = message.get("artist") if isinstance(message, Mapping) else None
    if not isinstance(text, str) or not (text := text.strip()):
        raise BadParameter("this is not a request for an artist", advice='Send {"artist": "Halden Pike"}.')
    if not _can_be_stored(text):
        raise BadParameter(f"{text[:60]!a} cannot be the name of an artist", advice="Give the name, or an id.")
    return text


def _can_be_stored(text: str) -> bool:
    try:
        key_bytes = len(key_of(text).encode())
    except UnicodeEncodeError:  # half of a surrogate pair: valid in JSON, but it cannot be stored
        return False
    return len(text) <= LONGEST_TEXT and 0 < key_bytes <= LONGEST_KEY


def items(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Make the item of each artist from rows of top tracks, sorted by artist and rank.

    :param rows: with the column names of `spotify.top_tracks` in Athena; values may be strings.
    """
    for artist_id, group in groupby(rows, key=lambda row: row["artist_id"]):
        ranked = list(group)
        first = ranked[0]
        yield {
            ARTIST_ID: artist_id,
            "artist_name": first["artist_name"],
            "ranked_by": first["ranked_by"],
            "tracks": [_track(row) for row in ranked if int(row["rank"])],
            "fetched_at": instant(first["fetched_at"]),
            "run_id": first["run_id"],
        }


def _track(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make a track of an item, without unknown values."""
    known = {
        "rank": int(row["rank"]),
        "id": row["track_id"],
        "name": row["track_name"],
        "album": row["album_name"],
        "released_on": row["released_on"],
        "duration_ms": _number(row["duration_ms"]),
        "popularity": _number(row["popularity"]),
        "tempo": _number(row.get("tempo")),
    }
    return {name: value for name, value in known.items() if value is not None}


def _number(value: object) -> int | Decimal | None:
    """Make a number that DynamoDB accepts."""
    if value is None:
        return None
    number = Decimal(str(value))
    return int(number) if number == number.to_integral_value() else number


def instant(value: object) -> str:
    """Write a timestamp that sorts as text: ISO 8601, milliseconds, UTC."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rows(artist_name: str, records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turn records of `TopTracks`, with their lineage, into rows like those of Athena."""
    return [
        {
            **record,
            "artist_name": artist_name or record["artist_name"],
            "track_name": record["name"],
            "fetched_at": record["_fetched_at"],
            "run_id": record["_run_id"],
        }
        for record in records
    ]
