"""What a plan costs before its first call: calls, units of the API's quotas, and hours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from windrow.plan import Plan
from windrow.quota import Quota
from windrow.staging import Staging

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
            f"{self.dataset}: {self.calls:,} calls, {units}; about {_hours(self.hours)}, and "
            f"{_hours(self.hours_one_at_a_time)} one call at a time, if a call takes {CALL_S} s"
        )


def cost(staging: Staging, plan: Plan, quotas: Sequence[Quota], *, connections: int, rate_per_s: float | None) -> Cost:
    """Count what a plan's queries take, and how long that is when nothing fails.

    :param connections: calls in flight at once.
    :param rate_per_s: calls a second at most, None for no such limit.
    """
    units: dict[str, int] = {}
    for number in range(plan.chunks):
        for query in staging.chunk(plan.run, number).queries:
            quota = next((quota for quota in quotas if query.path.startswith(quota.paths)), None)
            if quota is not None:
                units[quota.name] = units.get(quota.name, 0) + query.cost
    busy_s = plan.planned * max(CALL_S / connections, 1 / rate_per_s if rate_per_s else 0.0)
    waits_s = [_wait_s(quota, units.get(quota.name, 0)) for quota in quotas]
    seconds = max([busy_s, *waits_s])
    return Cost(plan.run.dataset, plan.planned, units, seconds / 3600, plan.planned * CALL_S / 3600)


def _wait_s(quota: Quota, units: int) -> float:
    """Return for how long units of a quota have to be waited for, when all of its present window is left."""
    if quota.units is None or not units:
        return 0.0
    start, end = quota.window.bounds(datetime.now(UTC))
    return (math.ceil(units / quota.units) - 1) * (end - start).total_seconds()


def _hours(hours: float) -> str:
    seconds = hours * 3600
    return f"{hours:,.1f} h" if hours >= 1 else f"{seconds / 60:,.1f} min" if seconds >= 60 else f"{seconds:,.1f} s"
