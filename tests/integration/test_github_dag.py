"""github_users in this process, from the lists to the marts: what needs no scheduler to be seen."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.apis.github.demo_tokens import DEMO_TOKENS, POOL
from local_cloud.apis.github.world import LISTS, World, make_world
from local_cloud.apis.testing import FakeApi
from local_cloud.settings import PROJECT_ID, Settings
from tests.dag_run import DagRun, load
from tests.integration.conftest import rows

DAG = Path(__file__).resolve().parents[2] / "dags" / "github_users.py"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SMALL = ["globex/sluice", "gone-org/sluice", "tiny/one", "tiny/exact.hundred"]
"""One of them under two names."""
USER = "GET /github/user/{id}"


@pytest.fixture(scope="module")
def dag() -> Any:
    return load(DAG).github_users()


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture
def warehouse(cloud: Settings, connections: None, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> bigquery.Client:
    """BigQuery, and the connection to a GitHub whose windows nobody has used."""
    api.reset_github()
    tokens = [{"token": token, "owner": DEMO_TOKENS[token]} for token in POOL]
    extra = {"tokens": tokens, "points_per_minute": 1_000_000}  # at GitHub's own pace the users take 20 s
    github = {"conn_type": "http", "host": f"{api.url}/github", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GITHUB", json.dumps(github))
    return bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options={"api_endpoint": cloud.bigquery_url})


def users(warehouse: bigquery.Client) -> dict[int, dict[str, Any]]:
    return {row["user_id"]: row for row in rows(warehouse, "SELECT * FROM github.users")}


def asked(api: FakeApi) -> int:
    return int(api.counters()["routes"][USER]["requests"])


def calls(api: FakeApi) -> int:
    """How many calls GitHub had, but for what is left of a limit."""
    routes = api.counters()["routes"]
    return sum(one["requests"] for name, one in routes.items() if not name.endswith("rate_limit"))


def test_members_and_users_become_rows_and_neither_a_cleared_nor_a_second_run_asks_for_what_is_known(
    warehouse, api, world, dag
):
    for table in ("users", "memberships"):
        warehouse.delete_table(f"github.{table}", not_found_ok=True)
    small = DagRun(dag, "small", at=AT, repositories=SMALL, workers=3)
    results = small.run()
    names = [name for name in SMALL if name != "gone-org/sluice"]
    ids = world.member_ids(names)
    expected = world.details(ids)
    found = users(warehouse)
    assert found.keys() == expected.keys()
    fields = ("login", "company", "location", "followers")
    for user_id, user in found.items():
        assert [user[field] for field in fields] == [expected[user_id][field] for field in fields]
    receipt, members = results["users.prove"], results["members.prove"]
    assert receipt["agrees"]
    assert receipt["planned"] == len(ids)
    assert receipt["staged"] == receipt["loaded"] == receipt["merged"] == receipt["table"] == len(expected)
    assert receipt["gaps"] == len(ids) - len(expected)
    assert asked(api) == len(ids)
    assert receipt["sent"] == calls(api), "with those of the lists"
    listed = sum(len(world.repository(name).member_ids(listing)) for name in names for listing in LISTS)
    assert (members["loaded"], members["merged"], members["sent"]) == (listed, listed, 0)
    (most,) = rows(warehouse, "SELECT * FROM github.overlap WHERE list = 'stargazers' ORDER BY shared DESC LIMIT 1")
    one, other = (set(world.repository(most[name]).member_ids("stargazers")) for name in
                  ("repository", "other_repository"))  # fmt: skip
    assert most["shared"] == len(one & other)
    weeks = rows(warehouse, "SELECT MAX(total_stars) AS total FROM github.stars_by_week GROUP BY repository")
    assert sorted(week["total"] for week in weeks) == [1, 100, 310]
    limits = api.github()
    assert (limits["primary_refusals"], limits["secondary_refusals"]) == (0, 0)

    # it is cleared, with all its tasks and so each of them: it asks for nobody again
    api.reset()
    small.run()
    assert asked(api) == 0
    assert users(warehouse) == found

    # a second run finds most unchanged, and GraphQL keeps the counts
    api.reset_github()
    run = DagRun(dag, "again", at=AT, repositories=["globex/sluice"], api="graphql")
    receipt = run.run()["users.prove"]
    stars = {star.user.id for star in world.repository("globex/sluice").stargazers if not star.user.deleted}
    after = users(warehouse)
    assert {after[user_id]["_run_id"] for user_id in stars} == {"again"}
    assert [after[user_id]["followers"] for user_id in stars] == [found[user_id]["followers"] for user_id in stars]
    assert asked(api) < len(stars)
    assert receipt["sent"] == calls(api)
    assert api.github()["not_modified"] == receipt["unchanged"] > receipt["gaps"]


def test_the_plan_alone_tells_what_both_ways_cost(warehouse, api, dag):
    run = DagRun(dag, "plan", at=AT, repositories=["acme/windmill"], plan_only=True)
    rest, graphql = run.run()["estimate"]
    assert (rest["name"], rest["units"]) == ("rest", {"core": 1 + 1_150 + 12 + 320 + 4})
    assert graphql["units"] == {"core": 325, "graphql": 12}
    assert run.skipped == set(dag.task_ids) - {"estimate"}
    assert asked(api) == 0
