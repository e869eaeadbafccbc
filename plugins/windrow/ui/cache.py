"""A cache of answers from a slow source. Requests get the cached answer while one refresh at a time runs."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

Answer = dict[str, Any]

THREADS = 4
"""Maximum concurrent refreshes, one for each name; further ones wait. They do not use threads of the server."""


@dataclass
class _Name:
    """The cache entry of one name."""

    answer: Answer | None = None
    at: float = 0.0
    refresh: "Future[Answer] | None" = None


class RefreshedCache:
    """Answers by name. Failures are also cached, so that a source that is down does not get more requests.

    :param ask: returns the answer for a name; it may be slow, and runs in a separate thread.
    :param seconds: how long an answer counts as fresh.
    :param patience_s: how long to wait for a refresh before the old answer is returned.
    """

    def __init__(self, ask: Callable[[str], Answer], *, seconds: float, patience_s: float) -> None:
        self.seconds = seconds
        self.patience_s = patience_s
        self._ask = ask
        self._names: dict[str, _Name] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kept")

    async def answer(self, name: str) -> Answer | None:
        """Return the newest answer available within ``patience_s``; None if there is none yet."""
        known = self._names.setdefault(name, _Name())
        if known.answer is not None and time.monotonic() - known.at <= self.seconds:
            return known.answer
        refresh = self._refresh(name, known)
        done, _ = await asyncio.wait([asyncio.wrap_future(refresh)], timeout=self.patience_s)
        return done.pop().result() if done else known.answer

    def _refresh(self, name: str, known: _Name) -> "Future[Answer]":
        """Return the running refresh, or start one."""
        with self._lock:  # only held for this check, never during a call
            if known.refresh is None or known.refresh.done():
                known.refresh = self._pool.submit(self._ask_and_keep, name, known)
            return known.refresh

    def _ask_and_keep(self, name: str, known: _Name) -> Answer:
        answer = self._ask(name)
        known.answer, known.at = answer, time.monotonic()
        return answer
