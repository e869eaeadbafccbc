"""Publish to Pub/Sub with a bounded buffer: `publish` waits while too many messages are not acknowledged."""

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
"""Maximum messages that are sent but not acknowledged."""
CALL_S = 60.0
"""The longest that a call to Pub/Sub may take. Publishing has its own limit in the client: ten minutes."""
_ACK_DEADLINE_S = 60
"""Until a client that was killed during a pull loses its messages. A client that lives leases them for longer."""
_RETENTION_S = 7 * 24 * 3600


class Outlet:
    """Publishes to one topic. Used in one event loop.

    A message is in flight from `publish` until Pub/Sub has acknowledged it. After Pub/Sub has finally rejected one, the
    next call raises: then the process must end, and fill the gap when it starts again.
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
        """Create the topic and a subscription if they do not exist. It blocks; call it before the first `publish`.

        :raises Misconfigured: Pub/Sub rejects it, or the subscription belongs to another topic.
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
                    log.info("Created %s", request["name"])
                except AlreadyExists:
                    pass
                except PermissionDenied:
                    log.warning("No permission to create %s; it must already exist", request["name"])
                except ClientError as error:
                    raise Misconfigured(
                        f"Creating {request['name']} failed: {error}",
                        advice="Check X_PROJECT, X_TOPIC and X_SUBSCRIPTION.",
                    ) from error
                except GoogleAPIError as error:
                    raise Unanswered(
                        f"Creating {request['name']} failed: {type(error).__name__}: {error}",
                        advice="Pub/Sub may be unavailable. Start the publisher again.",
                    ) from error
            self._check_topic(subscriber, subscriber.subscription_path(self._project, subscription))

    def _check_topic(self, subscriber: SubscriberClient, name: str) -> None:
        """Check that the subscription belongs to the topic. If the topic was created again, it does not.

        :raises Misconfigured: it belongs to another topic.
        """
        try:
            topic = subscriber.get_subscription(subscription=name, timeout=CALL_S, retry=Retry(timeout=CALL_S)).topic
        except GoogleAPIError as error:
            log.warning("Could not check the topic of the subscription %s: %s", name, error)
            return
        if topic != self._topic:
            raise Misconfigured(
                f"The subscription {name} belongs to {topic}, not to {self._topic}, so it would receive no posts.",
                advice="Run the DAG to consume its messages, delete the subscription, and start the publisher again. "
                "Or set other values for X_TOPIC and X_SUBSCRIPTION.",
            )

    @property
    def waiting(self) -> int:
        """Number of messages in flight."""
        return len(self._on_the_way)

    @property
    def oldest(self) -> float | None:
        """Arrival time (argument of `publish`) of the oldest message in flight; None if there is none."""
        return next(iter(self._on_the_way.values()), None)

    async def publish(self, data: bytes, at: float, **attributes: str) -> None:
        """Send a message; wait while the buffer is full. On return it is not yet acknowledged.

        :param at: its arrival time, a Unix timestamp; never earlier than that of the message before.
        :raises WindrowError: see `check`.
        """
        await self._room.acquire()
        self.check()
        number = self._sent = self._sent + 1
        self._on_the_way[number] = at
        future: Future[str] = self._client.publish(self._topic, data, **attributes)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._settle, number, done))

    def check(self) -> None:
        """Raise if a message has failed.

        :raises Misconfigured: Pub/Sub rejected a message.
        :raises Unanswered: Pub/Sub accepted a message in no attempt; the client retries for ten minutes.
        """
        if self._failure is not None:
            raise _failed(self._topic, self._failure) from self._failure

    def _settle(self, number: int, done: "Future[str]") -> None:
        error = done.exception()
        if error is not None:  # it stays in flight: the watermark must not pass it
            self._failure = self._failure or error
        else:
            del self._on_the_way[number]
            self.acknowledged += 1
        self._settled.set()
        self._room.release()

    async def flushed(self) -> None:
        """Wait until all messages sent before this call are acknowledged.

        :raises WindrowError: see `check`.
        """
        last = self._sent
        while next(iter(self._on_the_way), last + 1) <= last:
            self.check()
            self._settled.clear()
            await self._settled.wait()

    async def close(self, patience_s: float) -> None:
        """Send all buffered messages, and wait up to ``patience_s`` seconds for acknowledgements."""
        self._client.stop()  # it does not wait
        with contextlib.suppress(TimeoutError, WindrowError):
            async with asyncio.timeout(patience_s):
                await self.flushed()


def _failed(topic: str, error: BaseException) -> WindrowError:
    what = f"Publishing a post to {topic} failed: {type(error).__name__}: {error}"[:400]
    if isinstance(error, ClientError):
        return Misconfigured(what, advice="Check X_PROJECT, X_TOPIC, and the Pub/Sub permissions of the account.")
    return Unanswered(
        what, advice="Start the publisher again: it searches for the posts that Pub/Sub has not acknowledged."
    )
