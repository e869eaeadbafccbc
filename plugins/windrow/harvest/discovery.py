"""Find out what to ask for: lead a source's conversation with its API, and write the plan as it comes about.

The answers are kept with the run. A query that was asked on the way and is planned too is settled by what was told:
it is staged, and not asked again. A plan that breaks off, because a quota is spent or the task is killed, goes on
with what it was told before; and a second dataset of the same run that lists the same things makes no call.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, cast

from windrow.harvest.feeds import Item
from windrow.http.client import Client
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import NotGiven, QueryRefused
from windrow.model.plan import CHUNK, Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Planned, Request, Stream, Way
from windrow.store.staging import PlanWriter, Staging

MOST_LISTS = 100_000
"""Calls that a plan may be made from: where each names a next one for ever, it ends here."""
T = TypeVar("T")
Announce = Callable[[Sequence[Item]], None]


class Discovery:
    """Makes the plan of a run.

    :param client: entered by the caller.
    :param announce: is told of planned queries that have to be asked, as they come. Runs in a thread. When a plan
        goes on after a break it is not told again of what followed from answers that are kept, but for the last.
    """

    def __init__(
        self,
        client: Client,
        staging: Staging,
        run: Run,
        stream: Stream,
        *,
        announce: Announce | None = None,
    ) -> None:
        self.asked = 0
        """Queries that were asked of the API, and not found kept."""
        self._client = client
        self._staging = staging
        self._run = run
        self._stream = stream
        self._announce = announce
        self._told: set[str] = set()
        self._before: list[Item] = []
        """What followed from the last of the kept answers."""

    async def plan(self, request: Request) -> Plan:
        """Lead the conversation to its end.

        :raises QueryRefused: something that all else follows from cannot be had.
        :raises WindrowError: what `Client.ask` and `Stream.plan` raise.
        """
        writer = self._staging.plan_writer(self._run)
        await self._lead(self._stream.plan(request), writer)
        if self._announce:
            await asyncio.to_thread(self._announce, self._before)
        return await asyncio.to_thread(writer.close)

    async def estimate(self, request: Request) -> Sequence[Way]:
        """Ask what the stream needs to know to say what a plan would take. What is asked is kept for the plan.

        :raises WindrowError: as `plan`.
        """
        return await self._lead(self._stream.estimate(request), None) or ()

    async def _lead(self, conversation: Generator[Query | Planned, Any, T], writer: PlanWriter | None) -> T:
        """Lead a conversation to its end, and return what it returns."""
        with closing(conversation):
            step, lists = _next(conversation.send, None), 0
            while not isinstance(step, _End):
                if isinstance(step, Query):
                    lists += 1
                    if lists > MOST_LISTS:
                        raise _unlisted(QueryRefused, step, f"it comes after {MOST_LISTS:,} others", 0)
                    step = await self._reply(conversation, step)
                else:
                    if writer is not None:
                        await asyncio.to_thread(self._write, writer, step)
                    step = _next(conversation.send, None)
        return cast("T", step.value)

    def _write(self, writer: PlanWriter, planned: Planned) -> None:
        """Write a part of the plan, however long, and settle what was told on the way. Runs in a thread."""
        queries = iter(planned.queries)
        before: list[Item] = []
        while some := list(islice(queries, CHUNK)):
            added = writer.add(some)
            told = [(chunk, kept) for chunk, query in added if query.key in self._told and (kept := self._kept(query))]
            self._staging.stage(self._run, told)
            if not self._announce:
                continue
            items = [Item(query, chunk) for chunk, query in added if query.key not in self._told]
            if self.asked:
                self._announce(self._before + items)
                self._before = []
            else:
                before += items
        self._before = before or self._before

    async def _reply(self, conversation: Generator[Query | Planned, Any, Any], query: Query) -> "_Step":
        """Tell the source the answer to a query, asking only when it is not kept, and return what it says next.

        An answer is kept once the source has taken it: what it cannot read is asked anew by the next try.
        """
        listing = await asyncio.to_thread(self._kept, query)
        if listing is not None:
            self._told.add(query.key)
            return _tell(conversation, listing)
        if self._stream.follows:
            followed = Run(self._stream.follows, self._run.run_id)
            if told := await asyncio.to_thread(self._staging.answer, followed, query):
                return _tell(conversation, told)
        self.asked += 1
        answer = await self._client.ask(query, lambda query, answer: None)
        step = _tell(conversation, answer)
        if isinstance(answer, Answer):
            await asyncio.to_thread(self._staging.keep_listing, self._run, self._client.name, answer)
            self._told.add(query.key)
        return step

    def _kept(self, query: Query) -> Answer | None:
        """Return what the API told before in this run: by a list, or by the dataset that this one follows."""
        kept = self._staging.listing(self._run, self._client.name, query)
        if kept is None and self._stream.follows:
            kept = self._staging.answer(Run(self._stream.follows, self._run.run_id), query)
        return kept


@dataclass(frozen=True, slots=True)
class _End:
    """A source has said all, and this is what it returns."""

    value: object


_Step = Query | Planned | _End


def _tell(conversation: Generator[Query | Planned, Any, Any], answer: Answer | Rejected) -> _Step:
    """Send an answer into the conversation, or throw the refusal that it is."""
    if isinstance(answer, Rejected):
        return _next(conversation.throw, _unlisted(QueryRefused, answer.query, answer.reason, answer.status))
    if answer.outcome is Outcome.GAP:
        reason = "the API says there is no such thing"
        return _next(conversation.throw, _unlisted(NotGiven, answer.query, reason, answer.status))
    return _next(conversation.send, answer)


def _next(go_on: Callable[[Any], Query | Planned], said: object) -> _Step:
    try:
        return go_on(said)
    except StopIteration as end:
        return _End(end.value)


def _unlisted(kind: type[QueryRefused], query: Query, reason: str, status: int) -> QueryRefused:
    return kind(
        f"The list that all else follows from, {query.key!r}, cannot be had: {reason} (HTTP {status})",
        advice="Check the params of the run, and the path of the API in host and port of its Airflow connection.",
        key=query.key,
        status=status,
    )
