"""A book of quotas in memory, for tests that need no MongoDB."""

from collections import defaultdict


class MemoryBook:
    """Keeps to `windrow.http.ledger.Book`."""

    def __init__(self) -> None:
        self.windows: dict[str, dict[str, int]] = defaultdict(dict)

    def reserve(self, window: str, holder: str, units: int) -> None:
        self.windows[window][holder] = units

    def reservations(self, window: str) -> dict[str, int]:
        return dict(self.windows.get(window, {}))
