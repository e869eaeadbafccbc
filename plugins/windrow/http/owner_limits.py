"""What an owner of tokens may still call, as far as the API told: by the hour, by the minute, and at once.

By the hour a margin is left, 1 % of a window, for what others do with the same owner's tokens meanwhile.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from windrow.model.query import Query
from windrow.model.response import Response, is_epoch, retry_after_s

CORE, GRAPHQL = "core", "graphql"
_MARGIN = 100
"""One part in so many of a window is left to others."""
_CONCURRENCY = 90
"""Calls of one owner under way at once."""
_SAME_WINDOW_S = 2.0
"""Two ends of windows that are so close to one another are the same end."""
_GRACE_S = 1.0
"""Clocks differ, and a window must not be tried before it is open: so long after its end the next one begins."""
_LONGEST_HOLD_S = 3600.0
"""A pause that grows, as one refusal follows the other, grows to no more than this."""


@dataclass(slots=True)
class Window:
    """What an owner may still call. ``reset_at`` is in seconds of the epoch, by the clock of the API."""

    limit: int
    remaining: int
    reset_at: float

    @property
    def spare(self) -> int:
        """What is left without the margin."""
        return self.remaining - max(1, self.limit // _MARGIN)

    @property
    def opens_at(self) -> float:
        """When the next window is open for sure."""
        return self.reset_at + _GRACE_S


@dataclass(slots=True)
class Allowance:
    """Points a minute: replenished evenly, with a burst of a tenth of a minute's worth, never more than the limit."""

    per_minute: float
    level: float = field(init=False)
    at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.level = self.per_minute / 10

    def ready_at(self, now: float) -> float:
        """Return when there is a point, in seconds of the epoch; not later than ``now`` if there is one already."""
        self._fill(now)
        return now if self.level >= 1 else now + (1 - self.level) / self._rate

    def take(self, now: float) -> None:
        """Take a point."""
        self._fill(now)
        self.level -= 1

    @property
    def _rate(self) -> float:
        return self.per_minute * 0.9 / 60

    def _fill(self, now: float) -> None:
        self.level = min(self.per_minute / 10, self.level + max(0.0, now - self.at) * self._rate)
        self.at = now


@dataclass(slots=True)
class Account:
    """An owner of tokens, as far as the API told. ``in_flight`` are calls that are not answered yet."""

    allowance: Allowance
    windows: dict[str, Window] = field(default_factory=dict)
    in_flight: int = 0
    held_until: float = 0.0
    holds: int = 0
    """Pauses in a row without a good answer between them."""
    unlimited: bool = False

    def free(self, resource: str, now: float) -> int:
        """Count the calls that may go out now; what is under way has its place already."""
        if now < self.held_until or self.in_flight >= _CONCURRENCY:
            return 0
        if self.unlimited:
            return _CONCURRENCY - self.in_flight
        window = self.windows.get(resource)
        if window is None:  # nothing is known: one call will tell
            return 1 - self.in_flight
        if now >= window.opens_at:
            window.remaining = window.limit
        return window.spare - self.in_flight

    def opens_at(self, resource: str) -> float:
        """Return when a call may go out again, in seconds of the epoch."""
        window = self.windows.get(resource)
        return max(self.held_until, window.opens_at if window and window.spare <= 0 else 0.0)

    def observe(self, resource: str, told: Window) -> None:
        """Learn what an answer told. Answers overtake one another: within a window the lowest word counts."""
        known = self.windows.get(resource)
        if known is None or told.reset_at > known.reset_at + _SAME_WINDOW_S:
            self.windows[resource] = told
        elif told.reset_at >= known.reset_at - _SAME_WINDOW_S:
            known.limit = told.limit
            known.remaining = min(known.remaining, told.remaining)
            known.reset_at = max(known.reset_at, told.reset_at)

    def hold(self, wait_s: float, now: float) -> None:
        """Send nothing for so long; twice as long each time that the pause before has not helped."""
        if now >= self.held_until:  # what was under way at the first refusal is refused too, and says nothing new
            self.holds += 1
        grown_s = min(wait_s * 2.0 ** min(self.holds - 1, 20), max(wait_s, _LONGEST_HOLD_S))
        self.held_until = max(self.held_until, now + grown_s)

    def answered(self, now: float) -> None:
        """Learn of a good answer: the last pause was long enough."""
        if now >= self.held_until:
            self.holds = 0


def resource_of(query: Query | None) -> str:
    """Name the limit that a query counts against."""
    return GRAPHQL if query is not None and query.path.rstrip("/").endswith("/graphql") else CORE


def is_good(response: Response) -> bool:
    """Say whether the API did what it was asked. GraphQL refuses with 200."""
    return response.status is not None and response.status < 400 and not response.body.startswith(b'{"errors"')


def limit_in(headers: Mapping[str, str]) -> tuple[str, Window] | None:
    """Read the limits in the headers of an answer; None where there are none, or none that can be read."""
    try:
        window = _window(headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"], headers["X-RateLimit-Reset"])
    except (KeyError, ValueError):
        return None
    return headers.get("X-RateLimit-Resource", CORE), window


def limits_in(body: bytes) -> Iterable[tuple[str, Window]]:
    """Read the answer of ``/rate_limit``; nothing where it cannot be read."""
    try:
        resources = orjson.loads(body)["resources"]
        return [
            (name, _window(each["limit"], each["remaining"], each["reset"]))
            for name, each in resources.items()
            if name in {CORE, GRAPHQL}
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return []


def _window(limit: object, remaining: object, reset: object) -> Window:
    """Make a window of what an API tells, in whatever unit it tells the end.

    :raises ValueError: its end is no instant, or is more than a year ahead.
    """
    left_s = retry_after_s(str(reset))
    if left_s is None:
        raise ValueError(f"{reset!r:.40} is no end of a window")
    ends_at = float(str(reset)) if is_epoch(str(reset)) else time.time() + left_s
    return Window(int(str(limit)), int(str(remaining)), ends_at)
