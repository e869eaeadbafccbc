"""The gRPC services google.pubsub.v1.Publisher and Subscriber: what each method asks for, and what it answers."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.pubsub_v1.types import pubsub

from local_cloud.emulators.pubsub import acceptance
from local_cloud.emulators.pubsub.backlog import Holder
from local_cloud.emulators.pubsub.errors import unsupported
from local_cloud.emulators.pubsub.messages import Subscription, Topic
from local_cloud.emulators.pubsub.registry import Registry
from local_cloud.emulators.pubsub.streaming import streaming_pull
from local_cloud.emulators.rpc import Handlers, Request, invalid, unary

LARGEST_PAGE = 1000
LONGEST_PULL_SECONDS = 20.0
"""A pull that finds nothing answers so after this time, or shortly before the client gives up."""
SPARE_SECONDS = 0.3

ListTopicsResponse = pubsub.ListTopicsResponse.pb()
ListTopicSubscriptionsResponse = pubsub.ListTopicSubscriptionsResponse.pb()
ListSubscriptionsResponse = pubsub.ListSubscriptionsResponse.pb()
PublishResponse = pubsub.PublishResponse.pb()
PullResponse = pubsub.PullResponse.pb()
SeekResponse = pubsub.SeekResponse.pb()


class Publisher:
    """The methods for topics, each under its name in the API. All raise Refused for what they do not do."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def CreateTopic(self, request: Request) -> Topic:  # noqa: N802
        """Make a topic."""
        topic = acceptance.accept_topic(request)
        self._registry.create_topic(topic)
        return topic

    def UpdateTopic(self, request: Request) -> Topic:  # noqa: N802
        """Change what the mask names."""
        topic = acceptance.accept_topic(_merged(self._registry.topic(request.topic.name), request.topic, request))
        self._registry.change_topic(topic)
        return topic

    def GetTopic(self, request: Request) -> Topic:  # noqa: N802
        """Return a topic."""
        return self._registry.topic(request.topic)

    def ListTopics(self, request: Request) -> Message:  # noqa: N802
        """Return the topics of a project, in pages."""
        acceptance.check_project(request.project)
        names, token = _page(_of_project(self._registry.topics, request.project), request)
        return ListTopicsResponse(topics=[self._registry.topics[name] for name in names], next_page_token=token)

    def ListTopicSubscriptions(self, request: Request) -> Message:  # noqa: N802
        """Return the names of a topic's subscriptions, in pages."""
        self._registry.topic(request.topic)
        found = [each.backlog.subscription.name for each in self._registry.of_topic(request.topic)]
        names, token = _page(found, request)
        return ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def DeleteTopic(self, request: Request) -> Empty:  # noqa: N802
        """Delete a topic."""
        self._registry.delete_topic(request.topic)
        return Empty()

    def Publish(self, request: Request) -> Message:  # noqa: N802
        """Keep messages for all subscriptions of a topic."""
        acceptance.check_messages(request.messages)
        return PublishResponse(message_ids=self._registry.publish(request.topic, request.messages))


class Subscriber:
    """The methods for subscriptions, as above. StreamingPull has a module of its own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def CreateSubscription(self, request: Request) -> Subscription:  # noqa: N802
        """Make a subscription."""
        subscription = acceptance.accept_subscription(request)
        self._registry.create(subscription)
        return subscription

    def GetSubscription(self, request: Request) -> Subscription:  # noqa: N802
        """Return a subscription."""
        return self._registry.subscription(request.subscription).backlog.subscription

    def UpdateSubscription(self, request: Request) -> Subscription:  # noqa: N802
        """Change what the mask names."""
        found = self._registry.subscription(request.subscription.name).backlog.subscription
        subscription = acceptance.accept_subscription(_merged(found, request.subscription, request))
        if subscription.topic != found.topic:
            raise invalid("The topic of a subscription cannot be changed.")
        self._registry.change(subscription)
        return subscription

    def ListSubscriptions(self, request: Request) -> Message:  # noqa: N802
        """Return the subscriptions of a project, in pages."""
        acceptance.check_project(request.project)
        names, token = _page(_of_project(self._registry.subscriptions, request.project), request)
        found = [self._registry.subscriptions[name].backlog.subscription for name in names]
        return ListSubscriptionsResponse(subscriptions=found, next_page_token=token)

    def DeleteSubscription(self, request: Request) -> Empty:  # noqa: N802
        """Delete a subscription and its messages."""
        self._registry.delete(request.subscription)
        return Empty()

    def ModifyPushConfig(self, request: Request) -> Empty:  # noqa: N802
        """Push to another address, or no longer."""
        changed = Subscription()
        changed.CopyFrom(self._registry.subscription(request.subscription).backlog.subscription)
        changed.push_config.CopyFrom(request.push_config)
        acceptance.check_push(changed)
        self._registry.change(changed)
        return Empty()

    def Seek(self, request: Request) -> Message:  # noqa: N802
        """Delete all messages, when the time is not in the past."""
        backlog = self._registry.subscription(request.subscription).backlog
        if request.snapshot:
            raise unsupported("snapshots")
        if request.time.ToMicroseconds() < time.time() * 1e6 - 1e6:
            raise unsupported("seeks into the past: it keeps nothing that is acknowledged")
        backlog.purge()
        return SeekResponse()

    async def Pull(self, request: Request, context: grpc.aio.ServicerContext) -> Message:  # noqa: N802
        """Return messages; wait for some if there are none."""
        if request.max_messages < 1:
            raise invalid(f"max_messages must be 1 or more, not {request.max_messages}.")
        backlog = self._registry.subscription(request.subscription).backlog
        remaining = context.time_remaining()
        wait = LONGEST_PULL_SECONDS if remaining is None else min(LONGEST_PULL_SECONDS, remaining - SPARE_SECONDS)
        until = time.monotonic() + (0.0 if request.return_immediately else wait)
        while True:
            self._registry.subscription(request.subscription)  # it may have been deleted meanwhile
            taken = backlog.take(request.max_messages, Holder())
            left = until - time.monotonic()
            if taken or left <= 0:
                return PullResponse(received_messages=taken)
            await backlog.news(left)

    def Acknowledge(self, request: Request) -> Empty:  # noqa: N802
        """Delete messages."""
        self._registry.subscription(request.subscription).backlog.acknowledge(request.ack_ids)
        return Empty()

    def ModifyAckDeadline(self, request: Request) -> Empty:  # noqa: N802
        """Prolong leases, or give messages back."""
        if not 0 <= request.ack_deadline_seconds <= acceptance.LONGEST_DEADLINE:
            raise invalid(f"ack_deadline_seconds must be 0 to {acceptance.LONGEST_DEADLINE}.")
        backlog = self._registry.subscription(request.subscription).backlog
        for ack_id in request.ack_ids:
            backlog.modify(ack_id, request.ack_deadline_seconds)
        return Empty()


def _of_project(names: Iterable[str], project: str) -> list[str]:
    return [name for name in names if name.startswith(f"{project}/")]


def _page(names: Iterable[str], request: Request) -> tuple[list[str], str]:
    """Return a page of names, sorted, and the token of the next: the last name of this one."""
    size = min(request.page_size or LARGEST_PAGE, LARGEST_PAGE)
    left = sorted(name for name in names if name > request.page_token)
    return left[:size], left[size - 1] if len(left) > size else ""


def _merged(found: Any, wanted: Any, request: Request) -> Any:
    """Return what there is with the changes that the mask names."""
    mask = request.update_mask
    if not mask.paths or not mask.IsValidForDescriptor(found.DESCRIPTOR):
        raise invalid(f"update_mask must name fields that there are, not {', '.join(mask.paths) or 'nothing'}.")
    merged = type(found)()
    merged.CopyFrom(found)
    mask.MergeMessage(wanted, merged, replace_message_field=True, replace_repeated_field=True)
    merged.name = found.name
    return merged


REQUESTS: Mapping[str, type[Message]] = {"CreateTopic": Topic, "CreateSubscription": Subscription}
"""The messages of methods that take no message of their own name."""
WITH_CONTEXT = frozenset({"Pull"})


def handlers(registry: Registry) -> Handlers:
    """Return what answers the calls of the API."""
    methods: dict[str, grpc.RpcMethodHandler] = {}
    for service in (Publisher(registry), Subscriber(registry)):
        for name in vars(type(service)):
            if not name.startswith("_"):
                request = REQUESTS.get(name) or getattr(pubsub, f"{name}Request").pb()
                path = f"/google.pubsub.v1.{type(service).__name__}/{name}"
                methods[path] = unary(getattr(service, name), request, with_context=name in WITH_CONTEXT)
    methods["/google.pubsub.v1.Subscriber/StreamingPull"] = streaming_pull(registry)
    return Handlers("Pub/Sub", methods)
