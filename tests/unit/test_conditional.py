"""Conditional requests: when a condition is sent, and what is kept."""

import asyncio
from datetime import UTC, datetime

import pytest

from windrow.http.conditional import CachedAnswer, ConditionalRequests
from windrow.model.answer import LARGEST, Answer, Outcome
from windrow.model.formats import Xml
from windrow.model.query import Query
from windrow.model.response import Response

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHANGED = "Thu, 19 Nov 2026 10:00:00 GMT"
USER, PAGE = Query.of("/user/1"), Query.of("/repos/a/b/forks", {"page": "1"})


class Shelf:
    """Keeps in memory."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], CachedAnswer] = {}

    def kept(self, api: str, key: str) -> CachedAnswer | None:
        return self.held.get((api, key))

    def keep(self, api: str, key: str, kept: CachedAnswer) -> None:
        self.held[api, key] = kept


def kept_after(
    query: Query, headers: dict[str, str], *, next_link: str = "", revisited: bool = False
) -> CachedAnswer | None:
    """Keep an answer, and return what is found when the query is asked again."""
    shelf = Shelf()
    answer = Answer(query, Outcome.ANSWERED, 200, '{"id":1}', NOON, next_link)

    async def through() -> CachedAnswer | None:
        conditional_requests = ConditionalRequests(shelf, "https://api")
        await conditional_requests.keep(answer, Response(200, b"", headers, revisited=revisited), "me")
        assert await ConditionalRequests(shelf, "https://other").find(query) is None
        return await conditional_requests.find(query)

    return asyncio.run(through())


def test_the_instant_of_the_last_change_is_good_for_every_token() -> None:
    kept = kept_after(USER, {"Last-Modified": CHANGED, "ETag": 'W/"x"'})
    assert kept is not None
    assert kept.conditions("me") == kept.conditions("another") == {"If-Modified-Since": CHANGED}


def test_an_etag_is_good_for_the_token_that_got_it() -> None:
    kept = kept_after(PAGE, {"ETag": 'W/"x"'}, next_link="/repositories/7/forks?page=2")
    assert kept is not None
    assert kept.conditions("me") == {"If-None-Match": 'W/"x"'}
    assert kept.conditions("another") == {}


@pytest.mark.parametrize(
    ("query", "headers", "revisited"),
    [
        (PAGE, {"ETag": 'W/"x"'}, False),
        (USER, {}, False),
        (USER, {"Last-Modified": CHANGED}, True),
        (Query.of("/graphql", body="{}", known_by={"a": "b"}), {"Last-Modified": CHANGED}, False),
    ],
    ids=["last page of a list", "nothing to ask by", "kept already", "a POST"],
)
def test_what_is_not_kept(query: Query, headers: dict[str, str], revisited: bool) -> None:
    assert kept_after(query, headers, revisited=revisited) is None


def test_a_304_stands_for_the_kept_answer() -> None:
    kept = CachedAnswer('{"é":1}', etag="e", next_link="/p?page=2")
    answer = kept.answering(Response(304, b"", {"X-RateLimit-Remaining": "7"}, signature={"Authorization": "s"}))
    assert (answer.status, answer.body.decode(), answer.revisited) == (200, '{"é":1}', True)
    assert dict(answer.headers) == {"Link": '</p?page=2>; rel="next"'}
    assert answer.signature == {"Authorization": "s"}


def test_a_304_of_another_format_is_read_as_it_was_kept() -> None:
    text = "<?xml version='1.0' encoding='iso-8859-1'?><a>\u00e9</a>"
    answer = CachedAnswer(text, last_modified=CHANGED).answering(Response(304), is_json=False)
    assert Xml().text(answer.body, "") == text


def test_an_answer_larger_than_a_document_is_not_kept() -> None:
    answer = Answer(USER, Outcome.ANSWERED, 200, "x" * (LARGEST + 1), NOON)
    shelf = Shelf()
    asyncio.run(ConditionalRequests(shelf, "a").keep(answer, Response(200, b"", {"Last-Modified": CHANGED}), "me"))
    assert shelf.held == {}
