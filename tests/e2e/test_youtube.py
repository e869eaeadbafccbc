"""youtube_analytics on the whole local cloud with a real Airflow, over simulated days.

The tests run in the order of this file: each goes on with the table that those before it have left.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.apis.youtube import figures
from local_cloud.apis.youtube.catalog import CHANNELS, VIDEOS
from local_cloud.apis.youtube.pacific import pacific_day
from tests.e2e.system import Dag, System, until
from windrow.landing.files import MANIFEST

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)
"""Where the simulated clock of YouTube begins. Airflow's is the real one: what a run asks for is taken from the run."""
REPORTS, LISTS = "GET /v2/reports", "GET /youtube/v3/playlistItems"
OWN, *_ = CHANNELS
DAY = timedelta(days=1)


class Youtube(Dag):
    """The DAG, what its APIs were asked, and what stands in its tables."""

    def simulate(self, **settings: Any) -> None:
        """Change settings of the fake YouTube."""
        self.system.admin("PUT", "youtube", settings)

    def reports(self) -> int:
        return int(self.system.asked(REPORTS)["requests"])

    def days(self) -> dict[tuple[str, date], int]:
        """The views in the final table."""
        rows = self.system.rows("SELECT video_id, day, views FROM youtube.video_days")
        found = {(row["video_id"], row["day"]): row["views"] for row in rows}
        assert len(found) == len(rows), "a video has a day twice"
        return found

    def span(self, run_id: str) -> tuple[date, date]:
        """The first and the last day that a run asked for."""
        planned = self.returned(run_id, "plan_days")
        return date.fromisoformat(planned["first"]), date.fromisoformat(planned["last"])

    def moved(self, run_id: str) -> bool:
        """Say whether a run has moved the watermark; a later one, which nobody asked for, may have moved it again."""
        return any(line.startswith("Watermark moved") for line in self.lines(run_id, "prove"))

    def yesterday(self, run_id: str) -> date:
        """The last day that had ended in California when a run was triggered."""
        run = self.system.airflow.call("GET", f"/dags/{self.dag_id}/dagRuns/{run_id}")
        return pacific_day(datetime.fromisoformat(run["run_after"])) - DAY


def known(first: date, last: date, today: date, channel: str = OWN) -> dict[tuple[str, date], int]:
    """What YouTube tells of the views of a channel's videos on these days."""
    found = {}
    for video in CHANNELS[channel].videos:
        for day in figures.days(first, min(last, today - timedelta(days=figures.LAG_DAYS))):
            if (told := figures.known(video, day, today)) is not None:
                found[video.id, day] = told.views
    return found


@pytest.fixture(scope="module")
def youtube(system: System) -> Iterator[Youtube]:
    dag = Youtube(system.of("youtube"), "youtube_analytics")
    dag.system.reset()
    dag.simulate(now=NOW.isoformat())
    yield dag
    system.admin("DELETE", "youtube")
    dag.system.reset()


def test_only_the_plan_makes_no_report(youtube):
    run_id, state = youtube.run(start_date="2024-11-20", granularity="day", plan_only=True)
    states = {name: task["state"] for name, task in youtube.tasks(run_id).items()}
    assert state == "success"
    assert {name for name, task in states.items() if task == "success"} == {"plan_videos", "plan_days", "cost"}
    assert set(states.values()) == {"success", "skipped"}
    _, days = youtube.returned(run_id, "cost")
    first, last = youtube.span(run_id)
    assert (first, last) == (date(2024, 11, 20), youtube.yesterday(run_id))
    calls = 200 * ((last - first).days + 1)
    assert (days["calls"], days["units"]) == (calls, {"youtube.analytics": calls})
    assert days["hours_one_at_a_time"] > 10
    assert (youtube.reports(), youtube.system.asked("GET /youtube/v3/videos")["requests"]) == (0, 0)
    assert youtube.system.asked(LISTS)["requests"] == 4, "the second plan finds the listing of the first"


def test_the_week_is_harvested_and_is_what_youtube_tells(youtube):
    youtube.system.reset()
    run_id, state = youtube.run()
    assert state == "success"
    first, last = youtube.span(run_id)
    assert (first, last) == (last - 6 * DAY, youtube.yesterday(run_id))
    told = known(first, last, pacific_day(NOW))
    assert youtube.days() == told
    receipt = youtube.receipt(run_id)
    counts = {receipt[name] for name in ("exported", "loaded", "merged", "table", "expected_days", "returned_days")}
    assert counts == {len(told)}
    assert (receipt["agrees"], receipt["planned"], receipt["staged"], receipt["videos"]) == (True, 200, 200, 200)
    assert receipt["watermark"] == max(day for _, day in told).isoformat()
    assert youtube.reports() == 200, "one report a video, whatever the number of days"
    landed = [blob.name for blob in youtube.system.bucket.list_blobs(prefix="youtube/video_days/")]
    files = {name.split("/")[3] for name in landed}
    assert files == {"part-00000.parquet", "_answers-00000.parquet", MANIFEST}, "BigQuery loads one large file"


def test_late_figures_fill_in_through_the_trailing_week(youtube):
    before = youtube.days()
    mark = max(day for _, day in before)
    later = NOW + 2 * DAY
    youtube.simulate(now=later.isoformat())
    run_id, state = youtube.run()
    assert state == "success"
    after = youtube.days()
    assert after.keys() > before.keys(), "the days that were not there yet have come"
    assert {key for key in before if after[key] != before[key]}, "no figure filled in"
    first, last = youtube.span(run_id)
    assert (first, last) == (mark - 6 * DAY, youtube.yesterday(run_id)), "the week up to the last day that had come"
    assert after == before | known(first, last, pacific_day(later))
    assert youtube.receipt(run_id)["watermark"] == max(day for _, day in after).isoformat()
    assert youtube.moved(run_id)


GONE = CHANNELS[OWN].videos[7].id


@pytest.fixture(scope="module")
def day_by_day(youtube: Youtube) -> tuple[str, dict[tuple[str, date], int]]:
    """A run over two days, a report a video and day, while a video is away; and the table before it."""
    before = youtube.days()
    youtube.system.reset()
    youtube.simulate(vanished=[GONE])
    first = pacific_day(NOW) - 5 * DAY
    run_id, state = youtube.run(start_date=first.isoformat(), end_date=(first + DAY).isoformat(), granularity="day")
    youtube.simulate(vanished=[])
    assert state == "success"
    return run_id, before


def test_day_by_day_gives_the_same_rows(youtube, day_by_day):
    run_id, before = day_by_day
    assert youtube.reports() == 2 * 200
    assert youtube.days() == before
    receipt = youtube.receipt(run_id)
    assert receipt["planned"] == 2 * 200
    fresh = f"SELECT COUNT(*) AS fresh FROM youtube.video_days WHERE _run_id = '{run_id}'"  # noqa: S608
    assert youtube.system.rows(fresh) == [{"fresh": receipt["loaded"]}]
    assert receipt["loaded"] > 300, "nearly all of 200 videos have both days"


def test_a_video_that_vanished_and_days_that_are_missing_are_told(youtube, day_by_day):
    run_id, _ = day_by_day
    receipt = youtube.receipt(run_id)
    assert receipt["videos_with_missing_days"] == 1
    assert f"{GONE} 0 of {receipt['expected_days'] - receipt['returned_days']}" in receipt["most_missing"]
    assert youtube.receipt(run_id, "videos.prove")["vanished"] == 1
    (row,) = youtube.system.rows(f"SELECT available, title FROM youtube.videos WHERE video_id = '{GONE}'")  # noqa: S608
    assert (row["available"], row["title"]) == (False, VIDEOS[GONE].title), "what was known of it is kept"


def backfill(youtube: Youtube, first: date, last: date) -> None:
    """Create a backfill as a user does."""
    command = [
        *(sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", youtube.dag_id),
        *("--from-date", f"{first}T00:00:00+00:00", "--to-date", f"{last}T23:59:59+00:00"),
    ]
    environment = airflow_env.airflow_environment(youtube.system.settings, os.environ)
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr


def test_a_backfill_makes_its_runs_and_leaves_the_watermark(youtube):
    before = youtube.days()
    youtube.system.reset()
    youtube.system.faults(latency_ms=150)  # so that harvests side by side would be seen
    days = [NOW.date() - back * DAY for back in (6, 5)]
    backfill(youtube, days[0], days[1])
    path = f"/dags/{youtube.dag_id}/dagRuns?run_type=backfill"
    runs = until(lambda: youtube.system.airflow.call("GET", path)["dag_runs"], 60)
    assert len(runs) == 2
    assert [youtube.wait(run["dag_run_id"]) for run in runs] == ["success", "success"]
    asked = youtube.system.asked(REPORTS)  # a scheduled run may have come along
    assert asked["requests"] >= 2 * 200
    assert asked["max_in_flight"] == 16, "one harvest at a time, however many runs"
    assert sorted(youtube.span(run["dag_run_id"]) for run in runs) == [(day - 7 * DAY, day - DAY) for day in days]
    assert not any(youtube.moved(run["dag_run_id"]) for run in runs)
    after = youtube.days()
    assert after == before | known(days[0] - 7 * DAY, days[1] - DAY, pacific_day(NOW + 2 * DAY))
    assert {key: after[key] for key in before} == before, "days that are known already stay as they are"
    with suppress(TimeoutError):  # behind a backfill the schedule's last run comes: now, and not beside the next tests
        until(lambda: any(run["run_type"] == "scheduled" for run in youtube.runs()), 20)
    youtube.rest()


def test_a_used_up_quota_defers(youtube):
    youtube.system.reset()
    used = youtube.system.admin("GET", "youtube")["units"]["analytics"]["used"]
    youtube.simulate(analytics_units=used + 120)
    mark = max(day for _, day in youtube.days())
    run_id = youtube.trigger()
    until(lambda: youtube.tasks(run_id)["days.harvest"]["state"] == "deferred", 120)
    task = youtube.tasks(run_id)["days.harvest"]
    assert youtube.system.asked(REPORTS)["ok"] == 120
    assert task["try_number"] == 1, "no retry is used up"
    assert youtube.span(run_id)[0] == mark - 6 * DAY, "a backfill has left the watermark where it was"

    # nobody waits until midnight here: the run is given up, and the API is given more units
    youtube.simulate(analytics_units=None)
    path = f"/dags/{youtube.dag_id}/dagRuns/{run_id}"
    youtube.system.airflow.call("PATCH", path, {"state": "failed"})
    with MongoClient(youtube.system.settings.mongo_url) as mongo:
        quotas = mongo["windrow"]["windrow_quotas"]
        for document in list(quotas.find({"kind": "spent"})):
            if "|youtube." in document["window"]:  # other systems have quotas of their own beside
                quotas.delete_one({"_id": document["_id"]})


def test_a_revoked_consent_fails_at_once_and_tells_no_secret_and_the_run_is_whole_when_it_is_cleared(youtube):
    """And so is a run after one whose quota was used up, and that was given up."""
    asked = youtube.reports()
    youtube.simulate(consent=False)
    run_id, state = youtube.run()
    youtube.simulate(consent=True)
    assert (state, youtube.failed(run_id)) == ("failed", ["plan_videos"])
    said = youtube.said(run_id, "plan_videos")
    assert "consent was revoked" in said
    assert "'youtube'" in said
    assert youtube.tasks(run_id)["plan_videos"]["try_number"] == 1, "a retry would not help"
    logs = youtube.system.settings.var / "airflow" / "logs"
    secrets = ("windrow-demo-refresh-token", "windrow-demo-secret", "ya29.")
    told = [path for path in logs.rglob("*.log") for secret in secrets if secret in path.read_text(errors="replace")]
    assert told == []

    # nobody waits for thirty hours here: the failed run is late now, and can be cleared all the same
    with (
        closing(psycopg2.connect(airflow_env.database_url(youtube.system.settings))) as connection,
        connection,  # commits
        connection.cursor() as cursor,
    ):
        late = "UPDATE deadline SET deadline_time = %s WHERE dagrun_id = (SELECT id FROM dag_run WHERE run_id = %s)"
        cursor.execute(late, (datetime.now(UTC) - DAY, run_id))
        assert cursor.rowcount == 1
    log = youtube.system.settings.var / "log" / "airflow-triggerer.log"
    until(lambda: f"LATE: run '{run_id}' of {youtube.dag_id} is failed" in log.read_text(errors="replace"))
    assert youtube.clear(run_id, "plan_videos") == "success"
    assert youtube.reports() - asked == 200
    assert youtube.receipt(run_id)["agrees"]


def test_two_years_are_200_reports_and_their_marts_add_up(youtube):
    youtube.system.reset()
    first = date(2024, 11, 20)
    run_id, state = youtube.run(start_date=first.isoformat())
    assert state == "success"
    told = known(*youtube.span(run_id), pacific_day(NOW + 2 * DAY))
    assert youtube.days() == told
    assert len(told) > 100_000
    assert youtube.reports() == 200
    channel = youtube.system.rows("SELECT SUM(views) AS views, COUNT(*) AS days FROM youtube.channel_days")
    assert channel == [{"views": sum(told.values()), "days": len({day for _, day in told})}]
    (curve,) = youtube.system.rows(
        "SELECT COUNT(*) AS days, MIN(age_days) AS youngest, MAX(share_so_far) AS all_of_it FROM youtube.lifetime_curve"
    )
    assert curve == {"days": len(told), "youngest": 0, "all_of_it": 1.0}
    movers = youtube.system.rows("SELECT * FROM youtube.top_movers ORDER BY place")
    changes = [abs(row["change"]) for row in movers]
    assert (len(movers), changes) == (20, sorted(changes, reverse=True))
