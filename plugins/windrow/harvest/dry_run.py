"""What a plan costs, as its run noted it, and whether it fits: before the next scheduled run, and into the quotas."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from windrow.harvest.status.interval import instant
from windrow.model.cost import told
from windrow.store.summary import Summary


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make the calls of a plan. ``units`` are by the name of the quota that they are taken from."""

    calls: int
    units: Mapping[str, int]
    hours: float
    name: str = ""
    """Empty if there is one way only."""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a quota in its present window. ``units`` is None if its size is not known."""

    units: int | None
    resets: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan fits into something; None if that is not known."""

    fits: bool | None
    text: str


def ways(summary: Summary | None) -> list[Way]:
    """Return what the plan of a run costs; empty if its run has not computed that."""
    noted = summary.steps.get("cost", {}).get("ways", ()) if summary else ()
    return [
        Way(
            calls=int(one["calls"]),
            units={str(name): int(units) for name, units in one["units"]},
            hours=float(one["hours"]),
            name=str(one["name"]),
            remark=str(one["remark"]),
        )
        for one in noted
    ]


def verdicts(way: Way, left: Mapping[str, Left], next_at: str, now: datetime) -> list[Verdict]:
    """Return whether a way fits before the next scheduled run, and into what is left of each quota it takes.

    :param next_at: when the next scheduled run is due, as an ISO time; empty if none is.
    """
    return [_in_time(way.hours, next_at, now), *(_in_quota(name, units, left) for name, units in way.units.items())]


def _in_time(hours: float, next_at: str, now: datetime) -> Verdict:
    due = instant(next_at)
    if due is None:
        return Verdict(None, f"It takes about {told(hours)}. No scheduled run is due.")
    free = (due - now) / timedelta(hours=1)
    if hours <= free:
        return Verdict(True, f"It takes about {told(hours)}; the next scheduled run is due in {told(free)}.")
    return Verdict(
        False,
        f"It takes about {told(hours)}, but the next scheduled run is due in {told(max(0.0, free))}: the two would "
        "share the limits of the API.",
    )


def _in_quota(name: str, units: int, left: Mapping[str, Left]) -> Verdict:
    known = left.get(name)
    if known is None:
        return Verdict(None, f"It takes {units:,} units of {name}. What is left of this quota is not known.")
    if known.units is None:
        return Verdict(None, f"It takes {units:,} units of {name}, whose size is not known.")
    if units <= known.units:
        return Verdict(True, f"It takes {units:,} units of {name}; {known.units:,} are left.")
    return Verdict(
        False,
        f"It takes {units:,} units of {name}, but {known.units:,} are left: {units - known.units:,} too few. The run "
        "waits until the quota resets.",
    )
