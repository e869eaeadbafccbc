"""Find out what to ask for: lead a source's conversation with its API, and write the plan as it comes about.

The answers are kept with the run. A plan that breaks off, because a quota is spent or the task is killed, goes on
with what it was told before; and a second dataset of the same run that lists the same things makes no call.
"""

import asyncio
import logging

from windrow.answer import Answer, Outcome
from windrow.client import Client
from windrow.errors import QueryRefused
from windrow.plan import Plan, Run
from windrow.query import Query
from windrow.sources.base import Planned, Request, Stream
from windrow.staging import Staging

log = logging.getLogger(__name__)


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
        conversation = self._stream.plan(request)
        step = next(conversation, None)
        while step is not None:
            try:
                if isinstance(step, Planned):
                    await asyncio.to_thread(writer.add, step.queries)
                    step = next(conversation, None)
                    continue
                try:
                    answer = await self._listing(step)
                except QueryRefused as refused:
                    step = conversation.throw(refused)
                else:
                    step = conversation.send(answer)
            except StopIteration:
                break
        return await asyncio.to_thread(writer.close)

    async def _listing(self, query: Query) -> Answer:
        """Return the answer to a query, asking only when it is not kept."""
        kept = await asyncio.to_thread(self._staging.listing, self._run, self._client.name, query)
        if kept is None:
            self.asked += 1
            answer = await self._client.ask(query, lambda query, answer: None)
            if not isinstance(answer, Answer):
                raise _unlisted(query, answer.reason, answer.status)
            await asyncio.to_thread(self._staging.keep_listing, self._run, self._client.name, answer)
            kept = answer
        if kept.outcome is Outcome.GAP:
            raise _unlisted(query, "the API says there is no such thing", kept.status)
        return kept


def _unlisted(query: Query, reason: str, status: int) -> QueryRefused:
    return QueryRefused(
        f"The list that all else follows from, {query.key!r}, cannot be had: {reason} (HTTP {status})",
        advice="Check the params of the run, and the path of the API in host and port of its Airflow connection.",
        key=query.key,
        status=status,
    )
