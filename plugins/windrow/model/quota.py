"""Quotas of APIs: units in a period, for calls of some paths. `windrow.http.ledger` counts what is left."""

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
    """The period after which a quota is reset: a unit of time in a time zone.

    Written as ``hour``, ``day`` (in UTC) or ``month Europe/Berlin``; Google uses ``pacific_day``.
    """

    unit: str
    zone: str = "UTC"
    MINUTE: ClassVar["Period"]
    HOUR: ClassVar["Period"]
    PACIFIC_DAY: ClassVar["Period"]

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a period.

        :raises ValueError: the text is not a period.
        """
        unit, _, zone = _NAMED.get(text, text).partition(" ")
        if unit not in _SECONDS:
            raise ValueError(
                f"a period must be 'pacific_day', or one of {', '.join(_SECONDS)}, optionally with a time zone"
            )
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {zone!r:.40}") from None
        return cls(unit, zone or "UTC")

    @property
    def seconds(self) -> int:
        """Its approximate length in seconds."""
        return _SECONDS[self.unit]

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the start and the end, in UTC, of the period that contains ``now``.

        A day has 23 or 25 hours when daylight saving time starts or ends.
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
    """Units in a period, for calls whose path starts with one of ``paths``, or matches one with a ``*``.

    A call counts against the first quota that matches. ``units`` is None if the limit is unknown; the API may
    still say that the quota is used up.
    """

    name: str
    period: Period
    units: int | None
    paths: tuple[str, ...]

    def counts(self, path: str) -> bool:
        """Return whether calls of this path count against this quota."""
        return any(fnmatchcase(path, one) if "*" in one else path.startswith(one) for one in self.paths)


def restated(quotas: Sequence[Quota], given: Mapping[str, Mapping[str, object]]) -> list[Quota]:
    """Return the quotas of a source with the changes of a connection, and the quotas that it adds.

    :param given: changes by the name of a quota: ``units`` (a whole number above 0, or null), ``per`` (a `Period`), and
        ``paths`` (a list), which a new quota requires.
    :raises ValueError: a change is invalid; the message says which.
    """
    known = {quota.name: quota for quota in quotas}
    for name, changes in given.items():
        if not isinstance(changes, Mapping) or not set(changes) <= {"units", "per", "paths"}:
            raise ValueError(f'the quota {name!r} must look like {{"units": 10000, "per": "pacific_day"}}')
        if name not in known and not {"units", "per", "paths"} <= set(changes):
            raise ValueError(
                f"unknown quota {name!r}. Known quotas: {sorted(known)}. A new quota needs 'units', 'per' and 'paths'"
            )
        before = known.get(name) or Quota(name, Period.HOUR, None, ())
        units, paths = changes.get("units", before.units), changes.get("paths", list(before.paths))
        if isinstance(units, bool) or not (units is None or (isinstance(units, int) and units > 0)):
            raise ValueError(f"'units' of the quota {name!r} must be a whole number above 0 or null, not {units!r:.40}")
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
            raise ValueError(f"'paths' of the quota {name!r} must be a list like [\"/v1/\"], not {paths!r:.40}")
        try:
            period = Period.of(str(changes["per"])) if "per" in changes else before.period
        except ValueError as error:
            raise ValueError(f"'per' of the quota {name!r} is invalid, {changes['per']!r:.40}: {error}") from None
        known[name] = Quota(name, period, units, tuple(paths))
    return list(known.values())
