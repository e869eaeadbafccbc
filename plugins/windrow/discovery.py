"""Find out what to ask for: lead a source's conversation with its API, and write the plan as it comes about.

The answers are kept with the run. A plan that breaks off, because a quota is spent or the task is killed, goes on
with what it was told before; and a second dataset of the same run that lists the same things makes no call.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

from windrow.answer import Answer, Outcome, Rejected
from windrow.client import Client
from windrow.errors import QueryRefused
from windrow.plan import Plan, Run
from windrow.query import Query
from windrow.sources.base import Conversation, Planned, Request, Stream
from windrow.staging import Staging

Step = Query | Planned | None
"""What a source says next; None when it has said all."""


class Discovery:
    """Makes the plan of a run.

    :param client: entered by the caller.
    """

    def __init__(self, client: Client, staging: Staging, run: Run, stream: Stream) -> None:
        self.asked = 0
        """Queries that were asked of the API, and not found kept."""
        self._client = client
        self._staging = staging
        self._run = run
        self._stream = stream

    async def plan(self, request: Request) -> Plan:
        """Lead the conversation to its end.

        :raises QueryRefused: something that all else follows from cannot be had.
        :raises WindrowError: what `Client.ask` and `Stream.plan` raise.
        """
        writer = self._staging.plan_writer(self._run)
        with closing(self._stream.plan(request)) as conversation:
            step = _next(conversation.send, None)
            while step is not None:
                if isinstance(step, Planned):
                    await asyncio.to_thread(writer.add, step.queries)
                    step = _next(conversation.send, None)
                else:
                    step = await self._reply(conversation, step)
        return await asyncio.to_thread(writer.close)

    async def _reply(self, conversation: Conversation, query: Query) -> Step:
        """Tell the source the answer to a query, asking only when it is not kept, and return what it says next.

        An answer is kept once the source has taken it: what it cannot read is asked anew by the next try.
        """
        listing = await asyncio.to_thread(self._staging.listing, self._run, self._client.name, query)
        if listing is not None:
            return _told(conversation, listing)
        self.asked += 1
        answer = await self._client.ask(query, lambda query, answer: None)
        step = _told(conversation, answer)
        if isinstance(answer, Answer):
            await asyncio.to_thread(self._staging.keep_listing, self._run, self._client.name, answer)
        return step


def _told(conversation: Conversation, answer: Answer | Rejected) -> Step:
    """Send an answer into the conversation, or throw the refusal that it is."""
    if isinstance(answer, Rejected):
        return _next(conversation.throw, _unlisted(answer.query, answer.reason, answer.status))
    if answer.outcome is Outcome.GAP:
        return _next(conversation.throw, _unlisted(answer.query, "the API says there is no such thing", answer.status))
    return _next(conversation.send, answer)


def _next(go_on: Callable[[Any], Query | Planned], said: object) -> Step:
    try:
        return go_on(said)
    except StopIteration:
        return None


def _unlisted(query: Query, reason: str, status: int) -> QueryRefused:
    return QueryRefused(
        f"The list that all else follows from, {query.key!r}, cannot be had: {reason} (HTTP {status})",
        advice="Check the params of the run, and the path of the API in host and port of its Airflow connection.",
        key=query.key,
        status=status,
    )
