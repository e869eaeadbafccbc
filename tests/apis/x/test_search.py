"""Recent search: pages, bounds, and what it does not know."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.apis.x import spec
from tests.apis.x.bench import X
from windrow.sources.x.streams import SEARCH_WORDS, post_id_at, search


def walk(x: X, **query: str) -> list[dict[str, object]]:
    """Return the posts of all pages."""
    posts, pages = [], 0
    page = x.search(**query).json()
    while True:
        posts += page.get("data", [])
        pages += 1
        if "next_token" not in page["meta"]:
            return posts
        page = x.search(**query, next_token=page["meta"]["next_token"]).json()


def test_pages_hold_each_post_once_the_newest_first(x: X) -> None:
    x.make(250)
    wanted = x.ids("tesla -is:retweet")

    found = walk(x, query="tesla", max_results="50")

    assert [post["id"] for post in found] == wanted
    assert not any("referenced_tweets" in post for post in found), "the search has no reposts"


def test_the_meta_of_a_page_names_its_ends(x: X) -> None:
    x.make(60)
    page = x.search(query="tesla").json()

    ids = [post["id"] for post in page["data"]]
    assert page["meta"] | {"next_token": ""} == {
        "result_count": 10,
        "newest_id": max(ids, key=int),
        "oldest_id": min(ids, key=int),
        "next_token": "",
    }


@pytest.mark.parametrize(("accepts", "words"), [("post", "post"), ("tweet", "tweet"), ("both", "post")])
def test_a_page_is_as_the_specification_promises_and_other_words_are_refused(x: X, accepts: str, words: str) -> None:
    x.scene(long_share=0.3, search_words=accepts)
    x.make(60)
    now = datetime.now(UTC)
    since, until = post_id_at(now - timedelta(hours=1)), now + timedelta(seconds=5)
    queries = [dict(search("tesla", since, until, now=now, words=each).params) for each in SEARCH_WORDS]
    replies = [x.search(**query) for query in queries]

    accepted = [reply.status == 200 for reply in replies]
    assert accepted == [accepts == "both" or (accepts == "tweet") == ("tweet.fields" in query) for query in queries]
    body = replies[accepted.index(True)].json()
    spec.check(body, spec.page(words))
    assert {"author_id", f"note_{words}"} <= {name for post in body["data"] for name in post}
    for reply in replies:
        if reply.status != 200:
            spec.check(reply.json(), spec.PROBLEM)


def test_the_new_vocabulary_may_need_expansions_for_authors_and_versions(x: X) -> None:
    x.scene(search_relations=False)
    x.make(60)

    plain, expanded = (
        x.search(query="tesla", **words).json()["data"][0] for words in (SEARCH_WORDS[0], SEARCH_WORDS[2])
    )
    assert not {"author_id", "edit_history_post_ids"} & set(plain)
    assert {"author_id", "edit_history_post_ids"} <= set(expanded)


def test_since_id_leaves_out_what_was_seen_and_that_one(x: X) -> None:
    x.make(60)
    seen = x.ids("tesla -is:retweet")[0]
    x.make(60)

    found = walk(x, query="tesla", since_id=seen, max_results="100")

    assert found
    assert min(int(str(post["id"])) for post in found) > int(seen)
    assert x.search(query="tesla", since_id=str(found[0]["id"])).json() == {"meta": {"result_count": 0}}


def test_times_bound_it(x: X) -> None:
    x.make(40)
    border = datetime.now(UTC)
    while datetime.now(UTC) < border + timedelta(milliseconds=2):  # ids and times are of milliseconds
        time.sleep(0.001)
    x.make(40)

    asked = {"query": "tesla", "max_results": "100", "post.fields": "created_at"}
    late = walk(x, **asked, start_time=border.isoformat())
    early = walk(x, **asked, end_time=border.isoformat())

    assert late
    assert all(datetime.fromisoformat(str(post["created_at"])) >= border - timedelta(milliseconds=1) for post in late)
    assert not {post["id"] for post in late} & {post["id"] for post in early}


def test_the_last_seconds_are_not_there_yet(x: X) -> None:
    x.scene(search_lag_s=30)
    before = set(x.ids("tesla"))
    x.make(40)
    made = set(x.ids("tesla")) - before

    assert made
    assert not made & {post["id"] for post in walk(x, query="tesla", max_results="100")}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"query": ""}, "512"),
        ({"query": "x" * 513}, "512"),
        ({"query": "tesla", "max_results": "9"}, "10 to 100"),
        ({"query": "tesla", "max_results": "101"}, "10 to 100"),
        ({"query": "tesla", "since_id": "1"}, "last 7 days"),
        ({"query": "tesla", "nonsense": "1"}, "nonsense"),
        ({"query": "tesla", "start_time": "yesterday"}, "invalid"),
    ],
)
def test_a_bad_search_is_refused_with_the_reason(x: X, query: dict[str, str], told: str) -> None:
    reply = x.search(**query)

    assert reply.status == 400
    assert told in reply.json()["detail"]


def test_the_451st_search_in_a_quarter_of_an_hour_is_too_many(x: X) -> None:
    statuses = [x.search(query="tesla").status for _ in range(451)]

    assert statuses == [200] * 450 + [429]


def test_without_credits_there_is_no_search(x: X) -> None:
    x.scene(refuse="credits")

    assert x.search(query="tesla").status == 402
