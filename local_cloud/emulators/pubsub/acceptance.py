"""What the service accepts: names and limits, and the defaults of what is left open. Raises Refused otherwise."""

import re
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from yarl import URL

from local_cloud.emulators.pubsub.errors import unsupported
from local_cloud.emulators.pubsub.messages import ACTIVE, PubsubMessage, Subscription, Topic
from local_cloud.emulators.rpc import invalid

MOST_MESSAGES = 1_000
"""Of one publish."""
LARGEST_PUBLISH = 10_000_000
"""Bytes of one publish, and so of one message."""
MOST_ATTRIBUTES = 100
LONGEST_KEY = 256
LONGEST_VALUE = 1024
DEFAULT_DEADLINE = 10
SHORTEST_DEADLINE = 10
LONGEST_DEADLINE = 600
"""Seconds that a message is leased for."""
RETENTION = 7 * 24 * 3600
LONGEST_RETENTION = 31 * 24 * 3600
SHORTEST_RETENTION = 600
LONGEST_BACKOFF = 600
DEFAULT_BACKOFF = (10, 600)
FEWEST_DELIVERIES = 5
MOST_DELIVERIES = 100

_ID = r"(?!goog)[A-Za-z][A-Za-z0-9._~%+-]{2,254}"
_PROJECT = r"projects/[A-Za-z0-9.:-]+"


def check_project(name: str) -> None:
    """Refuse what is not the name of a project."""
    if not re.fullmatch(_PROJECT, name):
        raise invalid(f"{name!r} is not a project. It must be projects/PROJECT_ID.")


def check_name(name: str, kind: str) -> None:
    """Refuse what is not the name of a topic or a subscription; ``kind`` is `topics` or `subscriptions`."""
    if not re.fullmatch(f"{_PROJECT}/{kind}/{_ID}", name):
        raise invalid(
            f"{name!r} is not a name in {kind}. It must be projects/PROJECT_ID/{kind}/ID with an ID of 3 to 255"
            " letters, digits and the signs -._~%+ that begins with a letter and not with goog."
        )


def accept_topic(wanted: Topic) -> Topic:
    """Return the topic as it is made."""
    check_name(wanted.name, "topics")
    for field in (
        "schema_settings",
        "message_retention_duration",
        "ingestion_data_source_settings",
        "message_transforms",
        "kms_key_name",
    ):
        _refuse_if_set(wanted, field, "a topic")
    return _copy(wanted)


def accept_subscription(wanted: Subscription) -> Subscription:
    """Return the subscription as it is made: checked, with defaults, active."""
    check_name(wanted.name, "subscriptions")
    for field in (
        "bigquery_config",
        "cloud_storage_config",
        "bigtable_config",
        "retain_acked_messages",
        "enable_message_ordering",
        "filter",
        "detached",
        "enable_exactly_once_delivery",
        "message_transforms",
    ):
        _refuse_if_set(wanted, field, "a subscription")
    subscription = _copy(wanted)
    subscription.state = ACTIVE
    subscription.ack_deadline_seconds = check_deadline(subscription.ack_deadline_seconds or DEFAULT_DEADLINE)
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.FromSeconds(RETENTION)
    if not SHORTEST_RETENTION <= seconds(subscription.message_retention_duration) <= LONGEST_RETENTION:
        raise invalid("message_retention_duration must be 10 minutes to 31 days.")
    check_push(subscription)
    _accept_dead_letters(subscription)
    _accept_retries(subscription)
    return subscription


def check_deadline(given: int) -> int:
    """Return the seconds of an ack deadline that may be set on a subscription or a stream."""
    if not SHORTEST_DEADLINE <= given <= LONGEST_DEADLINE:
        raise invalid(f"An ack deadline must be {SHORTEST_DEADLINE} to {LONGEST_DEADLINE} seconds, not {given}.")
    return given


def check_push(subscription: Subscription) -> None:
    """Refuse a push configuration that cannot be delivered to."""
    push = subscription.push_config
    if push.WhichOneof("wrapper") == "no_wrapper":
        raise unsupported("push without its wrapper (no_wrapper)")
    if not push.push_endpoint:
        if push.HasField("oidc_token"):
            raise invalid("push_config has an oidc_token, and no push_endpoint.")
        return
    if not push.push_endpoint.startswith(("http://", "https://")):
        raise invalid("push_config.push_endpoint must begin with http:// or https://.")
    try:
        URL(push.push_endpoint)
    except ValueError as error:
        raise invalid(f"push_config.push_endpoint is not a URL: {error}") from error
    if push.HasField("oidc_token") and not push.oidc_token.service_account_email:
        raise invalid("push_config.oidc_token needs a service_account_email.")


def _accept_dead_letters(subscription: Subscription) -> None:
    if not subscription.HasField("dead_letter_policy"):
        return
    policy = subscription.dead_letter_policy
    check_name(policy.dead_letter_topic, "topics")
    policy.max_delivery_attempts = policy.max_delivery_attempts or FEWEST_DELIVERIES
    if not FEWEST_DELIVERIES <= policy.max_delivery_attempts <= MOST_DELIVERIES:
        raise invalid(f"max_delivery_attempts must be {FEWEST_DELIVERIES} to {MOST_DELIVERIES}.")


def _accept_retries(subscription: Subscription) -> None:
    if not subscription.HasField("retry_policy"):
        return
    policy = subscription.retry_policy
    for duration, default in zip((policy.minimum_backoff, policy.maximum_backoff), DEFAULT_BACKOFF, strict=True):
        if not seconds(duration):
            duration.FromSeconds(default)
    if not 0 < seconds(policy.minimum_backoff) <= seconds(policy.maximum_backoff) <= LONGEST_BACKOFF:
        raise invalid(f"The backoffs of a retry policy must be in order, and at most {LONGEST_BACKOFF} seconds.")


def check_messages(messages: Sequence[PubsubMessage]) -> None:
    """Refuse a publish that is empty or too large, or holds such a message."""
    if not 1 <= len(messages) <= MOST_MESSAGES:
        raise invalid(f"A publish must have 1 to {MOST_MESSAGES} messages, not {len(messages)}.")
    size = sum(message.ByteSize() for message in messages)
    if size > LARGEST_PUBLISH:
        raise invalid(f"A publish has at most {LARGEST_PUBLISH} bytes, this one has {size}.")
    for message in messages:
        if not message.data and not message.attributes:
            raise invalid("A message must have data or an attribute.")
        if len(message.attributes) > MOST_ATTRIBUTES:
            raise invalid(f"A message has at most {MOST_ATTRIBUTES} attributes.")
        for key, value in message.attributes.items():
            if not key or key.startswith("goog") or len(key.encode()) > LONGEST_KEY:
                raise invalid(f"{key!r:.80} is no key of an attribute: 1 to {LONGEST_KEY} bytes, not beginning goog.")
            if len(value.encode()) > LONGEST_VALUE:
                raise invalid(f"The value of the attribute {key!r} has more than {LONGEST_VALUE} bytes.")


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def _refuse_if_set(message: Topic | Subscription, field: str, of_what: str) -> None:
    if any(descriptor.name == field for descriptor, _ in message.ListFields()):
        raise unsupported(f"{field} of {of_what}")


def _copy(message: Topic | Subscription) -> Topic | Subscription:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
