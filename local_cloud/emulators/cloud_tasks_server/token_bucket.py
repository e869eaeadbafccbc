"""The pace of a queue: a bucket of tokens that fills steadily; each dispatch takes one."""

import time


class TokenBucket:
    """Lets `burst` go at once, and `rate` a second from then on."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = time.monotonic()

    def change(self, rate: float, burst: int) -> None:
        """Go on at another pace, with the tokens there are: a change is no new burst."""
        self.seconds_until_next()
        self._rate, self._burst = rate, burst
        self._tokens = min(self._tokens, float(burst))

    def seconds_until_next(self) -> float:
        """Return how long the next dispatch has to wait; 0 when it may go now."""
        now = time.monotonic()
        self._tokens = min(float(self._burst), self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        """Take the token of one dispatch."""
        self._tokens -= 1
