"""Answers that are given again for a moment, so that many who ask at once cost as much as one."""

import threading
import time
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]


class Kept:
    """Answers by name. Failures are kept like all others: what is down is not asked more often than what is up."""

    def __init__(self, ask: Callable[[str], Answer], seconds: float) -> None:
        self.seconds = seconds
        self._ask = ask
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, Answer]] = {}

    def answer(self, name: str) -> Answer:
        """Return the answer of the last moments, or ask."""
        with self._lock:  # of many who look at once, one asks
            known = self._answers.get(name)
            if known is None or time.monotonic() - known[0] > self.seconds:
                answer = self._ask(name)
                known = self._answers[name] = time.monotonic(), answer
            return known[1]
