"""What the tests of Pub/Sub share: clients, a topic with a subscription for each test, and the emulator on its own."""

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import requests
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import ReceivedMessage

from local_cloud import ports
from local_cloud.testing import ROOT
from tests.local_cloud.conftest import eventually

PROJECT = "projects/windrow"
ACCOUNT = "push@windrow.iam.gserviceaccount.com"


class Bench:
    """A topic and a subscription for one test, neither made yet."""

    def __init__(self, port: int, http_port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{http_port}"
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        mark = uuid.uuid4().hex[:12]
        self.topic = f"{PROJECT}/topics/t-{mark}"
        self.name = f"{PROJECT}/subscriptions/s-{mark}"

    def make(self, **subscription: Any) -> pubsub_v1.types.Subscription:
        """Make the topic and the subscription."""
        self.publisher.create_topic(name=self.topic)
        return self.subscriber.create_subscription(request={"name": self.name, "topic": self.topic, **subscription})

    def publish(self, *texts: str, **attributes: str) -> list[str]:
        """Publish texts in one call; return their ids."""
        messages = [{"data": text.encode(), "attributes": attributes} for text in texts]
        return list(self.publisher.publish(topic=self.topic, messages=messages).message_ids)

    def pull(self, most: int = 1000, *, wait: bool = True, name: str = "") -> list[ReceivedMessage]:
        """Pull; without `wait` the answer may be empty."""
        request = {"subscription": name or self.name, "max_messages": most, "return_immediately": not wait}
        with contextlib.suppress(DeadlineExceeded):
            return list(self.subscriber.pull(request=request, timeout=15).received_messages)
        return []

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        ack_ids = [message.ack_id for message in messages]
        self.subscriber.acknowledge(subscription=self.name, ack_ids=ack_ids)

    def lease(self, messages: Sequence[ReceivedMessage], seconds: int) -> None:
        """Change how long messages are leased for; 0 gives them back."""
        request = {"subscription": self.name, "ack_deadline_seconds": seconds, "ack_ids": [m.ack_id for m in messages]}
        self.subscriber.modify_ack_deadline(request=request)

    def report(self, name: str = "") -> dict[str, Any]:
        """Return what the emulator says of a subscription."""
        return dict(requests.get(f"{self.url}/subscriptions", timeout=10).json()[name or self.name])


def texts(messages: Sequence[ReceivedMessage]) -> list[str]:
    return [message.message.data.decode() for message in messages]


@contextlib.contextmanager
def launched(data: Path, *options: str) -> Iterator[Bench]:
    """Run the emulator without the supervisor, until the block ends and it has stopped in order."""
    port, http_port = ports.find_free(2)
    process = launch(port, http_port, data, *options)

    def is_up() -> bool:
        assert process.poll() is None
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{http_port}/health", timeout=5).ok
        return False

    try:
        eventually(is_up, "the emulator is up")
        yield Bench(port, http_port)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()


def launch(port: int, http_port: int, data: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "local_cloud.emulators.pubsub", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http-port", str(http_port), "--data-dir", str(data), *options]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)
