"""Calls that block, in threads that nobody waits for: the process can end while MongoDB is looked for."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_background(call: Callable[[], T]) -> T:
    """Return what a call returns, or raise what it raises. Cancelled, it goes on alone, and may not come to its end.

    `asyncio.to_thread` would hold up the end of the program until the call is through.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from now on it cannot be cancelled, only left alone

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(done)
