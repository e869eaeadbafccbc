"""Pacing on the real clock, with small intervals and generous bounds."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from windrow.http.pacing import LONGEST_PAUSE_S, Gate, Pace, Pause, Throttles
from windrow.model.errors import RateLimited

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


# --- the gate ----------------------------------------------------------------------------------


def gate(patience_s: float = 60.0, base_s: float = 0.001) -> Gate:
    return Gate("shop", base_s=base_s, patience_s=patience_s)


def throttle(gate: Gate, asked_s: float = 0.0, sent_at: float | None = None) -> None:
    gate.throttled(sent_at or time.monotonic(), asked_s, "429", key="items", call=Throttles())


def test_a_pause_holds_back_every_call_and_then_lets_one_through():
    async def scenario() -> None:
        one, passed = gate(), []

        async def call() -> None:
            await one.enter()
            passed.append(time.monotonic())

        throttle(one, asked_s=0.15)
        paused_at = time.monotonic()
        calls = [asyncio.create_task(call()) for _ in range(20)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.02)
        assert len(passed) == 1
        assert passed[0] >= paused_at + 0.15 - EARLY_S
        assert one.succeeded(time.monotonic())
        await asyncio.gather(*calls)
        assert len(passed) == 20

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_calls_that_were_sent_before_the_pause_do_not_lengthen_it():
    one, sent_at = gate(), time.monotonic()
    for _ in range(50):
        throttle(one, sent_at=sent_at)
    assert one.times == 1
    assert not one.succeeded(sent_at), "nor does a success of theirs end it"
    assert not one.is_open


def test_a_shorter_pause_does_not_replace_a_longer_one():
    async def scenario() -> None:
        one, sent_at = gate(), time.monotonic()
        throttle(one, asked_s=0.1, sent_at=sent_at)
        throttle(one, asked_s=0.001, sent_at=sent_at)
        await one.enter()
        assert time.monotonic() - sent_at >= 0.1 - EARLY_S

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_without_a_time_the_pause_doubles_up_to_an_hour():
    pauses, now = [], datetime.now(UTC)
    for times in range(20):
        one = gate(patience_s=0.0)
        one.restore(Pause(times, now))
        with pytest.raises(RateLimited) as limit:
            throttle(one)
        pauses.append((limit.value.retry_at - datetime.now(UTC)).total_seconds())
    for times, pause_s in enumerate(pauses, 1):
        ceiling_s = min(LONGEST_PAUSE_S, 0.001 * 2**times)
        assert ceiling_s / 2 - 0.5 <= pause_s <= ceiling_s
    assert "paused 20 times in a row since " in str(limit.value)


def test_calls_that_wait_get_the_error_of_a_pause_that_is_too_long():
    async def scenario() -> None:
        one = gate(patience_s=1.0)
        throttle(one, asked_s=0.01)
        await one.enter()  # the probe
        waiting = [asyncio.create_task(one.enter()) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited):
            throttle(one, asked_s=7200)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [RateLimited] * 5
        await one.enter()  # a later call, such as one to another endpoint, is a probe again

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_after_a_probe_without_a_result_another_call_is_the_probe():
    async def scenario() -> None:
        one = gate()
        throttle(one, asked_s=0.01)
        await one.enter()
        sent_at = time.monotonic()
        waiting = asyncio.create_task(one.enter())
        await asyncio.sleep(0)
        one.leave(sent_at)
        await waiting

    asyncio.run(asyncio.wait_for(scenario(), 5))


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
