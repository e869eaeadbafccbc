"""The watermark of the publisher: everything before it is published, so a restart can begin there."""

from dataclasses import dataclass, field

RESOLUTION_S = 1.0
"""The time of X is in whole seconds: two openings within one second may seem to be in the wrong order."""
MARGIN_S = 60.0
"""The stream is not in order: a post may arrive this much later than a newer post."""


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """A time range in which the stream may have missed posts (Unix timestamps)."""

    since: float
    until: float


@dataclass(slots=True)
class Watermark:
    """Everything up to ``reached`` (a Unix timestamp) is published, except in the gaps.

    It does not move while the stream is broken. None: the stream was never open, so nothing was missed.
    """

    reached: float | None = None
    gaps: list[Gap] = field(default_factory=list)
    """Gaps that are not filled yet, in order of time."""
    broken: bool = True

    @property
    def through(self) -> float | None:
        """All posts created before this, from the stream or the search, are published."""
        return self.gaps[0].since if self.gaps else self.reached

    def opened(self, now: float, whole_from: float) -> Gap | None:
        """Handle a (re)opened stream, and return the gap before it, if any.

        :param whole_from: when the stream is complete; not before all rules are active.
        """
        self.broken = False
        first, since = self.reached is None, now if self.reached is None else self.reached
        self.reached = max(since, whole_from, now)
        if since == self.reached and (first or since > now + RESOLUTION_S):
            return None
        gap = Gap(since, self.reached)
        self.gaps.append(gap)
        return gap

    def lost(self) -> None:
        """Handle the loss of the stream."""
        self.broken = True

    def filled(self, gap: Gap) -> None:
        """Handle a gap that is filled, with all messages acknowledged."""
        self.gaps.remove(gap)

    def move(self, heard: float, oldest: float | None) -> None:
        """Move the watermark as far as possible.

        :param heard: when the last line, or heartbeat, arrived: nothing was missed before it.
        :param oldest: when the oldest unacknowledged message arrived.
        """
        if not self.broken and self.reached is not None:
            safe = min(heard, oldest) if oldest is not None else heard
            self.reached = max(self.reached, safe - MARGIN_S)
