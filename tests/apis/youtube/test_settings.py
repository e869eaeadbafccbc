"""The switches of the fake YouTube and its clock."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube.catalog import DEMO
from local_cloud.apis.youtube.pacific import next_midnight, pacific_day

DEFAULTS: dict[str, Any] = {
    "now": None,
    "data_units": 10_000,
    "search_calls": 100,
    "analytics_units": None,
    "report_page_rows": None,
    "report_paging": "ok",
    "idle": [],
    "impossible": [],
    "playlist_cap": 20_000,
    "promised": None,
    "vanished": [],
    "consent": True,
    "monetized": False,
    "throttle_status": 429,
}
CHANGES: dict[str, Any] = {
    "now": "2026-03-08T01:30:00-08:00",
    "data_units": 5,
    "search_calls": 0,
    "analytics_units": 7,
    "report_page_rows": 500,
    "report_paging": "refused",
    "idle": [DEMO.videos[1].id],
    "impossible": [DEMO.videos[2].id],
    "playlist_cap": 50,
    "promised": 100,
    "vanished": [DEMO.videos[0].id],
    "consent": False,
    "monetized": True,
    "throttle_status": 403,
}


def test_they_are_changed_one_by_one_and_reset_together(api: FakeApi) -> None:
    assert api.youtube()["settings"] == DEFAULTS
    so_far = dict(DEFAULTS)
    for name, value in CHANGES.items():
        so_far[name] = value
        assert api.youtube(**{name: value})["settings"] == so_far
    assert api.request("GET", "/_admin/youtube").json()["settings"] == CHANGES
    api.reset_youtube()
    assert api.youtube()["settings"] == DEFAULTS


@pytest.mark.parametrize("name", ["now", "analytics_units", "report_page_rows"])
def test_some_can_be_put_back_alone(api: FakeApi, name: str) -> None:
    api.youtube(**CHANGES)
    assert api.youtube(**{name: None})["settings"] == CHANGES | {name: None}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("now", "2026-11-20T12:00:00"),
        ("now", "tomorrow"),
        ("now", "1999-12-31T00:00:00Z"),
        ("now", 5),
        ("data_units", -1),
        ("data_units", None),
        ("data_units", "5"),
        ("search_calls", 1.5),
        ("analytics_units", True),
        ("report_page_rows", 0),
        ("vanished", "SgvuEHuazL5"),
        ("vanished", ["nothingthat"]),
        ("vanished", [["SgvuEHuazL5"]]),
        ("consent", 0),
        ("monetized", "yes"),
        ("throttle_status", 503),
        ("throttle_status", [429]),
        ("speed", 1),
    ],
)
def test_a_bad_one_is_named_and_changes_nothing(api: FakeApi, name: str, bad: Any) -> None:
    before = api.youtube()["settings"]
    reply = api.request("PUT", "/_admin/youtube", json.dumps({"search_calls": 3, name: bad}))
    assert (reply.status, reply.json()["error"]) == (400, "bad_setting")
    assert name in reply.json()["message"]
    assert api.youtube()["settings"] == before


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"'])
def test_what_is_no_json_object_is_refused(api: FakeApi, body: str) -> None:
    reply = api.request("PUT", "/_admin/youtube", body)
    assert (reply.status, reply.json()["error"]) == (400, "bad_setting")


def test_the_clock_is_the_real_one_unless_it_is_set(api: FakeApi) -> None:
    shown = api.youtube()
    clock = datetime.fromisoformat(shown["clock"])
    assert abs(datetime.now(UTC) - clock) < timedelta(minutes=1)
    assert shown["pacific_day"] == pacific_day(clock).isoformat()
    assert shown["resets_at"] == next_midnight(clock).isoformat()


def test_a_clock_that_is_set_stands_still(api: FakeApi) -> None:
    shown = [api.youtube(now="2026-03-08T09:30:00Z") for _ in range(2)]
    assert [each["clock"] for each in shown] == ["2026-03-08T09:30:00+00:00"] * 2
    assert shown[0]["pacific_day"] == "2026-03-08"
    assert shown[0]["resets_at"] == "2026-03-09T00:00:00-07:00"


def test_no_fault_touches_them(api: FakeApi) -> None:
    api.faults(error_share=1, cut_share=1, requests_per_second=0.001)
    assert api.youtube(data_units=1)["settings"]["data_units"] == 1
