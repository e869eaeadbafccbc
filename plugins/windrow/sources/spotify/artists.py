"""Who is meant by the name, the id or the address of an artist of Spotify."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from windrow.model.answer import Answer
from windrow.model.errors import Ambiguous, BadParameter, NothingFound, QueryRefused, Unreadable
from windrow.model.query import Query
from windrow.model.stream import Asked, Flow

_ID = re.compile(r"[0-9A-Za-z]{22}")
_ADDRESS = re.compile(
    r"(?:spotify:|(?:https?://)?open\.spotify\.com/(?:intl-[\w-]+/)?(?:embed/)?)(?P<kind>\w+)[:/](?P<id>\w+)(?:[:/?#].*)?",
    re.IGNORECASE,
)
"""Of a thing of any kind: as a URI, or as the web player shows it, with what may follow there."""


@dataclass(frozen=True, slots=True)
class Artist:
    """An artist that was looked up."""

    id: str
    name: str


def words_of(name: str) -> str:
    """Return a name as it is compared: in lower case, however it is spaced and its accents are composed."""
    return " ".join(unicodedata.normalize("NFC", name.casefold()).split())


def key_of(text: str) -> str:
    """Return what two requests for the same have in common: the words of a name; an id or an address as it is.

    Ids differ by the case of a letter.
    """
    text = text.strip()
    return text if is_artist_id(text) or _ADDRESS.fullmatch(text) else words_of(text)


def is_artist_id(text: str) -> bool:
    """Say whether a text has the form of an artist's id."""
    return _ID.fullmatch(text) is not None


def artist_id_in(text: str) -> str | None:
    """Return the artist's id that a text gives, or None where it is a name.

    :raises BadParameter: it is the id of something else, or empty.
    """
    text = text.strip()
    if not text:
        raise BadParameter("The artist's name is empty.", advice="Give a name or an id.")
    address = _ADDRESS.fullmatch(text)
    if address is None:
        return text if is_artist_id(text) else None
    if address["kind"].lower() != "artist" or not is_artist_id(address["id"]):
        raise BadParameter(
            f"{text!r} names a thing of the kind {address['kind']!r}, not an artist.",
            advice="Give the name of the artist, or an address like spotify:artist:ID.",
        )
    return address["id"]


def look_up(text: str) -> Flow[Artist]:
    """Find the artist of a name, an id, a URI or an address of the web player.

    :raises NothingFound: the API knows none.
    :raises Ambiguous: it knows several of exactly this name.
    :raises BadParameter: it is the id of something else, or the API cannot search for it.
    """
    artist_id = artist_id_in(text)
    if artist_id:
        try:
            answer: Answer = yield Asked(Query.of(f"/artists/{artist_id}"), _artist)
        except QueryRefused as refused:
            if refused.status not in {400, 404}:
                raise
            raise NothingFound(
                f"The API knows no artist of the id {artist_id!r}.", advice="Check the id, or give the artist's name."
            ) from None
        return _artist(answer.parsed)
    name = " ".join(text.replace('"', " ").split())  # a quote would end the phrase that is searched for
    try:
        answer = yield Asked(Query.of("/search", {"q": f'artist:"{name}"', "type": "artist", "limit": "10"}), _found)
    except QueryRefused as refused:
        if refused.status not in {400, 414}:
            raise
        raise BadParameter(f"The API cannot search for {text!r}.", advice="Give the artist's id.") from None
    return _chosen(text, _found(answer.parsed))


def _chosen(text: str, found: Sequence[tuple[Artist, str]]) -> Artist:
    """Choose the artist of exactly this name."""
    exact = [(artist, about) for artist, about in found if words_of(artist.name) == words_of(text)]
    if len(exact) == 1:
        return exact[0][0]
    if exact:
        told = "; ".join(f"{artist.id} ({about})" for artist, about in exact)
        raise Ambiguous(
            f"The API knows {len(exact)} artists named {text!r}: {told}.",
            advice="Ask for one of them by its id.",
            candidates=[artist.id for artist, _ in exact],
        )
    near = ", ".join(f"{artist.name!r}" for artist, _ in found[:3])
    raise NothingFound(
        f"The API knows no artist named {text!r}." + (f" It knows {near}." if near else ""),
        advice="Check how the name is written, or give the artist's id.",
    )


def _found(page: object) -> list[tuple[Artist, str]]:
    """Read the artists of a search, each with what tells it from others. A page may hold nulls."""
    match page:
        case {"artists": {"items": list(items)}}:
            return [(_artist(item), _about(item)) for item in items if item is not None]
    raise Unreadable('a search should look like {"artists": {"items": [...]}}')


def _artist(fields: object) -> Artist:
    match fields:
        case {"id": str(id_), "name": str(name)}:
            return Artist(id_, name)
    raise Unreadable(f"an artist with id and name was promised, not {str(fields)[:60]}")


def _about(fields: Mapping[str, object]) -> str:
    """Say what tells an artist from others of the name, as far as the client id is told."""
    genres, followers = fields.get("genres"), fields.get("followers")
    about = ", ".join(map(str, genres)) if isinstance(genres, list) and genres else "no genre"
    total = followers.get("total") if isinstance(followers, Mapping) else None
    return about + (f", {total:,} followers" if isinstance(total, int) else "")
