"""Delivers the messages of a push subscription: one POST each, signed where the subscription says so."""

import asyncio
import base64
import logging
from typing import Any

import aiohttp

from local_cloud.emulators.identity import Identity
from local_cloud.emulators.pubsub.backlog import Backlog, Holder
from local_cloud.emulators.pubsub.messages import ReceivedMessage
from local_cloud.emulators.serving import Spawn

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Requests under way for one subscription."""
ACKNOWLEDGING = frozenset({102, 200, 201, 202, 204})
"""Statuses that acknowledge a message; after any other it comes again."""


class Pusher:
    """Pushes for one subscription, for as long as that has an endpoint."""

    def __init__(self, backlog: Backlog, session: aiohttp.ClientSession, identity: Identity, spawn: Spawn) -> None:
        self._backlog = backlog
        self._session = session
        self._identity = identity
        self._spawn = spawn
        self._holder = Holder()
        self._loop: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """Start or stop, as the subscription has it now."""
        wanted = bool(self._backlog.subscription.push_config.push_endpoint)
        if wanted and self._loop is None:
            self._loop = self._spawn(self._run())
        elif not wanted:
            self.stop()

    def stop(self) -> None:
        """Send nothing more. What is under way ends by itself."""
        if self._loop is not None:
            self._loop.cancel()
            self._loop = None

    async def _run(self) -> None:
        while True:
            room = AT_ONCE - self._holder.held
            taken = self._backlog.take(room, self._holder) if room else []
            for message in taken:
                self._spawn(self._deliver(message))
            if not taken:
                await self._backlog.news(1.0)
            else:
                await asyncio.sleep(0)

    async def _deliver(self, message: ReceivedMessage) -> None:
        if await self._is_accepted(message):
            self._backlog.acknowledge([message.ack_id])
        else:
            self._backlog.modify(message.ack_id, 0)

    async def _is_accepted(self, message: ReceivedMessage) -> bool:
        subscription = self._backlog.subscription
        push = subscription.push_config
        try:
            async with self._session.post(
                push.push_endpoint,
                json=body(subscription.name, message),
                headers=self._headers(),
                timeout=aiohttp.ClientTimeout(total=subscription.ack_deadline_seconds),
                allow_redirects=False,
            ) as response:
                async for _ in response.content.iter_any():  # to its end, and kept nowhere
                    pass
                return response.status in ACKNOWLEDGING
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("%s: no answer of %s: %s", subscription.name, push.push_endpoint, type(error).__name__)
            return False

    def _headers(self) -> dict[str, str]:
        push = self._backlog.subscription.push_config
        headers = {"User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"}
        if push.HasField("oidc_token"):
            token = push.oidc_token
            signed = self._identity.token(token.service_account_email, token.audience or push.push_endpoint)
            headers["Authorization"] = f"Bearer {signed}"
        return headers


def body(subscription: str, received: ReceivedMessage) -> dict[str, Any]:
    """Return a message as it is pushed; ids and times are there in both spellings, as the service has them."""
    message = received.message
    published = message.publish_time.ToJsonString()
    wrapped: dict[str, Any] = {
        "data": base64.b64encode(message.data).decode(),
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.attributes:
        wrapped["attributes"] = dict(message.attributes)
    if message.ordering_key:
        wrapped["orderingKey"] = message.ordering_key
    pushed: dict[str, Any] = {"message": wrapped, "subscription": subscription}
    if received.delivery_attempt:
        pushed["deliveryAttempt"] = received.delivery_attempt
    return pushed
