"""Run blocking calls in daemon threads, so that the process can end while a call waits for MongoDB."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_background(call: Callable[[], T]) -> T:
    """Run a call in a thread and return its result or raise its error. If cancelled, the call continues in its thread.

    With `asyncio.to_thread` the program could not end before the call has ended.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from now on it cannot be cancelled

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    context = contextvars.copy_context()  # of the fields of log lines
    threading.Thread(target=context.run, args=(work,), daemon=True).start()
    return await asyncio.wrap_future(done)
