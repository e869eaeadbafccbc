"""Find the artist of Spotify for a name, an id or an address."""

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
    r"(?:spotify:|(?:https?://)?(?:open|play)\.spotify\.com/(?:intl-[\w-]+/)?(?:embed/)?)"
    r"(?P<kind>\w+)[:/](?P<id>\w+)(?:[:/?#].*)?",
    re.IGNORECASE,
)
"""Of a thing of any kind: a URI, or a page of the web player, with whatever follows."""
_API_ADDRESS = re.compile(r"(?:https?://)?api\.spotify\.com/v1/(?P<kind>\w+?)s/(?P<id>\w+)(?:[/?#].*)?", re.IGNORECASE)
_SHORT_LINK = re.compile(r"(?:https?://)?(?:spotify\.link|spoti\.fi|spotify\.app\.link)/\S*", re.IGNORECASE)
_ANY_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_ADVICE = "Give the name of the artist, or an address like spotify:artist:ID."
_WRAPPED = re.compile(r"<(?P<plain>[^<>|\s]+)(?:\|[^<>]*)?>|\[[^\[\]]*\]\((?P<markdown>[^()\s]+)\)")
"""An address as chat applications send it: in angle brackets, maybe with a label, or as a link of Markdown."""


@dataclass(frozen=True, slots=True)
class Artist:
    """An artist, found by the API."""

    id: str
    name: str


def words_of(name: str) -> str:
    """Return a name for comparison: lower case, normalized spaces and accents."""
    return " ".join(unicodedata.normalize("NFC", name.casefold()).split())


def key_of(text: str) -> str:
    """Return the key that two requests for the same artist share: a name in lower case, or an id or address unchanged.

    Ids are case-sensitive.
    """
    text = _unwrapped(text)
    is_address = any(form.fullmatch(text) for form in (_ADDRESS, _API_ADDRESS, _SHORT_LINK, _ANY_ADDRESS))
    return text if is_address or is_artist_id(text) else words_of(text)


def _unwrapped(text: str) -> str:
    """Return a text without spaces around it, and an address without what chat applications put around it."""
    text = text.strip()
    wrapped = _WRAPPED.fullmatch(text)
    return (wrapped["plain"] or wrapped["markdown"]) if wrapped else text


def is_artist_id(text: str) -> bool:
    """Return whether a text has the form of an artist's id."""
    return _ID.fullmatch(text) is not None


def artist_id_in(text: str) -> str | None:
    """Return the id of the artist in a text, or None if the text is a name.

    Accepted are an id, a URI, and addresses of the web player and of the API.

    :raises BadParameter: the text is empty, or an address of something else.
    """
    text = _unwrapped(text)
    if not text:
        raise BadParameter("The name of the artist is empty.", advice="Give a name or an id.")
    if _SHORT_LINK.fullmatch(text):
        raise BadParameter(
            f"{text!r:.80} is a short link, which does not contain the id of the artist.",
            advice="Open it in a browser, and give the address that is shown then.",
        )
    address = _ADDRESS.fullmatch(text) or _API_ADDRESS.fullmatch(text)
    if address is None:
        if _ANY_ADDRESS.fullmatch(text):
            raise BadParameter(f"{text!r:.80} is not an address of an artist of Spotify.", advice=_ADVICE)
        return text if is_artist_id(text) else None
    if address["kind"].lower() != "artist" or not is_artist_id(address["id"]):
        raise BadParameter(f"{text!r:.80} is of the kind {address['kind']!r}, not of an artist.", advice=_ADVICE)
    return address["id"]


def look_up(text: str) -> Flow[Artist]:
    """Find the artist for a name, an id, a URI or an address.

    :raises NothingFound: the API does not have the artist.
    :raises Ambiguous: the API has several artists of exactly this name.
    :raises BadParameter: it is an address of something else, or the API cannot search for it.
    """
    artist_id = artist_id_in(text)
    if artist_id:
        try:
            answer: Answer = yield Asked(Query.of(f"/artists/{artist_id}"), _artist)
        except QueryRefused as refused:
            if refused.status not in {400, 404}:
                raise
            raise NothingFound(
                f"The API has no artist with the id {artist_id!r}.", advice="Check the id, or give the artist's name."
            ) from None
        return _artist(answer.parsed)
    name = " ".join(text.replace('"', " ").split())  # a quote would end the phrase of the search
    try:
        answer = yield Asked(Query.of("/search", {"q": f'artist:"{name}"', "type": "artist", "limit": "10"}), _found)
    except QueryRefused as refused:
        if refused.status not in {400, 414}:
            raise
        raise BadParameter(f"The API cannot search for {text!r}.", advice="Give the artist's id.") from None
    return _chosen(text, _found(answer.parsed))


def _chosen(text: str, found: Sequence[tuple[Artist, str]]) -> Artist:
    """Return the artist with exactly this name."""
    exact = [(artist, about) for artist, about in found if words_of(artist.name) == words_of(text)]
    if len(exact) == 1:
        return exact[0][0]
    if exact:
        told = "; ".join(f"{artist.id} ({about})" for artist, about in exact)
        raise Ambiguous(
            f"The API has {len(exact)} artists named {text!r}: {told}.",
            advice="Give the id of one of them.",
            candidates=[artist.id for artist, _ in exact],
        )
    near = ", ".join(f"{artist.name!r}" for artist, _ in found[:3])
    raise NothingFound(
        f"The API has no artist named {text!r}." + (f" It has {near}." if near else ""),
        advice="Check the spelling of the name, or give the artist's id.",
    )


def _found(page: object) -> list[tuple[Artist, str]]:
    """Read the artists of a search, each with a description. A page may contain nulls."""
    match page:
        case {"artists": {"items": list(items)}}:
            return [(_artist(item), _about(item)) for item in items if item is not None]
    raise Unreadable('a page of a search must look like {"artists": {"items": [...]}}')


def _artist(fields: object) -> Artist:
    match fields:
        case {"id": str(id_), "name": str(name)}:
            return Artist(id_, name)
    raise Unreadable(f"an artist must have 'id' and 'name', in {str(fields)[:60]}")


def _about(fields: Mapping[str, object]) -> str:
    """Describe an artist by genres and followers, if the client id gets them."""
    genres, followers = fields.get("genres"), fields.get("followers")
    about = ", ".join(map(str, genres)) if isinstance(genres, list) and genres else "no genre"
    total = followers.get("total") if isinstance(followers, Mapping) else None
    return about + (f", {total:,} followers" if isinstance(total, int) else "")
