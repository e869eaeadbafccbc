"""When the next call may go out: even spacing under a rate, and a common pause when the API asks for one."""

import asyncio
import time
from collections.abc import Callable


class Pace:
    """Spaces calls evenly at ``rate_per_s`` and holds all of them back while the API wants quiet.

    Even spacing by reservation (generic cell rate algorithm): each call takes the next free instant and sleeps
    until it comes, so nothing polls and nobody is overtaken.

    :param rate_per_s: calls a second, None for no limit.
    :param clock: monotonic seconds.
    """

    def __init__(self, rate_per_s: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1.0 / rate_per_s if rate_per_s else 0.0
        self._clock = clock
        self._next_at = 0.0
        self._quiet_until = 0.0

    async def turn(self) -> None:
        """Return when the caller may send one call."""
        while True:
            now = self._clock()
            at = max(now, self._next_at) if self._interval_s else now
            at = max(at, self._quiet_until)
            if self._interval_s:
                self._next_at = at + self._interval_s
            if at <= now:
                return
            await asyncio.sleep(at - now)
            # A pause may have been asked for while this call slept; otherwise its instant has come.
            if self._quiet_until <= at:
                return

    def hold(self, pause_s: float) -> None:
        """Let no call out for ``pause_s`` seconds. A longer pause already asked for stays."""
        self._quiet_until = max(self._quiet_until, self._clock() + pause_s)
