"""Requests of the chatbot for one artist: recorded in DynamoDB before their message is deleted, so a kill loses none.

Recording makes no call of the API, and runs in the triggerer, so that a request is recorded whatever else is running.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.sqs import Message, Queue
from windrow.airflow.triggers.sqs import QueueTrigger
from windrow.model.errors import BadParameter
from windrow.sources.spotify.artists import key_of
from windrow.sources.spotify.top_tracks import REQUEST, REQUESTS, Outcome, instant, requested

log = logging.getLogger(__name__)

FRESH_S = 600
"""How long an answer stays fresh, in seconds: the same request is not handled again meanwhile."""
OPEN, FRESH, INVALID = "open", "fresh", "invalid"
"""What a message is: a request that waits for its answer, one that was answered a short time ago, or no request."""


class RequestsTrigger(QueueTrigger):
    """Records the requests in the queue, and fires."""

    def handler(self) -> "Recorder":
        """Open the table of requests and the queue."""
        return Recorder(open_requests(self.aws_conn_id), Queue(self.aws_conn_id, self.sqs_queue))


class Recorder:
    """Records the requests in a queue.

    A message that is not a request moves to the dead-letter queue.
    """

    def __init__(self, requests: DynamoTable, queue: Queue) -> None:
        self._requests = requests
        self._queue = queue

    def is_waiting(self) -> bool:
        """Return whether a request is open."""
        return any(is_open(item) for item in self._requests.all())

    def handle(self, messages: Sequence[Message]) -> bool:
        """Record the requests in messages that were received just now. Return whether one of them is open."""
        return bool(self._record_all(self._queue.each(messages))[OPEN])

    def record_all(self) -> None:
        """Record the requests in all messages of the queue."""
        self._record_all(self._queue.receive())

    def _record_all(self, messages: Iterable[Message]) -> Counter[str]:
        count = Counter[str]()
        for message in messages:
            try:
                text = requested(_json(message["Body"]))
            except BadParameter as bad:
                log.warning("The message %s moves to the dead-letter queue: %s", message["MessageId"], bad.what)
                self._queue.put_aside(message, bad.what)
                count[INVALID] += 1
            else:
                count[OPEN if record(text, _sent_at(message), self._requests) else FRESH] += 1
                self._queue.delete(message)
        if count:
            log.info("Messages in the queue: %s", dict(count))
        return count


def open_requests(aws_conn_id: str) -> DynamoTable:
    """Open the table of requests."""
    return DynamoTable(aws_conn_id, REQUESTS, key=REQUEST, version="asked_at")


def is_open(item: dict[str, Any]) -> bool:
    """Return whether a request has no outcome yet."""
    return bool(item["outcome"] == Outcome.TAKEN)


def record(text: str, asked_at: datetime, requests: DynamoTable) -> bool:
    """Record a request, unless the same is open, or was answered a short time ago. Return whether it is open."""
    key = key_of(text)
    before = requests.get(key)
    if before and is_open(before):
        return True
    if before and before.get("settled_at", "") >= instant(asked_at - timedelta(seconds=FRESH_S)):
        log.info("%r was answered at %s: %s", text, before["settled_at"], before["outcome"])
        return False
    requests.put([{REQUEST: key, "text": text, "asked_at": instant(asked_at), "outcome": Outcome.TAKEN.value}])
    return True


def _json(text: str) -> object:
    """Read a text as JSON; None if it is not JSON, or nested too deeply."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _sent_at(message: Message) -> datetime:
    """Return when a message was sent; now, if SQS does not say it."""
    milliseconds = (message.get("Attributes") or {}).get("SentTimestamp")
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else datetime.now(UTC)
