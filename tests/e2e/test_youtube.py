"""youtube_analytics on the whole local cloud with a real Airflow: what only a scheduler and a triggerer can show.

What its rows are is in tests/integration/test_youtube_dag.py. One run goes from state to state, each a fixture that
builds on the one before it and keeps what was seen: any test can run alone or first.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.apis.youtube.pacific import PACIFIC, pacific_day
from tests.e2e.system import Dag, System, until

NOW = datetime.now(UTC)
"""Where the simulated clock of YouTube stands. Airflow's is the real one: what a run asks for is taken from the run."""
COUNT = 25
"""Videos that the playlist lists."""
DAY = timedelta(days=1)
WORKERS = ("days.harvest", "days.more_workers")
"""The tasks that make the calls of the reports: the second one is mapped."""


class Youtube(Dag):
    """The DAG, its fake API, and the days of its runs."""

    def simulate(self, **settings: Any) -> None:
        """Change settings of the fake YouTube."""
        self.system.admin("PUT", "youtube", settings)

    def span(self, run_id: str) -> tuple[date, date]:
        """The first and the last day that a run asked for."""
        planned = self.returned(run_id, "plan_days")
        return date.fromisoformat(planned["first"]), date.fromisoformat(planned["last"])

    def yesterday(self, run_id: str) -> date:
        """The last day that had ended in California when a run was triggered."""
        run = self.system.airflow.call("GET", f"/dags/{self.dag_id}/dagRuns/{run_id}")
        return pacific_day(datetime.fromisoformat(run["run_after"])) - DAY


@pytest.fixture(scope="module")
def youtube(system: System) -> Iterator[Youtube]:
    dag = Youtube(system.of("youtube"), "youtube_analytics")
    dag.system.reset()
    dag.simulate(now=NOW.isoformat(), playlist_cap=COUNT, promised=COUNT)
    yield dag
    system.admin("DELETE", "youtube")
    dag.system.reset()


@dataclass(frozen=True)
class Refused:
    """A run whose consent was revoked, as it was when it had failed."""

    run_id: str
    state: str
    failed: list[str]
    said: str
    tries: int


@dataclass(frozen=True)
class Waiting:
    """The same run, cleared while a quota is used up, as it was when its harvest had deferred."""

    asked: int
    tries: int


@pytest.fixture(scope="module")
def refused(youtube: Youtube) -> Refused:
    """The first run, with two workers and without consent; it is given again when the run has failed."""
    youtube.simulate(consent=False)
    run_id, state = youtube.run(workers=2)
    youtube.simulate(consent=True)
    said, tasks = youtube.said(run_id, "plan_videos"), youtube.tasks(run_id)
    return Refused(run_id, state, youtube.failed(run_id), said, tasks["plan_videos"]["try_number"])


@pytest.fixture(scope="module")
def late(youtube: Youtube, refused: Refused) -> str:
    """What is logged of it after its deadline. Nobody waits for thirty hours: the deadline is moved into the past."""
    with (
        closing(psycopg2.connect(airflow_env.database_url(youtube.system.settings))) as connection,
        connection,  # commits
        connection.cursor() as cursor,
    ):
        late = "UPDATE deadline SET deadline_time = %s WHERE dagrun_id = (SELECT id FROM dag_run WHERE run_id = %s)"
        cursor.execute(late, (datetime.now(UTC) - DAY, refused.run_id))
        assert cursor.rowcount == 1
    log = youtube.system.settings.var / "log" / "airflow-triggerer.log"

    def line() -> str:
        lines = log.read_text(errors="replace").splitlines()
        return next((line for line in lines if "LATE: " in line and refused.run_id in line), "")

    return str(until(line))


@pytest.fixture(scope="module")
def waiting(youtube: Youtube, refused: Refused, late: str) -> Waiting:
    """The late run, cleared, with ten calls left of the quota."""
    used = youtube.system.admin("GET", "youtube")["units"]["analytics"]["used"]
    youtube.simulate(analytics_units=used + 10)
    youtube.system.airflow.clear(youtube.dag_id, refused.run_id, "plan_videos")
    until(lambda: {youtube.states(refused.run_id)[name] for name in WORKERS} == {"deferred"})
    tries = youtube.tasks(refused.run_id)["days.harvest"]["try_number"]
    return Waiting(youtube.system.asked("GET /v2/reports")["ok"], tries)


@pytest.fixture(scope="module")
def whole(youtube: Youtube, refused: Refused, waiting: Waiting) -> str:
    """The same run, whole. Nobody waits until midnight here: the API is given more units, and the task is cleared."""
    youtube.simulate(analytics_units=None)
    with MongoClient(airflow_env.mongo_url(youtube.system.settings)) as mongo:
        quotas = mongo["windrow"]["windrow_quotas"]
        for document in list(quotas.find({"kind": "spent"})):
            if "|youtube." in document["window"]:  # other systems have quotas of their own beside
                quotas.delete_one({"_id": document["_id"]})
    assert youtube.clear(refused.run_id, *WORKERS) == "success"
    return refused.run_id


def test_a_revoked_consent_fails_at_once_and_tells_no_secret(youtube, refused):
    assert (refused.state, refused.failed) == ("failed", ["plan_videos"])
    assert "consent was revoked" in refused.said
    assert "'youtube'" in refused.said
    assert refused.tries == 1, "a retry would not help"
    logs = youtube.system.settings.var / "airflow" / "logs"
    secrets = ("windrow-demo-refresh-token", "windrow-demo-secret", "ya29.")
    told = [path for path in logs.rglob("*.log") for secret in secrets if secret in path.read_text(errors="replace")]
    assert told == []


def test_a_run_that_has_not_ended_in_time_is_late(youtube, refused, late):
    assert f"LATE: run '{refused.run_id}' of {youtube.dag_id} is failed" in late


def test_a_late_run_that_is_cleared_defers_while_a_quota_is_used_up(waiting):
    assert (waiting.asked, waiting.tries) == (10, 1), "it makes the calls that are left, and uses up no retry"


def test_a_late_run_is_whole_when_it_is_cleared_again(youtube, whole):
    assert {youtube.states(whole)[name] for name in WORKERS} == {"success"}
    receipt = youtube.receipt(whole)
    assert (receipt["agrees"], receipt["planned"], receipt["merged"]) == (True, COUNT, receipt["returned_days"])
    first, last = youtube.span(whole)
    assert (first, last) == (last - 6 * DAY, youtube.yesterday(whole))
    moved = f"Watermark moved from (none) to {receipt['watermark']}."
    assert moved in youtube.lines(whole, "prove")


def test_with_only_the_plan_the_rest_is_skipped_and_the_next_run_begins_before_the_watermark(youtube, whole):
    mark = date.fromisoformat(youtube.receipt(whole)["watermark"])
    run_id, state = youtube.run(plan_only=True)
    states = youtube.states(run_id)
    assert state == "success"
    assert {name for name, task in states.items() if task == "success"} == {"plan_videos", "plan_days", "cost"}
    assert set(states.values()) == {"success", "skipped"}
    _, days = youtube.returned(run_id, "cost", "costs")
    assert (days["calls"], days["units"]) == (COUNT, {"youtube.analytics": COUNT})
    assert youtube.span(run_id) == (mark - 6 * DAY, youtube.yesterday(run_id))


@pytest.mark.usefixtures("whole")
def test_a_backfill_makes_its_runs_each_about_its_own_week(youtube):
    """Of the last two hours of the schedule: no run of the schedule is behind them, and comes along."""
    hour = datetime.now(UTC).astimezone(PACIFIC).replace(hour=6, minute=0, second=0, microsecond=0)
    days = [hour.date() - back * DAY for back in ((1, 0) if hour <= datetime.now(UTC) else (2, 1))]
    first, last = f"{days[0]}T00:00:00+00:00", f"{days[1]}T23:59:59+00:00"
    asked = {"dag_id": youtube.dag_id, "from_date": first, "to_date": last, "dag_run_conf": {"plan_only": True}}
    youtube.system.airflow.call("POST", "/backfills", asked)  # as Airflow's page and `airflow backfill create` do
    path = f"/dags/{youtube.dag_id}/dagRuns?run_type=backfill"
    runs = [run["dag_run_id"] for run in until(lambda: youtube.system.airflow.call("GET", path)["dag_runs"], 60)]
    assert [youtube.wait(run_id) for run_id in runs] == ["success", "success"]
    assert sorted(map(youtube.span, runs)) == [(day - 7 * DAY, day - DAY) for day in days], "not from the watermark on"
