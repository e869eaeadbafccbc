"""The lists of a repository: pages, and the repositories that are not as others."""

import re
from typing import Any

import pytest

from local_cloud.apis.github.world import LISTS, NOW, ORDINARY, World, make_world
from tests.apis.github.conftest import Github, relation

STAR_JSON = "application/vnd.github.star+json"
NAMES = [f"{owner}/{name}" for owner, name, *_ in ORDINARY]


def rows(github: Github, path: str, **headers: str) -> list[dict[str, Any]]:
    return [row for page in github.pages(path, **headers) for row in page.json()]


def test_the_world_is_always_the_same_and_its_repositories_overlap(world: World) -> None:
    again = make_world.__wrapped__()
    assert again == world
    union = world.member_ids(NAMES)
    assert 1_500 < len(union) < sum(len(world.member_ids([name])) for name in NAMES)
    users = [world.users[each] for each in union]
    assert min(sum(user.deleted for user in users), sum(bool(user.former_login) for user in users)) >= 10
    assert {None, "", "@acme", " ACME Inc. ", "🚀"} <= {user.company for user in users}
    assert {None, "München", "Berlin 🇩🇪"} <= {user.location for user in users}
    assert {"dependabot[bot]", "null", "-legacy-"} <= {user.login for user in world.users.values()}
    assert all(repository.updated_at <= NOW for repository in world.repositories.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("listing", LISTS)
def test_following_the_links_brings_each_member_once(github: Github, world: World, name: str, listing: str) -> None:
    found = rows(github, f"/repos/{name}/{listing}?per_page=100&sort=oldest")
    ids = [row["owner"]["id"] if listing == "forks" else row["id"] for row in found]
    assert ids == world.repository(name).member_ids(listing)


def test_links_lead_on_by_the_id_of_the_repository(github: Github, world: World) -> None:
    first = github.get("/repos/acme/windmill/contributors?per_page=100&anon=1")
    assert relation(first, "next") == "/repositories/70000001/contributors?anon=1&per_page=100&page=2"
    assert relation(first, "last") == "/repositories/70000001/contributors?anon=1&per_page=100&page=3"
    assert (relation(first, "prev"), relation(first, "first")) == ("", "")
    last = github.get(relation(first, "last"))
    assert len(last.json()) == 75
    assert relation(last, "next") == relation(last, "last") == ""
    assert relation(last, "prev").endswith("page=2")
    assert "Link" not in github.get("/repos/tiny/exact.hundred/contributors?per_page=100").headers
    assert len(github.get("/repos/acme/windmill/stargazers").json()) == 30
    assert len(github.get("/repos/acme/windmill/stargazers?per_page=1000").json()) == 100
    assert github.get("/repos/acme/windmill/stargazers?per_page=100&page=99").json() == []


def test_authors_without_an_account_are_listed_on_demand(github: Github) -> None:
    everybody = rows(github, "/repos/acme/windmill/contributors?per_page=100&anon=1")
    anonymous = [row for row in everybody if row["type"] == "Anonymous"]
    assert (len(everybody), len(anonymous)) == (275, 35)
    assert all(set(row) == {"type", "name", "email", "contributions"} for row in anonymous)
    known = rows(github, "/repos/acme/windmill/contributors?per_page=100")
    assert known == [row for row in everybody if row["type"] != "Anonymous"]
    assert [row["contributions"] for row in everybody] == sorted(
        (row["contributions"] for row in everybody), reverse=True
    )


def test_stars_tell_when_on_demand(github: Github) -> None:
    plain = github.get("/repos/globex/sluice/stargazers?per_page=100").json()
    starred = github.get("/repos/globex/sluice/stargazers?per_page=100", Accept=STAR_JSON).json()
    assert [star["user"] for star in starred] == plain
    moments = [star["starred_at"] for star in starred]
    assert moments == sorted(moments)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", moments[0])


def test_forks_are_in_the_order_asked_for(github: Github) -> None:
    oldest = rows(github, "/repos/acme/gristmill/forks?per_page=100&sort=oldest")
    assert [fork["created_at"] for fork in oldest] == sorted(fork["created_at"] for fork in oldest)
    assert rows(github, "/repos/acme/gristmill/forks?per_page=100") == oldest[::-1]
    assert all(fork["fork"] and fork["full_name"] == f"{fork['owner']['login']}/gristmill" for fork in oldest)
    assert github.get("/repos/acme/gristmill/forks?sort=size").status == 400


def test_a_renamed_repository_leads_to_its_id(github: Github, world: World) -> None:
    reply = github.get("/repos/gone-org/sluice/stargazers?per_page=2")
    assert reply.status == 301
    assert reply.headers["Location"] == reply.json()["url"]
    repository = world.repository("globex/sluice")
    assert reply.headers["Location"] == f"{github.api.url}/github/repositories/{repository.id}/stargazers?per_page=2"
    assert github.get(f"/repositories/{repository.id}").json()["full_name"] == "globex/sluice"
    assert github.get("/repos/ACME/Windmill").status == 200, "names are found in any case"


@pytest.mark.parametrize("path", ["", "/contributors", "/stargazers", "/forks"])
@pytest.mark.parametrize("name", ["acme/secret", "acme/no-such-thing"])
def test_a_private_repository_looks_like_none(github: Github, name: str, path: str) -> None:
    reply = github.get(f"/repos/{name}{path}")
    assert (reply.status, reply.json()["message"]) == (404, "Not Found")


def test_an_empty_repository_has_no_content(github: Github) -> None:
    reply = github.get("/repos/acme/empty/contributors")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["X-RateLimit-Used"] == "1"
    assert github.get("/repos/acme/empty/stargazers").json() == []


def test_a_list_can_be_too_large(github: Github) -> None:
    reply = github.get("/repos/acme/monolith/contributors")
    assert reply.status == 403
    assert "too large to list contributors" in reply.json()["message"]
    assert github.get("/repos/acme/monolith/stargazers").status == 200


def test_deep_pages_are_not_served(github: Github) -> None:
    github.api.github(page_cap=3)
    replies = list(github.pages("/repos/acme/windmill/stargazers?per_page=100"))
    assert [reply.status for reply in replies] == [200, 200, 200, 422]
    assert "pagination is limited" in replies[-1].json()["message"]
