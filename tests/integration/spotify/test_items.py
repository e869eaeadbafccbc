"""Items of DynamoDB, over the wire: newer items stay, whoever writes, and one bad item stops no other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.scripted_api import Reply, ScriptedApi
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.model.dynamo_item import CUT, fitted
from windrow.model.errors import Unwritten


def table() -> DynamoTable:
    return DynamoTable("aws_default", "top_tracks", key="artist_id")


def item(name: str, at: str = "2026-01-02T00:00:00.000Z", **more: object) -> dict[str, object]:
    return {"artist_id": name, "fetched_at": at, **more}


def test_many_items_are_written_and_found() -> None:
    made = [item(f"artist {number:03}", tracks=[{"rank": number}]) for number in range(60)]

    assert table().put(made) == 60

    assert sorted(one["artist_id"] for one in table().all()) == [one["artist_id"] for one in made]
    assert (table().get("artist 007") or {})["tracks"] == [{"rank": 7}]
    assert table().get("nobody") is None


def test_a_kill_between_two_parts_is_made_good_by_the_next_try() -> None:
    made = [item(f"artist {number:03}") for number in range(120)]

    def killed() -> Iterator[dict[str, object]]:
        yield from made[:110]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table().put(killed())
    assert len(list(table().all())) == 100

    assert table().put(made) == 120
    assert sorted(one["artist_id"] for one in table().all()) == [one["artist_id"] for one in made]


def test_an_item_is_replaced_by_a_newer_one_and_never_by_an_older() -> None:
    table().put([item("a", "2026-01-02T00:00:00.000Z", run_id="second")])

    assert table().put([item("a", "2026-01-01T00:00:00.000Z", run_id="first"), item("b")]) == 1
    assert (table().get("a") or {})["run_id"] == "second"
    assert table().put([item("a", "2026-01-02T00:00:00.000Z", run_id="again")]) == 1
    assert (table().get("a") or {})["run_id"] == "again"


def test_of_many_writers_at_once_the_newest_wins() -> None:
    versions = [f"2026-01-02T00:00:{number:02}.000Z" for number in range(40)]
    tables = [table() for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        for start in range(0, 40, 4):
            list(pool.map(lambda one: one[0].put([item("a", one[1])]), zip(tables, versions[start:][:4], strict=True)))
            assert (table().get("a") or {})["fetched_at"] == versions[start + 3]


def test_an_item_that_is_too_large_is_cut_and_marked_and_the_others_are_whole() -> None:
    tracks = [{"rank": number, "name": "\U0001f3b5" * 2_000} for number in range(100)]

    assert table().put([item("a"), item("large", tracks=tracks), item("z", tracks=tracks[:3])]) == 3

    found = {one["artist_id"]: one for one in table().all()}
    assert found["large"][CUT] is True
    assert 40 < len(found["large"]["tracks"]) < 60
    assert found["large"]["tracks"][0] == tracks[0]
    assert (found["z"]["tracks"], CUT in found["z"]) == (tracks[:3], False)


@pytest.mark.parametrize("more", [{"name": "x" * 900_000}, {"a": ["x" * 900_000]}, {"a": {"b": "x" * 900_000}}])
def test_anything_too_large_is_made_to_fit(more: dict[str, object]) -> None:
    made = fitted(item("k") | more, keep=("artist_id", "fetched_at"))

    assert made["artist_id"] == "k"
    assert made[CUT] is True
    assert len(str(made)) < 409_600


def test_an_item_that_dynamodb_refuses_stops_no_other() -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        table().put([item("a"), item("k" * 3_000), item("z")])

    assert sorted(one["artist_id"] for one in table().all()) == ["a", "z"]


def test_a_table_without_capacity_is_told(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    busy = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    scripted.script = lambda asked: Reply({"__type": busy, "message": "too much"}, 400)

    with pytest.raises(Unwritten, match="did not write the item 'a' of the table 'top_tracks'"):
        table().put([item("a")])
