"""Pub/Sub, with a bounded buffer before it: who publishes waits while too much is not yet acknowledged."""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any

from google.api_core.exceptions import AlreadyExists, ClientError, GoogleAPIError, PermissionDenied
from google.api_core.retry import Retry
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import BatchSettings

from windrow.model.errors import Misconfigured, Unanswered, WindrowError

log = logging.getLogger(__name__)

ROOM = 5_000
"""Messages that may be on their way at once."""
CALL_S = 60.0
"""The longest that a call to Pub/Sub may take, but for the publishing: the client tries that for ten minutes."""
_ACK_DEADLINE_S = 600
_RETENTION_S = 7 * 24 * 3600


class Outlet:
    """Publishes to one topic. Used in one event loop.

    A message is on its way from `publish` until Pub/Sub has acknowledged it. One that Pub/Sub refuses for good
    makes the next call raise: the process has to end then, and to fill the gap when it starts again.
    """

    def __init__(self, project: str, topic: str, *, room: int = ROOM) -> None:
        self.acknowledged = 0
        self._project = project
        batches = BatchSettings(max_messages=500, max_latency=0.05)
        self._client = PublisherClient(batches)
        self._topic = self._client.topic_path(project, topic)
        self._room = asyncio.Semaphore(room)
        self._on_the_way: OrderedDict[int, float] = OrderedDict()
        self._sent = 0
        self._failure: BaseException | None = None
        self._settled = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def prepare(self, subscription: str) -> None:
        """Make the topic and a subscription when they are not there. Blocks; call it before the first publish.

        :raises Misconfigured: Pub/Sub refuses it, or the subscription is of another topic.
        :raises Unanswered: Pub/Sub does not answer, or not in time.
        """
        limits: dict[str, Any] = {"timeout": CALL_S, "retry": Retry(timeout=CALL_S)}
        with SubscriberClient() as subscriber:
            requests: tuple[tuple[Any, dict[str, Any]], ...] = (
                (self._client.create_topic, {"name": self._topic}),
                (
                    subscriber.create_subscription,
                    {
                        "name": subscriber.subscription_path(self._project, subscription),
                        "topic": self._topic,
                        "ack_deadline_seconds": _ACK_DEADLINE_S,
                        "message_retention_duration": {"seconds": _RETENTION_S},
                        "expiration_policy": {},  # never, however long nobody pulls
                    },
                ),
            )
            for create, request in requests:
                try:
                    create(request=request, **limits)
                    log.info("made %s", request["name"])
                except AlreadyExists:
                    pass
                except PermissionDenied:
                    log.warning("may not make %s: it must be there already", request["name"])
                except ClientError as error:
                    raise Misconfigured(
                        f"{request['name']} cannot be made: {error}", advice="Check X_PROJECT, X_TOPIC, X_SUBSCRIPTION."
                    ) from error
                except GoogleAPIError as error:
                    raise Unanswered(
                        f"{request['name']} cannot be made: {type(error).__name__}: {error}",
                        advice="Pub/Sub may be away for a while: start the publisher again.",
                    ) from error
            self._check_topic(subscriber, subscriber.subscription_path(self._project, subscription))

    def _check_topic(self, subscriber: SubscriberClient, name: str) -> None:
        """Return if the subscription gets what is published: one whose topic was made anew does not.

        :raises Misconfigured: it does not.
        """
        try:
            topic = subscriber.get_subscription(subscription=name, timeout=CALL_S, retry=Retry(timeout=CALL_S)).topic
        except GoogleAPIError as error:
            log.warning("cannot see what topic %s is of: %s", name, error)
            return
        if topic != self._topic:
            raise Misconfigured(
                f"{name} is a subscription of {topic}, not of {self._topic}: it would get none of the posts.",
                advice="Let the DAG take what it holds, delete it, and start again; or set X_TOPIC, X_SUBSCRIPTION.",
            )

    @property
    def waiting(self) -> int:
        """How many messages are on their way."""
        return len(self._on_the_way)

    @property
    def oldest(self) -> float | None:
        """When the oldest message on its way was handed over (as `publish` was told); None when there is none."""
        return next(iter(self._on_the_way.values()), None)

    async def publish(self, data: bytes, at: float, **attributes: str) -> None:
        """Hand a message over; wait while there is no room. It is not acknowledged on return.

        :param at: when it arrived here, in seconds since 1970; never earlier than that of the message before.
        :raises WindrowError: what `check` raises.
        """
        await self._room.acquire()
        self.check()
        number = self._sent = self._sent + 1
        self._on_the_way[number] = at
        future: Future[str] = self._client.publish(self._topic, data, **attributes)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._settle, number, done))

    def check(self) -> None:
        """Return if no message has failed.

        :raises Misconfigured: Pub/Sub refuses what it is sent.
        :raises Unanswered: it took a message at no try; the client tries for ten minutes.
        """
        if self._failure is not None:
            raise _failed(self._topic, self._failure) from self._failure

    def _settle(self, number: int, done: "Future[str]") -> None:
        error = done.exception()
        if error is not None:  # it stays among those on their way: the watermark must not pass it
            self._failure = self._failure or error
        else:
            del self._on_the_way[number]
            self.acknowledged += 1
        self._settled.set()
        self._room.release()

    async def flushed(self) -> None:
        """Wait until all that was handed over before this call is acknowledged.

        :raises WindrowError: what `check` raises.
        """
        last = self._sent
        while next(iter(self._on_the_way), last + 1) <= last:
            self.check()
            self._settled.clear()
            await self._settled.wait()

    async def close(self, patience_s: float) -> None:
        """Send what waits to be sent, and wait until everything is acknowledged or refused, at most for so long."""
        self._client.stop()  # it says itself that it waits for nothing
        with contextlib.suppress(TimeoutError, WindrowError):
            async with asyncio.timeout(patience_s):
                await self.flushed()


def _failed(topic: str, error: BaseException) -> WindrowError:
    what = f"{topic} does not take a post: {type(error).__name__}: {error}"[:400]
    if isinstance(error, ClientError):
        return Misconfigured(what, advice="Check X_PROJECT, X_TOPIC, and what the account may publish to.")
    return Unanswered(what, advice="Start the publisher again: what Pub/Sub has not acknowledged is searched for.")
