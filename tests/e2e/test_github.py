"""github_users on the whole local cloud with a real Airflow.

The tests run in the order of this file and share one cloud: each leaves a healthy API behind.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from local_cloud.apis.github.world import LISTS, World, make_world
from tests.e2e.system import LIMIT_S, Dag, System

SMALL = ["globex/sluice", "gone-org/sluice", "tiny/one", "tiny/exact.hundred"]
"""One of them under two names."""
LARGE = "umbrella-labs/raincoat"
USER = "GET /github/user/{id}"


class Github(Dag):
    """The DAG, and what stands in its tables."""

    def having(self, **settings: Any) -> None:
        """Have these settings of the fake GitHub and no others, and windows that nobody has used."""
        self.system.reset()
        self.system.admin("DELETE", "github")
        self.system.admin("PUT", "github", settings)

    def users(self) -> dict[int, dict[str, Any]]:
        return {row["user_id"]: row for row in self.system.rows("SELECT * FROM github.users")}

    def watch(self, run_id: str) -> set[tuple[str, str]]:
        """Wait for the end of a run, and return every state that a task was seen in."""
        seen: set[tuple[str, str]] = set()

        def look(tasks: dict[str, dict[str, Any]]) -> None:
            seen.update((name, task["state"]) for name, task in tasks.items())

        self.system.airflow.wait(self.dag_id, run_id, limit_s=LIMIT_S, watch=look)
        return seen


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def github(system: System) -> Iterator[Github]:
    dag = Github(system.of("github"), "github_users")
    dag.having()
    yield dag
    dag.having()


def test_members_and_users_become_rows(github: Github, world: World) -> None:
    run_id, state = github.run(repositories=SMALL, workers=3)
    assert (state, github.failed(run_id)) == ("success", [])
    names = [name for name in SMALL if name != "gone-org/sluice"]
    ids = world.member_ids(names)
    expected = world.details(ids)
    users = github.users()
    assert users.keys() == expected.keys()
    for user_id, user in users.items():
        assert (user["login"], user["company"], user["location"], user["followers"]) == tuple(
            expected[user_id][field] for field in ("login", "company", "location", "followers")
        )
    receipt = github.receipt(run_id, "users.prove")
    assert receipt["agrees"]
    assert receipt["planned"] == len(ids)
    assert receipt["staged"] == receipt["loaded"] == receipt["merged"] == receipt["table"] == len(expected)
    assert receipt["gaps"] == len(ids) - len(expected)
    assert github.system.asked(USER)["requests"] == len(ids)
    assert receipt["sent"] == github.system.calls(), "with those of the lists"
    members = github.receipt(run_id, "members.prove")
    listed = sum(len(world.repository(name).member_ids(listing)) for name in names for listing in LISTS)
    assert (members["loaded"], members["merged"], members["sent"]) == (listed, listed, 0)
    overlap = github.system.rows("SELECT * FROM github.overlap WHERE list = 'stargazers' ORDER BY shared DESC LIMIT 1")
    one, other = (set(world.repository(overlap[0][name]).member_ids("stargazers")) for name in
                  ("repository", "other_repository"))  # fmt: skip
    assert overlap[0]["shared"] == len(one & other)
    weeks = github.system.rows("SELECT MAX(total_stars) AS total FROM github.stars_by_week GROUP BY repository")
    assert sorted(week["total"] for week in weeks) == [1, 100, 310]
    limits = github.system.admin("GET", "github")
    assert (limits["primary_refusals"], limits["secondary_refusals"]) == (0, 0)


@pytest.mark.parametrize("task_ids", [["discover"], ["sweep", "members.merge"]], ids=["discover", "sweep"])
def test_clearing_a_task_asks_for_nobody_again(github: Github, task_ids: list[str]) -> None:
    (run,) = github.system.airflow.call("GET", "/dags/github_users/dagRuns?order_by=run_after&limit=1")["dag_runs"]
    before = github.users()
    github.system.reset()
    assert github.clear(run["dag_run_id"], *task_ids) == "success"
    assert github.system.asked(USER)["requests"] == 0
    assert github.users() == before


def test_a_second_run_finds_most_unchanged_and_graphql_keeps_the_counts(github: Github, world: World) -> None:
    github.having()
    before = github.users()
    run_id, state = github.run(repositories=["globex/sluice"], api="graphql")
    assert state == "success"
    stars = {star.user.id for star in world.repository("globex/sluice").stargazers if not star.user.deleted}
    after = github.users()
    assert {after[user_id]["_run_id"] for user_id in stars} == {run_id}
    assert [after[user_id]["followers"] for user_id in stars] == [before[user_id]["followers"] for user_id in stars]
    receipt = github.receipt(run_id, "users.prove")
    assert github.system.asked(USER)["requests"] < len(stars)
    assert receipt["sent"] == github.system.calls()
    assert github.system.admin("GET", "github")["not_modified"] == receipt["unchanged"] > receipt["gaps"]


def test_windows_are_used_up_and_the_slot_is_free_between_them(github: Github, world: World) -> None:
    """Hours of ten seconds with 40 calls for each of four owners: what is new takes more than three of them."""
    limit = 40
    github.having(hour_s=10, limit=limit)
    run_id = github.trigger(repositories=[LARGE], workers=2)
    seen = github.watch(run_id)
    assert github.system.airflow.state(github.dag_id, run_id) == "success"
    assert ("fetch", "deferred") in seen, "the worker's slot is free while it waits"
    counts = github.system.admin("GET", "github")
    assert counts["primary_refusals"] == 0
    assert len(counts["windows"]) == 4
    # A window begins with the first call in it. One of discovery's may end before a worker's task has started: here an
    # hour lasts as long as that takes. The last window of an owner needs not be used up.
    listed = datetime.fromisoformat(github.tasks(run_id)["discover"]["end_date"]).timestamp()
    for windows in counts["windows"].values():
        full = [window for window in windows["core"][:-1] if window["reset"] - 11 >= listed]
        assert len(full) >= 2
        assert all(limit - 2 <= window["used"] <= limit for window in full), (listed, json.dumps(counts["windows"]))
    expected = world.details(world.member_ids([LARGE]))
    assert {i for i, user in github.users().items() if user["_run_id"] == run_id} == expected.keys()


def test_the_plan_alone_tells_what_both_ways_cost(github: Github) -> None:
    github.having()
    run_id, state = github.run(repositories=["acme/windmill"], plan_only=True)
    assert state == "success"
    rest, graphql = github.returned(run_id, "estimate")
    assert (rest["name"], rest["units"]) == ("rest", {"core": 1 + 1_150 + 12 + 320 + 4})
    assert graphql["units"] == {"core": 325, "graphql": 12}
    assert {name: task["state"] for name, task in github.tasks(run_id).items() if name in {"discover", "sweep"}} == {
        "discover": "skipped",
        "sweep": "skipped",
    }
    assert github.system.asked(USER)["requests"] == 0
