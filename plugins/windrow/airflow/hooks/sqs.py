"""Messages of SQS: deleted when they are stored elsewhere, or moved to the dead-letter queue if unreadable."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow.providers.amazon.aws.hooks.sqs import SqsHook

from windrow.model.errors import ConnectionUnusable

Message = Mapping[str, Any]
"""As SQS returns it: ``Body``, ``MessageId``, ``ReceiptHandle``, and optionally ``Attributes``."""

VISIBLE_AFTER_S = 30
"""Seconds until a message that was received and not deleted is delivered again: longer than storing one takes. It
is also the delay of a message that SQS hands to a client that was killed just before."""
RECEIVE: Mapping[str, Any] = {
    "MaxNumberOfMessages": 10,
    "VisibilityTimeout": VISIBLE_AFTER_S,
    "AttributeNames": ["SentTimestamp"],
}
"""Arguments of each call that receives messages, beside the queue and how long to wait."""


class Queue:
    """A queue with a dead-letter queue.

    :param name: the queue's name.
    """

    def __init__(self, aws_conn_id: str, name: str) -> None:
        self._client = SqsHook(aws_conn_id=aws_conn_id).get_conn()
        self._name = name
        self._url = self._client.get_queue_url(QueueName=name)["QueueUrl"]

    def receive(self) -> Iterator[Message]:
        """Receive messages until there are none. Handle each before the next, and delete it.

        A message that is not deleted is delivered again after `VISIBLE_AFTER_S`.
        """
        while messages := self._client.receive_message(QueueUrl=self._url, WaitTimeSeconds=0, **RECEIVE).get(
            "Messages"
        ):
            yield from self.each(messages)

    def each(self, messages: Sequence[Message]) -> Iterator[Message]:
        """Yield messages that were received just now. Handle each before the next, and delete it.

        Whoever received a message deletes it: with the handle of an older delivery, SQS answers that the message is
        deleted, and delivers it again.
        """
        for number, message in enumerate(messages):
            if number:
                self._extend(message)
            yield message

    def _extend(self, message: Message) -> None:
        """Hide a message for the full time from now on: those before it may have taken long.

        :raises ClientError: the message is visible again, and may be received by another task.
        """
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=VISIBLE_AFTER_S
        )

    def delete(self, message: Message) -> None:
        """Delete a message that was received just now."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def put_aside(self, message: Message, why: str) -> None:
        """Move a message to the dead-letter queue, with the reason. It is sent there before it is deleted here.

        If the task is killed in between, the next try sends it again: it may be there twice, but is never lost.

        :raises ConnectionUnusable: the queue has no dead-letter queue.
        """
        reason = {"reason": {"DataType": "String", "StringValue": why[:250]}}
        self._client.send_message(QueueUrl=self._dead(), MessageBody=message["Body"], MessageAttributes=reason)
        self.delete(message)

    def _dead(self) -> str:
        attributes = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["RedrivePolicy"])
        policy = attributes.get("Attributes", {}).get("RedrivePolicy")
        if not policy:
            raise ConnectionUnusable(
                f"The SQS queue {self._name!r} has no dead-letter queue for unreadable messages.",
                advice="Set a redrive policy on the queue (docs/clouds.md).",
            )
        name = json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2]
        return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])
