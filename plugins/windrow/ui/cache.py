"""Answers of a slow source, kept: whoever looks gets what is there, while one refresh at a time brings a newer one."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

Answer = dict[str, Any]

THREADS = 4
"""Refreshes at once, each of another name; further ones wait. Never threads of the server that asks."""


@dataclass
class _Name:
    """What is known of one name."""

    answer: Answer | None = None
    at: float = 0.0
    refresh: "Future[Answer] | None" = None


class Kept:
    """Answers by name. Failures are kept like all others: what is down is not asked more often than what is up.

    :param ask: gives the answer of a name, however long it takes; runs in a thread of its own.
    :param seconds: how long an answer counts as new.
    :param patience_s: how long to wait for a refresh before the old answer is given.
    """

    def __init__(self, ask: Callable[[str], Answer], *, seconds: float, patience_s: float) -> None:
        self.seconds = seconds
        self.patience_s = patience_s
        self._ask = ask
        self._names: dict[str, _Name] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kept")

    async def answer(self, name: str) -> Answer | None:
        """Return the newest answer that is there within ``patience_s``; None when there is none yet."""
        known = self._names.setdefault(name, _Name())
        if known.answer is not None and time.monotonic() - known.at <= self.seconds:
            return known.answer
        refresh = self._refresh(name, known)
        done, _ = await asyncio.wait([asyncio.wrap_future(refresh)], timeout=self.patience_s)
        return done.pop().result() if done else known.answer

    def _refresh(self, name: str, known: _Name) -> "Future[Answer]":
        """Return the refresh that is under way, or begin one."""
        with self._lock:  # held for as long as it takes to look, never during a call
            if known.refresh is None or known.refresh.done():
                known.refresh = self._pool.submit(self._ask_and_keep, name, known)
            return known.refresh

    def _ask_and_keep(self, name: str, known: _Name) -> Answer:
        answer = self._ask(name)
        known.answer, known.at = answer, time.monotonic()
        return answer
