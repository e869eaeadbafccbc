"""An event loop whose clock is moved, not waited for, and a store that is some milliseconds away.

Sleeps of coroutines, and the pauses of functions that `asyncio.to_thread` runs, take no time but move the clock. One
thing runs at a time, so a simulation gives the same result each time, and a busy machine does not change it.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. Its time begins at 0."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Skips(self))

    def time(self) -> float:
        """Return the time in seconds."""
        return self._now

    def instant(self) -> datetime:
        """Return the time as an instant in UTC, from noon of a day."""
        return datetime.fromtimestamp(1_767_268_800 + self._now, UTC)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """Run a function that may `pause`."""
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        greenlet(work).switch()
        return future

    def pause(self, seconds: float) -> None:
        """Let time pass in a function that `run_in_executor` runs, while everything else goes on."""
        self.call_later(seconds, getcurrent().switch)
        if (parent := getcurrent().parent) is None:
            raise RuntimeError("outside of run_in_executor")
        parent.switch()


class _Skips(selectors.SelectSelector):
    """Instead of waiting for files, moves the clock to the next event."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will not come")
        self._loop.move(max(0.0, timeout))
        return []


class Server:
    """A server that is ``away_s`` away, one way. It does one operation on a document at a time, in ``busy_s``."""

    def __init__(self, loop: VirtualLoop, *, away_s: float, busy_s: float) -> None:
        self._loop = loop
        self._away_s = away_s
        self._busy_s = busy_s
        self._free_at: dict[str, float] = {}
        self.operations = 0

    def do(self, document: str, operation: Callable[[], T]) -> T:
        """Do an operation, when those that came before it are done."""
        self.operations += 1
        self._loop.pause(self._away_s)
        now = self._loop.time()
        done_at = self._free_at[document] = max(now, self._free_at.get(document, 0.0)) + self._busy_s
        self._loop.pause(done_at - now)
        result = operation()
        self._loop.pause(self._away_s)
        return result


def run(simulate: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a simulation in a loop of its own, and return its result."""
    with closing(VirtualLoop()) as loop:
        return loop.run_until_complete(simulate(loop))
