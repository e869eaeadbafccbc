"""What an owner of credentials may still call, as far as the API told: in its windows, by the minute, and at once.

Of a window of 20 calls or more 1 % is left, for what others do with the same owner's credentials meanwhile.
"""

import math
from dataclasses import dataclass, field
from typing import Self

from windrow.model.rate_limits import LimitWindow, RateLimits

_MARGIN = 100
"""One part in so many of a window is left to others, at least one call; nothing of a window of less than ``_SMALL``."""
_SMALL = 20
_SAME_WINDOW_S = 2.0
"""Two ends of windows that are so close to one another are the same end."""
_GRACE_S = 1.0
"""Clocks differ, and a window must not be tried before it is open: so long after its end the next one begins."""
_LONGEST_HOLD_S = 3600.0
"""A pause that grows, as one refusal follows the other, grows to no more than this."""
_PLENTY = 1_000_000


@dataclass(slots=True)
class TokenBucket:
    """Calls a minute: replenished evenly, with a burst of a tenth of a minute's worth, never more than the limit."""

    per_minute: float
    level: float = field(init=False)
    at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.level = self._most

    def ready_at(self, now: float) -> float:
        """Return when there is a call, in seconds of the epoch; not later than ``now`` if there is one already."""
        self._fill(now)
        return now if self.level >= 1 else now + (1 - self.level) / self._rate

    def take(self, now: float) -> None:
        """Take a call."""
        self._fill(now)
        self.level -= 1

    @property
    def _most(self) -> float:
        return max(1.0, self.per_minute / 10)

    @property
    def _rate(self) -> float:
        return self.per_minute * 0.9 / 60

    def _fill(self, now: float) -> None:
        self.level = min(self._most, self.level + max(0.0, now - self.at) * self._rate)
        self.at = now


@dataclass(slots=True)
class OwnerLimits:
    """The limits of one owner. ``in_flight`` are calls that are not answered yet.

    :param bucket: calls by the minute; None where nothing limits them.
    :param concurrency: the most calls in flight at once.
    :param reserved: share of each window that is kept for others, from 0 to 1.
    """

    bucket: TokenBucket | None = None
    concurrency: int = _PLENTY
    reserved: float = 0.0
    windows: dict[str, LimitWindow | None] = field(default_factory=dict)
    """By resource. None where an answer came that told of no limit."""
    in_flight: int = 0
    held_until: float = 0.0
    holds: int = 0
    """Pauses in a row without a good answer between them."""

    @classmethod
    def of(cls, allowed: RateLimits, reserved: float = 0.0) -> Self:
        """Make the limits of an owner of whom nothing is known yet."""
        bucket = TokenBucket(allowed.per_minute) if allowed.per_minute else None
        return cls(bucket, allowed.concurrency or _PLENTY, reserved)

    def free(self, resource: str, now: float) -> int:
        """Count the calls that a window has left, what is in flight taken off; 0 when none may go out now."""
        at_once = self.concurrency - self.in_flight
        if now < self.held_until or at_once <= 0:
            return 0
        if resource not in self.windows:  # nothing is known: one call will tell
            return 1 - self.in_flight
        window = self.windows[resource]
        if window is None:
            return at_once
        if now >= window.reset_at + _GRACE_S:
            window.remaining = window.limit
        return self._spare(window) - self.in_flight

    def ready_at(self, now: float) -> float:
        """Return when the minute has a call left, in seconds of the epoch; not later than ``now`` if it has one."""
        return self.bucket.ready_at(now) if self.bucket else now

    def opens_at(self, resource: str) -> float:
        """Return when a call may go out again, in seconds of the epoch."""
        window = self.windows.get(resource)
        ends_at = window.reset_at + _GRACE_S if window and self._spare(window) <= 0 else 0.0
        return max(self.held_until, ends_at)

    def begin(self, now: float) -> None:
        """Count a call that goes out."""
        self.in_flight += 1
        if self.bucket:
            self.bucket.take(now)

    def observe(self, resource: str, told: LimitWindow | None) -> None:
        """Learn what an answer told. Answers overtake one another: within a window the lowest word counts."""
        known = self.windows.get(resource)
        if told is None:
            self.windows.setdefault(resource, None)
        elif known is None or told.reset_at > known.reset_at + _SAME_WINDOW_S:
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

    def _spare(self, window: LimitWindow) -> int:
        """Count what is left without margin and reserve; a full window always has a call."""
        margin = max(1, window.limit // _MARGIN) if window.limit >= _SMALL else 0
        kept = min(margin + math.ceil(window.limit * self.reserved), window.limit - 1)
        return window.remaining - kept
