"""Starts a DAG when a subscription has messages. It acknowledges none and releases them at once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from windrow.airflow.hooks.pubsub import Subscription
from windrow.model.redact import blot

log = logging.getLogger(__name__)

_LOOK_S = 60.0
"""How long one check takes if there are no messages."""
_PAUSE_S = 10.0
"""Pause after an error."""
_LONGEST = 300
"""Characters of an error in the log."""


class MessagesWaiting(BaseEventTrigger):
    """Fires when a subscription has a message, at most every ``quiet_s`` seconds. For an `AssetWatcher`.

    It only starts the DAG. The trigger of the provider acknowledges messages before any task has run, or stores them
    in Airflow's database.
    """

    def __init__(self, *, subscription: str, quiet_s: float = 120.0, gcp_conn_id: str = "google_cloud_default") -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is not annotated
        self.subscription = subscription
        self.quiet_s = quiet_s
        self.gcp_conn_id = gcp_conn_id
        self._opened: Subscription | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, for the triggerer."""
        names = ("subscription", "quiet_s", "gcp_conn_id")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Check again and again, in a thread because the client blocks.

        The client is made once: to make it takes twice the CPU of a check. When the triggerer stops, it is closed,
        which ends the check.
        """
        try:
            while True:
                if await self._is_waiting():
                    yield TriggerEvent({"subscription": self.subscription})  # type: ignore[no-untyped-call]
                    await asyncio.sleep(self.quiet_s)
        finally:
            self._close()

    async def _is_waiting(self) -> bool:
        """Check once. Errors are only logged: the DAG also has a schedule, and its tasks report them."""
        try:
            return await asyncio.to_thread(self.look)
        except Exception as error:  # of many base classes; a trigger that ends would start no DAG again
            said = blot(str(error))[:_LONGEST]
            log.warning("Checking the subscription '%s' failed: %s: %s", self.subscription, type(error).__name__, said)
        self._close()  # another client may do better
        await asyncio.sleep(_PAUSE_S)
        return False

    def look(self) -> bool:
        """Return whether there is a message; wait for one."""
        if self._opened is None:
            self._opened = Subscription(self.gcp_conn_id, self.subscription)
        return self._opened.is_waiting(_LOOK_S)

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
