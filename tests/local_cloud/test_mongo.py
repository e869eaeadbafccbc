"""Whole documents that replace others: the stand-in of MongoDB writes and answers as MongoDB does."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient, ReplaceOne
from pymongo.collection import Collection
from pymongo.database import Database

Document = dict[str, Any]

LONG = 2**63
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-LONG, LONG - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    | st.binary()
    | st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))
    | st.binary(min_size=12, max_size=12).map(ObjectId),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def database(mongo: MongoClient) -> Iterator[Database]:
    database = mongo[f"test_{uuid.uuid4().hex}"]
    yield database
    mongo.drop_database(database)


@pytest.fixture
def kept(database: Database) -> Collection:
    return database[f"answers_{uuid.uuid4().hex}"]


def replace(kept: Collection, *documents: Document) -> Document:
    updates = [{"q": {"_id": document["_id"]}, "u": document, "upsert": True} for document in documents]
    return kept.database.command({"update": kept.name, "updates": updates, "ordered": False})


@given(value=VALUES, other=VALUES)
def test_a_document_reads_as_it_was_written_also_in_place_of_another(
    database: Database, value: object, other: object
) -> None:
    kept = database["written"]
    for each in (value, other):
        replace(kept, {"_id": "r|1", "value": each})
        assert kept.find_one({"_id": "r|1"}) == {"_id": "r|1", "value": each}


def test_the_answer_says_which_documents_are_new(kept: Collection) -> None:
    kept.insert_one({"_id": "r|2", "body": b"old"})

    told = replace(kept, {"_id": "r|1", "body": b"1"}, {"_id": "r|2", "body": b"2"}, {"_id": "r|3", "body": b"3"})

    assert (told["ok"], told["n"]) == (1, 3)
    assert told["upserted"] == [{"index": 0, "_id": "r|1"}, {"index": 2, "_id": "r|3"}]
    assert "writeErrors" not in told
    assert {each["_id"]: each["body"] for each in kept.find()} == {"r|1": b"1", "r|2": b"2", "r|3": b"3"}
    assert "upserted" not in replace(kept, {"_id": "r|1", "body": b"1"})
    again = kept.bulk_write([ReplaceOne({"_id": f"r|{at}"}, {"_id": f"r|{at}"}, upsert=True) for at in (3, 4)])
    assert (again.matched_count, again.upserted_ids) == (1, {1: "r|4"})


def test_of_two_documents_with_one_id_the_last_stays(kept: Collection) -> None:
    replace(kept, {"_id": "r|1", "at": 1}, {"_id": "r|2", "at": 2}, {"_id": "r|1", "at": 3})

    assert [each["at"] for each in kept.find({"_id": "r|1"})] == [3]
    assert kept.count_documents({}) == 2


def test_a_document_that_is_refused_does_not_stop_the_others(kept: Collection) -> None:
    kept.create_index("name", unique=True)
    kept.insert_one({"_id": "r|0", "name": "taken"})

    told = replace(kept, {"_id": "r|1", "name": "free"}, {"_id": "r|2", "name": "taken"}, {"_id": "r|3", "name": "own"})

    assert [(error["index"], error["code"]) for error in told["writeErrors"]] == [(1, 11000)]
    assert sorted(each["_id"] for each in kept.find()) == ["r|0", "r|1", "r|3"]


def test_an_index_finds_what_replaced_a_document(kept: Collection) -> None:
    kept.create_index("chunk")
    replace(kept, {"_id": "r|1", "chunk": "one", "at": datetime(2026, 11, 28, tzinfo=UTC)})
    replace(kept, {"_id": "r|1", "chunk": "two"})

    assert list(kept.find({"chunk": "one"})) == []
    assert list(kept.find({"chunk": "two"})) == [{"_id": "r|1", "chunk": "two"}]
