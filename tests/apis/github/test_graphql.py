"""The GraphQL query of stargazers, its cost, and its errors with status 200."""

from typing import Any

import pytest

from local_cloud.apis.github.demo_tokens import BAD_TOKEN
from local_cloud.apis.github.world import World
from tests.apis.github.conftest import Github

QUERY = """
query Stars($owner: String!, $name: String!, $after: String) {
  rateLimit { limit cost remaining resetAt }
  repository(owner: $owner, name: $name) {
    databaseId
    stargazers(first: 100, after: $after, orderBy: {field: STARRED_AT, direction: ASC}) {
      total: totalCount  # an alias
      pageInfo { hasNextPage endCursor }
      edges { starredAt node { databaseId login name company location } }
    }
  }
}
"""


def ask(github: Github, query: str = QUERY, name: str = "acme/windmill", **variables: Any) -> dict[str, Any]:
    owner, _, repository = name.partition("/")
    reply = github.graphql(query, owner=owner, name=repository, **variables)
    assert reply.status == 200
    return dict(reply.json())


def test_a_point_brings_a_hundred_stars_with_their_users(github: Github, world: World) -> None:
    after, edges, points = None, [], 0
    while True:
        data = ask(github, after=after)["data"]
        stars = data["repository"]["stargazers"]
        edges += stars["edges"]
        points += data["rateLimit"]["cost"]
        assert data["rateLimit"]["remaining"] == 5_000 - points
        if not stars["pageInfo"]["hasNextPage"]:
            break
        after = stars["pageInfo"]["endCursor"]
    alive = [star for star in world.repository("acme/windmill").stargazers if star.user and not star.user.deleted]
    assert points == -(-len(alive) // 100) == 12
    assert [edge["node"]["databaseId"] for edge in edges] == [star.user.id for star in alive]
    assert {edge["node"]["login"] for edge in edges} == {star.user.login for star in alive}
    assert stars["total"] == len(alive)
    assert github.api.github()["windows"] == {
        "octo-ada": {"graphql": [github.api.github()["windows"]["octo-ada"]["graphql"][0] | {"used": 12, "refused": 0}]}
    }


def test_a_connection_inside_of_a_user_costs_a_point(github: Github) -> None:
    nested = QUERY.replace("location", "location followers { totalCount } following { totalCount }")
    assert ask(github, nested)["data"]["rateLimit"]["cost"] == 2
    few = nested.replace("first: 100", "first: 10")
    assert ask(github, few)["data"]["rateLimit"]["cost"] == 1


def test_points_that_are_spent_are_an_error_with_status_200(github: Github) -> None:
    github.api.github(graphql_limit=1)
    assert "errors" not in ask(github)
    reply = github.graphql(QUERY, owner="acme", name="windmill")
    (error,) = reply.json()["errors"]
    assert (reply.status, error["type"], reply.headers["X-RateLimit-Remaining"]) == (200, "RATE_LIMITED", "0")
    assert reply.headers["X-RateLimit-Resource"] == "graphql"
    assert github.api.github()["primary_refusals"] == 1
    assert github.get("/repos/tiny/one").status == 200, "REST has a window of its own"


def test_the_secondary_limit_counts_five_points_a_query(github: Github) -> None:
    github.api.github(graphql_points_per_minute=10)
    statuses = [github.graphql(QUERY, owner="tiny", name="one").status for _ in range(5)]
    assert statuses[0] == 200
    assert 403 in statuses


def test_a_former_name_is_found_and_a_private_repository_is_not(github: Github) -> None:
    assert ask(github, name="gone-org/sluice")["data"]["repository"]["databaseId"]
    for name in ("acme/secret", "no/such"):
        answer = ask(github, name=name)
        assert answer["data"]["repository"] is None
        assert answer["errors"][0]["type"] == "NOT_FOUND"
        assert name in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ viewer { login } }", "Field 'viewer' doesn't exist on type 'Query'"),
        ("{ rateLimit { cost } }", "one query only"),
        (QUERY.replace("company", "salary"), "Field 'salary' doesn't exist on type 'User'"),
        (QUERY.replace("endCursor", "nextCursor"), "Field 'nextCursor' doesn't exist on type 'PageInfo'"),
        (QUERY.replace("first: 100, ", ""), "`first` or `last`"),
        (QUERY.replace("first: 100", "first: 101"), "exceeds the `first` limit of 100"),
        (QUERY.replace("after: $after", 'after: "?"'), "valid cursor"),
        (QUERY[:-4], "Parse error on 'end of file'"),
        (QUERY + "}", "Parse error on '}'"),
        (QUERY.replace("login", "...Person"), "fragments"),
    ],
)
def test_other_queries_get_a_clear_error(github: Github, query: str, words: str) -> None:
    (error,) = ask(github, query)["errors"]
    assert words in error["message"]


def test_no_json_and_no_token(github: Github) -> None:
    headers = {"User-Agent": "tests", "Authorization": f"Bearer {github.token}"}
    assert github.api.request("POST", "/github/graphql", "{", headers).status == 400
    assert github.graphql(QUERY, token=None).status == 403
    assert github.graphql(QUERY, token=BAD_TOKEN).status == 401
