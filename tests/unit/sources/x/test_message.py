"""Records as messages of a queue, and back."""

import orjson
import pytest

from tests.unit.flow import NOON
from windrow.model.errors import Unreadable
from windrow.model.message import from_message, to_message
from windrow.sources.x.streams import Posts, post_id_at

POSTS = Posts()
POST = {"id": str(post_id_at(NOON)), "text": "tesla", "lang": "de", "surprise": 1}
RECORD = dict(POSTS.line(orjson.dumps({"data": POST}), NOON).record) | {
    "_key": "stream",
    "_fetched_at": NOON,
    "_run_id": "publisher",
}


def test_a_record_survives_its_trip_as_a_message():
    assert from_message(to_message(RECORD), POSTS.contract) == RECORD


def test_a_message_has_the_columns_of_the_table_and_no_others():
    assert set(orjson.loads(to_message(RECORD))) <= {field["name"] for field in POSTS.contract.bigquery_fields}


def test_fields_of_a_message_that_are_no_columns_are_kept_beside_those_of_the_post():
    record = from_message(to_message(RECORD | {"mood": {"glad": 1}}), POSTS.contract)

    assert record == RECORD | {"_extra": '{"mood":{"glad":1},"surprise":1}'}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\xff", "invalid JSON"),
        (b"[]", "JSON object"),
        (b"{}", "'post_id' is missing"),
        *((to_message(RECORD | {"_extra": extra}), "_extra") for extra in (7, "[1]", '"x"')),
        (to_message(RECORD | {"_extra": "no json"}), "invalid JSON"),
    ],
)
def test_a_message_that_is_none_is_refused(message: bytes, why: str):
    with pytest.raises(Unreadable, match=why):
        from_message(message, POSTS.contract)
