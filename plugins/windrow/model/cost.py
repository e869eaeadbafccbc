"""What a plan costs before its first call: calls, units of the API's quotas, and hours. Pure: no I/O."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
            f"{self.dataset}: {self.calls:,} calls, {units}; about {_told(self.hours)}, and "
            f"{_told(self.hours_one_at_a_time)} one call at a time, if a call takes {CALL_S} s"
        )


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


def _told(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:,.1f} min" if hours * 60 >= 1 else f"{hours * 3600:,.0f} s"
