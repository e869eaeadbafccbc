"""Up to where everything is published: an instant that a restart can begin at, without losing a post."""

from dataclasses import dataclass, field

MARGIN_S = 60.0
"""The stream is not in order: a post may come so much later than one that was made after it."""


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """A time of which the stream may have told nothing (seconds since 1970)."""

    since: float
    until: float


@dataclass(slots=True)
class Watermark:
    """What the stream told is published up to ``reached`` (seconds since 1970), but for the gaps.

    It stands still while the stream is broken. None: the stream was never open, so nothing was missed.
    """

    reached: float | None = None
    gaps: list[Gap] = field(default_factory=list)
    """Not filled yet, in the order of their times."""
    broken: bool = True

    @property
    def through(self) -> float | None:
        """All posts made before this that the stream, or the search in its place, told are published."""
        return self.gaps[0].since if self.gaps else self.reached

    def opened(self, now: float, whole_from: float) -> Gap | None:
        """Learn that the stream is there again, and return the gap that this leaves.

        :param whole_from: from when on it tells all that it should; not before all rules hold.
        """
        self.broken = False
        since = now if self.reached is None else self.reached
        self.reached = max(since, whole_from, now)
        if since == self.reached:
            return None
        gap = Gap(since, self.reached)
        self.gaps.append(gap)
        return gap

    def lost(self) -> None:
        """Learn that the stream is not there any more."""
        self.broken = True

    def filled(self, gap: Gap) -> None:
        """Learn that a gap is filled, and all of it acknowledged."""
        self.gaps.remove(gap)

    def move(self, heard: float, oldest: float | None) -> None:
        """Move as far as may be.

        :param heard: when the last line came, a heartbeat too: up to then nothing was missed.
        :param oldest: when the oldest message came that is not acknowledged.
        """
        if not self.broken and self.reached is not None:
            safe = min(heard, oldest) if oldest is not None else heard
            self.reached = max(self.reached, safe - MARGIN_S)
