"""How many calls a route takes in a window of 15 minutes, and the headers that say so."""

import time

from aiohttp import web

WINDOW_S = 900


class Window:
    """The calls of one route; a window begins with its first call."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._ends = 0.0

    def take(self) -> bool:
        """Count a call, and say whether it is within the limit."""
        if time.time() >= self._ends:
            self._used, self._ends = 0, time.time() + WINDOW_S
        self._used += 1
        return self._used <= self._limit

    def reset(self) -> None:
        """Begin anew with the next call."""
        self._ends = 0.0

    def describe(self, response: web.StreamResponse) -> None:
        """Write the headers."""
        response.headers["x-rate-limit-limit"] = str(self._limit)
        response.headers["x-rate-limit-remaining"] = str(max(0, self._limit - self._used))
        response.headers["x-rate-limit-reset"] = str(int(self._ends))
