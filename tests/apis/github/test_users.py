"""Users, and what makes their answers cheap: ETags, instants, versions."""

from http.client import HTTPConnection

import pytest

from local_cloud.apis.github.demo_tokens import BAD_TOKEN, NO_SCOPE_TOKEN, POOL, SAME_OWNER
from local_cloud.apis.github.world import World
from local_cloud.apis.testing import FakeApi
from tests.apis.github.conftest import Github


def test_users_are_found_by_their_number(github: Github, world: World) -> None:
    ids = world.member_ids(["tiny/exact.hundred"])
    assert len(ids) > 200
    connection = HTTPConnection(*github.api.address)
    for user_id in ids:
        headers = {"User-Agent": "tests", "Authorization": f"Bearer {POOL[1]}"}
        connection.request("GET", f"/github/user/{user_id}", headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert response.status == (404 if world.users[user_id].deleted else 200), body
    connection.close()
    user = next(iter(world.details(ids).values()))
    assert github.get(f"/user/{user['id']}").json() == user
    assert github.get("/user/1").status == github.get("/user/no-number").status == 404


def test_lists_lag_behind_a_rename(github: Github, world: World) -> None:
    user = next(user for user in world.users.values() if user.former_login)
    assert user.row()["login"] == user.former_login
    assert github.get(f"/user/{user.id}").json()["login"] == user.login
    assert github.get(f"/users/{user.former_login}").status == 404
    assert github.get(f"/users/{user.login.upper()}").json()["id"] == user.id


@pytest.mark.parametrize("login", ["null", "-legacy-", "dependabot%5Bbot%5D", "emu-user_acme"])
def test_odd_logins_are_logins(github: Github, login: str) -> None:
    assert github.get(f"/users/{login}").status == 200


def test_what_has_not_changed_costs_nothing(github: Github, world: World) -> None:
    user_id = next(iter(world.details(world.users)))
    first = github.get(f"/user/{user_id}")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    assert etag.startswith('W/"')
    for known in ({"If_None_Match": etag}, {"If_None_Match": f'"x", {etag}'}, {"If_Modified_Since": modified}):
        reply = github.get(f"/user/{user_id}", **known)
        assert (reply.status, reply.body, reply.headers["X-RateLimit-Used"]) == (304, b"", "1")
        assert reply.headers["ETag"] == etag
    assert github.api.github()["not_modified"] == 3
    long_ago = "Thu, 01 Jan 1998 00:00:00 GMT"
    assert github.get(f"/user/{user_id}", If_Modified_Since=long_ago).status == 200
    assert github.get(f"/user/{user_id}", If_Modified_Since="yesterday").status == 200
    reply = github.get(f"/user/{user_id}", If_None_Match='W/"other"', If_Modified_Since=modified)
    assert reply.status == 200, "an ETag decides alone"


def test_an_etag_is_good_for_one_token_only(github: Github, world: World) -> None:
    path = f"/user/{next(iter(world.details(world.users)))}"
    first, second = (github.get(path, token).headers for token in SAME_OWNER)
    assert first["ETag"] != second["ETag"]
    assert github.get(path, SAME_OWNER[1], If_None_Match=first["ETag"]).status == 200
    assert github.get(path, SAME_OWNER[1], If_Modified_Since=first["Last-Modified"]).status == 304


def test_without_a_token_even_the_unchanged_costs(github: Github) -> None:
    etag = github.get("/repos/tiny/one", None).headers["ETag"]
    reply = github.get("/repos/tiny/one", None, If_None_Match=etag)
    assert (reply.status, reply.headers["X-RateLimit-Used"], reply.headers["X-RateLimit-Limit"]) == (304, "2", "60")


def test_lists_have_no_instant(github: Github) -> None:
    assert "Last-Modified" not in github.get("/repos/tiny/one/stargazers").headers
    assert github.get("/repos/tiny/one").headers["Last-Modified"].endswith("GMT")


def test_a_nameless_client_is_sent_away(github: Github) -> None:
    reply = github.get("/repos/tiny/one", User_Agent=None)
    assert reply.status == 403
    assert b"User-Agent header" in reply.body
    assert reply.headers.get_content_type() == "text/html"
    assert "X-RateLimit-Limit" not in reply.headers


def test_versions(github: Github) -> None:
    assert github.get("/rate_limit").headers["X-GitHub-Api-Version-Selected"] == "2022-11-28"
    assert "rate" in github.get("/rate_limit", X_GitHub_Api_Version="2022-11-28").json()
    assert set(github.get("/rate_limit", X_GitHub_Api_Version="2026-03-10").json()) == {"resources"}
    reply = github.get("/rate_limit", X_GitHub_Api_Version="2021-01-01")
    assert (reply.status, "2021-01-01" in reply.json()["message"]) == (400, True)


@pytest.mark.parametrize("path", ["/repos/tiny/one", "/rate_limit"])
def test_a_token_that_is_no_good(github: Github, path: str) -> None:
    reply = github.get(path, BAD_TOKEN)
    assert (reply.status, reply.json()["message"]) == (401, "Bad credentials")
    assert BAD_TOKEN not in reply.body.decode()
    assert github.get(path, Authorization="Basic abc").status == 401
    github.api.github(bad_tokens=[POOL[2]])
    assert github.get(path, POOL[2]).status == 401
    assert github.get(path, POOL[1]).status == 200


def test_a_token_without_scope_may_read_the_limits_only(github: Github) -> None:
    reply = github.get("/repos/tiny/one", NO_SCOPE_TOKEN)
    assert reply.status == 403
    assert reply.json()["message"] == "Resource not accessible by personal access token"
    assert reply.headers["X-RateLimit-Remaining"] == "4999"
    assert "Retry-After" not in reply.headers
    assert github.get("/rate_limit", NO_SCOPE_TOKEN).status == 200


def test_faults_spoil_an_array_inside_of_its_items(github: Github, api: FakeApi) -> None:
    whole = github.get("/repos/tiny/exact.hundred/stargazers?per_page=5").json()
    api.faults(duplicate_list=True)
    assert github.get("/repos/tiny/exact.hundred/stargazers?per_page=5").json() == whole * 2
    api.faults(duplicate_list=False, unknown_fields=True)
    extended = github.get("/repos/tiny/exact.hundred/stargazers?per_page=5").json()
    assert all(
        row.keys() - seen.keys() == {"_added_later", "_debug"} for row, seen in zip(extended, whole, strict=True)
    )
    api.faults(unknown_fields=False, missing_field_share=1)
    lacking = github.get("/repos/tiny/exact.hundred/stargazers?per_page=5").json()
    assert [len(seen) - len(row) for row, seen in zip(lacking, whole, strict=True)].count(1) == 1
    assert github.get("/repos/acme/empty/stargazers").json() == []
    api.faults(missing_field_share=0, empty_list=True)
    assert github.get("/repos/tiny/exact.hundred/stargazers?per_page=5").json() == []
    route = api.counters()["routes"]["GET /github/repos/{owner}/{name}/stargazers"]
    assert (route["missing_field"], route["requests"]) == (1, 6), "an empty list has nothing to spoil"


def test_an_answer_without_a_body_is_cut_before_its_head(github: Github, api: FakeApi) -> None:
    api.faults(cut_share=1)
    for _ in range(6):
        with pytest.raises(ConnectionError):
            github.get("/repos/acme/empty/contributors")
    assert api.counters()["totals"]["cut"] == 6
