"""A trigger that receives the messages of an SQS queue and stores each, for an asset that starts a DAG."""

import asyncio
import logging
import math
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from windrow.airflow.hooks.sqs import RECEIVE, Message
from windrow.model.redact import blot

log = logging.getLogger(__name__)

_LONGEST = 300
"""Characters of an error in the log: some have the whole answer."""
_POLL_S = 20
"""How long SQS waits for a message before it answers that there is none: the longest that it allows."""


class MessageHandler(Protocol):
    """Stores messages where they outlive a kill, and deletes them. Its methods block, and run in a thread."""

    def is_waiting(self) -> bool:
        """Return whether a message that was stored earlier still waits for a run."""
        ...

    def handle(self, messages: Sequence[Message]) -> bool:
        """Store each message, then delete it. Return whether one of them waits for a run.

        :raises Exception: messages that are not deleted are delivered again.
        """
        ...


class QueueTrigger(BaseEventTrigger):
    """Receives the messages of a queue, has each stored, and fires. A subclass says where they are stored.

    It waits in the call (long polling), so it receives a message at once, and an empty queue costs three calls a
    minute. The trigger of the provider deletes messages before anything has stored them. A trigger that only looks at
    the queue cannot use long polling: each delivery counts, and SQS moves a message that was delivered too often to
    the dead-letter queue.

    It fires at its start if a message that was stored earlier is still waiting: the triggerer may have been killed
    between the deletion of a message and the event. This check is also made after each error, so while the store is not
    available, no message is received, and none moves to the dead-letter queue.

    :param sqs_queue: the name of the queue.
    :param quiet_s: at least so many seconds are between two events. Messages that arrive meanwhile are stored at once,
        and share the next event.
    :param pause_s: the pause after an error, in seconds.
    """

    def __init__(
        self, sqs_queue: str, *, aws_conn_id: str = "aws_default", quiet_s: float = 5.0, pause_s: float = 30.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is not annotated
        self.sqs_queue = sqs_queue
        self.aws_conn_id = aws_conn_id
        self.quiet_s = quiet_s
        self.pause_s = pause_s

    @abstractmethod
    def handler(self) -> MessageHandler:
        """Open what stores the messages. Runs in a thread."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, for the triggerer."""
        names = ("sqs_queue", "aws_conn_id", "quiet_s", "pause_s")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Receive messages; after any error, pause and continue: a trigger that ends would start no DAG again."""
        while True:
            try:
                handler = await asyncio.to_thread(self.handler)
                hook = SqsHook(aws_conn_id=self.aws_conn_id)
                async with await hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                    async for _ in self._stored(client, handler):
                        yield TriggerEvent({"queue": self.sqs_queue})  # type: ignore[no-untyped-call]
            except Exception as error:
                log.warning(
                    "Reading the SQS queue '%s' failed, next attempt in %.0f s: %s: %s",
                    self.sqs_queue, self.pause_s, type(error).__name__, blot(str(error))[:_LONGEST],
                )  # fmt: skip
                await asyncio.sleep(self.pause_s)

    async def _stored(self, client: Any, handler: MessageHandler) -> AsyncIterator[None]:
        """Yield when a run is due for messages that are stored, not sooner than ``quiet_s`` after the last time."""
        is_due = await asyncio.to_thread(handler.is_waiting)
        url = (await client.get_queue_url(QueueName=self.sqs_queue))["QueueUrl"]
        # the client must not give up before SQS answers
        poll_s = max(1, min(_POLL_S, int(client.meta.config.read_timeout / 2)))
        fired_at = -math.inf
        while True:
            rest_s = max(0.0, fired_at + self.quiet_s - time.monotonic())
            if is_due and not rest_s:
                fired_at, is_due = time.monotonic(), False
                yield
                continue
            wait_s = min(poll_s, math.ceil(rest_s)) if is_due else poll_s
            asked_at = time.monotonic()
            answer = await client.receive_message(QueueUrl=url, WaitTimeSeconds=wait_s, **RECEIVE)
            if messages := answer.get("Messages"):
                is_due |= await asyncio.to_thread(handler.handle, messages)
            else:  # what answers at once is not SQS: botocore takes the page of a proxy for an empty answer
                await asyncio.sleep(asked_at + min(wait_s, self.pause_s) - time.monotonic())
