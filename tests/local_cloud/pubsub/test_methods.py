"""What the other methods do, and what is refused."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.iam.v1 import iam_policy_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import types

from tests.local_cloud.pubsub.bench import PROJECT, Bench, texts

GRAVES = f"{PROJECT}/topics/graves"


def test_a_subscription_has_the_defaults_of_the_service(bench: Bench) -> None:
    bench.make()

    found = bench.subscriber.get_subscription(subscription=bench.name)

    assert found.ack_deadline_seconds == 10
    assert found.message_retention_duration == datetime.timedelta(days=7)
    assert found.state == types.Subscription.State.ACTIVE
    with pytest.raises(exceptions.AlreadyExists):
        bench.subscriber.create_subscription(name=bench.name, topic=bench.topic)
    with pytest.raises(exceptions.AlreadyExists):
        bench.publisher.create_topic(name=bench.topic)


def test_what_is_not_there_is_named(bench: Bench) -> None:
    short = bench.topic.rpartition("/")[2]
    with pytest.raises(exceptions.NotFound, match=short):
        bench.publish("a")
    with pytest.raises(exceptions.NotFound, match=short):
        bench.subscriber.create_subscription(name=bench.name, topic=bench.topic)
    with pytest.raises(exceptions.NotFound, match=bench.name.rpartition("/")[2]):
        bench.pull()


def test_a_deleted_topic_leaves_its_subscription_with_what_it_has(bench: Bench) -> None:
    bench.make()
    bench.publish("a")
    bench.publisher.delete_topic(topic=bench.topic)

    assert texts(bench.pull()) == ["a"]
    assert bench.subscriber.get_subscription(subscription=bench.name).topic == "_deleted-topic_"


def test_an_update_changes_what_the_mask_names(bench: Bench) -> None:
    bench.make(labels={"team": "red"})

    bench.subscriber.update_subscription(
        subscription={"name": bench.name, "ack_deadline_seconds": 60, "labels": {"team": "blue"}},
        update_mask=FieldMask(paths=["ack_deadline_seconds"]),
    )

    found = bench.subscriber.get_subscription(subscription=bench.name)
    assert (found.ack_deadline_seconds, dict(found.labels)) == (60, {"team": "red"})
    for mask in (["nonsense"], []):
        with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
            bench.subscriber.update_subscription(subscription={"name": bench.name}, update_mask=FieldMask(paths=mask))


def test_topics_and_subscriptions_are_listed_in_pages(bench: Bench) -> None:
    project = f"projects/{bench.topic.rpartition('/')[2]}"
    topics = [f"{project}/topics/topic-{n}" for n in range(3)]
    for topic in topics:
        bench.publisher.create_topic(name=topic)
        bench.subscriber.create_subscription(name=topic.replace("/topics/", "/subscriptions/"), topic=topic)

    pages = list(bench.publisher.list_topics(request={"project": project, "page_size": 2}).pages)

    assert [[topic.name for topic in page.topics] for page in pages] == [topics[:2], topics[2:]]
    listed = [found.name for found in bench.subscriber.list_subscriptions(project=project)]
    assert listed == [topic.replace("/topics/", "/subscriptions/") for topic in topics]
    assert list(bench.publisher.list_topic_subscriptions(topic=topics[1])) == [listed[1]]


def test_a_seek_to_now_purges(bench: Bench) -> None:
    bench.make()
    bench.publish("old", "older")
    bench.pull(1)

    bench.subscriber.seek(request={"subscription": bench.name, "time": datetime.datetime.now(datetime.UTC)})
    bench.publish("new")

    assert texts(bench.pull()) == ["new"]
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    with pytest.raises(exceptions.MethodNotImplemented, match="seeks into the past"):
        bench.subscriber.seek(request={"subscription": bench.name, "time": past})


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "1 to 1000 messages"),
        ([{"data": b"x"}] * 1001, "1 to 1000 messages"),
        ([{}], "data or an attribute"),
        ([{"data": b"x" * 10_000_001}], "at most 10000000 bytes"),
        ([{"attributes": {"googly": "x"}}], "no key of an attribute"),
        ([{"attributes": {"k": "x" * 1025}}], "more than 1024 bytes"),
    ],
)
def test_a_bad_publish_is_refused_whole(bench: Bench, messages: list[dict[str, Any]], what: str) -> None:
    bench.make()
    with pytest.raises(exceptions.InvalidArgument, match=what):
        bench.publisher.publish(topic=bench.topic, messages=messages)

    assert bench.report()["waiting"] == 0


@pytest.mark.parametrize(
    ("subscription", "what"),
    [
        ({"ack_deadline_seconds": 9}, "10 to 600"),
        ({"ack_deadline_seconds": 601}, "10 to 600"),
        ({"message_retention_duration": datetime.timedelta(seconds=1)}, "10 minutes to 31 days"),
        ({"push_config": {"push_endpoint": "ftp://x"}}, "begin with http"),
        ({"push_config": {"push_endpoint": "http://x:99999/"}}, "is not a URL"),
        ({"push_config": {"push_endpoint": "http://x", "oidc_token": {}}}, "service_account_email"),
        ({"push_config": {"oidc_token": {"service_account_email": "a@b"}}}, "no push_endpoint"),
        (
            {"dead_letter_policy": {"dead_letter_topic": GRAVES, "max_delivery_attempts": 4}},
            "5 to 100",
        ),
        ({"dead_letter_policy": {"dead_letter_topic": "t"}}, "is not a name in topics"),
        ({"retry_policy": {"minimum_backoff": datetime.timedelta(seconds=601)}}, "at most 600"),
        ({"name": f"{PROJECT}/subscriptions/google"}, "is not a name in subscriptions"),
        ({"name": f"{PROJECT}/subscriptions/ab"}, "is not a name in subscriptions"),
    ],
)
def test_a_bad_subscription_is_refused_with_the_reason(bench: Bench, subscription: dict[str, Any], what: str) -> None:
    bench.publisher.create_topic(name=bench.topic)
    with pytest.raises(exceptions.InvalidArgument, match=what):
        bench.subscriber.create_subscription(request={"name": bench.name, "topic": bench.topic, **subscription})


@pytest.mark.parametrize(
    "subscription",
    [
        {"enable_message_ordering": True},
        {"filter": 'attributes.a = "b"'},
        {"enable_exactly_once_delivery": True},
        {"retain_acked_messages": True},
        {"bigquery_config": {"table": "p.d.t"}},
        {"cloud_storage_config": {"bucket": "b"}},
        {"push_config": {"push_endpoint": "http://x", "no_wrapper": {"write_metadata": True}}},
    ],
    ids=lambda subscription: next(iter(subscription)),
)
def test_a_subscription_that_the_emulator_cannot_do_is_refused(bench: Bench, subscription: dict[str, Any]) -> None:
    bench.publisher.create_topic(name=bench.topic)
    with pytest.raises(exceptions.MethodNotImplemented, match="Pub/Sub emulator does not support"):
        bench.subscriber.create_subscription(request={"name": bench.name, "topic": bench.topic, **subscription})


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda bench: bench.subscriber.create_snapshot(name="s", subscription=bench.name), "CreateSnapshot"),
        (lambda bench: bench.publisher.detach_subscription(request={"subscription": bench.name}), "DetachSubscription"),
        (
            lambda bench: bench.publisher.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource="t")),
            "GetIamPolicy",
        ),
    ],
)
def test_a_method_that_the_emulator_does_not_have_is_named(
    bench: Bench, call: Callable[[Bench], object], what: str
) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match=f"emulator does not support .*{what}"):
        call(bench)
