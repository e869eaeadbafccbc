"""x_posts on the whole local cloud with a real Airflow: from the stream to the marts, woken by the queue."""

import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local_cloud import airflow_env
from local_cloud.apis.testing import FakeApi
from tests.apis.x.bench import X
from tests.e2e.sleepy import Airflow
from tests.e2e.system import Dag, System, until
from tests.local_cloud.conftest import eventually, is_alive
from windrow.sources.x.publisher.intake import RUN
from windrow.sources.x.publisher.publisher import STEP
from windrow.store.staging import opened

DAG_ID = "x_posts"
SUBSCRIPTION = "projects/windrow/subscriptions/x-posts"


class Posts(Dag):
    """The DAG, its stream, its queue and its table."""

    @property
    def x(self) -> X:
        return X(FakeApi(self.system.settings.api_url, None))  # type: ignore[arg-type]  # its process is supervised

    def sent(self) -> list[str]:
        """Name the posts that went out on the stream."""
        return list(self.x.admin("GET", "/posts?sent=1")["ids"])

    def ids(self) -> list[str]:
        return [row["post_id"] for row in self.system.rows("SELECT post_id FROM x.posts ORDER BY post_id")]

    def check_whole(self) -> None:
        """Fail if a post is lost, doubled or made up.

        The publisher may have been away: then the search has brought what the stream did not, and nobody the reposts
        among them. Whatever went out on the stream has to be there, as nobody kills the publisher here.
        """
        found, sent = self.ids(), set(self.sent())
        since = min(sent, key=int)
        refilled = {post_id for post_id in self.x.ids("tesla -is:retweet") if int(post_id) >= int(since)}
        assert len(found) == len(set(found)), "a post is there twice"
        assert not (sent | refilled) - set(found), "a post is lost"
        assert not set(found) - set(self.x.ids("tesla")), "a post was never made"

    def settle(self) -> None:
        """Wait until the publisher reads the stream and no gap is left to be filled."""
        with opened(airflow_env.mongo_url(self.system.settings), "windrow") as staging:
            until(lambda: (now := staging.notes(RUN).get(STEP, {})).get("reading") and now["gaps"] == 0, 180)

    def waiting(self) -> int:
        """How many messages are not acknowledged."""
        url = f"{self.system.settings.pubsub_url}/subscriptions"
        report = requests.get(url, timeout=10).json()[SUBSCRIPTION]
        return int(report["waiting"]) + int(report["leased"])

    def pause(self, is_paused: bool) -> None:
        """Switch the DAG off, or on."""
        self.system.airflow.pause(DAG_ID, is_paused=is_paused)

    def woken(self, known: Collection[str]) -> str:
        """Name the new run that the queue has begun; make more posts if a run by time took all before it was looked."""
        for run in self.runs():
            new = run["dag_run_id"] not in known
            if new and run["run_type"] == "asset_triggered" and run["state"] in {"running", "success"}:
                return str(run["dag_run_id"])
        if not self.waiting() and self.is_resting():
            self.x.make(50)
        return ""

    def has_merged(self) -> bool:
        """Say whether there are rows: a run has merged some."""
        return any(self.tasks(run["dag_run_id"])["merge"]["state"] == "success" for run in self.runs())


@pytest.fixture(scope="module")
def posts(system: System) -> Iterator[Posts]:
    dag = Posts(system.of("x"), DAG_ID)
    dag.system.reset()
    until(lambda: dag.x.admin("GET")["connected"])
    dag.x.scene(rate_per_s=0)
    dag.settle()
    yield dag
    dag.rest()
    dag.pause(True)


@pytest.fixture
def taken(posts: Posts) -> Posts:
    """Nothing waits in the queue: a run has taken what did."""
    posts.rest()
    if posts.waiting():
        posts.run(max_seconds=10)
        posts.rest()
    return posts


@pytest.fixture
def merged(taken: Posts) -> Posts:
    """There are rows, which any run has merged."""
    if not taken.has_merged():
        taken.x.make(50)
        until(taken.waiting)
        taken.run(max_seconds=10)
        taken.rest()
    return taken


def test_the_queue_wakes_the_dag_and_a_worker_that_is_killed_in_the_middle_loses_and_doubles_nothing(
    posts: Posts, tmp_path: Path
) -> None:
    airflow = Airflow(posts.system)
    eventually(airflow.is_known, "its file is parsed", 60)
    task = airflow.start_task(tmp_path / "pid")
    known = {run["dag_run_id"] for run in posts.runs()}
    posts.x.make(300)
    posts.pause(False)
    run_id = until(lambda: posts.woken(known), 240)
    until(lambda: posts.states(run_id)["load"] in {"running", "success"}, 240)
    scheduler, below = airflow.scheduler()
    assert sum("airflow worker" in command for command in below.values()) >= 8
    assert task in below

    os.kill(scheduler, signal.SIGKILL)

    eventually(lambda: not any(map(is_alive, below)), "its workers and their tasks are gone")
    airflow.end()
    eventually(lambda: airflow.cloud.states()["airflow-scheduler"] == "healthy", "it is healthy again", 120)
    assert posts.wait(run_id) == "success"
    posts.rest()
    if posts.waiting():  # the run began before all was published
        posts.run(max_seconds=10)
    assert len(posts.sent()) >= 250
    assert posts.waiting() == 0
    posts.check_whole()
    (row,) = posts.system.rows("SELECT SUM(posts) AS posts FROM x.by_minute")
    assert 0 < row["posts"] <= len(posts.ids())  # less the replaced versions


def test_a_run_without_messages_is_skipped(taken: Posts) -> None:
    run_id, state = taken.run(max_seconds=10)

    assert state == "success"
    assert {task["state"] for task in taken.tasks(run_id).values()} == {"skipped"}


def test_the_board_is_for_who_is_signed_in_and_draws_what_is_there(merged: Posts) -> None:
    board = f"{merged.system.settings.airflow_url}/windrow/boards/x_posts"
    for path in ("/", "/board", "/data"):
        assert requests.get(f"{board}{path}", timeout=30).status_code == 401, path
    login = {"username": airflow_env.USER, "password": merged.system.settings.admin_password}
    url = f"{merged.system.settings.airflow_url}/auth/token"
    signed = {"Authorization": f"Bearer {requests.post(url, json=login, timeout=30).json()['access_token']}"}

    assert "vega" in requests.get(f"{board}/", headers=signed, timeout=30).text

    def answer() -> dict[str, Any] | None:
        """Look, as the page does, until BigQuery has answered."""
        data = requests.get(f"{board}/data", headers=signed, timeout=60).json()
        return None if data.get("reason") == "The BigQuery query is still running." else data

    data = until(answer)
    assert data["state"] == "ready", data
    (row,) = merged.system.rows("SELECT SUM(posts) AS posts FROM x.by_hour")
    assert data["rows"]["totals"][0]["posts_month"] == row["posts"]
