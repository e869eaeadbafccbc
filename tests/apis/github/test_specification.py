"""The fake GitHub and the source of GitHub, each against the specification: so they cannot agree on a mistake."""

import copy
import time

import jwt
import pytest

from tests.apis.github import specification as spec
from tests.apis.github.conftest import Github, led
from windrow.model.query import Query
from windrow.sources.github.streams import GithubStream, Memberships, Users

STAR_JSON = "application/vnd.github.star+json"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/repos/acme/windmill", 200),
        ("/repos/gone-org/sluice", 301),
        ("/repos/acme/no-such-thing", 404),
        ("/repos/acme/windmill/contributors?anon=1&per_page=100", 200),
        ("/repos/acme/empty/contributors", 204),
        ("/repos/acme/monolith/contributors", 403),
        ("/repos/acme/windmill/stargazers?per_page=100", 200),
        ("/repos/acme/abandoned/stargazers", 200),
        ("/repos/tiny/exact.hundred/forks?sort=oldest", 200),
        ("/repos/acme/abandoned/forks", 200),
        ("/repos/tiny/one/forks?sort=size", 400),
        ("/user/1", 404),
        ("/users/settings", 200),
        ("/rate_limit", 200),
    ],
)
def test_answers_of_the_fake_are_as_specified(github: Github, path: str, status: int) -> None:
    reply = github.get(path, Accept=STAR_JSON)
    assert reply.status == status
    schema = spec.operation(path.partition("?")[0]).answers[status]
    assert spec.complaints(schema, reply.json()) == [] if schema else reply.body == b""


def test_the_deepest_page_and_a_token_of_an_app_are_as_specified(github: Github) -> None:
    github.api.github(page_cap=1)
    reply = github.get("/repos/acme/windmill/stargazers?page=2")
    assert (reply.status, spec.complaints(spec.ERROR, reply.json())) == (422, [])
    app = github.api.github_app()
    claims = {"iat": int(time.time()) - 60, "exp": int(time.time()) + 500, "iss": app["app_id"]}
    signed = jwt.encode(claims, app["private_key"], algorithm="RS256")
    path = f"/app/installations/{app['installations'][0]}/access_tokens"
    headers = {"User-Agent": "tests", "Authorization": f"Bearer {signed}"}
    reply = github.api.request("POST", f"/github{path}", headers=headers)
    assert reply.status == 201
    assert spec.complaints(spec.INSTALLATION_TOKEN, reply.json()) == []


@pytest.mark.parametrize("name", ["login", "stargazers_count", "owner"])
def test_a_field_that_is_missing_or_null_is_found(github: Github, name: str) -> None:
    whole = github.get("/repos/tiny/one").json()
    schema, answer = (spec.SIMPLE_USER, whole["owner"]) if name == "login" else (spec.FULL_REPOSITORY, whole)
    without, with_null = copy.deepcopy(answer), answer | {name: None}
    del without[name]
    assert len(spec.complaints(schema, without)) == len(spec.complaints(schema, with_null)) == 1


@pytest.mark.parametrize("stream", [Users(), Memberships()])
def test_requests_of_the_source_are_as_specified(github: Github, stream: GithubStream) -> None:
    driver = led(github, stream, ["acme/gristmill", "gone-org/sluice"])
    queries = driver.queries + driver.plan
    for query in queries:
        spec.check_request(query)
    assert {query.path.split("/")[1] for query in queries} >= {"repos", "repositories"}
    assert {dict(query.headers).get("Accept") for query in queries if "stargazers" in query.path} == {STAR_JSON}
    assert stream.headers["X-GitHub-Api-Version"] == "2022-11-28"


@pytest.mark.parametrize(
    "query",
    [
        Query.of("/repos/a/b/watchers"),
        Query.of("/user/octocat"),
        Query.of("/repos/a/b/forks", {"per_page": "101"}),
        Query.of("/repos/a/b/forks", {"sort": "size"}),
        Query.of("/repos/a/b/stargazers", {"sort": "oldest"}),
    ],
)
def test_a_request_that_the_specification_does_not_have_is_found(query: Query) -> None:
    with pytest.raises(AssertionError):
        spec.check_request(query)
