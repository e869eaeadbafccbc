"""The driver of a run's flows: what cannot be read goes into the run's quarantine, and its calls are counted."""

import asyncio
from datetime import UTC, datetime
from typing import ClassVar

from windrow.http.client import Client
from windrow.http.flow import Driver
from windrow.model.answer import Answer, Rejected
from windrow.model.plan import Run
from windrow.model.stream import Asked, Flow, T
from windrow.store.quarantine import LOOK_UP
from windrow.store.staging import Figures, Staging

STEP = "flow "
"""How the figures of a flow are named among those of its run: so, and when it began."""


class RunDriver(Driver):
    """Leads flows for a run. Without a plan, so what is looked up holds up no receipt."""

    place: ClassVar[int] = LOOK_UP
    """Where in the quarantine it goes."""

    def __init__(self, client: Client, staging: Staging, run: Run) -> None:
        super().__init__(client)
        self._staging = staging
        self._run = run
        self._step = f"{STEP}{datetime.now(UTC).isoformat()}"
        self._aside: set[str] = set()
        """Keys of the answers that are in the quarantine, of whichever try."""

    async def lead(self, flow: Flow[T]) -> T:
        """Lead a flow; see `Driver.lead`."""
        self._aside = await asyncio.to_thread(self._staging.aside, self._run, self.place)
        return await super().lead(flow)

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        try:
            return await super()._settled(asked)
        finally:  # a kill may take the count of one call, and no more
            await asyncio.to_thread(self._staging.note, self._run, self._step, calls_of(self._client))

    async def _taken(self, answer: Answer) -> None:
        if answer.query.key in self._aside:
            self._aside.discard(answer.query.key)
            await asyncio.to_thread(self._staging.release, self._run, answer.query.key, aside=True)

    def _quarantine(self, bad: Rejected) -> None:
        self._aside.add(bad.query.key)
        self._staging.reject(self._run, [(self.place, bad)])


def calls_of(client: Client) -> Figures:
    """Return what a client has sent so far, as a receipt tells it."""
    events = client.events
    return {
        "sent": events["sent"],
        "retried": events["retried"],
        "throttled": events["throttled"],
        "unchanged": events["http_304"],
        "tokens": client.refreshes,
        **({"units": client.units} if client.units else {}),
    }
