"""Quotas as APIs have them: units in a period, for calls of some paths. What is left of them: `windrow.http.ledger`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "month": 30 * 86_400}
_NAMED = {"pacific_day": "day America/Los_Angeles"}


@dataclass(frozen=True, slots=True)
class Period:
    """For how long a quota lasts before it is filled again, all at once: a unit of time in a time zone.

    Written as ``hour``, ``day`` (in UTC) or ``month Europe/Berlin``; ``pacific_day`` is Google's.
    """

    unit: str
    zone: str = "UTC"
    MINUTE: ClassVar["Period"]
    HOUR: ClassVar["Period"]
    PACIFIC_DAY: ClassVar["Period"]

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a period.

        :raises ValueError: it is none.
        """
        unit, _, zone = _NAMED.get(text, text).partition(" ")
        if unit not in _SECONDS:
            raise ValueError(f"a period is one of {', '.join(_SECONDS)}, with a time zone, or pacific_day")
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {zone!r:.40}") from None
        return cls(unit, zone or "UTC")

    @property
    def seconds(self) -> int:
        """About how long it is."""
        return _SECONDS[self.unit]

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the beginning and the end, in UTC, of the period that an instant is in.

        A day has 23 or 25 hours when the clocks change.
        """
        if self.unit not in {"day", "month"}:
            start = datetime.fromtimestamp(now.timestamp() // self.seconds * self.seconds, UTC)
            return start, start + timedelta(seconds=self.seconds)
        zone = ZoneInfo(self.zone)
        first = now.astimezone(zone).date()
        if self.unit == "day":
            following = first + timedelta(days=1)
        else:
            first = first.replace(day=1)
            following = (first + timedelta(days=31)).replace(day=1)
        ends = [datetime(on.year, on.month, on.day, tzinfo=zone) for on in (first, following)]
        return ends[0].astimezone(UTC), ends[1].astimezone(UTC)


Period.MINUTE, Period.HOUR, Period.PACIFIC_DAY = Period("minute"), Period("hour"), Period.of("pacific_day")


@dataclass(frozen=True, slots=True)
class Quota:
    """So many units in a period, for the calls whose path begins with one of ``paths``, or fits one with a ``*``.

    Of several quotas the first that a call fits counts it. ``units`` is None where we know of no limit; the API may
    still say that one is used up.
    """

    name: str
    period: Period
    units: int | None
    paths: tuple[str, ...]

    def counts(self, path: str) -> bool:
        """Say whether calls of this path draw on it."""
        return any(fnmatchcase(path, one) if "*" in one else path.startswith(one) for one in self.paths)


def restated(quotas: Sequence[Quota], given: Mapping[str, Mapping[str, object]]) -> list[Quota]:
    """Return quotas with what a connection states in place of the source's own, and those that it adds.

    :param given: by a quota's name, ``units`` (a whole number above 0, or null), ``per`` (a `Period`), and for one that
        the source does not know ``paths``, a list.
    :raises ValueError: saying what cannot be used.
    """
    known = {quota.name: quota for quota in quotas}
    for name, changes in given.items():
        if not isinstance(changes, Mapping) or not set(changes) <= {"units", "per", "paths"}:
            raise ValueError(f'the quota {name!r} should look like {{"units": 10000, "per": "pacific_day"}}')
        if name not in known and not {"units", "per", "paths"} <= set(changes):
            raise ValueError(
                f"there is no quota {name!r}; known are {sorted(known)}, and a new one needs units, per and paths"
            )
        before = known.get(name) or Quota(name, Period.HOUR, None, ())
        units, paths = changes.get("units", before.units), changes.get("paths", list(before.paths))
        if isinstance(units, bool) or not (units is None or (isinstance(units, int) and units > 0)):
            raise ValueError(f"the quota {name!r} has units {units!r:.40}, and should have a whole number above 0")
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
            raise ValueError(f'the quota {name!r} has paths {paths!r:.40}, and should have a list like ["/v1/"]')
        try:
            period = Period.of(str(changes["per"])) if "per" in changes else before.period
        except ValueError as error:
            raise ValueError(f"the quota {name!r} is per {changes['per']!r:.40}: {error}") from None
        known[name] = Quota(name, period, units, tuple(paths))
    return list(known.values())
