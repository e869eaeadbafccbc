"""A command that is told to end stops first what it started."""

import signal
from types import FrameType


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP, a closed terminal, end this process as Ctrl-C does. Call it in the main thread.

    One that ignores SIGHUP (nohup) goes on ignoring it.
    """
    told = False

    def end(_signum: int, _frame: FrameType | None) -> None:
        nonlocal told
        if told:  # whoever closes a terminal tells twice, and what is being stopped must not stay half stopped
            return
        told = True
        if signal.getsignal(signal.SIGINT) in {signal.SIG_IGN, signal.SIG_DFL}:  # a shell's background job ignores it
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # asyncio has its own way to end by it

    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, end)
