"""Find out what to ask for: lead a source's conversation with its API, and write the plan as it comes about.

The answers are kept with the run. A query that was asked on the way and is planned too is settled by what was told:
it is staged, and not asked again. A plan that breaks off, because a quota is spent or the task is killed, goes on
with what it was told before; and a second dataset of the same run that lists the same things makes no call. What could
not be read is in the quarantine: a plan that is made again asks for that anew, and adds what follows from it.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice

from windrow.harvest.feeds import Item
from windrow.harvest.flow import RunDriver
from windrow.http.client import Client
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import Unreadable
from windrow.model.plan import CHUNK, Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Asked, Estimate, Gap, Planned, Request, Stream
from windrow.store.keys import Keys
from windrow.store.plans import PlanWriter
from windrow.store.quarantine import LIST
from windrow.store.staging import Staging

Announce = Callable[[Sequence[Item]], None]


class Discovery(RunDriver):
    """Makes the plan of a run.

    :param client: entered by the caller.
    :param announce: is told of planned queries that have to be asked, as they come. Runs in a thread. When a plan
        goes on after a break it is not told again of what followed from answers that are kept, but for the last.
    """

    place = LIST
    keeps_refusals = True

    def __init__(
        self,
        client: Client,
        staging: Staging,
        run: Run,
        stream: Stream,
        *,
        announce: Announce | None = None,
    ) -> None:
        super().__init__(client, staging, run)
        self._stream = stream
        self._announce = announce
        self._writer: PlanWriter | None = None
        self._told = Keys()
        self._before: list[Item] = []
        """What followed from the last of the kept answers."""

    async def plan(self, request: Request, standing: Plan | None = None) -> Plan:
        """Lead the conversation to its end.

        :param standing: the plan that the run has, and that lacks what could not be read.
        :raises Unusable: something that all else follows from cannot be had.
        :raises WindrowError: what `Client.ask` and `Stream.plan` raise.
        """
        writer = self._writer = await asyncio.to_thread(self._staging.plan_writer, self._run, standing)
        await self.lead(self._stream.plan(request))
        if self.left_out and not writer.planned:
            raise self.left_out[0]
        if self._announce:
            await asyncio.to_thread(self._announce, self._before)
        plan = await asyncio.to_thread(writer.close)
        for key in self._aside - {error.key for error in self.left_out}:  # only now: a kill would have lost them
            await asyncio.to_thread(self._staging.release, self._run, key, aside=True)
        return plan

    async def estimate(self, request: Request) -> Sequence[Estimate]:
        """Ask what the stream needs to know to say what a plan would take. What is asked is kept for the plan.

        :raises WindrowError: as `plan`.
        """
        return await self.lead(self._stream.estimate(request))

    async def _planned(self, planned: Planned) -> None:
        if self._writer is not None:
            await asyncio.to_thread(self._write, self._writer, planned)

    async def _missing(self, gap: Gap) -> None:
        if self._writer is not None:
            await asyncio.to_thread(self._stage_gap, self._writer, gap)

    def _stage_gap(self, writer: PlanWriter, gap: Gap) -> None:
        """Add a gap to the plan, with an answer that says why it is one. Runs in a thread."""
        answer = Answer(gap.query, Outcome.MISSING, gap.status, gap.reason, datetime.now(UTC))
        self._staging.stage(self._run, [(chunk, answer) for chunk, _ in writer.add((gap.query,))])

    def _write(self, writer: PlanWriter, planned: Planned) -> None:
        """Write a part of the plan, however long, and settle what was told on the way. Runs in a thread."""
        queries = iter(planned.queries)
        before: list[Item] = []
        while some := list(islice(queries, CHUNK)):
            added = writer.add(some)
            answered = () if self._stream.is_paged else self._told  # a flow gets the first page only
            told = [(chunk, kept) for chunk, query in added if query.key in answered and (kept := self._kept(query))]
            self._staging.stage(self._run, told)
            if not self._announce:
                continue
            settled = {answer.query.key for _, answer in told}
            items = [Item(query, chunk) for chunk, query in added if query.key not in settled]
            if self.asked:
                self._announce(self._before + items)
                self._before = []
            else:
                before += items
        self._before = before or self._before

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        """Return what was told before in this run, and ask only for the rest."""
        if asked.query.key not in self._aside and (kept := await asyncio.to_thread(self._kept, asked.query)):
            try:
                if kept.outcome is not Outcome.MISSING:
                    asked.read(kept.parsed)
                self._told.add(asked.query.key)
                return self._client.urls.with_links(kept)
            except Unreadable:  # an older reader took it
                pass
        return await super()._settled(asked)

    async def _taken(self, answer: Answer) -> None:
        """Keep an answer, once the source has taken it: what it cannot read is asked anew by the next try."""
        if answer.query.key not in self._told:
            self._told.add(answer.query.key)
            await asyncio.to_thread(self._staging.keep_listing, self._run, self._client.name, answer)

    def _kept(self, query: Query) -> Answer | None:
        """Return what the API told before in this run: by a list, or by the dataset that this one follows."""
        kept = self._staging.listing(self._run, self._client.name, query)
        if kept is None and self._stream.planned_from:
            kept = self._staging.answer(Run(self._stream.planned_from, self._run.run_id), query)
        return kept
