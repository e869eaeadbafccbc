"""What the Spotify Web API promises and accepts, written from its specification 2026.5.31 (sonallux/spotify-web-api).

Only what Windrow uses. The fake API and the requests of the source are both checked against it, so that the two cannot
agree on something that Spotify does not do. docs/spotify.md says where the changes of February 2026 differ.
"""

from typing import Any

import jsonschema

_TEXT, _COUNT = {"type": "string"}, {"type": "integer"}
ID = {"type": "string", "pattern": "^[0-9A-Za-z]{22}$"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(dict.fromkeys(required.split())), "properties": properties}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Lists may have null elements, as recorded answers do; the specification does not say so."""
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _or_null(schema)}


def _page(schema: dict[str, Any]) -> dict[str, Any]:
    link = {"type": ["string", "null"]}
    return _object(
        "href items limit next offset previous total",
        href=_TEXT, items=_list(schema), limit=_COUNT, next=link, offset=_COUNT, previous=link, total=_COUNT,
    )  # fmt: skip


def _thing(kind: str) -> dict[str, Any]:
    return {"external_urls": {"type": "object"}, "href": _TEXT, "id": ID, "type": {"enum": [kind]}, "uri": _TEXT}


_THING = "external_urls href id name type uri"
_IMAGES = {"type": "array", "items": _object("url height width", url=_TEXT)}
ARTIST_LINK = _object(_THING, name=_TEXT, **_thing("artist"))
_WITHDRAWN = {
    "artist": "followers popularity",
    "album": "available_markets label popularity",
    "track": "available_markets popularity",
}
"""Fields that newer client ids do not get since February 2026; the specification still has them, as deprecated."""


def _for(client: str, kind: str) -> str:
    return "" if client == "new" else _WITHDRAWN[kind]


def artist(client: str) -> dict[str, Any]:
    return _object(
        f"{_THING} genres images {_for(client, 'artist')}",
        name=_TEXT,
        genres={"type": "array", "items": _TEXT},
        images=_IMAGES,
        popularity=_COUNT,
        followers=_object("total", total=_COUNT),
        **_thing("artist"),
    )


def album_link(client: str, *more: str) -> dict[str, Any]:
    markets = "" if client == "new" else "available_markets"
    return _object(
        f"{_THING} album_type total_tracks images release_date release_date_precision artists {markets} "
        + " ".join(more),
        name=_TEXT,
        album_type={"enum": ["album", "single", "compilation"]},
        album_group={"enum": ["album", "single", "compilation", "appears_on"]},
        total_tracks=_COUNT,
        images=_IMAGES,
        release_date={"type": ["string", "null"]},  # null occurs; the specification does not say so
        release_date_precision={"enum": ["year", "month", "day"]},
        artists={"type": "array", "minItems": 1, "items": ARTIST_LINK},
        **_thing("album"),
    )


def track(client: str, *more: str) -> dict[str, Any]:
    return _object(
        f"{_THING} artists disc_number duration_ms explicit track_number is_local {' '.join(more)}",
        name=_TEXT,
        artists={"type": "array", "minItems": 1, "items": ARTIST_LINK},
        duration_ms=_COUNT,
        explicit={"type": "boolean"},
        popularity=_COUNT,
        album=album_link(client),
        preview_url={"type": ["string", "null"]},
        **_thing("track"),
    )


def album(client: str) -> dict[str, Any]:
    link = album_link(client, "tracks", "copyrights", "genres", *_for(client, "album").split())
    return link | {"properties": link["properties"] | {"tracks": _page(track(client))}}


FEATURES = _object(
    "id type uri track_href analysis_url duration_ms tempo key mode loudness time_signature danceability energy "
    "speechiness acousticness instrumentalness liveness valence",
    id=ID, type={"enum": ["audio_features"]}, duration_ms=_COUNT, tempo={"type": "number"},
    key={"type": "integer", "minimum": -1, "maximum": 11}, mode={"enum": [0, 1]},
    time_signature={"type": "integer", "minimum": 3, "maximum": 7}, loudness={"type": "number"},
    danceability=_SHARE, energy=_SHARE, speechiness=_SHARE, acousticness=_SHARE, instrumentalness=_SHARE,
    liveness=_SHARE, valence=_SHARE,
)  # fmt: skip
ERROR = _object("error", error=_object("status message", status={"type": "integer", "minimum": 400}, message=_TEXT))


def answer(path: str, client: str) -> dict[str, Any]:
    """The answer of an endpoint, given as the path of a query."""
    kind, *rest = path.strip("/").split("/")
    match kind, rest:
        case "artists", []:
            return _object("artists", artists=_list(artist(client)))
        case "artists", [_]:
            return artist(client)
        case "artists", [_, "albums"]:
            return _page(album_link(client, "album_group"))
        case "artists", [_, "top-tracks"]:
            return _object("tracks", tracks=_list(track(client, "album", "popularity", "external_ids")))
        case "albums", [_]:
            return album(client)
        case "audio-features", []:
            return _object("audio_features", audio_features=_list(FEATURES))
        case "audio-features", [_]:
            return FEATURES
        case "search", []:
            return _object("artists", artists=_page(artist(client)))
    raise LookupError(path)


def _ids(most: int) -> dict[str, Any]:
    one = ID["pattern"].strip("^$")
    return {"type": "string", "pattern": f"^{one}(,{one}){{0,{most - 1}}}$"}


_LIMIT = {"type": "string", "pattern": "^([1-9]|10)$"}
_PAGE = {"limit": _LIMIT, "offset": {"type": "string", "pattern": "^[0-9]{1,4}$"}}
_GROUP = "(album|single|appears_on|compilation)"
_NONE: dict[str, Any] = {}
PARAMETERS: dict[tuple[str, ...], tuple[dict[str, Any], tuple[str, ...]]] = {
    ("artists",): ({"ids": _ids(50)}, ("ids",)),
    ("artists", "*"): (_NONE, ()),
    ("artists", "*", "albums"): (
        _PAGE | {"include_groups": {"type": "string", "pattern": f"^{_GROUP}(,{_GROUP})*$"}},
        (),
    ),
    ("artists", "*", "top-tracks"): ({"market": {"type": "string", "pattern": "^[A-Z]{2}$"}}, ()),
    ("albums", "*"): (_NONE, ()),
    ("audio-features",): ({"ids": _ids(100)}, ("ids",)),
    ("audio-features", "*"): (_NONE, ()),
    ("search",): (_PAGE | {"q": {"type": "string", "minLength": 1}, "type": {"enum": ["artist"]}}, ("q", "type")),
}
"""Query parameters by path, and those that are required. A limit is at most 10 for all client ids."""


def check(value: object, schema: dict[str, Any]) -> None:
    """Raise jsonschema's ValidationError unless the value is as promised."""
    jsonschema.validate(value, schema)


def check_request(path: str, params: dict[str, str]) -> None:
    """Raise ValidationError, or LookupError, unless the endpoint and its query parameters are declared and valid."""
    parts = path.strip("/").split("/")
    declared, required = PARAMETERS[tuple(part if number != 1 else "*" for number, part in enumerate(parts))]
    check(
        params,
        {"type": "object", "properties": declared, "required": list(required), "additionalProperties": False},
    )
