"""What a plan costs: units and hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.shop import Orders
from windrow.model.cost import Budget, Cost, cost
from windrow.model.query import Query
from windrow.model.quota import Period, Quota

QUOTAS = Orders.quotas


def test_a_call_an_order():
    queries = [Query.of("/order")] * 146_000
    found = cost("shop_orders", queries, QUOTAS, connections=16, rate_per_s=None)
    assert (found.dataset, found.calls, found.units) == ("shop_orders", 146_000, {"shop.data": 146_000})
    assert found.hours == pytest.approx(14 * 24), "10,000 a day"
    assert found.hours_one_at_a_time == pytest.approx(146_000 * 0.3 / 3600)
    assert str(found) == (
        "shop_orders: 146,000 calls, 146,000 units of shop.data; about 336.0 h, and 12.2 h one call at a time, if a "
        "call takes 0.3 s"
    )


A_DAY = [Query.of("/v2/reports")] * 200
"""Calls that are under no quota."""


@pytest.mark.parametrize(
    ("connections", "rate_per_s", "hours"),
    [
        (1, None, 200 * 0.3 / 3600),
        (16, 10.0, 200 / 10 / 3600),  # the rate is the narrower bound
        (16, 1_000.0, 200 * 0.3 / 16 / 3600),  # and here it is not
        (16, 0.5, 200 * 2 / 3600),
    ],
)
def test_the_narrower_of_connections_and_rate_bounds_the_speed(
    connections: int, rate_per_s: float | None, hours: float
):
    found = cost("any", A_DAY, QUOTAS, connections=connections, rate_per_s=rate_per_s)
    assert found.hours == pytest.approx(hours)
    assert found.hours_one_at_a_time == pytest.approx(200 * 0.3 / 3600)


@pytest.mark.parametrize(("units", "days"), [(14, 14), (100, 1), (99, 2), (200, 0), (199, 1), (None, 0)])
def test_a_quota_is_waited_for_once_its_first_window_is_used_up(units: int | None, days: int):
    quotas = [Quota("a", Period.PACIFIC_DAY, units, ("/v2/reports",))]
    found = cost("any", A_DAY, quotas, connections=16, rate_per_s=None)
    assert found.hours == pytest.approx(days * 24 or 200 * 0.3 / 16 / 3600)


def test_units_are_those_of_the_queries_and_go_to_the_first_quota_that_holds():
    queries = [
        Query.of("/search", {"q": "1"}, cost=100),
        Query.of("/videos", {"id": "1"}, cost=3),
        Query.of("/videos", {"id": "2"}, cost=4),
        Query.of("elsewhere"),
    ]
    found = cost("any", queries, QUOTAS, connections=1, rate_per_s=None)
    assert (found.calls, found.units) == (4, {"shop.search": 100, "shop.data": 7})


@pytest.mark.parametrize(("window", "seconds"), [(Period.MINUTE, 120), (Period.HOUR, 7_200)])
def test_the_slowest_quota_decides(window: Period, seconds: int):
    quotas = [Quota("fast", Period.MINUTE, 1_000, ("/b", "/c")), Quota("slow", window, 10, ("/a",))]
    found = cost("any", [Query.of("/a")] * 30, quotas, connections=1, rate_per_s=None)
    assert found.hours * 3600 == pytest.approx(seconds)


@pytest.mark.parametrize("window", [*map(Period.of, ("second", "minute", "hour", "day", "pacific_day"))])
def test_every_window_can_be_waited_for(window: Period):
    found = cost("any", [Query.of("/a")] * 1_000, [Quota("a", window, 1, ("/a",))], connections=16, rate_per_s=None)
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    start, end = window.bounds(now)
    assert found.hours * 3600 == pytest.approx(999 * (end - start).total_seconds())


@pytest.mark.parametrize(
    ("hours", "told"),
    [(1.0, "1.0 h"), (0.999, "59.9 min"), (1 / 60, "1.0 min"), (59 / 3600, "59 s"), (5_000, "5,000.0 h")],
)
def test_times_are_told_in_the_unit_that_fits(hours: float, told: str):
    assert str(Cost("any", 2, {}, hours, 1)) == (
        f"any: 2 calls, no units; about {told}, and 1.0 h one call at a time, if a call takes 0.3 s"
    )


def test_a_plan_of_nothing_costs_nothing():
    assert cost("any", [], QUOTAS, connections=16, rate_per_s=1.0) == Cost("any", 0, {}, 0.0, 0.0)


COSTS = [Cost("shop_orders", 1_000, {"shop.day": 3_000}, 1, 1), Cost("shop_items", 200, {"shop.day": 1}, 1, 1)]


@pytest.mark.parametrize(
    ("limits", "exceeded"),
    [
        ({"calls": 1_200}, []),
        ({"calls": 1_199}, ["1,200 calls; the budget is 1,199"]),
        ({"calls": 0}, ["1,200 calls; the budget is 0"]),
        ({"units": {"shop.day": 3_001, "other": 0}}, []),
        ({"units": {"shop.day": 3_000}}, ["3,001 units of shop.day; the budget is 3,000"]),
        ({"money": "3.60", "call_price": "0.003"}, []),
        ({"money": 3, "call_price": "0.003", "currency": "EUR"}, ["3.60 EUR; the budget is 3.00"]),
        ({"money": 30, "unit_prices": {"shop.day": "0.01"}}, ["30.01 USD; the budget is 30.00"]),
        (
            {"money": 1, "call_price": 1, "unit_prices": {"shop.day": 2}, "calls": 1},
            ["1,200 calls; the budget is 1", "7,202.00 USD; the budget is 1.00"],
        ),
    ],
)
def test_a_budget_is_for_all_plans_of_a_run(limits: dict[str, Any], exceeded: list[str]):
    assert Budget(**limits).exceeded(COSTS) == exceeded


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "needs a limit"),
        ({"calls": -1}, "whole numbers"),
        ({"units": {"a": 1.5}}, "whole numbers"),
        ({"money": 5}, "needs call_price"),
        ({"money": 0.1, "call_price": 1}, "fractions as texts"),
        ({"money": 1, "call_price": "x"}, "must be numbers"),
        ({"money": 1, "unit_prices": {"a": "NaN"}}, "must be numbers"),
        ({"calls": 1, "answer_within": timedelta(0)}, "longer than 0"),
        ({"calls": 1, "unanswered": "wait"}, "'skip' or 'continue'"),
    ],
)
def test_an_invalid_budget_is_refused(settings: dict[str, Any], what: str):
    with pytest.raises(ValueError, match=what):
        Budget(**settings)
