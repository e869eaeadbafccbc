"""The source of GitHub: what its answers mean, the conversation, and the readers."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.flow import Scripted, lead, led
from windrow.model.errors import BadParameter, NotGiven, QueryRefused, Unreadable
from windrow.model.policy import Action
from windrow.model.query import Query
from windrow.model.response import Response
from windrow.model.stream import Request
from windrow.sources.github.lists import LISTS
from windrow.sources.github.policy import POLICY, error_detail
from windrow.sources.github.streams import GithubStream, Memberships, Users

REPOSITORY = {"id": 7, "full_name": "acme/mill", "stargazers_count": 250, "forks_count": 3}
KNOWN = "id=7&repository=acme/mill"
SECONDARY = b'{"message":"You have exceeded a secondary rate limit. Please wait"}'
ABUSE = b'{"message":"You have triggered an abuse detection mechanism."}'


def request(**params: Any) -> Request:
    return Request({"repositories": ["acme/mill"], "lists": list(LISTS), "api": "rest"} | params)


def user(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number, "login": f"l{number}", "type": "User", "name": None, "company": "@acme", "blog": "",
        "location": None, "email": None, "hireable": None, "bio": None, "twitter_username": None,
        "public_repos": 1, "public_gists": 0, "followers": 2, "following": 3, "site_admin": False,
        "created_at": "2020-01-01T00:00:00Z", "updated_at": "2021-01-01T00:00:00Z", "node_id": "x",
        "url": "https://api.github.com/users/l", "followers_url": "https://x", "gravatar_id": "",
    } | changes  # fmt: skip


def stars(*numbers: int, after: str | None = None) -> dict[str, Any]:
    """A page of GraphQL."""
    edges = [
        {
            "starredAt": "2026-01-01T00:00:00Z",
            "node": {
                "databaseId": number, "login": f"l{number}", "email": "", "isHireable": False, "isSiteAdmin": False,
                "createdAt": "2020-01-01T00:00:00Z", "updatedAt": "2021-01-01T00:00:00Z",
            },
        }
        for number in numbers
    ]  # fmt: skip
    info = {"hasNextPage": after is not None, "endCursor": after}
    return {"data": {"repository": {"stargazers": {"pageInfo": info, "edges": edges}}}}


REFUSED = QueryRefused("no", advice="none", status=403)
NOT_GIVEN = NotGiven("none", advice="none", status=404)
FORKS = "/repos/acme/mill/forks"


# --- what answers mean -------------------------------------------------------------------------


def reset_in(seconds: int) -> dict[str, str]:
    """Headers of a window that is used up; the test makes an instant of the seconds."""
    return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"in {seconds}"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "action", "wait_s"),
    [
        (200, {}, b"[]", Action.ACCEPT, None),
        (204, {}, b"", Action.ACCEPT, None),
        (403, {"Retry-After": "60"} | reset_in(900), ABUSE, Action.QUOTA_EXHAUSTED, 60),
        (429, {"Retry-After": "7"}, b"", Action.QUOTA_EXHAUSTED, 7),
        (403, reset_in(900), b"{}", Action.QUOTA_EXHAUSTED, 901),
        (429, reset_in(900), b"{}", Action.QUOTA_EXHAUSTED, 901),
        (403, reset_in(-900), b"{}", Action.QUOTA_EXHAUSTED, 1),
        (403, {"X-RateLimit-Remaining": "0"}, b"{}", Action.QUOTA_EXHAUSTED, 60),
        (403, {"X-RateLimit-Remaining": "17"}, SECONDARY, Action.QUOTA_EXHAUSTED, 60),
        (403, {}, ABUSE, Action.QUOTA_EXHAUSTED, 60),
        (403, {}, b'{"message":"Must have admin rights"}', Action.FORBID, None),
        (403, {}, b'{"message":"Resource not accessible by integration"}', Action.FORBID, None),
        (403, {}, b'{"message":"The history is too large to list contributors"}', Action.MISSING, None),
        (422, {}, b'{"message":"In order to keep the API fast, pagination is limited"}', Action.MISSING, None),
        (422, {}, b'{"message":"Validation failed"}', Action.REFUSE, None),
        (429, {}, b"", Action.THROTTLE, None),
        (401, {}, b"", Action.REFRESH, None),
        (404, {}, b"", Action.MISSING, None),
        (451, {}, b"", Action.MISSING, None),
        (403, {}, b'{"message":"Repository access blocked"}', Action.MISSING, None),
        (202, {}, b"{}", Action.RETRY, None),
        (502, {}, b"", Action.RETRY, None),
        (200, reset_in(900), b'{"errors":[{"type":"RATE_LIMITED","message":"m"}]}', Action.QUOTA_EXHAUSTED, 901),
        (
            200,
            reset_in(900),
            b'{"errors":[{"type":"RATE_LIMIT","code":"graphql_rate_limit"}]}',
            Action.QUOTA_EXHAUSTED,
            901,
        ),
        (
            200,
            reset_in(900),
            b'{"errors":[{"message":"API rate limit already exceeded"}]}',
            Action.QUOTA_EXHAUSTED,
            901,
        ),
        (200, {"X-RateLimit-Reset": "in 900"}, b'{"errors":[{"type":"RATE_LIMIT"}]}', Action.QUOTA_EXHAUSTED, 901),
        (200, {"Retry-After": "7"} | reset_in(900), b'{"errors":[{"message":"m"}]}', Action.QUOTA_EXHAUSTED, 7),
        (200, {"X-RateLimit-Remaining": "0"}, b'{"data":{"repository":null}}', Action.ACCEPT, None),
        (200, {}, b'{"errors":[{"message":"You have exceeded a secondary rate limit"}]}', Action.QUOTA_EXHAUSTED, 60),
        (200, {}, b'{"data":null,"errors":[{"message":"Something went wrong"}]}', Action.RETRY, None),
        (200, {}, b'{"data":{"repository":{"stargazers":{}}},"errors":[{"type":["x"]}]}', Action.RETRY, None),
        (200, {}, b'{"data":{"repository":{"stargazers":{}}},"errors":[{"type":"NOT_FOUND"}]}', Action.RETRY, None),
        (200, {}, b'{"data":{"repository":null},"errors":[{"type":"NOT_FOUND"}]}', Action.MISSING, None),
        (200, {}, b'{"errors":[{"type":"INSUFFICIENT_SCOPES","message":"m"}]}', Action.FORBID, None),
        (200, {}, b'{"data":null,"errors":[{"message":"lacks the required scopes"}]}', Action.FORBID, None),
        (200, {}, b'{"data":{"repository":null},"errors":[{"type":"FORBIDDEN"}]}', Action.FORBID, None),
        (200, {}, b'{"data":{"repository":{"bio":"RATE_LIMITED"}}}', Action.ACCEPT, None),
        (200, {}, b'{"errors": cut', Action.ACCEPT, None),
    ],
)
def test_one_status_means_several_things(
    status: int, headers: dict[str, str], body: bytes, action: Action, wait_s: float | None
) -> None:
    reset = headers.get("X-RateLimit-Reset", "").removeprefix("in ")
    instant = {"X-RateLimit-Reset": str(int(time.time()) + int(reset))} if reset else {}
    decision = POLICY.judge(Response(status, body, headers | instant))
    assert decision.action is action
    assert decision.wait_s == (wait_s if wait_s is None else pytest.approx(wait_s, abs=2))


@given(st.sampled_from([200, 403, 422, 429]), st.binary(max_size=200))
def test_no_body_can_break_the_reading_of_a_complaint(status: int, body: bytes) -> None:
    error_detail(Response(status, body))
    error_detail(Response(status, b'{"data"' + body))


# --- the conversation --------------------------------------------------------------------------


def test_users_are_planned_once_by_number() -> None:
    contributors = [user(1) | {"contributions": 5}, {"type": "Anonymous", "email": "a@b", "name": "A"}, user(2)]
    starred = [{"starred_at": "2026-01-01T00:00:00Z", "user": user(2)}, {"starred_at": "x", "user": None}]
    forks = [{"owner": user(3), "created_at": "2026-01-01T00:00:00Z"}, {"owner": None}]
    asked, planned = lead(Users(), request(), [REPOSITORY, contributors, starred, forks])
    assert [query.key for query in asked] == [
        "repos/acme/mill",
        f"repos/acme/mill/contributors?anon=1&{KNOWN[:5]}per_page=100&{KNOWN[5:]}".replace("id=7&", "id=7&"),
        f"repos/acme/mill/stargazers?{KNOWN[:5]}per_page=100&{KNOWN[5:]}",
        f"repos/acme/mill/forks?{KNOWN[:5]}per_page=100&{KNOWN[5:]}&sort=oldest",
    ]
    assert dict(asked[2].headers) == {"Accept": "application/vnd.github.star+json"}
    assert dict(asked[3].params) == {"per_page": "100", "sort": "oldest"}
    assert [query.path for query in planned] == ["/user/1", "/user/2", "/user/2", "/user/3"]


def test_graphql_comes_first_and_brings_its_users_with_it() -> None:
    replies = [REPOSITORY, stars(1, 2, after="c1"), stars(3), [user(1), user(4)], []]
    asked, planned = lead(Users(), request(api="graphql"), replies)
    bodies = [json.loads(query.body)["variables"] for query in asked if query.body]
    assert bodies == [
        {"owner": "acme", "name": "mill", "after": None},
        {"owner": "acme", "name": "mill", "after": "c1"},
    ]
    assert [query.key for query in planned] == [
        f"graphql?after=&{KNOWN[:5]}list=stargazers&{KNOWN[5:]}",
        f"graphql?after=c1&{KNOWN[:5]}list=stargazers&{KNOWN[5:]}",
        "user/4",
    ]


def test_memberships_plan_what_they_ask() -> None:
    asked, planned = lead(Memberships(), request(), [REPOSITORY, None, [], []])
    assert planned == asked[1:]


def test_lists_that_are_not_given_end_there() -> None:
    replies = [REPOSITORY, NOT_GIVEN, NOT_GIVEN, []]
    asked, planned = lead(Memberships(), request(), replies)
    assert planned == asked[1:], "the gaps belong to the plan"
    _, planned = lead(Users(), request(), replies)
    assert planned == []


@pytest.mark.parametrize("stream", [Users(), Memberships()])
@pytest.mark.parametrize("bad", [REFUSED, {"id": "x"}])
def test_a_repository_or_list_that_cannot_be_had_is_told_and_the_others_go_on(stream: GithubStream, bad: Any) -> None:
    two = request(repositories=["a/one", "acme/mill"])
    driver = led(stream, two, [bad, REPOSITORY, bad, [], [{"owner": user(5)}]])
    assert [error.key for error in driver.left_out] == ["repos/a/one", driver.queries[2].key]
    assert [query.path for query in driver.plan][-1:] == ["/user/5" if stream.dataset == "github_users" else FORKS]
    assert (driver.queries[2].path, driver.queries[4].path) == ("/repos/acme/mill/contributors", FORKS)


def test_a_user_that_cannot_be_read_leaves_the_others_of_the_page() -> None:
    page = [{"id": 1}, {"id": "x"}, {"id": 2}]
    both = request(repositories=["acme/mill", "acme/old-mill"], lists=["contributors"])
    other = REPOSITORY | {"id": 8, "full_name": "acme/old-mill"}
    driver = led(Users(), both, [REPOSITORY, other, page, [{"id": "x"}]])
    assert [query.path for query in driver.plan] == ["/user/1", "/user/2"]
    assert len(driver.left_out) == 2
    assert "a user with the id 'x'" in driver.left_out[0].what


@pytest.mark.parametrize("stream", [Users(), Memberships()])
def test_pages_that_lead_in_a_circle_are_not_followed_for_ever(stream: GithubStream) -> None:
    by_graphql = request(api="graphql", lists=["stargazers"])
    driver = led(stream, by_graphql, [REPOSITORY, stars(1, after="c1"), stars(2, after="c2"), stars(3, after="c1")])
    assert "after=c1" in str(driver.left_out[0])
    assert len(driver.plan) == 3
    unnamed = stars(1, after="c1")
    unnamed["data"]["repository"]["stargazers"]["pageInfo"]["endCursor"] = None
    assert "no cursor of the next page" in str(led(stream, by_graphql, [REPOSITORY, unnamed]).left_out)


def test_a_repository_under_two_names_is_listed_once() -> None:
    both = request(repositories=["acme/mill", "acme/old-mill", "ACME/Mill "], lists=["forks"])
    asked, _ = lead(Memberships(), both, [REPOSITORY, REPOSITORY, []])
    assert [query.path for query in asked] == ["/repos/ACME/Mill", "/repos/acme/old-mill", "/repos/acme/mill/forks"]


@pytest.mark.parametrize(
    "params",
    [
        {"repositories": None},
        {"repositories": []},
        {"repositories": "acme/mill"},
        {"repositories": ["acme"]},
        {"repositories": ["acme/mill/forks"]},
        {"repositories": ["acme/mill?x=1"]},
        {"repositories": ["https://github.com/acme/mill"]},
        {"repositories": [7]},
        {"lists": ["watchers"]},
        {"lists": "forks"},
        {"api": "soap"},
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_call(params: dict[str, Any]) -> None:
    with pytest.raises(BadParameter):
        next(Users().plan(request(**params)))


# --- readers -----------------------------------------------------------------------------------


def test_a_user_is_read_without_what_follows_from_the_rest() -> None:
    (record,) = Users().records(Query.of("/user/5"), user(5, plan="pro"))
    assert (record["user_id"], record["company"], record["followers"]) == (5, "@acme", 2)
    assert record["_extra"] == '{"plan":"pro"}'


def test_another_user_than_was_asked_for_is_refused() -> None:
    with pytest.raises(Unreadable, match="requested /user/6"):
        Users().records(Query.of("/user/6"), user(5))


def test_a_page_of_graphql_is_read_as_users_and_as_members() -> None:
    query = lead(Memberships(), request(api="graphql", lists=["stargazers"]), [REPOSITORY, stars(1)])[1][0]
    (record,) = Users().records(query, stars(1))
    assert (record["user_id"], record["type"], record["email"], record["hireable"]) == (1, "User", None, None)
    (member,) = Memberships().records(query, stars(1))
    assert (member["member_key"], member["repository_id"], member["repository"]) == ("u1", 7, "acme/mill")


def test_authors_without_an_account_are_told_apart_by_a_digest() -> None:
    query = lead(Memberships(), request(lists=["contributors"]), [REPOSITORY, []])[1][0]
    rows = [{"type": "Anonymous", "email": f"{name}@x", "name": name, "contributions": 1} for name in "ab"]
    records = Memberships().records(query, rows)
    assert len({record["member_key"] for record in records}) == 2
    assert all(record["user_id"] is None and record["_extra"] is None for record in records)
    assert "@x" not in str(records)


@pytest.mark.parametrize("listing", LISTS)
def test_a_repository_may_have_the_longest_of_names(listing: str) -> None:
    name = f"{'o' * 39}/{'n' * 100}"
    repository = REPOSITORY | {"full_name": name}
    query = lead(Memberships(), request(repositories=[name], lists=[listing]), [repository, []])[1][0]
    assert "~" in query.key, "too long to be whole"
    row = {"id": 1, "contributions": 1, "starred_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z"}
    (member,) = Memberships().records(query, [row | {"user": user(1), "owner": user(1)}])
    assert (member["repository_id"], member["repository"]) == (7, name)


def test_a_later_page_names_the_repository_by_its_key() -> None:
    query = Query.of("/repositories/7/forks", {"page": "2"}, known_by={"page": "2", "id": "7", "repository": "a/b"})
    (member,) = Memberships().records(query, [{"owner": user(1), "created_at": "2026-01-01T00:00:00Z"}])
    assert (member["list"], member["repository"]) == ("forks", "a/b")


@pytest.mark.parametrize(
    ("listing", "page"),
    [
        ("contributors", {"message": "x"}),
        ("contributors", [1]),
        ("contributors", [{"type": "User", "contributions": 1}]),
        ("contributors", [{"id": "1", "contributions": 1}]),
        ("stargazers", [{"user": {"id": True}}]),
        ("stargazers", [{"user": user(1)}]),
        ("forks", [{"owner": {"login": "x"}}]),
        ("forks", [{"owner": user(1)}]),
    ],
)
def test_pages_that_are_not_what_was_promised(listing: str, page: Any) -> None:
    query = lead(Memberships(), request(lists=[listing]), [REPOSITORY, []])[1][0]
    with pytest.raises(Unreadable):
        Memberships().records(query, page)


@pytest.mark.parametrize(
    "page",
    [[], {"data": None}]
    + [
        {"data": {"repository": {"stargazers": {"edges": edges}}}}
        for edges in ({}, [None], [{"node": None}], [{"node": {"login": "l"}}])
    ],
)
def test_pages_of_graphql_that_are_not_what_was_promised(page: Any) -> None:
    query = Query.of("/graphql", body="{}", known_by={"id": "7", "repository": "a/b"})
    for stream in (Users(), Memberships()):
        with pytest.raises(Unreadable):
            stream.records(query, page)


# --- estimate ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stargazers", "rest", "points"), [(250, 1 + 250 + 3 + 3 + 1, 3), (0, 1 + 1 + 3 + 1, 1), (100, 1 + 100 + 1 + 4, 1)]
)
def test_both_ways_are_counted(stargazers: int, rest: int, points: int) -> None:
    driver = Scripted([REPOSITORY | {"stargazers_count": stargazers}])
    by_rest, by_graphql = asyncio.run(driver.lead(Users().estimate(request())))
    assert [query.path for query in driver.queries] == ["/repos/acme/mill"]
    assert by_rest.units == {"core": rest}
    assert by_graphql.units == {"core": 1 + 3 + 1, "graphql": points}
