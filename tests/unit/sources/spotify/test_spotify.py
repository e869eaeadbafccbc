"""The streams of Spotify: who is meant, what is asked with which rights, and what is taken for an answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apis.spotify import spec
from tests.unit.flow import Scripted, lead, led
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import Ambiguous, BadParameter, NotGiven, NothingFound, QueryRefused, RateLimited, Unreadable
from windrow.model.policy import Action
from windrow.model.query import Query
from windrow.model.response import Response
from windrow.model.stream import Request
from windrow.sources.spotify.access import CLIENTS, POLICY, QUOTAS, Capabilities, probe
from windrow.sources.spotify.artists import Artist, artist_id_in, key_of, look_up
from windrow.sources.spotify.streams import Albums, Artists, AudioFeatures, TopTracks, fetch

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ONE, TWO = "1" * 22, "2" * 22
ids = st.text("0123456789abcXYZ", min_size=22, max_size=22)


def refused(status: int) -> QueryRefused:
    return (NotGiven if status == 404 else QueryRefused)("refused", advice="none", status=status)


def allowed(queries: Sequence[Query]) -> list[str]:
    """Check requests against the specification, and return their keys. Older client ids may try a larger page."""
    for query in queries:
        params = {name: value for name, value in query.params if (name, value) != ("limit", "50")}
        spec.check_request(query.path, params)
    return [query.key for query in queries]


def outcome(flow: Any, *replies: Any) -> tuple[list[str], Any]:
    """Lead a conversation that is no plan; return the keys that were asked, and what it came to."""
    driver = Scripted(replies)
    result = asyncio.run(driver.lead(flow))
    assert not driver.replies
    return allowed(driver.queries), result


def found(*artists: tuple[str, str] | None) -> dict[str, Any]:
    items = [one and {"id": one[0], "name": one[1], "followers": {"total": 5}, "genres": ["jazz"]} for one in artists]
    return {"artists": {"items": items}}


def track(number: int, **more: object) -> dict[str, Any]:
    artists = [{"id": ONE, "name": "Wren"}]
    album = {"id": "a" * 22, "name": "Tide", "release_date": "2020"}
    base = {"id": f"{number:022}", "name": f"T{number}", "duration_ms": 1000, "artists": artists, "album": album}
    return base | {"explicit": False, "popularity": 50} | more


# --- who is meant ------------------------------------------------------------------------------


@given(ids)
def test_an_id_is_taken_in_every_form(id_: str) -> None:
    page = f"open.spotify.com/artist/{id_}"
    for text in (id_, f" {id_} ", f"spotify:artist:{id_}", f"Spotify:Artist:{id_}", page, f"http://{page}/"):
        assert artist_id_in(text) == id_
    for wrapped in (
        f"<https://{page}?si=x>",
        f"<https://{page}|Wren>",
        f"[Wren]({page})",
        f"play.spotify.com/artist/{id_}",
    ):
        assert artist_id_in(wrapped) == id_
    for tail in ("", "/albums?limit=5", "/top-tracks"):
        assert artist_id_in(f"https://api.spotify.com/v1/artists/{id_}{tail}") == id_
    for tail in ("", "?si=x", "#top", "/discography/all?pageUri=spotify:album:x"):
        assert artist_id_in(f"https://{page}{tail}") == id_
        assert artist_id_in(f"https://{page}{tail}".replace("/artist/", "/intl-pt-BR/artist/")) == id_


@pytest.mark.parametrize("text", ["Wren", "東雲レコード", 'M. "Dot" Okafor', "1" * 21, "1" * 23])
def test_a_name_is_a_name(text: str) -> None:
    assert artist_id_in(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  ",
            f"spotify:album:{ONE}",
            f"open.spotify.com/track/{ONE}/x",
            "spotify:artist:short",
            "spotify:user:me",
        ),
        *(
            f"https://api.spotify.com/v1/albums/{ONE}",
            "https://example.com/artist",
            f"<https://open.spotify.com/track/{ONE}>",
        ),
    ],
)
def test_the_id_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        artist_id_in(text)


@pytest.mark.parametrize("link", ["https://spotify.link/a1B2", "<https://spotify.link/a1B2>", "spoti.fi/2X"])
def test_a_short_link_is_refused_with_what_to_do(link: str) -> None:
    with pytest.raises(BadParameter, match=r"short link.*Open it in a browser"):
        artist_id_in(link)


def test_a_name_is_searched_and_has_to_be_exactly_one() -> None:
    asked, artist = outcome(look_up(" wren "), found(None, (ONE, "Wren"), (TWO, "Wrens")))
    assert asked == ['search?limit=10&q=artist:"wren"&type=artist']
    assert artist == Artist(ONE, "Wren")


@pytest.mark.parametrize("text", ["beyonc\u00e9  carter", "Beyonce\u0301 Carter", " BEYONC\u00c9\tCarter"])
def test_a_name_is_the_same_however_it_is_spaced_and_its_accents_are_composed(text: str) -> None:
    asked, artist = outcome(look_up(text), found((ONE, "Beyonc\u00e9 Carter")))
    assert artist.id == ONE
    assert "  " not in asked[0]
    assert key_of(text) == "beyonc\u00e9 carter"
    assert key_of("M\u00b2") != key_of("M2")


def test_a_key_keeps_the_case_of_an_id_and_of_an_address() -> None:
    id_ = "aB" * 11
    addresses = (f"https://open.spotify.com/artist/{id_}?si=X", f"api.spotify.com/v1/artists/{id_}", "spotify.link/aB")
    for text in (id_, f"spotify:artist:{id_}", *addresses):
        assert key_of(f" {text} ") == text
    assert key_of(f"<spotify:artist:{id_}>") == f"spotify:artist:{id_}"


def test_quotes_do_not_end_what_is_searched_for() -> None:
    asked, _ = outcome(look_up('M. "Dot" Okafor'), found((ONE, 'M. "Dot" Okafor')))
    assert asked == ['search?limit=10&q=artist:"M. Dot Okafor"&type=artist']


@pytest.mark.parametrize("status", [400, 414])
def test_a_name_that_the_api_cannot_search_for_means_nobody(status: int) -> None:
    with pytest.raises(BadParameter, match="cannot search for 'Wren'"):
        outcome(look_up("Wren"), refused(status))


@pytest.mark.parametrize("page", [{}, {"artists": {"items": None}}, {"artists": {"items": ["Wren"]}}, []])
def test_a_search_that_gives_something_else_is_unreadable(page: object) -> None:
    with pytest.raises(Unreadable):
        outcome(look_up("Wren"), page)


def test_two_of_one_name_are_told_apart() -> None:
    with pytest.raises(Ambiguous, match="jazz, 5 followers") as told:
        outcome(look_up("Echo"), found((ONE, "Echo"), (TWO, "ECHO")))
    assert told.value.candidates == (ONE, TWO)


def test_a_name_that_is_only_near_is_not_guessed_at() -> None:
    with pytest.raises(NothingFound, match="It has 'Wrens'"):
        outcome(look_up("Wren"), found((TWO, "Wrens")))


@pytest.mark.parametrize("status", [400, 404])
def test_an_id_that_the_api_does_not_know(status: int) -> None:
    with pytest.raises(NothingFound, match=ONE):
        outcome(look_up(ONE), refused(status))


def test_another_refusal_is_no_unknown_artist() -> None:
    with pytest.raises(QueryRefused):
        outcome(look_up(ONE), refused(403))


# --- what may be asked -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_probe_finds_out_the_kind_of_client_id(kind: str) -> None:
    may = CLIENTS[kind]
    replies = [{} if allowed else refused(403) for allowed in (may.batches, may.top_tracks, may.audio_features)]
    asked, found_out = outcome(probe(ONE), *replies)
    assert found_out == may
    assert len(asked) == 3


def test_an_artist_that_is_gone_withdraws_no_endpoint() -> None:
    assert outcome(probe(ONE), refused(404), refused(404), refused(400))[1] == CLIENTS["extended"]


def test_an_endpoint_whose_quota_is_used_up_is_there() -> None:
    closed = RateLimited.for_s(86_000, "closed")
    may = outcome(probe(ONE), {}, closed, {})[1]
    assert may == Capabilities(batches=True, top_tracks=True, audio_features=True)


def plan(stream: Any, kind: str, *replies: Any, artists: Any = (ONE, TWO)) -> tuple[list[str], list[str]]:
    may = CLIENTS[kind]
    capabilities = {name: getattr(may, name) for name in Capabilities.__dataclass_fields__}
    asked, planned = lead(stream, Request({"artists": list(artists), "capabilities": capabilities}), replies)
    return allowed(asked), allowed(planned)


def test_artists_come_in_batches_or_one_by_one() -> None:
    batch, known = f"artists?ids={ONE},{TWO}", {"artists": [{"id": ONE, "name": "a"}, None]}
    assert plan(Artists(), "extended", known) == ([batch], [batch])
    assert plan(Artists(), "new") == ([], [f"artists/{ONE}", f"artists/{TWO}"])


@pytest.mark.parametrize(("status", "batches"), [(403, 1), (400, 2)])
def test_a_batch_that_is_refused_falls_back_to_single_calls_and_is_no_trouble(status: int, batches: int) -> None:
    many = [f"{number:022}" for number in range(60)]
    good = {"artists": [{"id": one, "name": "a"} for one in many[50:]]}
    replies = [refused(status), good][:batches]

    asked, planned = plan(Artists(), "extended", *replies, artists=many)

    assert len(asked) == batches
    rest = [asked[1]] if batches == 2 else [f"artists/{one}" for one in many[50:]]
    assert planned == [*(f"artists/{one}" for one in many[:50]), *rest]


@given(st.lists(ids, unique=True, max_size=180))
def test_every_artist_is_in_one_batch(many: list[str]) -> None:
    parts = [many[start : start + 50] for start in range(0, len(many), 50)]
    _, queries = lead(Artists(), Request({"artists": many}), [{"artists": [None] * len(part)} for part in parts])
    assert [dict(query.params)["ids"].split(",") for query in queries] == parts


def test_the_size_of_a_page_is_found_from_the_refusal() -> None:
    path, page = "artists/{}/albums?limit={}".format, {"items": []}
    accepted, smaller = [path(ONE, 50)], [path(ONE, 50), path(ONE, 10)]
    assert plan(Albums(), "extended", page) == (accepted, [path(ONE, 50), path(TWO, 50)])
    assert plan(Albums(), "extended", refused(400), page) == (smaller, [path(ONE, 10), path(TWO, 10)])
    assert plan(Albums(), "new") == ([], [path(ONE, 10), path(TWO, 10)])
    assert plan(Albums(), "extended", refused(404), page) == (
        [path(ONE, 50), path(TWO, 50)],
        [path(ONE, 50), path(TWO, 50)],
    )


def test_an_artist_whose_albums_are_refused_stays_in_the_plan() -> None:
    path = "artists/{}/albums?limit={}".format
    asked, planned = plan(Albums(), "extended", refused(403), {"items": []})
    assert asked == planned == [path(ONE, 50), path(TWO, 50)]


def own(artist_id: str = ONE) -> str:
    return f"artists/{artist_id}/albums?include_groups=album,single&limit=10"


def album(id_: str, released_on: object, kind: str = "album", by: str = ONE, **more: Any) -> dict[str, Any]:
    return {"id": id_, "release_date": released_on, "album_type": kind, "artists": [{"id": by}], **more}


def test_without_top_tracks_the_newest_of_the_artists_own_albums_is_taken_from_all_pages() -> None:
    first = [
        *(album("old", "1999"), None, album("undated", None), album("odd", "soon"), album("zero", "")),
        album("best of", "2026-11", "compilation"),
        album("guest", "2026-11", by=TWO),
        album("featured", "2026-11", album_group="appears_on"),
    ]
    pages = {"items": first, "next": "https://x/?offset=10&limit=10"}, {"items": [album("new", "2026-01-02", "single")]}
    asked, planned = plan(TopTracks(), "new", *pages, refused(404))
    assert planned == [f"albums/new?artist={ONE}", own(TWO)]
    assert asked == [own(), own() + "&offset=10", own(TWO)]


def test_an_album_without_a_date_is_better_than_none() -> None:
    assert plan(TopTracks(), "new", {"items": [album("undated", None)]}, artists=[ONE])[1] == [
        f"albums/undated?artist={ONE}"
    ]


@pytest.mark.parametrize("items", [[], [None], [album("x", "2026", "compilation")]], ids=["none", "null", "others"])
def test_an_artist_without_albums_is_planned_and_has_a_record_of_rank_0(items: list[Any]) -> None:
    assert plan(TopTracks(), "new", {"items": items}, artists=[ONE])[1] == [own()]
    query = Query.of(f"/artists/{ONE}/albums")
    (record,) = TopTracks().records(query, {"items": items})
    assert (record["artist_id"], record["rank"], record["ranked_by"]) == (ONE, 0, "newest_album")
    with pytest.raises(Unreadable):
        TopTracks().records(query, {"items": [{"id": "x"}]})


def test_audio_features_are_asked_for_the_tracks_that_were_found() -> None:
    found_tracks = {"tracks": [track(1), None, track(3, id=None), track(4, id="spotify:local:x"), track(2)]}
    batch, features = f"audio-features?ids={1:022},{2:022}", {"audio_features": [None, None]}
    asked, planned = plan(AudioFeatures(), "extended", found_tracks, refused(404), features)
    assert planned == [batch]
    assert asked == [*(f"artists/{one}/top-tracks?market=US" for one in (ONE, TWO)), batch]
    assert AudioFeatures.planned_from == TopTracks.dataset


@pytest.mark.parametrize(
    ("status", "singly"), [(400, True), (403, False)], ids=["one id is bad", "the endpoint is withdrawn"]
)
def test_audio_features_are_asked_one_by_one_where_that_helps(status: int, singly: bool) -> None:
    _, planned = plan(AudioFeatures(), "extended", {"tracks": [track(1), track(2)]}, refused(status), artists=[ONE])
    singles = [f"audio-features/{1:022}", f"audio-features/{2:022}"]
    assert planned == (singles if singly else [f"audio-features?ids={1:022},{2:022}"])
    (record,) = AudioFeatures().records(Query.of(f"/audio-features/{1:022}"), {"id": f"{1:022}", "tempo": 120.5})
    assert record["tempo"] == 120.5


LIMIT = RateLimited.for_s(86_000, "closed")


@pytest.mark.parametrize(
    ("replies", "planned"),
    [
        ([{"tracks": []}, {"tracks": []}], [f"artists/{one}/top-tracks?market=US" for one in (ONE, TWO)]),
        ([{"tracks": []}, LIMIT, LIMIT], [f"artists/{ONE}/top-tracks?market=US"]),
        ([LIMIT, {"items": []}, LIMIT, LIMIT], [own()]),
        ([LIMIT, {"items": [album("new", "2026")]}, LIMIT, LIMIT, LIMIT], []),
        ([refused(404), LIMIT, refused(404)], [f"artists/{ONE}/top-tracks?market=US", own(TWO)]),
    ],
    ids=["open", "closed for the second", "only albums are open", "closed in the middle", "gone"],
)
def test_a_plan_that_must_not_wait_has_the_calls_that_were_answered(replies: list[Any], planned: list[str]) -> None:
    capabilities = asdict(CLIENTS["extended"])
    driver = led(TopTracks(), Request({"artists": [ONE, TWO], "capabilities": capabilities, "now": True}), replies)
    assert [query.key for query in driver.plan] == planned
    assert not driver.left_out


@pytest.mark.parametrize("bad", [refused(403), refused(400), {"items": "x"}, {"tracks": [1]}, []])
@pytest.mark.parametrize(("stream", "client"), [(TopTracks(), "new"), (AudioFeatures(), "extended")])
def test_one_artist_in_trouble_leaves_the_others_in_the_plan(stream: Any, client: str, bad: object) -> None:
    good = {"items": [{"id": "new", "release_date": "2026"}], "tracks": [track(1)], "audio_features": [None]}
    replies = [bad, good, good][: 2 + (client == "extended")]
    driver = led(stream, Request({"artists": [ONE, TWO], "capabilities": asdict(CLIENTS[client])}), replies)
    assert [query.path for query in driver.plan] in (["/albums/new"], ["/audio-features"])
    assert [error.key for error in driver.left_out] == [driver.queries[0].key]


def test_an_artist_that_is_listed_twice_is_asked_for_once() -> None:
    assert plan(Artists(), "new", artists=[ONE, ONE]) == ([], [f"artists/{ONE}"])


@pytest.mark.parametrize("bad", [None, ONE, [1], [ONE, "Wren"], [ONE, f"spotify:artist:{TWO}"]])
def test_artists_that_cannot_be_meant_are_refused_before_any_call(bad: object) -> None:
    with pytest.raises(BadParameter):
        lead(Artists(), Request({"artists": bad}))


def test_one_artist_is_fetched_with_what_may_be_asked() -> None:
    assert outcome(fetch(ONE), {"tracks": []})[1].parsed == {"tracks": []}
    albums = {"items": [{"id": "new", "release_date": "2026"}]}
    newest = {"name": "New", "tracks": {"items": []}}
    assert outcome(fetch(ONE), refused(403), albums, newest)[1].parsed == newest
    assert outcome(fetch(ONE), LIMIT, albums, newest)[1].parsed == newest
    assert outcome(fetch(ONE), refused(403), {"items": []})[1].parsed == {"items": []}
    with pytest.raises(QueryRefused):
        outcome(fetch(ONE), refused(404))


# --- records -----------------------------------------------------------------------------------


def test_an_artist_of_a_batch_that_is_gone_is_a_record_too() -> None:
    query = Query.of("/artists", {"ids": f"{ONE},{TWO}"})
    wren = {"id": ONE, "name": "Wren", "popularity": 7, "followers": {"total": 9}, "genres": ["jazz"], "new": 1}
    first, second = Artists().records(query, {"artists": [wren, None]})
    assert (first["followers"], first["genres"], first["_extra"]) == (9, '["jazz"]', '{"new":1}')
    assert (second["artist_id"], second["is_known"], second["name"]) == (TWO, False, None)


def test_fields_that_newer_client_ids_do_not_get_are_null() -> None:
    (record,) = Artists().records(Query.of(f"/artists/{ONE}"), {"id": ONE, "name": "Wren", "genres": []})
    assert (record["popularity"], record["followers"], record["is_known"]) == (None, None, True)


@pytest.mark.parametrize("answer", [{"artists": []}, {"artists": [{"id": TWO}]}, {}, [], None])
def test_a_batch_that_does_not_fit_is_unreadable(answer: object) -> None:
    with pytest.raises(Unreadable):
        Artists().records(Query.of("/artists", {"ids": ONE}), answer)


def test_top_tracks_are_ranked_in_their_order() -> None:
    query = Query.of(f"/artists/{ONE}/top-tracks")
    records = TopTracks().records(query, {"tracks": [track(1), track(2)]})
    assert [(one["rank"], one["track_id"], one["artist_name"]) for one in records] == [
        (1, f"{1:022}", "Wren"),
        (2, f"{2:022}", "Wren"),
    ]
    assert {(one["artist_id"], one["album_name"], one["ranked_by"]) for one in records} == {(ONE, "Tide", "top_tracks")}


@pytest.mark.parametrize("tracks", [[None, track(1), None, track(2)], [None, None]])
def test_nulls_among_the_tracks_are_dropped_and_counted(tracks: list[Any]) -> None:
    records = TopTracks().records(Query.of(f"/artists/{ONE}/top-tracks"), {"tracks": tracks})
    wanted = [(1, '{"dropped":2}'), (2, None)] if any(tracks) else [(0, '{"dropped":2}')]
    assert [(one["rank"], one["_extra"]) for one in records] == wanted


def test_an_artist_without_top_tracks_is_a_record_of_rank_0() -> None:
    (record,) = TopTracks().records(Query.of(f"/artists/{ONE}/top-tracks"), {"tracks": []})
    assert (record["artist_id"], record["rank"], record["track_id"]) == (ONE, 0, None)


def test_the_tracks_of_an_album_say_what_they_are_ranked_by() -> None:
    query = Query.of("/albums/x", known_by={"artist": ONE})
    simplified = {name: value for name, value in track(1).items() if name not in {"album", "popularity"}}
    guest = simplified | {"id": "g" * 22, "artists": [{"id": TWO, "name": "Guest"}]}
    album = {"id": "x", "name": "New", "release_date": "2026", "tracks": {"items": [guest, None, simplified]}}
    (record,) = TopTracks().records(query, album)
    assert (record["rank"], record["_extra"]) == (1, '{"dropped":1}')
    assert (record["ranked_by"], record["artist_id"], record["album_name"]) == ("newest_album", ONE, "New")
    assert record["popularity"] is None


@pytest.mark.parametrize("bad", [track(1, id=None), track(1, duration_ms="long"), track(1, album=3), "track"])
def test_a_track_that_does_not_fit_is_unreadable(bad: object) -> None:
    with pytest.raises(Unreadable):
        TopTracks().records(Query.of(f"/artists/{ONE}/top-tracks"), {"tracks": [bad]})


def test_albums_of_all_pages_are_records_and_the_next_page_is_followed() -> None:
    query = Query.of(f"/artists/{ONE}/albums", {"limit": "1"})
    page = {"items": [{"id": "x", "name": "X"}], "next": "https://api/v1/artists/1/albums?offset=1&limit=1"}
    following = Albums().next_page(query, Answer(query, Outcome.ANSWERED, 200, orjson.dumps(page).decode(), NOON))
    assert following is not None
    assert (following.path, dict(following.params)) == (query.path, {"limit": "1", "offset": "1"})
    last = Answer(following, Outcome.ANSWERED, 200, '{"items": [], "next": null}', NOON)
    assert Albums().next_page(following, last) is None
    records = Albums().records(query, [page, {"items": [None, {"id": "y", "name": "Y", "release_date": None}]}])
    assert [(one["album_id"], one["_extra"]) for one in records] == [("x", '{"dropped":1}'), ("y", None)]


def test_a_track_without_features_gives_no_record() -> None:
    query = Query.of("/audio-features", {"ids": "a,b"})
    assert [one["track_id"] for one in AudioFeatures().records(query, {"audio_features": [None, {"id": "b"}]})] == ["b"]


# --- what refusals mean ------------------------------------------------------------------------

PREMIUM = b"Active premium subscription required for the owner of the app. When the ..."
EXCEEDED = b'{"error":{"status":429,"message":"Too many requests","reason":"QUOTA_EXCEEDED"}}'


@pytest.mark.parametrize(
    ("response", "action", "wait_s"),
    [
        (Response(403, PREMIUM), Action.DENY, None),
        (Response(403, PREMIUM.upper()), Action.DENY, None),
        (Response(403, b'{"error":{"status":403,"message":"x","reason":"no_premium"}}'), Action.DENY, None),
        (Response(403, b'{"error":{"status":403,"message":"Forbidden"}}'), Action.FORBID, None),
        (Response(429, EXCEEDED, {"Retry-After": "86000"}), Action.QUOTA_EXHAUSTED, 86_000),
        (Response(429, b"{}", {"Retry-After": "7200"}), Action.QUOTA_EXHAUSTED, 7_200),
        (Response(429, b"{}", {"Retry-After": "3"}), Action.THROTTLE, 3),
        (Response(404, b"{}"), Action.MISSING, None),
    ],
)
def test_refusals_are_told_apart(response: Response, action: Action, wait_s: float | None) -> None:
    decision = POLICY.judge(response)
    assert (decision.action, decision.wait_s) == (action, wait_s)


@pytest.mark.parametrize(
    ("path", "bucket"),
    [
        (f"/artists/{ONE}/top-tracks", "top-tracks"),
        (f"/artists/{ONE}/albums", "artist-albums"),
        (f"/artists/{ONE}", "artists"),
        ("/artists", "artists"),
        ("/albums/x", "albums"),
        ("/audio-features", "audio-features"),
        ("/search", "search"),
    ],
)
def test_each_endpoint_draws_on_its_own_quota(path: str, bucket: str) -> None:
    assert next(quota.name for quota in QUOTAS if quota.counts(path)) == f"spotify.{bucket}"
