"""All topics and subscriptions of the server."""

import asyncio
import dataclasses
import time
from collections.abc import Sequence

import aiohttp
import grpc

from local_cloud.emulators.identity import Identity
from local_cloud.emulators.pubsub.backlog import Backlog
from local_cloud.emulators.pubsub.messages import DELETED_TOPIC, PubsubMessage, Subscription, Topic
from local_cloud.emulators.pubsub.pusher import Pusher
from local_cloud.emulators.pubsub.store import Store
from local_cloud.emulators.rpc import Refused, exists, missing
from local_cloud.emulators.serving import Spawn

TICK_SECONDS = 0.05
DROP_SECONDS = 60.0
"""How often messages that are too old are looked for."""
SOURCE = "CloudPubSubDeadLetterSource"
"""How the attributes begin that tell where a dead letter comes from."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attached:
    """A subscription at work."""

    backlog: Backlog
    pusher: Pusher


class Registry:
    """The topics and subscriptions by their names.

    :param most_waiting: a topic takes no message while one of its subscriptions holds so many; 0: no limit.
    """

    def __init__(
        self, *, store: Store, session: aiohttp.ClientSession, identity: Identity, spawn: Spawn, most_waiting: int
    ) -> None:
        self._store = store
        self._session = session
        self._identity = identity
        self._spawn = spawn
        self._most_waiting = most_waiting
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Attached] = {}
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Go on with what is in the store."""
        self.topics = {topic.name: topic for topic in self._store.topics()}
        for subscription in self._store.subscriptions():
            self._attach(subscription)
        self._ticking = self._spawn(self._tick())

    def stop(self) -> None:
        """Let no subscription send anything more."""
        if self._ticking is not None:
            self._ticking.cancel()
        for attached in self.subscriptions.values():
            attached.pusher.stop()

    async def _tick(self) -> None:
        next_drop = 0.0
        while True:
            attached = list(self.subscriptions.values())
            for each in attached:
                each.backlog.tick()
            if time.monotonic() >= next_drop:
                next_drop = time.monotonic() + DROP_SECONDS
                for each in attached:
                    each.backlog.drop_old()
            await asyncio.sleep(TICK_SECONDS)

    # --- topics --------------------------------------------------------------------------------

    def topic(self, name: str) -> Topic:
        """Return a topic. Raises Refused when there is none."""
        if name not in self.topics:
            raise missing(f"Resource not found (resource={name.rpartition('/')[2]}).")
        return self.topics[name]

    def create_topic(self, topic: Topic) -> None:
        """Make a topic. Raises Refused when there is one of this name."""
        if topic.name in self.topics:
            raise exists(f"Resource already exists in the project (resource={topic.name.rpartition('/')[2]}).")
        self.change_topic(topic)

    def change_topic(self, topic: Topic) -> None:
        """Keep a topic as it is now."""
        self._store.save_topic(topic)
        self.topics[topic.name] = topic

    def delete_topic(self, name: str) -> None:
        """Delete a topic. Its subscriptions keep what they have. Raises Refused when there is none."""
        self.topic(name)
        for attached in self.of_topic(name):
            orphan = Subscription()
            orphan.CopyFrom(attached.backlog.subscription)
            orphan.topic = DELETED_TOPIC
            self.change(orphan)
        self._store.delete_topic(name)
        del self.topics[name]

    def of_topic(self, name: str) -> list[Attached]:
        """Return the subscriptions of a topic."""
        return [each for each in self.subscriptions.values() if each.backlog.subscription.topic == name]

    def publish(self, name: str, messages: Sequence[PubsubMessage]) -> list[str]:
        """Keep messages for each subscription of a topic, and return their ids; on return they are durable.

        Raises Refused when there is no such topic, or no room.
        """
        self.topic(name)
        attached = {each.backlog.subscription.name: each.backlog for each in self.of_topic(name)}
        for backlog in attached.values():
            if self._most_waiting and len(backlog) >= self._most_waiting:
                raise Refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{backlog.subscription.name} holds {len(backlog)} messages, and this server keeps "
                    f"{self._most_waiting}: acknowledge some, or delete the subscription.",
                )
        for message in messages:
            message.message_id = str(self._store.numbers.next())
            message.publish_time.GetCurrentTime()
        for subscription, numbers in self._store.publish(messages, list(attached)).items():
            attached[subscription].add(numbers)
        return [message.message_id for message in messages]

    # --- subscriptions -------------------------------------------------------------------------

    def subscription(self, name: str) -> Attached:
        """Return a subscription. Raises Refused when there is none."""
        if name not in self.subscriptions:
            raise missing(f"Resource not found (resource={name.rpartition('/')[2]}).")
        return self.subscriptions[name]

    def create(self, subscription: Subscription) -> None:
        """Make a subscription. Raises Refused when there is one of this name, or no such topic."""
        if subscription.name in self.subscriptions:
            short = subscription.name.rpartition("/")[2]
            raise exists(f"Resource already exists in the project (resource={short}).")
        self.topic(subscription.topic)
        self._store.save_subscription(subscription)
        self._attach(subscription)

    def change(self, subscription: Subscription) -> None:
        """Keep a subscription as it is now, and push or don't, as it says."""
        attached = self.subscription(subscription.name)
        self._store.save_subscription(subscription)
        attached.backlog.subscription = subscription
        attached.pusher.follow()

    def delete(self, name: str) -> None:
        """Delete a subscription and its messages. Raises Refused when there is none."""
        self.subscription(name).pusher.stop()
        self._store.delete_subscription(name)
        del self.subscriptions[name]

    def _attach(self, subscription: Subscription) -> None:
        backlog = Backlog(subscription, self._store, self._bury)
        pusher = Pusher(backlog, self._session, self._identity, self._spawn)
        self.subscriptions[subscription.name] = Attached(backlog, pusher)
        pusher.follow()

    def _bury(self, subscription: Subscription, message: PubsubMessage, attempts: int) -> bool:
        """Publish a dead letter, with where it comes from; False when its topic is gone or full."""
        letter = PubsubMessage()
        letter.CopyFrom(message)
        letter.attributes[f"{SOURCE}DeliveryCount"] = str(attempts)
        letter.attributes[f"{SOURCE}Subscription"] = subscription.name.rpartition("/")[2]
        letter.attributes[f"{SOURCE}SubscriptionProject"] = subscription.name.split("/")[1]
        letter.attributes[f"{SOURCE}TopicPublishTime"] = message.publish_time.ToJsonString()
        try:
            self.publish(subscription.dead_letter_policy.dead_letter_topic, [letter])
        except Refused:
            return False
        return True
