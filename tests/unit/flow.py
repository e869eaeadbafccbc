"""Lead a stream's conversation without a network: answers are given by the test, in the order of the questions."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from windrow.http.auth import NoAuth
from windrow.http.client import Client
from windrow.http.flow import Driver
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import NotGiven, QueryRefused, Unreadable
from windrow.model.query import Query
from windrow.model.stream import Asked, Gap, Planned, Request, Stream

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Scripted(Driver):
    """The driver, with an API that a test writes down. A reply is a parsed body, or the error that it comes to."""

    keeps_refusals = True

    def __init__(self, replies: Sequence[Any] = ()) -> None:
        super().__init__(Client("http://nowhere", NoAuth()))
        self.replies = list(replies)
        self.queries: list[Query] = []
        self.plan: list[Query] = []
        self.gaps: list[Gap] = []

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        self.queries.append(asked.query)
        assert self.replies, f"{asked.query.key} was asked beyond the replies"
        reply = self.replies.pop(0)
        if isinstance(reply, NotGiven):
            return Answer(asked.query, Outcome.MISSING, 404, "", NOON)
        if isinstance(reply, QueryRefused):
            return Rejected(asked.query, reply.status or 400, "", reply.what, NOON)
        if isinstance(reply, Exception):
            raise reply
        body = orjson.dumps(reply).decode()
        try:
            asked.read(reply)
        except Unreadable as error:
            return Rejected(asked.query, 200, body, error.reason, NOON)
        return Answer(asked.query, Outcome.ANSWERED, 200, body, NOON)

    async def _planned(self, planned: Planned) -> None:
        self.plan += planned.queries

    async def _missing(self, gap: Gap) -> None:
        self.gaps.append(gap)


def led(stream: Stream, request: Request, replies: Sequence[Any] = ()) -> Scripted:
    """Lead a plan to its end. Fails when more is asked than the replies answer, or less."""
    driver = Scripted(replies)
    asyncio.run(driver.lead(stream.plan(request)))
    assert not driver.replies, "fewer questions than replies"
    return driver


def lead(stream: Stream, request: Request, replies: Sequence[Any] = ()) -> tuple[list[Query], list[Query]]:
    """Return what was asked and what was planned, where nothing was left out or is missing."""
    driver = led(stream, request, replies)
    assert not driver.left_out
    assert not driver.gaps
    return driver.queries, driver.plan
