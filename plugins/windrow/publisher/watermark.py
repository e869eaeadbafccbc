"""Up to where everything is published: an instant that a restart can begin at, without losing a post."""

from dataclasses import dataclass

MARGIN_S = 60.0
"""The stream is not in order: a post may come so much later than one that was made after it."""


@dataclass(slots=True)
class Watermark:
    """All posts made before ``through`` (seconds since 1970) that the stream told are published.

    It stands still while the stream is broken, and until the gap that this left is filled.
    """

    through: float
    gap_until: float | None = None
    """Where the open gap ends: the stream began again then. None while there is no gap."""
    broken: bool = True
    """Whether the stream is not there, so that the gap grows."""

    def opened(self, now: float) -> None:
        """Learn that the stream is there again: what was made from ``through`` until now has to be filled in."""
        self.broken = False
        self.gap_until = now

    def lost(self) -> None:
        """Learn that the stream is not there any more."""
        self.broken = True
        self.gap_until = None

    def filled(self, until: float) -> None:
        """Learn that the gap that ended then is filled, and all of it acknowledged."""
        if self.gap_until == until:
            self.gap_until = None

    def move(self, heard: float, oldest: float | None) -> float:
        """Move as far as may be, and return how far everything is published.

        :param heard: when the last line came, a heartbeat too: up to then nothing was missed.
        :param oldest: when the oldest message came that is not acknowledged.
        """
        if not self.broken and self.gap_until is None:
            safe = min(heard, oldest) if oldest is not None else heard
            self.through = max(self.through, safe - MARGIN_S)
        return self.through
