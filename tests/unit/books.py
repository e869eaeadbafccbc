"""Quotas and pauses in memory, for tests that need no MongoDB."""

from collections import defaultdict
from datetime import datetime

from windrow.http.ledger import Page
from windrow.http.pacing import Pause


class MemoryBook:
    """A `windrow.http.ledger.QuotaStore` and a `windrow.http.pacing.PauseStore`."""

    def __init__(self) -> None:
        self.windows: dict[str, list[int]] = defaultdict(list)
        """The units of the blocks, by number."""
        self.closed: dict[str, datetime] = {}
        self.pauses: dict[str, Pause] = {}

    def quota_page(self, window: str) -> Page:
        blocks = self.windows.get(window, [])
        return Page(sum(blocks), len(blocks), self.closed.get(window))

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        assert number <= len(self.windows[window]), "a block was left out"
        if number == len(self.windows[window]):
            self.windows[window].append(units)
            return True
        return False

    def close_window(self, window: str, until: datetime) -> None:
        self.closed[window] = until

    def pause(self, api: str) -> Pause | None:
        return self.pauses.get(api)

    def keep_pause(self, api: str, pause: Pause | None) -> None:
        self.pauses.pop(api, None)
        if pause:
            self.pauses[api] = pause
