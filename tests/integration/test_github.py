"""github_users up to the landing, over real connections: a pool of tokens, Redis, MongoDB, and the fake GitHub."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from redis import Redis

from local_cloud import airflow_env
from local_cloud.apis.github.demo_tokens import BAD_TOKEN, DEMO_TOKENS, NO_SCOPE_TOKEN, POOL
from local_cloud.apis.github.world import LISTS, World, make_world
from local_cloud.apis.testing import FakeApi
from local_cloud.ports import find_free
from local_cloud.settings import Settings
from local_cloud.testing import running
from tests.faults.github_process import MEMBERSHIPS, SMALL, TINY, USERS, Job, resumed
from tests.faults.harvest_process import until
from windrow.airflow.hooks.broker import broker
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.discover import DiscoverOperator
from windrow.airflow.operators.estimate import EstimateOperator
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.harvest.broker import Broker
from windrow.harvest.feeds import Item
from windrow.landing.receipt import Staged
from windrow.model.answer import Outcome
from windrow.model.errors import BadParameter, CredentialsRejected, PlanMissing, QueryRefused
from windrow.model.plan import Run
from windrow.model.policy import Backoff
from windrow.sources.github.streams import Users

QUICK = {"points_per_minute": 1_000_000, "patience_s": 0.5, "connections": 8}


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def redis_url(cloud: Settings) -> str:
    """The Redis of the local cloud, or the real one that REDIS_URL names."""
    return os.environ.get("REDIS_URL") or airflow_env.redis_url(cloud)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, cloud: Settings, redis_url: str, api: FakeApi):
    """Set the Airflow connections; changes are fields of the extra of GitHub's."""
    api.reset_github()
    monkeypatch.setattr(Backoff, "pause_s", lambda *_: 0.01)  # else eight attempts take six seconds
    database = f"github_{uuid.uuid4().hex}"

    def set_connections(**changes: Any) -> None:
        tokens = [{"token": token, "owner": DEMO_TOKENS[token]} for token in POOL]
        github = {"conn_type": "http", "host": f"{api.url}/github", "extra": {"tokens": tokens} | QUICK | changes}
        monkeypatch.setenv("AIRFLOW_CONN_GITHUB", json.dumps(github))
        mongo = airflow_env.mongo_connection(cloud, database)
        monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(mongo))
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", redis_url)

    set_connections()
    return set_connections


@pytest.fixture
def queue(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def broker_of(job: Job) -> AbstractContextManager[Broker]:
    return broker("redis_default", Run(USERS, job.run_id))


def assert_complete(job: Job, world: World, names: list[str] | None = None) -> None:
    """Every user of its lists is staged once: with details, or as a gap if deleted."""
    ids = world.member_ids(names or job.params["repositories"], job.params["lists"] or LISTS)
    expected = world.details(ids)
    found = job.users()
    assert found.keys() == expected.keys()
    for user_id, user in found.items():
        for column in Users.contract.columns[:16]:
            assert user[column.name] == expected[user_id][column.field], (user_id, column.name)
    assert [answer.status for answer in job.answers() if answer.outcome is Outcome.MISSING] == [404] * (
        len(ids) - len(expected)
    )
    assert len(job.answers()) == job.plan().planned == len(ids)


# --- the way through ---------------------------------------------------------------------------


def test_users_go_from_the_lists_through_redis_to_mongodb(connect, api, world, queue):
    job = Job(repositories=["globex/sluice", "tiny/one"], lists=None)
    listed = job.execute(DiscoverOperator)
    ids = world.member_ids(job.params["repositories"])
    assert listed["planned"] == len(ids)
    stream = f"windrow:{USERS}|{job.run_id}"
    assert queue.xlen(stream) == len(ids)
    figures = job.fetch()

    assert (figures["answered"] + figures["gaps"], figures["sent"]) == (len(ids), len(ids))
    assert_complete(job, world)
    assert queue.xlen(stream) == 0
    assert 0 < queue.ttl(stream) <= 7 * 24 * 3600
    asked = api.counters()["routes"]["GET /github/user/{id}"]
    assert (asked["requests"], asked["unique"]) == (len(ids), len(ids))
    assert job.execute(HarvestOperator)["sent"] == 0, "the sweep has nothing to do"
    limits = api.github()
    assert (limits["primary_refusals"], limits["secondary_refusals"]) == (0, 0)
    spent = [window["used"] for owner in limits["windows"].values() for window in owner["core"]]
    assert max(spent) - min(spent) <= 10, "each call took the token with the most left"


def test_memberships_are_settled_by_what_the_lists_told(connect, api, world):
    job = Job(repositories=SMALL, lists=None)
    job.execute(DiscoverOperator)
    api.reset()

    job.execute(PlanOperator, MEMBERSHIPS)

    assert api.counters()["totals"]["requests"] == 0
    assert len(job.answers(MEMBERSHIPS)) == job.plan(MEMBERSHIPS).planned
    members = job.members()
    for name in SMALL:
        repository = world.repository(name)
        mine = [member for member in members if member["repository"] == name]
        assert {member["repository_id"] for member in mine} == {repository.id}
        for listing in LISTS:
            found = [member["user_id"] for member in mine if member["list"] == listing and member["user_id"]]
            assert found == repository.member_ids(listing)
        stars = {star.user.id: star.starred_at for star in repository.stargazers}
        assert {m["user_id"]: m["since"] for m in mine if m["list"] == "stargazers"} == stars


def test_authors_without_an_account_are_members_and_no_users(connect, world):
    job = Job(repositories=["acme/windmill"], lists=["contributors"])
    assert job.execute(DiscoverOperator)["planned"] == 240
    job.execute(PlanOperator, MEMBERSHIPS)
    anonymous = [member for member in job.members() if member["user_id"] is None]
    assert len({member["member_key"] for member in anonymous}) == len(anonymous) == 35
    assert all(member["contributions"] >= 1 for member in anonymous)
    assert "@" not in str(anonymous), "their addresses are not kept"


def test_graphql_brings_stargazers_with_their_details(connect, api, world):
    job = Job(repositories=["globex/sluice", "tiny/one"], lists=None, api="graphql")
    job.execute(DiscoverOperator)
    points = sum(owner["graphql"][0]["used"] for owner in api.github()["windows"].values() if "graphql" in owner)
    assert points == 4 + 1
    job.fetch()
    job.execute(PlanOperator, MEMBERSHIPS)

    repositories = [world.repository(name) for name in job.params["repositories"]]
    starred = {star.user.id for repository in repositories for star in repository.stargazers if not star.user.deleted}
    others = world.member_ids(job.params["repositories"], ["contributors", "forks"]) - starred
    asked = api.counters()["routes"]["GET /github/user/{id}"]
    assert asked["requests"] == asked["unique"] == len(others)
    users, expected = job.users(), world.details(starred | others)
    assert users.keys() == expected.keys()
    same = ("login", "name", "company", "location", "email", "bio", "type", "site_admin", "hireable")
    for user_id, user in users.items():
        assert {name: user[name] for name in same} == {name: expected[user_id][name] for name in same}
    found = {m["user_id"] for m in job.members() if m["list"] == "stargazers"}
    assert found == starred
    assert job.execute(HarvestOperator)["sent"] == 0


def test_a_second_run_asks_only_what_has_changed(connect, api, world):
    first = Job(repositories=["globex/sluice"]).run_through()
    api.reset_github()
    again = Job(repositories=["globex/sluice"]).run_through()
    assert_complete(again, world)
    assert again.users() == first.users()
    limits = api.github()
    alive = len(world.details(world.member_ids(["globex/sluice"], ["stargazers"])))
    lists_with_a_next_page = 3
    assert limits["not_modified"] == alive + 1 + lists_with_a_next_page
    used = sum(window["used"] for owner in limits["windows"].values() for window in owner["core"])
    assert used == api.counters()["totals"]["requests"] // 2 - limits["not_modified"] - 8


def test_a_repository_that_is_not_there_is_a_gap_of_both_streams(connect, api, world):
    job = Job(repositories=["tiny/one", "acme/secret"], lists=None)
    job.execute(DiscoverOperator)
    job.fetch()
    job.execute(PlanOperator, MEMBERSHIPS)
    assert job.users().keys() == world.details(world.member_ids(["tiny/one"])).keys()
    for dataset in (USERS, MEMBERSHIPS):
        with staging("mongo_default", dataset) as state:
            counted = Staged.count(state, job.plan(dataset))
        assert counted.gaps == 1
        assert "'repos/acme/secret': HTTP 404 The repository 'acme/secret' is not found" in counted.examples[0]


@pytest.mark.parametrize("fault", ["malformed", 500])
def test_a_list_of_one_repository_that_cannot_be_read_leaves_the_others(connect, api, world, mongo, fault):
    """And cleared, the task asks for it alone; the receipt does not add up until then."""
    database = json.loads(os.environ["AIRFLOW_CONN_MONGO_DEFAULT"])["schema"]
    mongo[database]["windrow_kept"].drop()  # of an answer that is kept the API says 304, and its fault is not seen
    job = Job(repositories=TINY, lists=None)
    api.faults(sticky={"repos/tiny/one": fault})
    job.execute(DiscoverOperator)
    job.fetch()
    assert_complete(job, world, ["tiny/exact.hundred"])
    with staging("mongo_default", USERS) as state:
        assert Staged.count(state, job.plan()).left_out == 1
    api.heal()
    api.reset()

    job.execute(DiscoverOperator)
    job.fetch()

    assert_complete(job, world)
    asked = [route["requests"] for name, route in api.counters()["routes"].items() if "/repos/" in name]
    assert sum(asked) == 1 + len(LISTS)
    with staging("mongo_default", USERS) as state:
        assert Staged.count(state, job.plan()).quarantined == 0


# --- limits ------------------------------------------------------------------------------------


def test_windows_are_used_up_and_never_overdrawn(connect, api, world):
    """An hour of 2 s, and 7 calls in it for each of four owners; between windows the task is deferred."""
    limit = 7
    api.github(hour_s=2, limit=limit)
    job, pauses = Job(repositories=["tiny/exact.hundred"]), 0
    for run in (lambda: job.execute(DiscoverOperator), job.fetch):
        while True:
            try:
                run()
                break
            except TaskDeferred as deferred:
                pauses += 1
                resumed(deferred)
    assert_complete(job, world)
    counts = api.github()
    assert counts["primary_refusals"] == 0
    assert len(counts["windows"]) == 4
    for owner in counts["windows"].values():
        *full, _last = owner["core"]
        assert len(full) >= 3
        assert all(limit - 2 <= window["used"] <= limit for window in full), owner
    assert pauses >= 3


def test_workers_do_not_share_tokens(connect, api, world):
    api.github(limit=40)
    job = Job(lists=None)
    job.execute(DiscoverOperator)
    with pytest.raises(TaskDeferred):
        job.fetch(0, 2)
    used = {owner: windows["core"][0]["used"] for owner, windows in api.github()["windows"].items()}
    assert used["octo-ada"] == used["octo-cyd"] == 39
    assert used["octo-ben"] + used["octo-dee"] < 20, "discovery alone has used them"
    with pytest.raises(TaskDeferred):
        job.fetch(1, 2)
    assert {windows["core"][0]["used"] for windows in api.github()["windows"].values()} == {39}
    assert api.github()["primary_refusals"] == 0
    assert job.fetch(7, 8) is None, "there is no eighth token"


def test_a_secondary_limit_is_waited_for_and_loses_nothing(connect, api, world):
    """A minute of 3 s and 10 points an owner: 13 calls a second are too many, so a busy machine is refused too."""
    connect(patience_s=5)
    api.github(hour_s=180, points_per_minute=10)
    job = Job(repositories=["tiny/exact.hundred"]).run_through()
    assert_complete(job, world)
    assert api.github()["secondary_refusals"] > 0
    assert api.github()["primary_refusals"] == 0


@pytest.mark.parametrize("shape", ["retry_after", "abuse", "message_only"])
def test_a_secondary_limit_that_lasts_gives_the_slot_back(connect, api, shape):
    job = Job(repositories=["tiny/exact.hundred"])
    job.execute(DiscoverOperator)
    api.github(points_per_minute=5, secondary_shape=shape)
    with pytest.raises(TaskDeferred) as deferred:
        job.fetch()
    wait = deferred.value.trigger.moment - datetime.now(UTC)
    assert timedelta(0) < wait <= timedelta(seconds=62)


def test_points_are_paced_below_the_secondary_limit(connect, api, world):
    """A minute of 3 s and 60 points: the pool sends a burst of 40 and six a second, of the 71 users of each owner."""
    connect(points_per_minute=400)
    api.github(hour_s=180, points_per_minute=60)
    job = Job(repositories=["globex/sluice"]).run_through()
    assert_complete(job, world)
    assert api.github()["secondary_refusals"] == 0


# --- bad tokens --------------------------------------------------------------------------------


def test_bad_tokens_leave_the_pool_with_a_warning(connect, api, world, caplog):
    worse = BAD_TOKEN.replace("bad", "BAD")
    connect(tokens=[BAD_TOKEN, {"token": POOL[0], "owner": "octo-ada"}, {"token": worse, "owner": "octo-bad"}])
    job = Job().run_through()
    assert_complete(job, world)
    warnings = [record.getMessage() for record in caplog.records if "if all others are used up" in record.getMessage()]
    assert len(warnings) == 4, "two of them, in discover and in fetch"
    assert any("token 1 of 3 of 'github'" in warning for warning in warnings)
    assert any("token 3 of 3 (octo-bad)" in warning for warning in warnings)
    assert not any(token in caplog.text for token in (BAD_TOKEN, worse, POOL[0]))


def test_a_token_that_goes_bad_on_the_way_leaves_the_pool(connect, api, world, caplog):
    job = Job()
    job.execute(DiscoverOperator)
    api.faults(latency_ms=5)
    api.github(bad_tokens=[POOL[1], POOL[3]])
    job.fetch()
    assert_complete(job, world)
    assert (
        "token 2 of 4 (octo-ben) of 'github' is only used if all others are used up: /rate_limit answered"
        in caplog.text
    )


def test_a_token_without_rights_leaves_the_pool(connect, api, world, caplog):
    connect(tokens=[NO_SCOPE_TOKEN, POOL[0]])
    job = Job().run_through()
    assert_complete(job, world)
    assert "token 1 of 2" in caplog.text
    assert "Resource not accessible by personal access token" in caplog.text


def test_a_token_without_rights_leaves_the_pool_by_graphql_too(connect, api, world, caplog):
    connect(tokens=[POOL[0]])
    job = Job(repositories=["tiny/exact.hundred"], api="graphql")
    job.execute(EstimateOperator, plan_only="False")  # the repository is found: what is left is GraphQL's
    connect(tokens=[NO_SCOPE_TOKEN, POOL[0]])
    job.execute(DiscoverOperator)
    assert len(job.users()) == len(world.details(world.member_ids(job.params["repositories"], ["stargazers"])))
    assert "token 1 of 2 of 'github' has no permission for the query" in caplog.text
    assert "FORBIDDEN" in caplog.text


@pytest.mark.parametrize("bad", [BAD_TOKEN, NO_SCOPE_TOKEN])
def test_a_worker_without_a_good_token_leaves_the_rest_to_the_others(connect, api, world, caplog, bad):
    connect(tokens=[POOL[0], bad])
    job = Job()
    job.execute(DiscoverOperator)
    assert job.fetch(1, 2)["answered"] <= 25, "what its token was refused, another one asked"
    assert "token 2 of 2 of 'github' was removed from the pool" in caplog.text
    job.fetch(0, 2, claim_after_s=0.1)
    assert_complete(job, world)
    assert job.execute(HarvestOperator)["sent"] == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_tokens_that_all_go_bad_end_the_run_at_last(connect, api, world, workers):
    connect(tokens=[POOL[0]] if workers == 1 else [POOL[0], POOL[1]])
    job = Job(repositories=["tiny/exact.hundred"])
    job.execute(DiscoverOperator)
    api.github(bad_tokens=list(POOL))
    if workers == 2:
        job.fetch(0, 2)
        job.fetch(1, 2)
    with pytest.raises(CredentialsRejected, match="Bad credentials"):
        job.fetch() if workers == 1 else job.execute(HarvestOperator)


@pytest.mark.parametrize(
    ("tokens", "error", "said"),
    [
        ([BAD_TOKEN, BAD_TOKEN], CredentialsRejected, "has no valid token"),
        ([NO_SCOPE_TOKEN], QueryRefused, "Resource not accessible by personal access token"),
    ],
)
def test_when_all_tokens_are_bad_nothing_is_tried_for_long(connect, api, tokens, error, said):
    connect(tokens=tokens)
    with pytest.raises(error, match=said) as rejected:
        Job().execute(DiscoverOperator)
    assert not any(token in str(rejected.value) for token in tokens)
    assert api.counters()["totals"]["requests"] <= 4


def test_an_app_is_a_member_of_the_pool(connect, api, world):
    app = api.github_app()
    installed = [{**app, "installation_id": number} for number in app.pop("installations")]
    connect(tokens=[], apps=installed)
    job = Job().run_through()
    assert_complete(job, world)
    assert sorted(api.github()["windows"]) == ["installation-7001", "installation-7002"]
    assert api.counters()["tokens_issued"] == 4, "one each for discovery and for the worker"


def test_the_tokens_of_an_app_end_in_the_middle_of_a_fetch(connect, api, world):
    app = api.github_app()
    connect(tokens=[], apps=[{**app, "installation_id": app.pop("installations")[0]}], connections=4, patience_s=5)
    job = Job(repositories=["tiny/exact.hundred"])
    job.execute(DiscoverOperator)
    api.reset()
    api.github(hour_s=2)
    api.faults(latency_ms=160)
    figures = job.fetch()
    api.heal()
    assert_complete(job, world)
    counters = api.counters()
    assert figures["tokens"] == counters["tokens_issued"] >= 3
    assert counters["totals"]["by_status"].get("401", 0) == 0, "each is renewed before it ends"


def test_no_store_holds_a_token(connect, api, mongo, queue):
    app = api.github_app()
    connect(apps=[{**app, "installation_id": app.pop("installations")[0]}])
    database = json.loads(os.environ["AIRFLOW_CONN_MONGO_DEFAULT"])["schema"]
    job = Job(repositories=["tiny/exact.hundred"])
    job.execute(DiscoverOperator)
    messages = queue.xrange(f"windrow:{USERS}|{job.run_id}")
    job.fetch()
    collections = mongo[database].list_collection_names()
    assert {USERS, "windrow_kept", "windrow_listings", "windrow_plans", "windrow_figures"} <= set(collections)
    stored = str([list(mongo[database][name].find()) for name in collections]) + str(messages)
    assert len(stored) > 50_000
    assert not any(secret in stored for secret in (*POOL, "ghs_", "PRIVATE KEY"))


# --- faults ------------------------------------------------------------------------------------


def test_faults_on_the_way_cost_no_user(connect, api, world):
    api.faults(
        error_share=0.05, error_status=502, cut_share=0.05, malformed_share=0.05, throttle_share=0.03, retry_after=0.05,
        unknown_fields=True, latency_ms=5,
    )  # fmt: skip
    job = Job(repositories=SMALL).run_through()
    job.execute(PlanOperator, MEMBERSHIPS)
    totals = api.counters()["totals"]
    api.heal()
    assert min(totals["by_status"]["502"], totals["cut"], totals["malformed"], totals["by_status"]["429"]) > 0
    assert_complete(job, world)
    stars = [member["user_id"] for member in job.members() if member["list"] == "stargazers"]
    assert sorted(stars) == sorted(each for name in SMALL for each in world.repository(name).member_ids("stargazers"))


# --- Redis -------------------------------------------------------------------------------------


def test_a_worker_with_nothing_to_do_gives_its_slot_back(connect, api, queue):
    job = Job()
    with pytest.raises(TaskDeferred) as deferred:
        job.fetch()
    assert deferred.value.method_name == "go_on"
    stream = f"windrow:{USERS}|{job.run_id}"
    assert queue.ttl(stream) > 0, "it goes away also if nothing ever comes"
    queue.expire(stream, 60)
    with pytest.raises(TaskDeferred):
        job.fetch()
    assert queue.ttl(stream) > 3_600, "and does not as long as somebody looks at it"
    job.discovery = "failed"
    assert job.fetch()["sent"] == 0


def test_what_a_dead_worker_took_is_claimed(connect, world):
    job = Job()
    job.execute(DiscoverOperator)
    with broker_of(job) as queue:
        dead = queue.take("worker-1")
        assert len(dead) == 32
        with pytest.raises(TaskDeferred):
            job.fetch(0, 2)
        assert queue.left() == 32, "they may still come"
        job.fetch(0, 2, claim_after_s=0.1)
        assert queue.left() == 0
    assert_complete(job, world)


def test_a_worker_that_starts_again_finds_what_it_had_taken(connect, world):
    job = Job()
    job.execute(DiscoverOperator)
    with broker_of(job) as queue:
        before = [item for _ in range(3) for item in queue.take("worker-0")]
        assert len(before) == 96, "three times as many as it takes at once"
    job.fetch()
    assert_complete(job, world)


def test_an_answer_that_was_staged_and_not_acknowledged_is_not_asked_for_again(connect, api, world):
    """As when a worker is killed between the two: its messages are taken, and their queries settled."""
    job = Job()
    job.execute(DiscoverOperator)
    with broker_of(job) as queue:
        assert len(queue.take("worker-0")) == 32
        job.execute(HarvestOperator)
        assert job.fetch()["sent"] == 0
        assert queue.left() == 0
    assert_complete(job, world)


def test_a_worker_does_not_call_a_query_whose_gap_was_accepted(connect, api, queue):
    job = Job(repositories=["tiny/one"], lists=None)
    job.execute(DiscoverOperator)
    run = Run(USERS, job.run_id)
    with staging("mongo_default", USERS) as state:
        (first, *_) = [query.key for query in state.chunk(run, 0).queries if not state.is_settled(run, query.key)]
        state.accept_gaps(run, [first], by="ada", note="deleted")

        job.fetch()

        assert not state.is_settled(run, first)
    with broker_of(job) as broker:
        assert broker.left() == 0
    assert job.execute(HarvestOperator)["sent"] == 0, "all others are settled"


def test_a_worker_does_not_claim_what_it_is_asking_itself(connect, api, world):
    job = Job(repositories=["tiny/one"], lists=None)
    job.execute(DiscoverOperator)
    api.faults(latency_ms=1_000)
    job.fetch(claim_after_s=0.1, idle_s=5)
    api.heal()
    assert_complete(job, world)
    asked = api.counters()["routes"]["GET /github/user/{id}"]
    assert asked["requests"] == asked["unique"]


def test_after_kill_9_of_a_worker_another_one_asks_for_the_rest(connect, api, world):
    job = Job(lists=None)
    job.execute(DiscoverOperator)
    api.faults(latency_ms=20)
    route = "GET /github/user/{id}"
    with job.start_worker(0, 2) as dead:
        try:
            until(
                lambda: (
                    api.counters()["routes"].get(route, {"requests": 0})["requests"] > 50 or dead.poll() is not None
                ),
                "50 calls",
                60,
            )
            assert dead.poll() is None, dead.communicate()[1]
        finally:
            dead.kill()
    with broker_of(job) as broker:
        assert broker.left() > 32
    job.fetch(1, 2, claim_after_s=2)
    assert_complete(job, world)
    assert job.execute(HarvestOperator)["sent"] == 0
    assert api.counters()["routes"][route]["repeated_ok"] <= 2 * QUICK["connections"], "calls under way at the kill"


def test_a_message_that_comes_twice_is_asked_once(connect, api, world):
    job = Job()
    job.execute(DiscoverOperator)
    with broker_of(job) as queue:
        queue.push([Item(query, 0) for query in job.queries()])
    job.fetch()
    assert_complete(job, world)
    asked = api.counters()["routes"]["GET /github/user/{id}"]
    assert asked["requests"] == asked["unique"]


def test_without_redis_the_sweep_does_all(connect, world, monkeypatch, caplog):
    (port,) = find_free(1)
    redis = {"conn_type": "redis", "host": "127.0.0.1", "port": port}
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps(redis))
    job = Job()
    job.execute(DiscoverOperator)
    assert job.fetch()["sent"] == 0
    assert "Redis operation failed" in caplog.text
    assert job.execute(HarvestOperator)["answered"] > 0
    assert_complete(job, world)


def test_redis_lost_in_the_middle_costs_no_answer(connect, api, world, monkeypatch, tmp_path, caplog):
    job = Job(lists=None)
    with running({"redis"}, tmp_path / "redis") as lost:
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", airflow_env.redis_url(lost))
        job.execute(DiscoverOperator)
        api.reset_github()
        api.github(limit=30)
        with pytest.raises(TaskDeferred):
            job.fetch()
    api.reset_github()
    staged = len(job.answers())
    assert staged > 50

    assert job.fetch()["sent"] == 0
    assert "Redis operation failed" in caplog.text
    swept = job.execute(HarvestOperator)

    assert swept["settled_before"] == staged
    assert_complete(job, world)
    asked = api.counters()["routes"]["GET /github/user/{id}"]
    assert asked["repeated_ok"] == 0


def test_a_stream_that_vanishes_is_not_waited_for(connect, world, queue):
    job = Job()
    job.execute(DiscoverOperator)
    queue.delete(f"windrow:{USERS}|{job.run_id}")
    job.fetch()
    assert job.execute(HarvestOperator)["answered"] > 0
    assert_complete(job, world)


# --- discovery that breaks off, and lists that are not given -----------------------------------


def test_discovery_goes_on_where_it_was(connect, api, world):
    api.github(limit=4)
    job = Job(repositories=["acme/windmill"], lists=None)
    with pytest.raises(TaskDeferred):
        job.execute(DiscoverOperator)
    listed = api.counters()["totals"]["requests"]
    with pytest.raises(PlanMissing):
        job.plan()
    api.reset_github()
    with broker_of(job) as queue:
        before = queue.left()
    planned = job.execute(DiscoverOperator)["planned"]
    assert 200 < before < queue.left() <= planned + 100, "a page may come twice, and no more"
    repository = world.repository("acme/windmill")
    pages = sum(-(-count // 100) for count in (275, len(repository.stargazers), len(repository.forks)))
    assert api.counters()["totals"]["requests"] - 8 == pages + 1 > listed - 4
    ids = world.member_ids(["acme/windmill"])
    assert sorted(query.path for query in job.queries()) == sorted(f"/user/{each}" for each in ids)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["acme/no-such"], "'acme/no-such'"),
        (["acme/secret", "x/y"], "'acme/secret' is not found.*'x/y' is not found"),
        (["acme"], "'acme' is not a valid"),
        (["acme/wind mill"], "is not a valid"),
        (["../rate_limit"], "is not a valid"),
        ([], "at least one name"),
        (None, "must be a list"),
    ],
)
def test_repositories_that_cannot_be_meant(connect, api, names, words):
    for operator in (EstimateOperator, DiscoverOperator):
        with pytest.raises(BadParameter, match=words):
            Job(repositories=names).execute(operator)
    assert api.counters()["routes"]["GET /github/user/{id}"]["requests"] == 0


def test_a_repository_that_is_named_twice_is_listed_once(connect, api, world):
    job = Job(repositories=["globex/sluice", "gone-org/sluice", "GLOBEX/Sluice", "acme/empty"], lists=["forks"])
    job.execute(DiscoverOperator)
    routes = api.counters()["routes"]
    assert routes["GET /github/repos/{owner}/{name}/forks"]["requests"] == 2
    job.fetch()
    assert_complete(job, world)


def test_lists_that_github_does_not_give_are_gaps(connect, api, world):
    api.github(page_cap=3)
    job = Job(repositories=["acme/monolith", "acme/windmill"], lists=["contributors", "stargazers"])
    job.execute(DiscoverOperator)
    job.execute(PlanOperator, MEMBERSHIPS)
    gaps = {answer.query.key: answer.status for answer in job.answers(MEMBERSHIPS) if answer.outcome is Outcome.MISSING}
    assert sorted(gaps.values()) == [403, 422]
    keys = {status: key for key, status in gaps.items()}
    assert keys[403].startswith("repos/acme/monolith/contributors?")
    assert "page=4" in keys[422]
    repository = world.repository("acme/windmill")
    stars = [member["user_id"] for member in job.members() if member["list"] == "stargazers"]
    assert set(repository.member_ids("stargazers")[:300]) <= set(stars)
