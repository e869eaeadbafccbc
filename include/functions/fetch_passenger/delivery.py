"""A delivery of the queue: its call, and whether a failed delivery would be repeated."""

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
"""The number of earlier tries: 0, 1, ... Cloud Tasks removes this header from requests of others."""
_TRIES = 3
"""An unreadable answer is requested this often before it counts as final."""
_PATH = re.compile(r"/[\w.~%/-]*")
"""A path below the URL of the API, never a complete URL: the token of the API is sent with it."""


class BrokenTask(Exception):
    """A task that can never succeed, however often it is delivered.

    ``record`` is for the quarantine: the run, the number of the chunk and the body of the task; None if the body has no
    readable run and key.
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
    """Whether an unreadable answer is final: it was requested often enough, or the queue does not count tries."""

    @classmethod
    def read(cls, headers: Mapping[str, str], body: bytes) -> Self:
        """Read a request of the queue.

        :raises BrokenTask: the task is invalid.
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
    """Return what is wrong with a call; empty if it is valid."""
    query = call.query
    if call.run.dataset not in streams():
        return f"unknown dataset {call.run.dataset!r:.100}"
    if not call.run.run_id:
        return "run_id is empty"
    if isinstance(call.chunk, bool) or call.chunk < 0:
        return f"chunk must be a number from 0, not {call.chunk!r}"
    if not isinstance(query.key, str) or not query.key:
        return "the query has no key"
    if not isinstance(query.path, str) or not _PATH.fullmatch(query.path):
        return f"the path of the query is invalid: {query.path!r:.100}"
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in query.params):
        return "all parameters of the query must be strings"
    return ""


def _broken(reason: str, body: bytes) -> BrokenTask:
    """Make the error, with a record if the body has the run and the key of the call."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        fields: Any = orjson.loads(body)
        dataset, run_id, key = fields["dataset"], fields["run_id"], fields["query"][0]
    except (ValueError, KeyError, TypeError, IndexError):
        return BrokenTask(f"{reason}. Beginning of the task: {text[:200]!r}")
    if not all(isinstance(name, str) and name for name in (dataset, run_id, key)):
        return BrokenTask(f"{reason}. Beginning of the task: {text[:200]!r}")
    chunk = fields.get("chunk")
    rejected = Rejected(Query(key, "/"), 0, text, f"the task of the queue is invalid: {reason}", datetime.now(UTC))
    return BrokenTask(reason, (Run(dataset, run_id), chunk if type(chunk) is int else 0, rejected))
