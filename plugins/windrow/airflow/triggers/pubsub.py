"""Wakes a DAG when a queue has messages. It takes none: what it looks at is given back."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from windrow.airflow.hooks.pubsub import Subscription
from windrow.model.errors import WindrowError

log = logging.getLogger(__name__)

_LOOK_S = 3.0
"""How long one look takes when there is nothing. The triggerer waits for it when it is stopped."""
_PAUSE_S = 10.0
"""Before it is looked again after an error."""


class MessagesWaiting(BaseEventTrigger):
    """Fires when a subscription has a message, at most every ``quiet_s`` seconds. For an `AssetWatcher`.

    It is a wake-up only: the provider's own trigger acknowledges messages before any task has run, or puts them
    into Airflow's database.
    """

    def __init__(self, *, subscription: str, quiet_s: float = 120.0, gcp_conn_id: str = "google_cloud_default") -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is not annotated
        self.subscription = subscription
        self.quiet_s = quiet_s
        self.gcp_conn_id = gcp_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments, for the triggerer."""
        names = ("subscription", "quiet_s", "gcp_conn_id")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look; the service is asked in a thread, as its client blocks."""
        while True:
            if await self._is_waiting():
                yield TriggerEvent({"subscription": self.subscription})  # type: ignore[no-untyped-call]
                await asyncio.sleep(self.quiet_s)

    async def _is_waiting(self) -> bool:
        """Look once. What goes wrong is logged: the DAG runs by time as well, and says it then."""
        try:
            return await asyncio.to_thread(self.look)
        except (WindrowError, OSError, RuntimeError) as error:
            log.warning("cannot look at the subscription '%s': %s", self.subscription, error)
        except Exception:  # the client's own errors have many roots; a trigger that dies wakes nobody any more
            log.exception("cannot look at the subscription '%s'", self.subscription)
        await asyncio.sleep(_PAUSE_S)
        return False

    def look(self) -> bool:
        """Say whether there is a message."""
        with contextlib.closing(Subscription(self.gcp_conn_id, self.subscription)) as subscription:
            return subscription.is_waiting(_LOOK_S)
