"""Budgets of units for a Pacific day. What is refused for want of units is counted too."""

from collections import Counter
from datetime import date
from typing import Any, Literal

from local_cloud.apis.youtube.pacific import next_midnight
from local_cloud.apis.youtube.settings import SettingsSwitch

Bucket = Literal["data", "search", "analytics"]


class Quota:
    """The units used and refused so far, by Pacific day of the simulated clock and by bucket.

    Every call that gets past the token costs one unit, also one that is invalid, and every page is a call. A call
    that a fault refuses or cuts off before it is read costs nothing.
    """

    def __init__(self, settings: SettingsSwitch) -> None:
        self._settings = settings
        self._used: Counter[tuple[date, Bucket]] = Counter()
        self._refused: Counter[tuple[date, Bucket]] = Counter()

    def take(self, bucket: Bucket) -> bool:
        """Take a unit; False when there is none left until the next midnight."""
        spot = self._settings.today(), bucket
        limit = self._limits()[bucket]
        if limit is not None and self._used[spot] >= limit:
            self._refused[spot] += 1
            return False
        self._used[spot] += 1
        return True

    def report(self) -> dict[str, Any]:
        """Give the units of the current Pacific day by bucket, and when the day ends."""
        today = self._settings.today()
        return {
            "pacific_day": today.isoformat(),
            "resets_at": next_midnight(self._settings.now()).isoformat(),
            "units": {
                bucket: {"limit": limit, "used": self._used[today, bucket], "refused": self._refused[today, bucket]}
                for bucket, limit in self._limits().items()
            },
        }

    def reset(self) -> None:
        """Give all units back."""
        self._used.clear()
        self._refused.clear()

    def _limits(self) -> dict[Bucket, int | None]:
        settings = self._settings.current
        return {
            "data": settings.data_units,
            "search": settings.search_calls,
            "analytics": settings.analytics_units,
        }
