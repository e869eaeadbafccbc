"""A trigger that watches an SQS queue for an asset."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
from airflow.triggers.base import TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

PAUSE_S = 30
"""Pause after an error: SQS may be down, or the queue may not exist yet."""


class QueueTrigger(SqsSensorTrigger):
    """Fires when a queue has messages, and leaves them in the queue: the task that handles them deletes them.

    The trigger of the provider needs the URL of the queue when the DAG is parsed, and deletes messages before any task
    has seen them. This one needs only the name, gets the URL with the connection, and deletes nothing; a message that
    no task deletes is delivered again, and finally moves to the dead-letter queue.

    :param sqs_queue: the name of the queue.
    """

    def __init__(self, sqs_queue: str, **kwargs: Any) -> None:
        super().__init__(
            sqs_queue, **{"delete_message_on_reception": False, "max_messages": 10, "waiter_delay": 1} | kwargs
        )
        self._url = ""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch the queue; after an error of SQS, pause and continue."""
        while True:
            try:
                async for event in super().run():
                    yield event
                return
            except (BotoCoreError, ClientError) as error:
                self.log.warning(
                    "Reading the SQS queue '%s' failed, next attempt in %s s: %s", self.sqs_queue, PAUSE_S, error
                )
                await asyncio.sleep(PAUSE_S)

    async def poll_sqs(self, client: Any) -> Collection[Any]:
        """Receive messages, each with its sent timestamp."""
        if not self._url:
            self._url = (await client.get_queue_url(QueueName=self.sqs_queue))["QueueUrl"]
        received: Collection[Any] = await client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self.max_messages,
            WaitTimeSeconds=self.wait_time_seconds,
            AttributeNames=["SentTimestamp"],
        )
        return received
