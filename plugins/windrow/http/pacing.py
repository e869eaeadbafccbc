"""When the next call may be sent: evenly spaced under a rate, and paused while the API limits the rate."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from windrow.model.errors import CallsStopped, RateLimited

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 60.0
"""How long a task waits before it looks whether a stop was lifted."""
LONGEST_PAUSE_S = 3600.0
"""A pause that the API does not name grows up to this."""
_SPARE = 0.03
"""Turns that tasks share are spaced by so much more than the rate demands."""
LATE_S = 0.02
"""How late such a turn may be used. The rest of `_SPARE` is for clocks that are compared."""
_SPAN_S = 0.25
"""The longest time that is claimed at once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """How often calls to an API were paused in a row, without a success between, and since when (UTC)."""

    times: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Stop:
    """A person stopped all calls to an API, at an instant (UTC), with a note that may be empty."""

    by: str
    at: datetime
    note: str = ""


class PauseStore(Protocol):
    """Stores the pauses and stops of APIs for all tries of all tasks."""

    def stop(self, api: str) -> Stop | None:
        """Return who stopped the calls to an API; None if nobody did."""

    def pause(self, api: str) -> Pause | None:
        """Return the pause of an API; None if its last call was successful."""

    def keep_pause(self, api: str, pause: Pause | None) -> None:
        """Store the pause of an API; None after a successful call."""


@dataclass(slots=True)
class Throttles:
    """How often one call was throttled, and the monotonic time of the first."""

    times: int = 0
    since: float = 0.0


class TurnStore(Protocol):
    """Spaces the calls of all tasks to an API."""

    def turns_clock(self) -> float:
        """Return the time of the store, in seconds of the epoch."""

    def claim_turns(self, api: str, span_s: float, now: float, ahead_s: float) -> float:
        """Claim a span of time for calls to an API, and return its start. No two spans overlap.

        It begins where the last one ends; if that has passed, ``ahead_s`` after ``now``. Times are those of the store.
        """


class Pace:
    """Spaces calls evenly at ``rate_per_s``, in the order they come.

    With a store, all tasks that call the API share the rate. A client claims the turns of the calls that wait, a
    quarter of a second's worth at most. It does not use a turn that is `LATE_S` past, and turns are spaced by more
    than that, so that no second has more calls than ``rate_per_s``.

    :param rate_per_s: calls per second; None for no limit.
    :param name: the API, for the store.
    :param turns: the store; None if nothing else calls the API.
    :param clock: returns the monotonic time, in seconds.
    """

    def __init__(
        self,
        rate_per_s: float | None = None,
        *,
        name: str = "api",
        turns: TurnStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = (1.0 + _SPARE if turns else 1.0) / rate_per_s if rate_per_s else 0.0
        self._most = max(1, int(_SPAN_S / self._interval_s)) if self._interval_s else 1
        self._name = name
        self._turns = turns
        self._clock = clock
        self._next_at = 0.0
        self._queue = asyncio.Lock()  # wakes its waiters in the order they came
        self._waiting = 0
        # turns of the last claim, and how many of them are left, and were used
        self._number = self._left = self._used = 0
        self._in_line = False
        """Whether the last span that was claimed begins behind those of others."""
        self._ahead_s = 0.0
        """How long a claim takes."""
        self._store_ahead_s: float | None = None
        """By how much the clock of the store is ahead of the monotonic clock; None before the first claim."""

    @property
    def is_limited(self) -> bool:
        """Whether there is a rate."""
        return self._interval_s > 0

    async def turn(self) -> float:
        """Return when the caller may send one call, and the time of that turn (monotonic).

        :raises StagingUnavailable: the store cannot be reached.
        """
        if not self._interval_s:
            return self._clock()
        arrived = self._clock()
        self._waiting += 1
        try:
            async with self._queue:
                at = max(arrived, self._next_at) if self._turns is None else await self._claimed(self._turns)
                await asyncio.sleep(max(0.0, at - self._clock()))
                while self._turns is not None and self._clock() - at > LATE_S:
                    at = await self._claimed(self._turns)
                    await asyncio.sleep(max(0.0, at - self._clock()))
                # From when it should have been sent, not from when it was: sleeps end late, which must not add up.
                self._next_at = at + self._interval_s
                return at
        finally:
            self._waiting -= 1

    async def _claimed(self, store: TurnStore) -> float:
        """Return the time of the next turn that is not past."""
        while True:
            while self._left:
                at, self._next_at = self._next_at, self._next_at + self._interval_s
                self._left -= 1
                if self._clock() - at <= LATE_S:
                    self._used += 1
                    return at
            # As many as wait, and more where the last ones were all used: what is not used is kept from other tasks.
            # Where others are in line, they would miss every turn that is not used: no more than what waits.
            likely = 0 if self._in_line else 2 * self._used if self._used == self._number else self._used
            number = self._number = min(self._most, max(self._waiting, likely))
            if self._store_ahead_s is None:
                self._store_ahead_s = await asyncio.to_thread(self._compare, store)
            began = self._clock()
            now, ahead_s = began + self._store_ahead_s, self._ahead_s
            start = await asyncio.to_thread(store.claim_turns, self._name, number * self._interval_s, now, ahead_s)
            self._in_line = start > now + ahead_s
            self._ahead_s = min(2 * (self._clock() - began), 1.0)
            # never before the turns that this client has used: a store of one client alone does not know them
            self._next_at = max(self._next_at, start - self._store_ahead_s)
            self._left, self._used = number, 0

    def _compare(self, store: TurnStore) -> float:
        """Return by how much the clock of the store is ahead: of five answers, the quickest one tells. In a thread."""
        found = []
        for _ in range(5):
            began = self._clock()
            told = store.turns_clock()
            took = self._clock() - began
            found.append((took, told - began - took / 2))
        self._ahead_s, ahead_s = min(found)
        return ahead_s


class Gate:
    """Stops all calls of a client while the API limits their rate, and then lets one call through as a probe.

    The pause doubles with each probe that the API also throttles, up to an hour. A probe that succeeds opens the gate.

    :param name: id of the Airflow connection, for messages.
    :param base_s: the first pause is up to twice this.
    :param patience_s: calls wait this long in the task. For a longer pause the task defers.
    """

    def __init__(self, name: str, *, base_s: float, patience_s: float) -> None:
        self.times = 0
        """Pauses in a row."""
        self.since: datetime | None = None
        self._name = name
        self._base_s = base_s
        self._patience_s = patience_s
        self._waits_from = 0.0
        self._paused_at = self._opens_at = 0.0
        self._probing = False
        self._given_up: RateLimited | None = None
        self._stopped: RateLimited | None = None
        self._news = asyncio.Event()

    def restore(self, pause: Pause) -> None:
        """Continue from the pauses of earlier tasks: the first call is a probe."""
        self.times, self.since = pause.times, pause.since

    @property
    def is_open(self) -> bool:
        """Whether calls may be sent without asking."""
        return self.times == 0 and self._stopped is None and time.monotonic() >= self._opens_at

    def stop(self, stop: Stop) -> None:
        """Let no further call through: each raises `RateLimited`, also those that wait here. Running calls end."""
        if self._stopped is None:
            self._stopped = CallsStopped(
                f"{stop.by} stopped all calls to {self._name!r} at {stop.at:%Y-%m-%d %H:%M:%S} UTC"
                f"{f': {stop.note}' if stop.note else ''}.",
                advice="All answers are staged. The task continues automatically within "
                f"{LOOK_AGAIN_S:.0f} s after `windrow resume {self._name}`, or after Go on at Harvest > Limits.",
                retry_at=datetime.now(UTC) + timedelta(seconds=LOOK_AGAIN_S),
            )
            self._news.set()

    async def enter(self) -> None:
        """Return when the gate is open, or when this call is the probe.

        :raises RateLimited: the pause is too long to wait for it in the task, or a person stopped the calls.
        """
        before = self._given_up
        while not self.is_open:
            if self._stopped is not None:
                raise self._stopped
            if self._given_up is not None and self._given_up is not before:
                raise self._given_up
            left_s = self._opens_at - time.monotonic()
            if left_s <= 0 and not self._probing:
                self._probing = True
                return
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s if left_s > 0 else None):
                    await self._news.wait()

    def leave(self, sent_at: float) -> None:
        """End a call that showed nothing about the rate limit. If it was the probe, the next call is.

        :param sent_at: monotonic time when the call was sent.
        """
        if sent_at >= self._paused_at:
            self._probing = False
            self._news.set()

    def succeeded(self, sent_at: float) -> bool:
        """Handle a call that the API did not throttle; return whether it ended a pause.

        A call that was sent before the pause shows nothing.
        """
        if self.times == 0 or sent_at < self._paused_at:
            return False
        log.info("The API %r accepts calls again; it was paused %s.", self._name, self._told)
        self.times, self.since = 0, None
        self._opens_at = self._waits_from = 0.0
        self.leave(sent_at)
        return True

    def throttled(self, sent_at: float, asked_s: float, why: str, *, key: str, call: Throttles) -> None:
        """Handle a call that the API throttled: close the gate.

        :param asked_s: the pause that the API asks for; 0 if it names none.
        :param call: the throttles of this call. Another call may succeed meanwhile at another endpoint.
        :raises RateLimited: the pause is too long to wait for it in the task. Waiting calls get the same error.
        """
        now = time.monotonic()
        call.times += 1
        call.since = call.since or now
        if is_news := sent_at >= self._paused_at:  # calls sent before the pause are throttled too: nothing new
            self.times += 1
            self.since = self.since or datetime.now(UTC)
            self._waits_from = self._waits_from or now
            self._paused_at = now
            self._probing = False
        times = max(self.times if is_news else 1, call.times)
        grown_s = min(LONGEST_PAUSE_S, self._base_s * 2.0 ** min(times, 60))
        pause_s = max(asked_s, grown_s * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing
        if now + pause_s >= min(call.since, self._waits_from or now) + self._patience_s:  # no patience: not even 0 s
            self._given_up = RateLimited.for_s(
                pause_s, why + (f"; paused {self._told}" if self.times > 1 else ""), key=key
            )
            self._news.set()
            raise self._given_up
        self._opens_at = max(self._opens_at, now + pause_s)
        if is_news:
            log.info("%s at %r: waiting %.1f s; paused %s.", why, key, pause_s, self._told)
        self._news.set()

    @property
    def _told(self) -> str:
        times = "once" if self.times == 1 else f"{self.times} times in a row"
        return f"{times} since {self.since or datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
