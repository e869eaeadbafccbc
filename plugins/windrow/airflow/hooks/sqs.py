"""Messages of SQS: deleted when they are stored elsewhere, or moved to the dead-letter queue if unreadable."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.sqs import SqsHook

from windrow.model.errors import ConnectionUnusable

Message = Mapping[str, Any]
"""As SQS returns it: ``Body``, ``MessageId``, ``ReceiptHandle``, and optionally ``Attributes``."""


class Queue:
    """A queue with a dead-letter queue.

    :param name: the queue's name.
    """

    def __init__(self, aws_conn_id: str, name: str) -> None:
        self._client = SqsHook(aws_conn_id=aws_conn_id).get_conn()
        self._name = name
        self._url = self._client.get_queue_url(QueueName=name)["QueueUrl"]

    def delete(self, message: Message) -> None:
        """Delete a message from the queue; it may already be deleted, for example after a retry."""
        with contextlib.suppress(self._client.exceptions.ReceiptHandleIsInvalid):
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
