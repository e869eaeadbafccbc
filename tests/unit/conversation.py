"""Lead a stream's conversation without a network: answers are given by the test, in the order of the questions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from windrow.model.answer import Answer, Outcome
from windrow.model.query import Query
from windrow.model.stream import Planned, Request, Stream

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def lead(stream: Stream, request: Request, replies: Sequence[Any] = ()) -> tuple[list[Query], list[Query]]:
    """Return what was asked and what was planned. A reply is a parsed body, or an error to throw.

    Fails when more is asked than the replies answer, or less.
    """
    conversation = stream.plan(request)
    asked: list[Query] = []
    planned: list[Query] = []
    left = list(replies)
    step = next(conversation, None)
    while step is not None:
        try:
            if isinstance(step, Planned):
                planned += step.queries
                step = next(conversation, None)
                continue
            asked.append(step)
            assert left, f"{step.key} was asked beyond the replies"
            reply = left.pop(0)
            if isinstance(reply, Exception):
                step = conversation.throw(reply)
            else:
                body = orjson.dumps(reply).decode()
                step = conversation.send(Answer(step, Outcome.ANSWERED, 200, body, NOON))
        except StopIteration:
            break
    assert not left, "fewer questions than replies"
    return asked, planned
