"""The daily figures of YouTube from its fake into MongoDB: through client, token, ledger and engine."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet

from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube import figures
from local_cloud.apis.youtube.catalog import DEMO
from local_cloud.apis.youtube.oauth import DEMO_REFRESH_TOKEN
from tests.faults.consent_process import FernetSeal
from windrow.harvest.discovery import Discovery
from windrow.harvest.engine import Harvester, Tally
from windrow.harvest.feeds import PlanFeed
from windrow.http.client import Client, Limits
from windrow.http.consent import Consent
from windrow.http.ledger import Ledger
from windrow.http.oauth import RefreshToken
from windrow.landing.receipt import Staged
from windrow.model.errors import CredentialsRejected, RateLimited
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.quota import Quota, restated
from windrow.model.stream import Request
from windrow.sources.youtube.streams import QUOTAS, VideoDays
from windrow.store.staging import Staging

DAYS = VideoDays()
KEY = Fernet.generate_key()
AT = datetime(2026, 11, 20, 18, tzinfo=UTC)
TODAY = date(2026, 11, 20)
RUN = Run(DAYS.dataset, "daily")
MONTH = {"start_date": "2025-01-01", "end_date": "2025-01-31"}
SPAN = (date(2025, 1, 1), date(2025, 1, 31))
REPORTS = "GET /v2/reports"


@pytest.fixture
def youtube(api: FakeApi) -> FakeApi:
    """The fake YouTube, with its clock stopped."""
    api.youtube(now=AT.isoformat())
    return api


def client(api: FakeApi, staging: Staging, quotas: Sequence[Quota] = QUOTAS) -> Client:
    client_id, secret = api.client.client_id, api.client.client_secret
    consent = Consent(staging, FernetSeal(KEY), client_id, DEMO_REFRESH_TOKEN)
    auth = RefreshToken("/token", client_id, secret, consent, name="youtube")
    limits = Limits(connections=8, patience_s=1)
    ledger = Ledger(staging, quotas, account=client_id)
    return Client(api.url, auth, name="youtube", limits=limits, policy=DAYS.policy, ledger=ledger)


def planned(api: FakeApi, staging: Staging, run: Run = RUN, **params: object) -> Plan:
    async def plan() -> Plan:
        async with client(api, staging) as asking:
            return await Discovery(asking, staging, run, DAYS).plan(Request(params, AT))

    return asyncio.run(plan())


def harvest(api: FakeApi, staging: Staging, run: Run = RUN, quotas: Sequence[Quota] = QUOTAS) -> Tally:
    async def settle() -> Tally:
        async with client(api, staging, quotas) as asking:
            feed = PlanFeed(staging, staging.plan(run))
            return await Harvester(asking, staging, feed, DAYS.records, next_page=DAYS.next_page).run()

    return asyncio.run(settle())


def views(staging: Staging) -> dict[tuple[object, object], object]:
    """The views of each video and day that are staged."""
    answers = staging.answers(staging.chunk(RUN, 0))
    records = [record for answer in answers for record in DAYS.records(answer.query, answer.parsed)]
    found = {(record["video_id"], record["day"]): record["views"] for record in records}
    assert len(found) == len(records), "a day is there twice"
    return found


def told(first: date, last: date) -> dict[tuple[object, object], object]:
    """What YouTube knows of these days."""
    known = {
        (video.id, day): figures.known(video, day, TODAY) for video in DEMO.videos for day in figures.days(first, last)
    }
    return {key: of_day.views for key, of_day in known.items() if of_day is not None}


def route(api: FakeApi, name: str = REPORTS) -> Mapping[str, Any]:
    return dict(api.counters()["routes"][name])


@pytest.mark.parametrize("rows", [None, 30, 27, 10])
def test_a_month_is_whole_however_short_the_pages_of_a_report_are(youtube, staging, rows):
    """27 rows end four days before the month does: no page can be told from a whole report by its length."""
    planned(youtube, staging, **MONTH)
    youtube.youtube(report_page_rows=rows)
    assert harvest(youtube, staging).answered == 200
    expected = told(date(2025, 1, 1), date(2025, 1, 31))
    assert len(expected) > 1_000
    assert views(staging) == expected


def test_a_second_page_is_only_requested_where_a_page_may_be_cut(youtube, staging):
    """Reports of 40 of 200 videos end half a month early, because nobody watched these: no page is missing."""
    idle = [video.id for video in DEMO.videos[:40]]
    youtube.youtube(idle=idle)
    planned(youtube, staging, **MONTH)
    assert harvest(youtube, staging).answered == 200
    expected = told(date(2025, 1, 1), date(2025, 1, 31))
    dropped = {key for key in expected if key[0] in idle and key[1] > date(2025, 1, 16)}
    assert len(dropped) > 300
    assert views(staging) == {key: number for key, number in expected.items() if key not in dropped}
    assert route(youtube)["requests"] == 200


@pytest.mark.parametrize("paging", ["refused", "repeats"])
def test_rows_of_the_first_page_are_kept_where_the_second_is_not_one(youtube, staging, paging):
    plan = planned(youtube, staging, **MONTH)
    youtube.youtube(report_page_rows=27, report_paging=paging)
    assert harvest(youtube, staging).answered == 200
    whole = told(*SPAN)
    lengths = Counter(video for video, _ in whole)
    cut = sum(length > 27 for length in lengths.values())
    assert views(staging) == {
        (video, day): number
        for (video, day), number in whole.items()
        if lengths[video] <= 27 or day <= date(2025, 1, 27)
    }
    counted = Staged.count(staging, plan)
    assert (counted.answered, counted.partial, counted.quarantined) == (200, cut, 0)
    assert "startIndex=28" in counted.examples[0]

    youtube.youtube(report_paging="ok")
    harvest(youtube, staging)
    assert views(staging) == whole
    assert Staged.count(staging, plan).partial == 0


@pytest.mark.parametrize(("listed", "promised"), [(100, 200), (200, 25_000)])
def test_a_playlist_that_ends_early_is_a_gap_on_the_receipt(youtube, staging, listed, promised):
    youtube.youtube(playlist_cap=listed, promised=promised)
    plan = planned(youtube, staging, **MONTH)
    counted = Staged.count(staging, plan)
    assert (plan.planned, counted.gaps, counted.left_out) == (listed + 1, 1, 0)
    assert f"has {promised:,} videos, and YouTube listed {listed}" in counted.examples[0]
    assert harvest(youtube, staging).answered == listed


def test_a_report_that_the_api_rejects_is_recorded_and_stops_no_other(youtube, staging):
    planned(youtube, staging, **MONTH)
    good, other = staging.chunk(RUN, 0).queries[:2]
    bad = Query.of(good.path, dict(other.params) | {"dimensions": "video,day"})
    staging.save_plan(RUN, [good, bad])
    tally = harvest(youtube, staging)
    assert (tally.answered, tally.rejected) == (1, 1)
    [(_, kept)] = staging.quarantined(RUN)
    assert (kept.query, kept.status) == (bad, 400)
    assert "The query is not supported." in kept.reason
    assert route(youtube)["requests"] == 2, "what is refused is not asked again"


def test_two_runs_at_once_take_no_more_units_than_there_are(youtube, staging):
    """Each has 200 reports to ask for, and both together have 150 units: the API refuses none of their calls."""
    quotas = restated(QUOTAS, {"youtube.analytics": {"units": 150}})
    runs = [Run(DAYS.dataset, f"run {number}") for number in range(2)]
    for run in runs:
        planned(youtube, staging, run, **MONTH)
    youtube.youtube(analytics_units=150)

    def until_spent(run: Run) -> None:
        with pytest.raises(RateLimited, match=r"'youtube.analytics' of 'youtube' is used up"):
            harvest(youtube, staging, run, quotas)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(until_spent, runs))

    assert (route(youtube)["ok"], route(youtube)["requests"]) == (150, 150)
    assert sum(len(staging.settled(run, 0)) for run in runs) == 150, "what was answered is staged"


def test_a_consent_that_is_revoked_on_the_way_stops_the_harvest_and_costs_no_answer(youtube, staging):
    planned(youtube, staging, **MONTH)
    youtube.faults(latency_ms=20)
    with ThreadPoolExecutor(1) as thread:
        harvesting = thread.submit(harvest, youtube, staging)
        until(lambda: route(youtube)["ok"] >= 50)
        before = route(youtube, "POST /token")["requests"]
        youtube.youtube(consent=False)
        with pytest.raises(CredentialsRejected, match=r"expired or revoked") as rejected:
            harvesting.result(30)
    assert "consent again" in rejected.value.advice
    assert route(youtube, "POST /token")["requests"] == before + 1, "one refresh for all calls in flight, and no other"

    youtube.youtube(consent=True)
    harvest(youtube, staging)
    assert (route(youtube)["unique"], route(youtube)["repeated_ok"]) == (200, 0)
    assert views(staging) == told(date(2025, 1, 1), date(2025, 1, 31))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
