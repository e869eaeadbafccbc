"""What a plan costs before its first call: calls, units of the API's quotas, hours and money. Pure: no I/O."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Literal, get_args

from windrow.model.query import Query
from windrow.model.quota import Quota

CALL_S = 0.3
"""How long a call takes, for want of a better number: an API far away, not a busy one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of settling a plan. ``units`` are by the name of the quota they are taken from."""

    dataset: str
    calls: int
    units: Mapping[str, int]
    hours: float
    hours_one_at_a_time: float

    def __str__(self) -> str:
        units = ", ".join(f"{units:,} units of {name}" for name, units in self.units.items()) or "no units"
        return (
            f"{self.dataset}: {self.calls:,} calls, {units}; about {told(self.hours)}, and "
            f"{told(self.hours_one_at_a_time)} one call at a time, if a call takes {CALL_S} s"
        )


Unanswered = Literal["skip", "continue"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may cost without the approval of a person. A limit that is None is not checked.

    :param calls: calls of all plans of the run.
    :param units: units by the name of their quota, like ``{"shop.day": 5_000}``.
    :param money: amount in ``currency``, computed from ``call_price`` and ``unit_prices``. Write fractions as texts,
        like ``"0.002"``: a float is not exact.
    :param call_price: price of a call.
    :param unit_prices: price of a unit, by the name of its quota.
    :param answer_within: how long a run waits for a person. Shorter than the time between two scheduled runs.
    :param unanswered: what happens to a run that nobody answers in that time: ``skip`` or ``continue``.
    :raises ValueError: a setting is invalid.
    """

    calls: int | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    money: Decimal | str | int | None = None
    currency: str = "USD"
    call_price: Decimal | str | int = 0
    unit_prices: Mapping[str, Decimal | str | int] = field(default_factory=dict)
    answer_within: timedelta = timedelta(hours=12)
    unanswered: Unanswered = "skip"

    def __post_init__(self) -> None:
        limits = [*(() if self.calls is None else (self.calls,)), *self.units.values()]
        prices = [self.call_price, *self.unit_prices.values()]
        if not limits and self.money is None:
            raise ValueError("a budget needs a limit: calls, units or money")
        if not all(type(one) is int and one >= 0 for one in limits):
            raise ValueError("the limits of calls and units of a budget must be whole numbers from 0")
        try:
            amounts = [Decimal(one) for one in (self.money or 0, *prices) if not isinstance(one, float)]
        except ArithmeticError:
            amounts = []
        if len(amounts) <= len(prices) or not all(one.is_finite() and one >= 0 for one in amounts):
            raise ValueError(
                "money and prices of a budget must be numbers from 0; write fractions as texts, like '0.002'"
            )
        if self.money is not None and not any(amounts[1:]):
            raise ValueError("the money of a budget needs call_price or unit_prices")
        if self.answer_within <= timedelta(0):
            raise ValueError("answer_within of a budget must be longer than 0")
        if self.unanswered not in get_args(Unanswered):
            raise ValueError(f"unanswered of a budget must be 'skip' or 'continue', not {self.unanswered!r:.40}")

    @property
    def wait(self) -> str:
        """How long a run waits for a person, for messages."""
        return told(self.answer_within.total_seconds() / 3600)

    def price(self, costs: Sequence[Cost]) -> Decimal:
        """Return what plans cost in ``currency``."""
        calls = sum(one.calls for one in costs)
        units = sum((Decimal(price) * _units(costs, name) for name, price in self.unit_prices.items()), Decimal(0))
        return Decimal(self.call_price) * calls + units

    def exceeded(self, costs: Sequence[Cost]) -> list[str]:
        """Return each limit that the plans of a run exceed, with both figures; empty if there is none."""
        found = []
        if self.calls is not None and (calls := sum(one.calls for one in costs)) > self.calls:
            found.append(f"{calls:,} calls; the budget is {self.calls:,}")
        for name, limit in self.units.items():
            if (units := _units(costs, name)) > limit:
                found.append(f"{units:,} units of {name}; the budget is {limit:,}")
        if self.money is not None and (price := self.price(costs)) > Decimal(self.money):
            found.append(f"{price:,.2f} {self.currency}; the budget is {Decimal(self.money):,.2f}")
        return found


def _units(costs: Sequence[Cost], name: str) -> int:
    return sum(one.units.get(name, 0) for one in costs)


def cost(
    dataset: str, queries: Iterable[Query], quotas: Sequence[Quota], *, connections: int, rate_per_s: float | None
) -> Cost:
    """Count what queries take, and how long that is when nothing fails and each answer has one page.

    :param quotas: the first one whose paths a query is below is the one that its units are taken from.
    :param connections: calls in flight at once.
    :param rate_per_s: calls a second at most, None for no such limit.
    """
    calls = 0
    units: dict[str, int] = {}
    for query in queries:
        calls += 1
        quota = next((quota for quota in quotas if quota.counts(query.path)), None)
        if quota is not None:
            units[quota.name] = units.get(quota.name, 0) + query.cost
    busy_s = calls * max(CALL_S / connections, 1 / rate_per_s if rate_per_s else 0.0)
    waits_s = [_wait_s(quota, units.get(quota.name, 0)) for quota in quotas]
    return Cost(dataset, calls, units, max([busy_s, *waits_s]) / 3600, calls * CALL_S / 3600)


def _wait_s(quota: Quota, units: int) -> float:
    """Return for how long units of a quota have to be waited for, when all of its present window is left."""
    if quota.units is None or not units:
        return 0.0
    return (math.ceil(units / quota.units) - 1) * quota.period.seconds


def told(hours: float) -> str:
    """Write hours in the unit that suits them."""
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:,.1f} min" if hours * 60 >= 1 else f"{hours * 3600:,.0f} s"
