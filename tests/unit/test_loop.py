"""Which event loop runs calls, and that a signal reaches a task on either."""

import asyncio
import os
import signal
import sys

import pytest

from windrow.http.loop import LOOP, run_async


async def module_of_loop() -> str:
    """Return the package of the running loop."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_uvloop_runs_calls_and_one_setting_switches_back(monkeypatch):
    assert run_async(module_of_loop()) == "uvloop"
    monkeypatch.setenv(LOOP, "asyncio")
    assert run_async(module_of_loop()) == "asyncio"


def test_where_uvloop_is_missing_the_loop_of_python_runs_calls(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run_async(module_of_loop()) == "asyncio"


@pytest.mark.parametrize("loop", ["", "asyncio"])
def test_a_signal_that_airflow_sends_is_handled_while_the_loop_waits(loop, monkeypatch):
    monkeypatch.setenv(LOOP, loop)

    class Ended(Exception):
        pass

    def end(*_: object) -> None:
        raise Ended

    async def wait() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(10)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(Ended):
            run_async(wait())
    finally:
        signal.signal(signal.SIGTERM, before)
