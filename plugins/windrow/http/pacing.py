"""When the next call may go out: even spacing under a rate, and a common pause when the API asks for one."""

import asyncio
import time


class Pace:
    """Spaces calls evenly at ``rate_per_s``, in the order they come, and holds them back while the API wants quiet.

    :param rate_per_s: calls a second, None for no limit.
    """

    def __init__(self, rate_per_s: float | None = None) -> None:
        self._interval_s = 1.0 / rate_per_s if rate_per_s else 0.0
        self._next_at = 0.0
        self._quiet_until = 0.0
        self._queue = asyncio.Lock()  # wakes its waiters in the order they came

    async def turn(self) -> None:
        """Return when the caller may send one call."""
        if not self._interval_s:
            await self._quiet(self._quiet_until)
            return
        arrived = time.monotonic()
        async with self._queue:
            at = max(arrived, self._next_at)
            await self._quiet(at)
            # From when it should have gone out, not from when it did: sleeps end late, which must not add up.
            self._next_at = max(at, self._quiet_until) + self._interval_s

    def hold(self, pause_s: float) -> None:
        """Let no call out for ``pause_s`` seconds. A longer pause already asked for stays."""
        self._quiet_until = max(self._quiet_until, time.monotonic() + pause_s)

    async def _quiet(self, until: float) -> None:
        """Sleep until an instant, and longer if a pause is asked for meanwhile."""
        while (left_s := max(until, self._quiet_until) - time.monotonic()) > 0:  # noqa: ASYNC110 - it knows how long
            await asyncio.sleep(left_s)
