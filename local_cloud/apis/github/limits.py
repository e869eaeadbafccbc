"""The limits: primary windows for each owner and resource, and the secondary limits that no header tells.

The header `x-ratelimit-reset` is a whole second of the epoch. So that it tells the truth when an hour lasts
some seconds only, windows end on whole seconds: a window lasts an hour and the rest of that second. A client
that calls again at the very second of the header finds a new window. As in reality, a window begins with the
first call that is counted in it.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from local_cloud.apis.github.settings import Dial

CORE, GRAPHQL = "core", "graphql"
NOBODY = ""
"""The owner of calls without a token."""


@dataclass
class Window:
    """A primary window of one owner and resource."""

    limit: int
    reset: int
    """Second of the epoch at which it ends."""
    used: int = 0
    refused: int = 0
    """Calls that came when it was used up."""

    @property
    def remaining(self) -> int:
        """What is left."""
        return max(0, self.limit - self.used)


@dataclass
class Secondary:
    """What an owner has in flight, what it spent in this minute, and how often it was too much."""

    in_flight: int = 0
    max_in_flight: int = 0
    minute: int = 0
    points: dict[str, int] = field(default_factory=dict)
    refused_concurrency: int = 0
    refused_points: int = 0

    @property
    def refused(self) -> int:
        """All secondary refusals."""
        return self.refused_concurrency + self.refused_points


class Ledger:
    """Counts what each owner spends, and says when it is enough."""

    def __init__(self, dial: Dial, clock: Callable[[], float] = time.time) -> None:
        self._dial = dial
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin anew: nobody has called yet. Calls in flight are forgotten."""
        self._windows: dict[tuple[str, str], list[Window]] = defaultdict(list)
        self._secondary: dict[str, Secondary] = defaultdict(Secondary)
        self.not_modified = 0
        """Calls that were answered with 304 and cost nothing."""

    # --- primary -------------------------------------------------------------------------------

    def window(self, owner: str, resource: str) -> Window:
        """Give the window of an owner as it is now. One that nobody has called in yet is not kept."""
        windows = self._windows[owner, resource]
        if windows and self._clock() < windows[-1].reset:
            return windows[-1]
        settings = self._dial.current
        limits = {CORE: settings.limit, GRAPHQL: settings.graphql_limit}
        limit = settings.anonymous_limit if owner == NOBODY else limits[resource]
        return Window(limit, math.ceil(self._clock() + settings.hour_s))

    def spend(self, owner: str, resource: str, units: int = 1) -> Window:
        """Count units in the window of an owner, and give it."""
        window = self._kept(owner, resource)
        window.used += units
        return window

    def refuse(self, owner: str, resource: str) -> Window:
        """Count a call that came when the window was used up."""
        window = self._kept(owner, resource)
        window.refused += 1
        return window

    def _kept(self, owner: str, resource: str) -> Window:
        window, windows = self.window(owner, resource), self._windows[owner, resource]
        if not windows or windows[-1] is not window:
            windows.append(window)
        return window

    # --- secondary -----------------------------------------------------------------------------

    def begin(self, owner: str) -> bool:
        """Count a call as in flight; False where it is one too many. Every begin needs its `end`."""
        settings, own = self._dial.current, self._secondary[owner]
        own.in_flight += 1
        if settings.secondary and own.in_flight > settings.concurrency:
            own.refused_concurrency += 1
            return False
        own.max_in_flight = max(own.max_in_flight, own.in_flight)
        return True

    def end(self, owner: str) -> None:
        """Count a call as over."""
        own = self._secondary[owner]
        own.in_flight = max(0, own.in_flight - 1)  # a reset forgets calls in flight

    def spend_points(self, owner: str, route: str, points: int) -> float:
        """Count points at a route in this minute; give 0, or the seconds until the next minute where it is too much."""
        settings, own = self._dial.current, self._secondary[owner]
        if not settings.secondary:
            return 0.0
        minute_s = settings.hour_s / 60
        now = self._clock()
        minute = int(now // minute_s)
        if minute != own.minute:
            own.minute, own.points = minute, {}
        limit = settings.graphql_points_per_minute if route == GRAPHQL else settings.points_per_minute
        spent = own.points.get(route, 0) + points
        if spent > limit:
            own.refused_points += 1
            return (minute + 1) * minute_s - now
        own.points[route] = spent
        return 0.0

    # --- report --------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Give all counts as JSON: by owner and resource every window there was, and the refusals."""
        owners: dict[str, Any] = {}
        for (owner, resource), windows in self._windows.items():
            if windows:
                owners.setdefault(owner, {})[resource] = [asdict(window) for window in windows]
        return {
            "primary_refusals": sum(each.refused for windows in self._windows.values() for each in windows),
            "secondary_refusals": sum(each.refused for each in self._secondary.values()),
            "not_modified": self.not_modified,
            "windows": owners,
            "secondary": {
                owner: {
                    "in_flight": own.in_flight,
                    "max_in_flight": own.max_in_flight,
                    "refused_concurrency": own.refused_concurrency,
                    "refused_points": own.refused_points,
                }
                for owner, own in self._secondary.items()
            },
        }
