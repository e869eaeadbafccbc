"""Whether a plan fits: before the next scheduled run, and into what is left of the quotas."""

from datetime import UTC, datetime

import pytest

from windrow.harvest.dry_run import Left, Way, verdicts, ways
from windrow.store.summary import Summary

NOW = datetime(2026, 11, 28, 6, tzinfo=UTC)
LEFT = {"shop.day": Left(1_480, "2026-11-29T00:00:00+00:00"), "shop.hour": Left(None, "")}


@pytest.mark.parametrize(
    ("units", "hours", "next_at", "fits", "says"),
    [
        ({}, 1.0, "2026-11-28T08:00:00+00:00", [True], "the next scheduled run is due in 2.0 h"),
        ({}, 2.0, "2026-11-28T08:00:00+00:00", [True], "about 2.0 h"),
        ({}, 2.5, "2026-11-28T08:00:00+00:00", [False], "would share the limits"),
        ({}, 0.5, "2026-11-28T05:00:00+00:00", [False], "is due in 0 s"),
        ({}, 0.5, "", [None], "No scheduled run is due"),
        ({}, 0.5, "soon", [None], "No scheduled run is due"),
        ({"shop.day": 1_480}, 0.1, "", [None, True], "1,480 are left"),
        ({"shop.day": 1_900}, 0.1, "", [None, False], "420 too few"),
        ({"shop.hour": 1}, 0.1, "", [None, None], "whose size is not known"),
        ({"other": 1, "shop.day": 1}, 0.1, "", [None, None, True], "What is left of this quota is not known"),
    ],
)
def test_what_does_not_fit_is_said_with_by_how_much(
    units: dict[str, int], hours: float, next_at: str, fits: list[bool | None], says: str
) -> None:
    found = verdicts(Way(10, units, hours), LEFT, next_at, NOW)

    assert [one.fits for one in found] == fits
    assert says in " ".join(one.text for one in found)


def test_what_a_run_noted_is_read_again() -> None:
    noted = {"name": "rest", "calls": 7, "units": [["a.b", 3], ["c", 4]], "hours": 0.25, "remark": "at most"}
    summary = Summary("d", "r", steps={"cost": {"plan_only": True, "ways": [noted]}})

    assert ways(summary) == [Way(7, {"a.b": 3, "c": 4}, 0.25, "rest", "at most")]
    assert ways(Summary("d", "r")) == ways(None) == []
