"""Messages in and out: pull, leases, acknowledgements, dead letters, streaming pull."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf.duration_pb2 import Duration

from tests.local_cloud.conftest import eventually
from tests.local_cloud.pubsub.bench import Bench, texts


def test_a_message_arrives_as_it_was_published(bench: Bench) -> None:
    bench.make()
    before = time.time()
    (published,) = bench.publish("Grüße \U0001f697", post_id="1")

    (received,) = bench.pull()

    message = received.message
    assert message.data.decode() == "Grüße \U0001f697"
    assert dict(message.attributes) == {"post_id": "1"}
    assert message.message_id == published
    assert before - 1 <= message.publish_time.timestamp() <= time.time() + 1
    assert received.delivery_attempt == 0  # only with a dead letter policy


def test_ids_grow_and_are_never_used_twice(bench: Bench) -> None:
    bench.make()
    ids = [int(one) for _ in range(5) for one in bench.publish(*"abcdefgh")]

    assert ids == sorted(set(ids))


def test_every_subscription_gets_its_own_copy_and_only_what_came_after_it(bench: Bench) -> None:
    bench.make()
    bench.publish("early")
    other = f"{bench.name}-other"
    bench.subscriber.create_subscription(name=other, topic=bench.topic)
    bench.publish("late")

    bench.acknowledge(bench.pull())

    assert texts(bench.pull(name=other)) == ["late"]
    assert bench.report() | {"oldest_s": 0} == {
        "waiting": 0,
        "leased": 0,
        "leased_for_s": 0,
        "oldest_s": 0,
        "delivered": 2,
        "redelivered": 0,
        "acknowledged": 2,
        "dead": 0,
        "expired": 0,
    }


def test_a_leased_message_is_not_given_to_another_and_an_acknowledged_one_never_again(bench: Bench) -> None:
    bench.make()
    bench.publish("a", "b", "c")

    first = bench.pull(2)
    second = bench.pull(5)

    assert sorted(texts(first) + texts(second)) == ["a", "b", "c"]
    bench.acknowledge(first)
    bench.lease(second, 0)
    assert texts(bench.pull()) == texts(second)


def test_a_message_comes_again_when_its_lease_has_ended(bench: Bench) -> None:
    bench.make()
    bench.publish("a")
    leased = bench.pull()
    bench.lease(leased, 1)
    began = time.monotonic()

    again = bench.pull()  # waits for it

    assert texts(again) == ["a"]
    assert time.monotonic() - began > 0.8
    assert bench.report()["redelivered"] == 1


def test_a_prolonged_lease_outlives_its_first_end(bench: Bench) -> None:
    bench.make()
    bench.publish("short", "long")
    leased = bench.pull()
    bench.lease(leased, 1)
    bench.lease([m for m in leased if m.message.data == b"long"], 60)

    assert texts(bench.pull()) == ["short"]
    assert bench.report()["leased"] == 2


def test_a_late_acknowledgement_counts(bench: Bench) -> None:
    bench.make()
    bench.publish("a")
    leased = bench.pull()
    bench.lease(leased, 0)

    bench.acknowledge(leased)

    assert bench.pull(wait=False) == []
    assert bench.report()["waiting"] == 0


def test_acknowledging_what_is_gone_or_never_was_changes_nothing(bench: Bench) -> None:
    bench.make()
    bench.publish("a")
    received = bench.pull()
    bench.acknowledge(received)

    bench.acknowledge(received)
    bench.subscriber.acknowledge(subscription=bench.name, ack_ids=["nonsense", "7", "²"])

    assert bench.report()["acknowledged"] == 1


def test_a_pull_waits_for_the_first_message(bench: Bench) -> None:
    bench.make()
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(bench.pull)
        assert not pulling.done()
        bench.publish("a")

        assert texts(pulling.result(20)) == ["a"]


def test_a_pull_that_finds_nothing_ends_before_its_client_gives_up(bench: Bench) -> None:
    bench.make()

    answer = bench.subscriber.pull(subscription=bench.name, max_messages=1, timeout=1.5)

    assert list(answer.received_messages) == []


def test_a_response_is_bounded_in_bytes(bench: Bench) -> None:
    bench.make()
    for _ in range(4):
        bench.publish("x" * 4_000_000)

    assert [len(bench.pull()), len(bench.pull())] == [3, 1]


def test_a_message_that_fails_too_often_goes_to_the_dead_letter_topic(bench: Bench) -> None:
    graves = f"{bench.topic}-dead"
    bench.publisher.create_topic(name=graves)
    bench.make(dead_letter_policy={"dead_letter_topic": graves, "max_delivery_attempts": 5})
    watching = f"{bench.name}-dead"
    bench.subscriber.create_subscription(name=watching, topic=graves)
    bench.publish("poison", post_id="13")

    attempts = []
    for _ in range(5):
        received = bench.pull()
        attempts += [message.delivery_attempt for message in received]
        bench.lease(received, 0)

    assert attempts == [1, 2, 3, 4, 5]
    (letter,) = bench.pull(name=watching)
    assert letter.message.data == b"poison"
    assert letter.message.attributes["post_id"] == "13"
    assert letter.message.attributes["CloudPubSubDeadLetterSourceSubscription"] == bench.name.rpartition("/")[2]
    assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert bench.report()["waiting"] == 0
    assert bench.report()["dead"] == 1


def test_without_the_dead_letter_topic_a_message_stays(bench: Bench) -> None:
    bench.make(dead_letter_policy={"dead_letter_topic": f"{bench.topic}-never-made"})
    bench.publish("poison")
    for _ in range(6):
        bench.lease(bench.pull(), 0)

    assert texts(bench.pull()) == ["poison"]


def test_a_retry_policy_puts_the_next_try_off(bench: Bench) -> None:
    bench.make(retry_policy={"minimum_backoff": Duration(seconds=1), "maximum_backoff": Duration(seconds=1)})
    bench.publish("a")
    began = time.monotonic()
    bench.lease(bench.pull(), 0)

    assert bench.pull(wait=False) == []
    assert texts(bench.pull()) == ["a"]
    assert time.monotonic() - began > 0.9


def test_the_clients_own_streaming_pull_gets_each_message_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{bench.port}")
    bench.make()
    got: list[str] = []
    lock = threading.Lock()

    def take(message: pubsub_v1.subscriber.message.Message) -> None:
        with lock:
            got.append(message.data.decode())
        message.ack()

    with pubsub_v1.SubscriberClient() as client, pubsub_v1.PublisherClient() as publisher:
        pulling = client.subscribe(
            bench.name,
            take,
            flow_control=pubsub_v1.types.FlowControl(max_messages=50),
            await_callbacks_on_shutdown=True,
        )
        wanted = [f"{n}" for n in range(1000)]
        for future in [publisher.publish(bench.topic, text.encode()) for text in wanted]:
            future.result(20)
        eventually(lambda: len(got) >= len(wanted), "all are there")
        eventually(lambda: bench.report()["acknowledged"] == len(wanted), "all are acknowledged")
        pulling.cancel()
        pulling.result(20)

    assert sorted(got, key=int) == wanted


def test_a_stream_holds_no_more_than_it_wants(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{bench.port}")
    bench.make()
    bench.publish(*map(str, range(30)))
    held: list[pubsub_v1.subscriber.message.Message] = []

    with pubsub_v1.SubscriberClient() as client:
        pulling = client.subscribe(bench.name, held.append, flow_control=pubsub_v1.types.FlowControl(max_messages=7))
        eventually(lambda: len(held) == bench.report()["leased"] == 7, "it holds what it may")
        held[0].ack()
        eventually(lambda: bench.report()["delivered"] == 8, "one more comes for the one that went")
        pulling.cancel()
        pulling.result(20)

    assert bench.report()["acknowledged"] == 1


def test_a_stream_of_a_deleted_subscription_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{bench.port}")
    bench.make()
    with pubsub_v1.SubscriberClient() as client:
        pulling = client.subscribe(bench.name, lambda message: message.ack())
        bench.subscriber.delete_subscription(subscription=bench.name)

        with pytest.raises(exceptions.NotFound):
            pulling.result(20)
