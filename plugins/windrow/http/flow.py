"""The driver of all flows: asks what a source yields, and tells it what came: an answer, or why there is none.

Plans, estimates and look-ups are led by it alike; what a source may yield: `windrow.model.stream.Flow`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from windrow.http.client import Client
from windrow.http.paging import Trail
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import NotGiven, QueryRefused, RateLimited, Unreadable, Unusable, WindrowError
from windrow.model.stream import Asked, Flow, Planned

log = logging.getLogger(__name__)

MOST_ASKED = 100_000
"""Calls in a row that a flow may be made of: where each names a next one for ever, it ends here."""
T = TypeVar("T")
E = TypeVar("E", bound=WindrowError)


class Driver:
    """Leads flows with one API, one after the other.

    :param client: entered by the caller, or by `run`.
    """

    keeps_refusals: ClassVar[bool] = False
    """Whether a refusal is set aside though the source goes on without it. What cannot be read always is."""

    def __init__(self, client: Client) -> None:
        self.asked = 0
        """Queries that were asked of the API, and not found kept."""
        self.left_out: list[Unusable] = []
        """What was set aside, and why."""
        self._client = client
        self._trail = Trail(MOST_ASKED)
        self._last: Answer | None = None
        """The last one that could be read."""
        self._heard: Answer | Rejected | None = None
        """What the source hears now, and ``_thrown`` where that is an error."""
        self._thrown: Unusable | None = None

    async def lead(self, flow: Flow[T]) -> T:
        """Lead a flow to its end, and return what it returns.

        :raises Unusable: what the source cannot do without. The answer is set aside.
        :raises WindrowError: what `Client.ask` raises, and the source.
        """
        self._trail, self._last, self._heard, self._thrown = Trail(MOST_ASKED), None, None, None
        go_on: Callable[[], Any] = partial(flow.send, None)
        with closing(flow):
            while True:
                try:
                    step, ended = go_on(), False
                except StopIteration as end:
                    step, ended = end.value, True
                except Unusable as error:
                    raise await self._ending(error) from None
                if isinstance(self._heard, Answer):
                    await self._taken(self._heard)
                if ended:
                    result: T = step
                    return result
                self._heard = self._thrown = None
                go_on = partial(flow.send, None)
                if isinstance(step, Planned):
                    await self._planned(step)
                elif isinstance(step, Unreadable) and self._last:
                    await self._set_aside(_unread(self._last, step))
                elif not isinstance(step, Unreadable):
                    told = await self._reply(step if isinstance(step, Asked) else Asked(step, lambda parsed: None))
                    go_on = partial(flow.send if isinstance(told, Answer) else flow.throw, told)

    async def lead_each(self, flows: Iterable[Flow[T]], *, tolerated: tuple[type[E], ...] = ()) -> list[T | E]:
        """Lead flows one after the other; return what each comes to, or the error that ended it alone.

        :param tolerated: errors that concern one flow and not the next.
        :raises WindrowError: any other that `lead` raises.
        """
        results: list[T | E] = []
        for flow in flows:
            try:
                results.append(await self.lead(flow))
            except tolerated as error:
                results.append(error)
        return results

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Enter the client, do the work, and leave the client."""

        async def entered() -> T:
            async with self._client:
                return await work

        return asyncio.run(entered())

    async def _reply(self, asked: Asked) -> Answer | WindrowError:
        """Return what the source is to hear: an answer that can be read, or an error."""
        try:
            self._trail.to(asked.query)
            self._heard = heard = await self._settled(asked)
        except RateLimited as limit:  # another endpoint may still be open
            return limit
        except Unreadable as circle:  # the page before is at fault
            if self._last is None:
                raise
            self._heard = heard = _unread(self._last, circle)
        if isinstance(heard, Answer) and heard.outcome is Outcome.ANSWERED:
            self._last = heard
            return heard
        self._thrown = _trouble(heard)
        keeps = self.keeps_refusals and not asked.has_alternative
        if isinstance(heard, Rejected) and (keeps or isinstance(self._thrown, Unreadable)):
            self._thrown = await self._set_aside(heard)
        return self._thrown

    async def _ending(self, error: Unusable) -> Unusable:
        """Return the error that ends a flow. What it is about is set aside now."""
        if error in self.left_out:
            return error
        if self._heard and error is self._thrown:
            return await self._set_aside(self._heard)
        if self._last and isinstance(error, Unreadable):  # the source has read it by itself
            return await self._set_aside(_unread(self._last, error))
        return error

    async def _set_aside(self, settled: Answer | Rejected) -> Unusable:
        """Put an answer where a person finds it, and return the error that says why."""
        error = _trouble(settled)
        log.warning("%s", error)
        self.left_out.append(error)
        bad = settled if isinstance(settled, Rejected) else _unread(settled, error)
        await asyncio.to_thread(self._quarantine, bad)
        return error

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        """Ask the API."""
        self.asked += 1
        return await self._client.ask(asked.query, lambda _, parsed: asked.read(parsed))

    # --- for a run --------------------------------------------------------------------------------

    async def _taken(self, answer: Answer) -> None:
        """Learn that the source went on from an answer."""

    async def _planned(self, planned: Planned) -> None:
        """Learn what a plan is to have."""

    def _quarantine(self, bad: Rejected) -> None:
        """Keep an answer that cannot be used. Runs in a thread."""


def _unread(answer: Answer, error: Unusable) -> Rejected:
    reason = error.reason if isinstance(error, Unreadable) else error.what
    return Rejected(answer.query, answer.status, answer.body, reason, answer.fetched_at)


def _trouble(settled: Answer | Rejected) -> Unusable:
    """Make the error for a query without an answer to go on with."""
    key, status = settled.query.key, settled.status
    if isinstance(settled, Rejected) and status < HTTPStatus.MULTIPLE_CHOICES:
        return Unreadable(settled.reason, key=key, received=settled.body)
    reason = settled.reason if isinstance(settled, Rejected) else "the API says there is no such thing"
    return (QueryRefused if isinstance(settled, Rejected) else NotGiven)(
        f"{key!r} cannot be had: {reason} (HTTP {status})",
        advice="Check what was asked for, the params of the run, and the path of the API in its Airflow connection.",
        key=key,
        status=status,
    )
