"""Run coroutines that make many calls, on uvloop where it is installed: a call takes a tenth less CPU there."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LOOP = "WINDROW_EVENT_LOOP"
"""If this environment variable is ``asyncio``, the event loop of Python's standard library runs coroutines."""


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop; None for that of the standard library."""
    if os.environ.get(LOOP) == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - 4 ms that a process which makes no calls need not take
    except ImportError:  # as on Windows; Airflow's API server brings it elsewhere
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
