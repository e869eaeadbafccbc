"""Quotas as APIs have them: units in a window, for calls of some paths. What is left of them: `windrow.http.ledger`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

_PACIFIC = "America/Los_Angeles"


class Window(StrEnum):
    """For how long a quota lasts before it is filled again, all at once."""

    MINUTE = "minute"
    HOUR = "hour"
    PACIFIC_DAY = "pacific_day"
    """From midnight to midnight in California: 23 or 25 hours on the days when the clocks change."""

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the beginning and the end, in UTC, of the window that an instant is in."""
        if self is Window.PACIFIC_DAY:
            zone = ZoneInfo(_PACIFIC)
            day = now.astimezone(zone).date()
            midnights = [datetime(on.year, on.month, on.day, tzinfo=zone) for on in (day, day + timedelta(days=1))]
            return midnights[0].astimezone(UTC), midnights[1].astimezone(UTC)
        length = timedelta(minutes=1) if self is Window.MINUTE else timedelta(hours=1)
        start = datetime.fromtimestamp(now.timestamp() // length.total_seconds() * length.total_seconds(), UTC)
        return start, start + length


@dataclass(frozen=True, slots=True)
class Quota:
    """So many units in a window, for the calls whose path begins with one of ``paths``, or fits one with a ``*``.

    Of several quotas the first that a call fits counts it. ``units`` is None where we know of no limit; the API may
    still say that one is used up.
    """

    name: str
    window: Window
    units: int | None
    paths: tuple[str, ...]

    def counts(self, path: str) -> bool:
        """Say whether calls of this path draw on it."""
        return any(fnmatchcase(path, one) if "*" in one else path.startswith(one) for one in self.paths)


def restated(quotas: Sequence[Quota], given: Mapping[str, Mapping[str, object]]) -> list[Quota]:
    """Return quotas with the units and windows that a connection states in place of the source's own.

    :param given: by a quota's name, ``units`` (a whole number above 0, or null) and ``per`` (a `Window`).
    :raises ValueError: saying what cannot be meant.
    """
    known = {quota.name: quota for quota in quotas}
    for name, changes in given.items():
        if name not in known:
            raise ValueError(f"there is no quota {name!r}; known are {sorted(known)}")
        if not isinstance(changes, Mapping) or not set(changes) <= {"units", "per"}:
            raise ValueError(f'the quota {name!r} should look like {{"units": 10000, "per": "pacific_day"}}')
        units = changes.get("units", known[name].units)
        if isinstance(units, bool) or not (units is None or (isinstance(units, int) and units > 0)):
            raise ValueError(f"the quota {name!r} has units {units!r:.40}, and should have a whole number above 0")
        per = changes.get("per", known[name].window)
        if not isinstance(per, str) or per not in set(Window):
            raise ValueError(f"the quota {name!r} is per {per!r:.40}, and should be per one of {[*map(str, Window)]}")
        known[name] = Quota(name, Window(str(per)), units, known[name].paths)
    return [known[quota.name] for quota in quotas]
