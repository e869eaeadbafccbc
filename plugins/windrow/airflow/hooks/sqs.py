"""Messages of SQS: taken off the queue once they are recorded elsewhere, or put aside when nobody can read them."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.sqs import SqsHook

from windrow.model.errors import ConnectionUnusable

Message = Mapping[str, Any]
"""As SQS hands it out: ``Body``, ``MessageId``, ``ReceiptHandle``, perhaps ``Attributes``."""


class Queue:
    """A queue with a dead-letter queue behind it.

    :param name: the queue's name.
    """

    def __init__(self, aws_conn_id: str, name: str) -> None:
        self._client = SqsHook(aws_conn_id=aws_conn_id).get_conn()
        self._name = name
        self._url = self._client.get_queue_url(QueueName=name)["QueueUrl"]

    def delete(self, message: Message) -> None:
        """Take a message off the queue; one that is gone already, as after a retry, is fine."""
        with contextlib.suppress(self._client.exceptions.ReceiptHandleIsInvalid):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def put_aside(self, message: Message, why: str) -> None:
        """Move a message to the dead-letter queue, with the reason. It is there before it is gone here.

        Killed between the two, the next try moves it once more: it is there twice, and never nowhere.

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
                f"The queue {self._name!r} has no dead-letter queue for messages that nobody can read.",
                advice="Give it a redrive policy (docs/clouds.md).",
            )
        name = json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2]
        return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])
