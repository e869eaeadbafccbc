"""One repository with an odd list or none at all: the others are listed, and each problem has the name of its own."""

import pytest

from local_cloud.apis.github.world import World
from tests.apis.github.conftest import Github, led
from windrow.model.errors import BadParameter, Unanswered
from windrow.sources.github.streams import GithubStream, Memberships, Users

STREAMS = [Users(), Memberships()]
ODD, SOUND = "tiny/exact.hundred", "globex/sluice"


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("listing", ["contributors", "stargazers", "forks"])
@pytest.mark.parametrize("fault", [500, "computing", "malformed"])
def test_a_list_that_does_not_come_is_in_the_quarantine_and_the_others_are_planned(
    github: Github, stream: GithubStream, listing: str, fault: int | str
) -> None:
    if fault == "computing":
        github.api.github(odd={f"{ODD}/{listing}": fault})
    else:
        github.api.faults(sticky={f"repos/{ODD}/{listing}": fault})
    driver = led(github, stream, [ODD, SOUND])
    [bad] = driver.quarantine
    assert bad.query.path == f"/repos/{ODD}/{listing}"
    assert {500: "HTTP 500", "computing": "HTTP 202", "malformed": "invalid JSON"}[fault] in bad.reason
    assert f"{ODD}/{listing}" in str(driver.left_out[0])
    pages = {query.path for query in driver.queries}
    assert pages >= {f"/repos/{name}/{each}" for name in (ODD, SOUND) for each in ("contributors", "forks")}
    assert f"/repositories/{70_000_001 + 7_919 * 3}/stargazers" in pages, "later pages too"


@pytest.mark.parametrize("listing", ["contributors", "stargazers", "forks"])
@pytest.mark.parametrize(("oddity", "said"), [("null", "null"), ("no_id", "without an id")])
def test_an_odd_row_is_left_out_alone_and_told(
    github: Github, world: World, listing: str, oddity: str, said: str
) -> None:
    github.api.github(odd={f"{ODD}/{listing}": oddity})
    users, members = (led(github, stream, [ODD, SOUND], lists=[listing]) for stream in STREAMS)
    [error] = users.left_out
    assert said in str(error)
    assert f"{ODD}/{listing}" in str(error)
    expected = world.member_ids([ODD, SOUND], [listing])
    lost = len(expected - {int(query.path.removeprefix("/user/")) for query in users.plan})
    assert lost == (oddity == "no_id")
    page = next(query for query in members.plan if ODD in query.path)
    answer = github.get(f"{page.path}?per_page=100&sort=oldest", Accept="application/vnd.github.star+json").json()
    assert len(Memberships().records(page, answer)) == 100 - lost
    [one] = Memberships().read(page, answer)[1]
    assert said in one.reason


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("name", "status", "said"), [("acme/secret", 404, "404"), ("tiny/one", 451, "legal reasons")])
def test_one_repository_of_several_that_is_not_there_is_a_gap_of_its_name(
    github: Github, stream: GithubStream, name: str, status: int, said: str
) -> None:
    if status == 451:
        github.api.faults(sticky={f"repos/{name}": status})
    driver = led(github, stream, [name, SOUND], lists=["forks"])
    assert not driver.quarantine
    [gap] = driver.gaps
    assert gap.query.path == f"/repos/{name}"
    assert said in gap.reason
    assert len(driver.plan) == (75 if stream.dataset == "github_users" else 1)

    before = len(driver.queries)
    with pytest.raises(BadParameter, match=rf"'{name}'.*{said}"):
        led(github, stream, [name], lists=["forks"])
    assert before == 3


@pytest.mark.parametrize("names", [["acme/no-such"], ["acme/no-such", "acme/secret"]])
def test_where_no_repository_is_there_nothing_is_listed(github: Github, names: list[str]) -> None:
    github.api.reset()
    with pytest.raises(BadParameter, match=names[-1]):
        led(github, Users(), names)
    assert github.api.counters()["totals"]["requests"] == len(names)


def test_an_api_that_answers_nothing_is_not_asked_for_everything(github: Github) -> None:
    """After five queries in a row without an answer it is not the queries: the task is tried again."""
    github.api.faults(error_share=1)
    names = [f"acme/mill-{number}" for number in range(8)]
    with pytest.raises(Unanswered, match="acme/mill-4"):
        led(github, Users(), names)


def test_stars_of_deleted_accounts_are_counted(github: Github) -> None:
    users, members = (led(github, stream, ["acme/abandoned"], lists=["stargazers"]) for stream in STREAMS)
    assert len(users.plan) == 2
    rows = github.get("/repos/acme/abandoned/stargazers", Accept="application/vnd.github.star+json").json()
    records = Memberships().records(members.plan[0], rows)
    assert len({record["member_key"] for record in records}) == len(records) == 5
    assert [record["user_id"] is None for record in records] == [False, True, True, False, True]
    assert all(record["since"] for record in records)
    again = Memberships().records(members.plan[0], rows[1:])
    assert [record["member_key"] for record in again] == [record["member_key"] for record in records][1:]
