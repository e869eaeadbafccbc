"""youtube_analytics in this process, over simulated days: what needs no scheduler to be seen."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube import figures
from local_cloud.apis.youtube.catalog import DEMO, VIDEOS
from local_cloud.apis.youtube.pacific import pacific_day
from local_cloud.settings import PROJECT_ID, Settings
from tests.dag_run import AssetStates, DagRun, load
from tests.integration.conftest import rows, youtube_connection
from windrow.landing.files import MANIFEST
from windrow.model.plan import slug

DAG = Path(__file__).resolve().parents[2] / "dags" / "youtube_analytics.py"
REPORTS = "GET /v2/reports"
DAY = timedelta(days=1)
LATER = datetime.now(UTC)
AT = LATER - 2 * DAY
"""Where the simulated days begin. BigQuery and the stream compare days with the real ones."""
TODAY = pacific_day(AT)
YESTERDAY = TODAY - DAY
COUNT = 25
LISTED = DEMO.videos[-COUNT:]
"""The newest videos: the playlist lists no others."""
GONE = LISTED[7].id


@pytest.fixture(scope="module")
def dag() -> Any:
    return load(DAG).youtube_analytics()


@pytest.fixture
def warehouse(cloud: Settings, connections: None, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> bigquery.Client:
    """BigQuery without videos, and the connections to a YouTube with a few."""
    for name in ("YOUTUBE", "YOUTUBE_ANALYTICS"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", youtube_connection(api))
    api.youtube(now=AT.isoformat(), playlist_cap=COUNT, promised=COUNT)
    client = bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options={"api_endpoint": cloud.bigquery_url})
    for table in ("video_days", "videos"):
        client.delete_table(f"youtube.{table}", not_found_ok=True)
    return client


def reports(api: FakeApi) -> int:
    return int(api.counters()["routes"][REPORTS]["requests"])


def days(warehouse: bigquery.Client) -> dict[tuple[str, date], int]:
    """The views in the final table."""
    found = rows(warehouse, "SELECT video_id, day, views FROM youtube.video_days")
    views = {(row["video_id"], row["day"]): row["views"] for row in found}
    assert len(views) == len(found), "a video has a day twice"
    return views


def span(run: DagRun) -> tuple[date, date]:
    """The first and the last day that a run asked for."""
    planned = run.results["plan_days"]
    return date.fromisoformat(planned["first"]), date.fromisoformat(planned["last"])


def mark_of(states: AssetStates) -> str:
    """Up to which day everything is harvested."""
    return states.values["youtube_video_days"]["watermark"]


def known(first: date, last: date, today: date = TODAY) -> dict[tuple[str, date], int]:
    """What YouTube tells of the views of the listed videos on these days."""
    found = {}
    for video in LISTED:
        for day in figures.days(first, min(last, today - timedelta(days=figures.LAG_DAYS))):
            if (told := figures.known(video, day, today)) is not None:
                found[video.id, day] = told.views
    return found


def test_only_the_plan_makes_no_report(dag, warehouse, api):
    run = DagRun(dag, "plan", at=AT, start_date="2024-11-20", granularity="day", plan_only=True)
    results = run.run()
    assert results.keys() == {"plan_videos", "plan_days", "cost"}
    assert run.skipped == set(dag.task_ids) - results.keys()
    planned = results["plan_days"]
    assert (planned["first"], planned["last"]) == ("2024-11-20", YESTERDAY.isoformat())
    calls = COUNT * ((YESTERDAY - date(2024, 11, 20)).days + 1)
    cost = run.pushed["cost", "costs"][1]
    assert (cost["calls"], cost["units"]) == (calls, {"youtube.analytics": calls})
    assert cost["hours_one_at_a_time"] > 1
    routes = api.counters()["routes"]
    asked = [routes[name]["requests"] for name in (REPORTS, "GET /youtube/v3/videos", "GET /youtube/v3/playlistItems")]
    assert asked == [0, 0, 1], "the second plan finds the listing of the first"


def test_a_week_is_harvested_backfilled_and_filled_in_and_day_by_day_gives_the_same_rows(dag, warehouse, api, store):
    """A run after the other: each finds what those before it have left in the table, and the watermark."""
    states = AssetStates()

    # the week is harvested, and is what YouTube tells
    run = DagRun(dag, "week", at=AT, states=states)
    receipt = run.run()["prove"]
    assert span(run) == (YESTERDAY - 6 * DAY, YESTERDAY)
    week = days(warehouse)
    assert week == known(YESTERDAY - 6 * DAY, YESTERDAY)
    counts = {receipt[name] for name in ("exported", "loaded", "merged", "table", "expected_days", "returned_days")}
    assert counts == {len(week)}
    assert receipt["agrees"]
    assert {receipt[name] for name in ("planned", "staged", "videos")} == {COUNT}
    newest = max(day for _, day in week)
    assert receipt["watermark"] == mark_of(states) == newest.isoformat()
    assert reports(api) == COUNT, "one report a video, whatever the number of days"
    files = {name.split("/")[3] for name in store.names(f"youtube/video_days/run={slug('week')}/")}
    assert files == {"part-00000.parquet", "_answers-00000.parquet", MANIFEST}, "BigQuery loads one large file"

    # a run of a backfill is about its own week and leaves the watermark; it is one day after the run before, so that
    # it would begin earlier and move the watermark if it followed it
    api.youtube(now=(AT + DAY).isoformat())
    run = DagRun(dag, "backfill", at=AT + DAY, run_type="backfill", states=states)
    assert run.run()["prove"]["agrees"]
    assert span(run) == (TODAY - 6 * DAY, TODAY)
    filled = days(warehouse)
    assert filled.keys() > week.keys()
    assert filled == week | known(TODAY - 6 * DAY, TODAY, TODAY + DAY)
    assert mark_of(states) == newest.isoformat()

    # late figures fill in through the trailing week
    api.youtube(now=LATER.isoformat())
    run = DagRun(dag, "late", at=LATER, states=states)
    receipt = run.run()["prove"]
    late = days(warehouse)
    assert late.keys() > filled.keys(), "the days that were not there yet have come"
    assert {key for key in filled if late[key] != filled[key]}, "no figure filled in"
    assert span(run) == (newest - 6 * DAY, YESTERDAY + 2 * DAY), "from a week before the mark"
    assert late == filled | known(*span(run), TODAY + 2 * DAY)
    newest = max(day for _, day in late)
    assert receipt["watermark"] == mark_of(states) == newest.isoformat()

    # day by day gives the same rows, and a video that vanished is told
    api.reset()
    api.youtube(vanished=[GONE])
    first = TODAY - 5 * DAY
    by_day = {"start_date": first.isoformat(), "end_date": (first + DAY).isoformat(), "granularity": "day"}
    run = DagRun(dag, "by day", at=LATER, states=states, **by_day)
    receipt = run.run()["prove"]
    assert reports(api) == receipt["planned"] == 2 * COUNT
    assert days(warehouse) == late
    (fresh,) = rows(warehouse, "SELECT COUNT(*) AS fresh FROM youtube.video_days WHERE _run_id = 'by day'")
    assert fresh["fresh"] == receipt["loaded"] > COUNT, "nearly all videos have both days"
    assert receipt["videos_with_missing_days"] == 1
    assert f"{GONE} 0 of {receipt['expected_days'] - receipt['returned_days']}" in receipt["most_missing"]
    assert run.results["videos.prove"]["vanished"] == 1
    (row,) = rows(warehouse, f"SELECT available, title FROM youtube.videos WHERE video_id = '{GONE}'")  # noqa: S608
    assert (row["available"], row["title"]) == (False, VIDEOS[GONE].title), "what was known of it is kept"


def test_two_years_are_one_report_a_video_and_their_marts_add_up(dag, warehouse, api):
    api.youtube(now=LATER.isoformat())
    first = date(2024, 11, 20)
    assert DagRun(dag, "years", at=LATER, start_date=first.isoformat()).run()["prove"]["agrees"]
    told = known(first, YESTERDAY + 2 * DAY, TODAY + 2 * DAY)
    assert days(warehouse) == told
    assert len(told) > 1_000
    assert reports(api) == COUNT
    channel = rows(warehouse, "SELECT SUM(views) AS views, COUNT(*) AS days FROM youtube.channel_days")
    assert channel == [{"views": sum(told.values()), "days": len({day for _, day in told})}]
    curve = "SELECT COUNT(*) AS days, MIN(age_days) AS youngest, MAX(share_so_far) AS whole FROM youtube.lifetime_curve"
    assert rows(warehouse, curve) == [{"days": len(told), "youngest": 0, "whole": 1.0}]
    movers = rows(warehouse, "SELECT * FROM youtube.top_movers ORDER BY place")
    changes = [abs(row["change"]) for row in movers]
    assert (len(movers), changes) == (20, sorted(changes, reverse=True))
