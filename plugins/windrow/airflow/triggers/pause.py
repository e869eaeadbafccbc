"""A trigger that ends a pause, also when the clock of the machine is set meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Self

from airflow.triggers.base import BaseTrigger, TriggerEvent

_LOOK_S = 60.0
"""Seconds between two looks at the clock, which may be set ahead."""


class PauseTrigger(BaseTrigger):
    """Fires at a moment, and at the latest when the whole pause has passed in this triggerer.

    Airflow's `DateTimeTrigger` knows the moment alone: if the clock was two days ahead when the task deferred, and is
    right again, it waits for two days. To fire too early is harmless: the task calls the API, and defers again.

    :param moment: when the pause ends (aware).
    :param seconds: how long the pause was when it began.
    """

    def __init__(self, *, moment: datetime, seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is not annotated
        self.moment = moment
        self.seconds = seconds

    @classmethod
    def until(cls, moment: datetime) -> Self:
        """Make the trigger of a pause that begins now."""
        return cls(moment=moment, seconds=max(0.0, (moment - datetime.now(UTC)).total_seconds()))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, for the triggerer."""
        return f"{type(self).__module__}.{type(self).__name__}", {"moment": self.moment, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait. After a restart of the triggerer the moment counts, and again no more than the whole pause."""
        ends_at = time.monotonic() + self.seconds
        while True:
            left_s = min(ends_at - time.monotonic(), (self.moment - datetime.now(UTC)).total_seconds())
            if left_s <= 0:
                break
            await asyncio.sleep(min(left_s, _LOOK_S))
        yield TriggerEvent(self.moment.isoformat())  # type: ignore[no-untyped-call]
