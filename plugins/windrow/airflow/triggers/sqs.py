"""Watches a queue of SQS for an asset."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
from airflow.triggers.base import TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

PAUSE_S = 30
"""Seconds until SQS is asked again after it could not be: it may be down, or the queue not made yet."""


class QueueTrigger(SqsSensorTrigger):
    """Fires when a queue hands out messages, and leaves them in it: who works on them deletes them.

    The provider's own wants the queue's URL when the DAG is parsed, and deletes messages before any task has seen
    them. This one takes a name, finds the URL with the connection, and keeps messages until they are recorded; one
    that nobody deletes is handed out again, and ends in the dead-letter queue.

    :param sqs_queue: the queue's name.
    """

    def __init__(self, sqs_queue: str, **kwargs: Any) -> None:
        super().__init__(
            sqs_queue, **{"delete_message_on_reception": False, "max_messages": 10, "waiter_delay": 1} | kwargs
        )
        self._url = ""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, also beyond a time in which SQS cannot be asked."""
        while True:
            try:
                async for event in super().run():
                    yield event
                return
            except (BotoCoreError, ClientError) as error:
                self.log.warning(
                    "The queue '%s' cannot be asked, and will be again in %s s: %s", self.sqs_queue, PAUSE_S, error
                )
                await asyncio.sleep(PAUSE_S)

    async def poll_sqs(self, client: Any) -> Collection[Any]:
        """Receive messages, each with the instant when it was sent."""
        if not self._url:
            self._url = (await client.get_queue_url(QueueName=self.sqs_queue))["QueueUrl"]
        received: Collection[Any] = await client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self.max_messages,
            WaitTimeSeconds=self.wait_time_seconds,
            AttributeNames=["SentTimestamp"],
        )
        return received
