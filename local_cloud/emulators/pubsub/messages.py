"""The plain protobuf classes behind google-cloud-pubsub, whose own classes wrap them and are much slower."""

from google.pubsub_v1.types import pubsub

Topic = pubsub.Topic.pb()
Subscription = pubsub.Subscription.pb()
PubsubMessage = pubsub.PubsubMessage.pb()
ReceivedMessage = pubsub.ReceivedMessage.pb()

ACTIVE = int(pubsub.Subscription.State.ACTIVE)
DELETED_TOPIC = "_deleted-topic_"
"""What a subscription has as its topic when that is deleted; the real service says it so."""
