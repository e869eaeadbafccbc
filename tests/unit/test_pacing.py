"""Pacing on the real clock, with small intervals and generous bounds."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from windrow.http.pacing import Pace

EARLY_S = 0.002
"""A sleep may end this much before its time."""


class Calls:
    """Makes numbered calls through a pace, and notes when and in which order they went out."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.started = time.monotonic()
        self.order: list[int] = []
        self.at: list[float] = []

    async def make(self, number: int) -> None:
        await self.pace.turn()
        self.order.append(number)
        self.at.append(time.monotonic() - self.started)

    def start(self, number: int) -> list["asyncio.Task[None]"]:
        return [asyncio.create_task(self.make(place)) for place in range(number)]


def run(pace: Pace, scenario: Callable[[Calls], Coroutine[Any, Any, None]]) -> Calls:
    """Run a scenario; five seconds without an end mean that somebody was never woken."""

    async def limited() -> Calls:
        calls = Calls(pace)
        async with asyncio.timeout(5):
            await scenario(calls)
        return calls

    return asyncio.run(limited())


def all_at_once(number: int) -> Callable[[Calls], Coroutine[Any, Any, None]]:
    async def scenario(calls: Calls) -> None:
        await asyncio.gather(*calls.start(number))

    return scenario


# --- the rate ----------------------------------------------------------------------------------


def test_calls_go_out_evenly_in_the_order_they_came():
    calls = run(Pace(200), all_at_once(40))
    assert calls.order == list(range(40))
    assert calls.at[-1] - calls.at[0] >= 39 / 200 - EARLY_S
    for place, at in enumerate(calls.at):
        assert at >= place / 200 - EARLY_S, "a call went out before its turn"


def test_the_rate_is_used_up():
    """Sleeps end late, by a millisecond or so; that must not add up from call to call."""
    best = min(run(Pace(500), all_at_once(100)).at[-1] for _ in range(3))
    assert 99 / 500 - EARLY_S <= best < 1.06 * 100 / 500


def test_the_first_call_has_nothing_to_wait_for():
    assert run(Pace(2), all_at_once(1)).at[0] < 0.2


def test_one_caller_after_the_other_keeps_the_rate_too():
    async def scenario(calls: Calls) -> None:
        for number in range(20):
            await calls.make(number)

    calls = run(Pace(200), scenario)
    assert calls.at[-1] - calls.at[0] >= 19 / 200 - EARLY_S


def test_quiet_times_save_up_nothing():
    async def scenario(calls: Calls) -> None:
        await calls.make(0)
        await asyncio.sleep(0.1)
        calls.at.clear()
        await asyncio.gather(*calls.start(10))

    calls = run(Pace(100), scenario)
    assert calls.at[-1] - calls.at[0] >= 9 / 100 - EARLY_S


@pytest.mark.parametrize("rate_per_s", [None, 0])
def test_without_a_rate_nothing_waits(rate_per_s: float | None, monkeypatch: pytest.MonkeyPatch):
    async def sleep(left_s: float) -> None:
        raise AssertionError(f"it waits for {left_s} s")

    monkeypatch.setattr("windrow.http.pacing.asyncio.sleep", sleep)
    assert run(Pace(rate_per_s), all_at_once(1_000)).order == list(range(1_000))


def test_a_rate_below_one_a_second_is_a_rate():
    async def scenario(calls: Calls) -> None:
        await calls.make(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(calls.make(1), 0.1)

    assert run(Pace(0.5), scenario).order == [0]


# --- common pauses -----------------------------------------------------------------------------


@pytest.mark.parametrize("rate_per_s", [None, 500])
def test_a_pause_holds_back_every_call(rate_per_s: float | None):
    async def scenario(calls: Calls) -> None:
        calls.pace.hold(0.15)
        await asyncio.gather(*calls.start(20))

    calls = run(Pace(rate_per_s), scenario)
    assert len(calls.at) == 20
    assert 0.15 - EARLY_S <= calls.at[0] < 0.6


def test_a_pause_holds_back_calls_that_wait_for_their_turn_already():
    async def scenario(calls: Calls) -> None:
        tasks = calls.start(40)
        await asyncio.sleep(0.055)
        out_before, held_at = len(calls.at), time.monotonic() - calls.started
        calls.pace.hold(0.15)
        await asyncio.gather(*tasks)
        assert 0 < out_before < 40
        assert min(calls.at[out_before:]) >= held_at + 0.15 - EARLY_S

    calls = run(Pace(100), scenario)
    assert sorted(calls.order) == list(range(40))


def test_after_a_pause_calls_go_out_evenly_again():
    async def scenario(calls: Calls) -> None:
        tasks = calls.start(20)
        calls.pace.hold(0.1)
        await asyncio.gather(*tasks)

    calls = run(Pace(200), scenario)
    for place, at in enumerate(calls.at):
        assert at >= 0.1 + place / 200 - EARLY_S
    assert calls.at[-1] < 0.1 + 2 * 20 / 200 + 0.1


def test_nobody_is_overtaken_also_after_a_pause():
    async def scenario(calls: Calls) -> None:
        tasks = calls.start(12)
        await asyncio.sleep(0.025)
        calls.pace.hold(0.06)
        await asyncio.gather(*tasks)

    assert run(Pace(100), scenario).order == list(range(12))


def test_a_longer_pause_stays():
    async def scenario(calls: Calls) -> None:
        calls.pace.hold(0.15)
        calls.pace.hold(0.01)
        await calls.make(0)

    assert run(Pace(), scenario).at[0] >= 0.15 - EARLY_S


@pytest.mark.parametrize("rate_per_s", [None, 500])
def test_a_pause_that_grows_loses_nobody(rate_per_s: float | None):
    async def scenario(calls: Calls) -> None:
        tasks = calls.start(50)
        for _ in range(5):  # as when every call in flight comes back with 429
            held_until = time.monotonic() - calls.started + 0.3
            calls.pace.hold(0.3)
            await asyncio.sleep(0.02)
        assert not calls.at
        await asyncio.gather(*tasks)
        assert calls.at[0] >= held_until - EARLY_S

    calls = run(Pace(rate_per_s), scenario)
    assert sorted(calls.order) == list(range(50))
    assert calls.at[-1] < 1.5


def test_a_pause_that_is_over_holds_nothing():
    async def scenario(calls: Calls) -> None:
        calls.pace.hold(0.02)
        await asyncio.sleep(0.05)
        calls.started = time.monotonic()
        await calls.make(0)

    assert run(Pace(), scenario).at[0] < 0.2


# --- callers that give up ----------------------------------------------------------------------


def test_cancelled_callers_leave_the_others_their_turns():
    async def scenario(calls: Calls) -> None:
        tasks = calls.start(50)
        await asyncio.sleep(0.012)
        for task in tasks[20:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    calls = run(Pace(100), scenario)
    assert calls.order == list(range(20))
    assert calls.at[-1] < 0.6
