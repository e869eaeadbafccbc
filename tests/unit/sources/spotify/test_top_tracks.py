"""What the chatbot is told: items of DynamoDB from rows of Athena, or from records."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.model.errors import Ambiguous, BadParameter, NothingFound
from windrow.sources.spotify.artists import key_of
from windrow.sources.spotify.top_tracks import LONGEST_KEY, instant, items, met, requested, rows, unmet

ROW = {
    "artist_id": "a", "artist_name": "Wren", "rank": "1", "ranked_by": "top_tracks", "track_id": "t", "track_name": "T",
    "album_name": None, "released_on": "2020", "duration_ms": "1000", "popularity": None, "tempo": "120.5",
    "fetched_at": "2026-01-02 03:04:05.678", "run_id": "r",
}  # fmt: skip


def test_an_artist_is_one_item_with_the_tracks_in_their_order():
    made = list(items([ROW, ROW | {"rank": "2", "track_id": "u"}, ROW | {"artist_id": "b"}]))
    assert [(item["artist_id"], [track["id"] for track in item["tracks"]]) for item in made] == [
        ("a", ["t", "u"]),
        ("b", ["t"]),
    ]
    assert made[0]["fetched_at"] == "2026-01-02T03:04:05.678Z"
    assert made[0]["tracks"][0] == {
        "rank": 1, "id": "t", "name": "T", "released_on": "2020", "duration_ms": 1000, "tempo": Decimal("120.5"),
    }  # fmt: skip


def test_rank_0_is_an_artist_without_tracks():
    (item,) = items([ROW | {"rank": "0", "track_id": None}])
    assert item["tracks"] == []


def test_records_give_the_same_item_as_the_rows_of_athena():
    record = {
        "artist_id": "a", "artist_name": None, "rank": 1, "ranked_by": "top_tracks", "track_id": "t", "name": "T",
        "album_name": None, "released_on": "2020", "duration_ms": 1000, "popularity": None,
        "_fetched_at": datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC), "_run_id": "r",
    }  # fmt: skip
    assert list(items(rows("Wren", [record]))) == list(items([ROW | {"tempo": None}]))


@given(
    st.lists(
        st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds / 7, UTC)),
        min_size=2,
        max_size=2,
    )
)
def test_instants_sort_as_their_texts_do(moments: list[datetime]):
    zone = timezone(timedelta(hours=5))
    texts = [instant(moment.astimezone(zone)) for moment in sorted(moments)]
    assert texts == sorted(texts)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Ambiguous("two", advice="-", candidates=["a", "b"]), "ambiguous"),
        (NothingFound("none", advice="-"), "unknown"),
        (BadParameter("no", advice="-"), "refused"),
    ],
)
def test_a_request_that_means_nobody_says_why(error: BadParameter, outcome: str):
    told = unmet(error)
    assert told["outcome"] == outcome
    assert told["told"] == str(error)
    assert told.get("candidates") == (["a", "b"] if outcome == "ambiguous" else None)


def test_a_request_that_means_somebody_says_whether_there_are_tracks():
    assert met("a", "Wren", 3)["outcome"] == "found"
    assert met("a", "Wren", 0)["outcome"] == "no_tracks"


def test_a_request_is_its_text_whatever_is_beside_it():
    assert requested({"artist": " Half  Tide ", "chat": 7}) == "Half  Tide"
    assert requested({"artist": "a" * 300}) == "a" * 300


@pytest.mark.parametrize(
    "message",
    [
        *(None, [], "Wren", {}, {"artist": None}, {"artist": 3}, {"artist": " "}),
        {"artist": "a" * 301},
        {"artist": "\ud800"},
        {"artist": "\U0001f3b5" * 300},
    ],
    ids=ascii,
)
def test_what_names_nobody_is_no_request(message: object):
    with pytest.raises(BadParameter):
        requested(message)


@given(st.text())
def test_the_key_of_a_request_can_be_stored(text: str):
    try:
        assert 0 < len(key_of(requested({"artist": text})).encode()) <= LONGEST_KEY
    except BadParameter as error:
        str(error).encode()
