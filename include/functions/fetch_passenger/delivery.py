"""A delivery of the queue: which call it asks for, and whether another delivery would follow a failure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from windrow.model.answer import Rejected
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.queue_task import Call
from windrow.model.registry import streams

RETRY_COUNT = "X-CloudTasks-TaskRetryCount"
"""Cloud Tasks counts here how often it tried before: 0, 1, ... It takes the header out of what others send."""
_TRIES = 3
"""An answer that cannot be read is asked for so often before it counts as the API's last word."""
_PATH = re.compile(r"/[\w.~%/-]*")
"""Below the API's address, and never an address of its own: the API's token goes with it."""


class BrokenTask(Exception):
    """A task that can never be done, however often it is delivered.

    ``record`` is what the quarantine keeps: the run, the number of the chunk and the task's body; None where no
    run and no key can be read from it.
    """

    def __init__(self, reason: str, record: tuple[Run, int, Rejected] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.record = record


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a task."""

    call: Call
    is_last_try: bool
    """Nothing is won by asking for an unreadable answer again: it was, or nobody will."""

    @classmethod
    def read(cls, headers: Mapping[str, str], body: bytes) -> Self:
        """Read a request of the queue.

        :raises BrokenTask: it asks for nothing that can be done.
        """
        try:
            call = Call.from_payload(body)
        except ValueError as error:
            raise _broken(f"{error}", body) from None
        problem = _problem(call)
        if problem:
            raise _broken(problem, body)
        count = headers.get(RETRY_COUNT, "")
        return cls(call, is_last_try=not count.isdecimal() or int(count) >= _TRIES - 1)


def _problem(call: Call) -> str:
    """Say what is wrong with a call; nothing, if it can be made."""
    query = call.query
    if call.run.dataset not in streams():
        return f"no source declares the dataset {call.run.dataset!r:.100}"
    if not call.run.run_id:
        return "run_id is empty"
    if isinstance(call.chunk, bool) or call.chunk < 0:
        return f"chunk is {call.chunk!r}, not the number of a chunk"
    if not isinstance(query.key, str) or not query.key:
        return "the query has no key"
    if not isinstance(query.path, str) or not _PATH.fullmatch(query.path):
        return f"the query's path is {query.path!r:.100}, not a path of the API"
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in query.params):
        return "the query's parameters are not all texts"
    return ""


def _broken(reason: str, body: bytes) -> BrokenTask:
    """Make the error, with a record if the body says whose call it is."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        fields: Any = orjson.loads(body)
        dataset, run_id, key = fields["dataset"], fields["run_id"], fields["query"][0]
    except (ValueError, KeyError, TypeError, IndexError):
        return BrokenTask(f"{reason}; it begins {text[:200]!r}")
    if not all(isinstance(name, str) and name for name in (dataset, run_id, key)):
        return BrokenTask(f"{reason}; it begins {text[:200]!r}")
    chunk = fields.get("chunk")
    rejected = Rejected(Query(key, "/"), 0, text, f"the task of the queue is broken: {reason}", datetime.now(UTC))
    return BrokenTask(reason, (Run(dataset, run_id), chunk if type(chunk) is int else 0, rejected))
