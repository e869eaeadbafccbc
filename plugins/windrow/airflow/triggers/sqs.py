"""A trigger that watches an SQS queue for an asset. It receives no message."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from windrow.model.redact import blot

log = logging.getLogger(__name__)

_LONGEST = 300
"""Characters of an error in the log: some have the whole answer."""
_COUNT = "ApproximateNumberOfMessages"


class QueueTrigger(BaseEventTrigger):
    """Fires when a queue has messages: at once for new ones, and again for those that are still there after a while.

    It only starts the DAG, whose task receives the messages. The trigger of the provider receives them: each delivery
    counts, so messages move to the dead-letter queue while no run takes them, and a run that starts late cannot delete
    them, because their receipt handles are outdated.

    :param sqs_queue: the name of the queue.
    :param look_s: seconds between two checks.
    :param repeat_s: seconds after which messages that are still there fire again; also the pause after an error.
    """

    def __init__(
        self, sqs_queue: str, *, aws_conn_id: str = "aws_default", look_s: float = 1.0, repeat_s: float = 30.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is not annotated
        self.sqs_queue = sqs_queue
        self.aws_conn_id = aws_conn_id
        self.look_s = look_s
        self.repeat_s = repeat_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, for the triggerer."""
        names = ("sqs_queue", "aws_conn_id", "look_s", "repeat_s")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch the queue; after any error, pause and continue: a trigger that ends would start no DAG again."""
        while True:
            try:
                hook = SqsHook(aws_conn_id=self.aws_conn_id)
                async with await hook.get_async_conn() as client:  # type: ignore[no-untyped-call]
                    async for waiting in self._new_messages(client):
                        yield TriggerEvent({"queue": self.sqs_queue, "waiting": waiting})  # type: ignore[no-untyped-call]
            except Exception as error:
                log.warning(
                    "Reading the SQS queue '%s' failed, next attempt in %.0f s: %s: %s",
                    self.sqs_queue, self.repeat_s, type(error).__name__, blot(str(error))[:_LONGEST],
                )  # fmt: skip
                await asyncio.sleep(self.repeat_s)

    async def _new_messages(self, client: Any) -> AsyncIterator[int]:
        """Yield the number of visible messages each time it has grown, or has not been zero for a while."""
        url = (await client.get_queue_url(QueueName=self.sqs_queue))["QueueUrl"]
        before, fired_at = 0, -self.repeat_s
        while True:
            answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=[_COUNT])
            waiting = int(answer["Attributes"][_COUNT])
            now = time.monotonic()
            if waiting > before or (waiting and now - fired_at >= self.repeat_s):
                fired_at = now
                yield waiting
            before = waiting
            await asyncio.sleep(self.look_s)
