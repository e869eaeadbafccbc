"""github_users on the whole local cloud with a real Airflow: mapped tasks that wait without a slot.

What its rows are is in tests/integration/test_github_dag.py.
"""

from local_cloud.apis.github.world import LISTS, make_world
from tests.e2e.system import Dag, System

REPOSITORY = "tiny/exact.hundred"


def test_windows_are_used_up_and_the_slot_is_free_between_them(system: System) -> None:
    """Hours of eight seconds with 30 calls for each of four owners: the users take three of them."""
    github, world = Dag(system.of("github"), "github_users"), make_world()
    ids = world.member_ids([REPOSITORY])
    assert len(ids) > 2 * 4 * 30
    github.system.reset()
    github.system.admin("DELETE", "github")
    github.system.admin("PUT", "github", {"hour_s": 8, "limit": 30})
    run_id, state = github.run(repositories=[REPOSITORY], workers=2)
    limits = github.system.admin("GET", "github")
    github.system.admin("DELETE", "github")

    assert (state, github.failed(run_id)) == ("success", [])
    log = f"/dags/{github.dag_id}/dagRuns/{run_id}/taskInstances/fetch/logs/1?full_content=true&map_index=0"
    lines = [str(line.get("event")) for line in github.system.airflow.call("GET", log)["content"]]
    assert any("tokens of 'github' are used up" in line for line in lines)
    assert any("DEFERRED" in line for line in lines), "the worker's slot is free while it waits"
    assert (limits["primary_refusals"], limits["secondary_refusals"]) == (0, 0)
    assert len(limits["windows"]) == 4
    expected = world.details(ids)
    rows = github.system.rows(f"SELECT user_id FROM github.users WHERE _run_id = '{run_id}'")  # noqa: S608
    assert sorted(row["user_id"] for row in rows) == sorted(expected)
    receipt = github.receipt(run_id, "users.prove")
    assert (receipt["agrees"], receipt["planned"], receipt["merged"]) == (True, len(ids), len(expected))
    assert receipt["sent"] == github.system.calls(), "with those of the lists"
    listed = sum(len(world.repository(REPOSITORY).member_ids(listing)) for listing in LISTS)
    assert github.receipt(run_id, "members.prove")["merged"] == listed
    github.system.reset()
