"""The Spotify Web API by its contract, as a plain client sees it."""

import pytest

from local_cloud.apis.spotify.catalogue import NEWCOMER, SILENT, make_music
from local_cloud.apis.testing import FakeApi
from tests.apis.spotify import spec
from tests.apis.spotify.conftest import API, Ask, basic, switch
from windrow.model.query import Query
from windrow.sources.spotify.streams import albums_of, own_albums_of, top_tracks_of

MUSIC = make_music()
"""What the server has too: it is made of the same seed."""
ARTIST = next(iter(MUSIC.artists.values()))
TRACK = next(track for track in MUSIC.tracks.values() if track.features)
SILENT_TRACK = next(track for track in MUSIC.tracks.values() if track.features is None)
UNKNOWN = "0" * 22
FORM = {"grant_type": "client_credentials"}


class TestTokens:
    def test_basic_credentials_get_an_hour(self, spotify: FakeApi) -> None:
        headers = basic(spotify.client.client_id, spotify.client.client_secret)

        token = spotify.post("/spotify/api/token", FORM, headers).json()

        assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
        assert spotify.get(f"{API}/artists/{ARTIST.id}", token["access_token"]).status == 200

    @pytest.mark.parametrize("headers", [{}, basic("windrow-demo", "wrong"), {"Authorization": "Basic ???"}])
    def test_others_are_refused_with_400(self, spotify: FakeApi, headers: dict[str, str]) -> None:
        client = {"client_id": spotify.client.client_id, "client_secret": spotify.client.client_secret}

        reply = spotify.post("/spotify/api/token", FORM | client, headers)

        assert (reply.status, reply.json()["error"]) == (400, "invalid_client")

    def test_a_call_without_a_good_token_is_refused(self, spotify: FakeApi) -> None:
        path = f"{API}/artists/{ARTIST.id}"

        assert spotify.get(path).json() == {"error": {"status": 401, "message": "No token provided"}}
        assert spotify.get(path, "made-up").json()["error"]["message"] == "Invalid access token"


class TestExtendedQuota:
    def test_an_artist_has_all_its_fields(self, ask: Ask) -> None:
        artist = ask(f"/artists/{ARTIST.id}").json()

        assert (artist["id"], artist["name"], artist["popularity"]) == (ARTIST.id, ARTIST.name, ARTIST.popularity)
        assert artist["followers"] == {"href": None, "total": ARTIST.followers}

    def test_a_batch_holds_null_for_what_is_not_known(self, ask: Ask) -> None:
        artists = ask("/artists", ids=f"{ARTIST.id},{UNKNOWN}").json()["artists"]

        assert artists[0]["name"] == ARTIST.name
        assert artists[1] is None

    @pytest.mark.parametrize(("path", "most"), [("/artists", 50), ("/albums", 20), ("/tracks", 50)])
    def test_a_batch_has_its_size(self, ask: Ask, path: str, most: int) -> None:
        assert ask(path, ids=",".join([UNKNOWN] * most)).status == 200
        assert ask(path, ids=",".join([UNKNOWN] * (most + 1))).status == 400

    def test_top_tracks_are_ten_at_most_the_popular_ones_first(self, ask: Ask) -> None:
        for artist in MUSIC.artists.values():
            tracks = ask(f"/artists/{artist.id}/top-tracks").json()["tracks"]
            popularity = [track["popularity"] for track in tracks]
            assert popularity == sorted(popularity, reverse=True)
            assert len(tracks) <= 10
            assert bool(tracks) == (artist.name not in {SILENT, NEWCOMER})

    def test_albums_of_an_artist_come_in_pages(self, ask: Ask) -> None:
        artist = max(MUSIC.artists.values(), key=lambda one: len(one.albums))
        first = ask(f"/artists/{artist.id}/albums", limit="3").json()
        second = ask(f"/artists/{artist.id}/albums", limit="3", offset="3").json()

        assert first["total"] == len(artist.albums) > 6
        assert first["next"].endswith("offset=3&limit=3")
        assert [one["id"] for one in first["items"] + second["items"]] == [one.id for one in artist.albums[:6]]

    def test_an_album_holds_its_tracks(self, ask: Ask) -> None:
        album = ARTIST.albums[0]

        tracks = ask(f"/albums/{album.id}").json()["tracks"]["items"]

        assert [track["id"] for track in tracks] == [track.id for track in album.tracks]

    def test_audio_features_hold_null_where_there_are_none(self, ask: Ask) -> None:
        features = ask("/audio-features", ids=f"{TRACK.id},{SILENT_TRACK.id}").json()["audio_features"]

        assert features[0]["tempo"] == (TRACK.features or {})["tempo"]
        assert features[1] is None

    def test_a_search_finds_both_artists_of_one_name(self, ask: Ask) -> None:
        found = ask("/search", q="echo", type="artist").json()["artists"]

        assert [one["name"] for one in found["items"][:2]] == ["Echo", "Echo"]
        assert ask("/search", q="nobody at all", type="artist").json()["artists"]["items"] == []

    @pytest.mark.parametrize(
        ("id_", "status", "message"),
        [
            (UNKNOWN, 404, "Resource not found"),
            ("spotify:artist:x", 400, "Invalid base62 id"),
            ("!" * 22, 400, "Invalid base62 id"),
        ],
    )
    def test_an_id_that_is_none_is_refused(self, ask: Ask, id_: str, status: int, message: str) -> None:
        assert ask(f"/artists/{id_}").json() == {"error": {"status": status, "message": message}}


class TestNewClients:
    @pytest.fixture(autouse=True)
    def new(self, spotify: FakeApi) -> None:
        switch(spotify, client="new")

    @pytest.mark.parametrize(
        "path", ["/artists", "/albums", "/tracks", f"/artists/{ARTIST.id}/top-tracks", "/audio-features"]
    )
    def test_endpoints_are_withdrawn(self, ask: Ask, path: str) -> None:
        assert ask(path, ids=UNKNOWN).status == 403

    def test_fields_are_withdrawn(self, ask: Ask) -> None:
        assert not {"followers", "popularity"} & set(ask(f"/artists/{ARTIST.id}").json())
        assert not {"popularity", "label"} & set(ask(f"/albums/{ARTIST.albums[0].id}").json())
        assert "popularity" not in ask(f"/tracks/{TRACK.id}").json()

    def test_pages_are_shorter(self, ask: Ask) -> None:
        assert ask("/search", q="e", type="artist").json()["artists"]["limit"] == 5
        assert ask("/search", q="e", type="artist", limit="11").json()["error"]["message"] == "Invalid limit"
        assert ask(f"/artists/{ARTIST.id}/albums", limit="11").status == 400
        assert ask(f"/artists/{ARTIST.id}/albums").json()["limit"] == 5


def test_a_legacy_client_lacks_the_audio_features_only(spotify: FakeApi, ask: Ask) -> None:
    switch(spotify, client="legacy")

    assert ask("/audio-features", ids=TRACK.id).status == 403
    assert ask("/artists", ids=ARTIST.id).json()["artists"][0]["popularity"] == ARTIST.popularity


def test_without_premium_403_comes_in_plain_text(spotify: FakeApi, ask: Ask) -> None:
    switch(spotify, premium=False)

    reply = ask(f"/artists/{ARTIST.id}")

    assert (reply.status, reply.headers.get_content_type()) == (403, "text/plain")
    assert reply.body.startswith(b"Active premium subscription required")


def test_a_bucket_closes_for_a_day_and_the_others_stay_open(spotify: FakeApi, ask: Ask) -> None:
    switch(spotify, quotas={"artist-albums": 1})

    assert ask(f"/artists/{ARTIST.id}/albums").status == 200
    for _ in range(2):
        reply = ask(f"/artists/{ARTIST.id}/albums")
        assert reply.status == 429
        assert reply.json()["error"]["reason"] == "QUOTA_EXCEEDED"
        assert 85_900 < int(reply.headers["Retry-After"]) <= 86_000
    assert ask(f"/artists/{ARTIST.id}").status == 200


QUERIES = [
    Query.of(f"/artists/{ARTIST.id}"),
    Query.of("/artists", {"ids": f"{ARTIST.id},{UNKNOWN}"}),
    albums_of(ARTIST.id, 10),
    own_albums_of(ARTIST.id),
    top_tracks_of(ARTIST.id),
    Query.of(f"/albums/{ARTIST.albums[0].id}"),
    Query.of("/audio-features", {"ids": f"{TRACK.id},{SILENT_TRACK.id}"}),
    Query.of(f"/audio-features/{TRACK.id}"),
    Query.of("/search", {"q": "echo", "type": "artist", "limit": "10"}),
]


@pytest.mark.parametrize("odd", [False, True], ids=["plain", "odd"])
@pytest.mark.parametrize("client", ["extended", "legacy", "new"])
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.key[:40])
def test_requests_and_answers_are_as_the_specification_promises(
    spotify: FakeApi, ask: Ask, query: Query, client: str, odd: bool
) -> None:
    switch(spotify, client=client, null_items=odd, odd_albums=odd)
    spec.check_request(query.path, dict(query.params))

    reply = ask(query.path, **dict(query.params))

    assert reply.status in ({200} if client == "extended" else {200, 403})
    spec.check(reply.json(), spec.answer(query.path, client) if reply.status == 200 else spec.ERROR)


@pytest.mark.parametrize("path", ["/search", f"/artists/{ARTIST.id}/albums", f"/artists/{ARTIST.id}/top-tracks"])
def test_a_list_may_hold_nulls(spotify: FakeApi, ask: Ask, path: str) -> None:
    switch(spotify, null_items=True)
    body = ask(path, q="echo", type="artist").json()

    assert (body.get("artists", body).get("items") or body["tracks"])[0] is None


def test_odd_albums_are_newer_and_by_others_and_groups_leave_them_out(spotify: FakeApi, ask: Ask) -> None:
    switch(spotify, odd_albums=True)
    path = f"/artists/{ARTIST.id}/albums"
    every, own = (
        ask(path, limit="50", **groups).json()["items"] for groups in ({}, {"include_groups": "album,single"})
    )

    assert {one["album_group"] for one in every} == {"album", "single", "appears_on", "compilation"}
    assert {one["album_group"] for one in own} <= {"album", "single"}
    assert all(one["artists"][0]["id"] == ARTIST.id for one in own)
    assert None in {one["release_date"] for one in every}
    assert ask(path, include_groups="live").status == 400


def test_batches_can_be_withdrawn(spotify: FakeApi, ask: Ask) -> None:
    switch(spotify, batches=False)

    assert ask("/artists", ids=ARTIST.id).status == 403
    assert ask(f"/artists/{ARTIST.id}").status == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client": "old"}, "one of extended, legacy, new"),
        ({"colour": 1}, "no switch 'colour'"),
        ({"quotas": {"nothing": 1}}, "of artists"),
        ({"retry_after_s": -1}, "above 0"),
    ],
)
def test_a_bad_switch_is_refused_and_changes_nothing(spotify: FakeApi, changes: dict[str, object], words: str) -> None:
    before = spotify.request("GET", "/_admin/spotify").json()

    reply = switch(spotify, **changes)

    assert reply.status == 400
    assert words in reply.json()["message"]
    assert spotify.request("GET", "/_admin/spotify").json() == before
