"""The driver of all flows: it makes the calls that a source yields, and sends the answers or errors back to it.

It is used for plans, estimates and look-ups. `windrow.model.stream.Flow` says what a source may yield.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from windrow.http.client import Client
from windrow.http.paging import Trail
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import NotGiven, QueryRefused, RateLimited, Unanswered, Unreadable, Unusable, WindrowError
from windrow.model.logs import about
from windrow.model.stream import Asked, Flow, Gap, Planned

log = logging.getLogger(__name__)

MOST_ASKED = 100_000
"""Maximum calls of one flow, in case each answer leads to another call."""
MOST_UNANSWERED = 5
"""After so many queries in a row without an answer the flow ends, and its task is retried."""
T = TypeVar("T")
E = TypeVar("E", bound=WindrowError)


class Driver:
    """Runs flows with one API, one after the other.

    :param client: entered by the caller, or by `run`.
    """

    keeps_refusals: ClassVar[bool] = False
    """Whether a refused query is quarantined although the source continues. Unreadable answers always are."""

    def __init__(self, client: Client) -> None:
        self.asked = 0
        """Queries that were sent to the API, without those whose answers were stored."""
        self.left_out: list[Unusable] = []
        """The errors of the queries that were quarantined."""
        self._client = client
        self._trail = Trail(MOST_ASKED)
        self._last: Answer | None = None
        """The last readable answer."""
        self._heard: Answer | Rejected | None = None
        """The result that the source gets next; ``_thrown`` is its error, if it is one."""
        self._thrown: Unusable | None = None
        self._unanswered = 0
        """Queries in a row without an answer."""

    async def lead(self, flow: Flow[T]) -> T:
        """Run a flow to its end, and return its result.

        :raises Unusable: the source cannot continue without this answer. It is quarantined.
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
                elif isinstance(step, Gap):
                    with about(key=step.query.key):
                        log.warning("%r is a gap: %s", step.query.key, step.reason)
                    await self._missing(step)
                elif isinstance(step, Unreadable) and self._last:
                    await self._set_aside(_unread(self._last, step))
                elif not isinstance(step, Unreadable):
                    told = await self._reply(step if isinstance(step, Asked) else Asked(step, lambda parsed: None))
                    go_on = partial(flow.send if isinstance(told, Answer) else flow.throw, told)

    async def lead_each(self, flows: Iterable[Flow[T]], *, tolerated: tuple[type[E], ...] = ()) -> list[T | E]:
        """Run flows one after the other; return the result of each, or the error that ended it.

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
        """Return what the source gets: a readable answer, or an error."""
        try:
            self._trail.to(asked.query)
            self._heard = heard = await self._settled(asked)
            self._unanswered = 0
        except RateLimited as limit:  # another endpoint may still be open
            return limit
        except Unanswered as error:
            self._unanswered += 1
            if self._unanswered >= MOST_UNANSWERED:
                raise
            heard = Rejected(asked.query, error.status or 0, error.received, error.what, datetime.now(UTC))
            self._heard = heard
            self._thrown = error
            return await self._set_aside(heard, error) if self.keeps_refusals else error
        except Unreadable as circle:  # the page before is at fault
            if self._last is None:
                raise
            self._heard = heard = _unread(self._last, circle)
        if isinstance(heard, Answer) and heard.outcome is not Outcome.MISSING:
            self._last = heard
            return heard
        self._thrown = _trouble(heard)
        keeps = self.keeps_refusals and not asked.has_alternative
        if isinstance(heard, Rejected) and (keeps or isinstance(self._thrown, Unreadable)):
            self._thrown = await self._set_aside(heard)
        return self._thrown

    async def _ending(self, error: Unusable) -> Unusable:
        """Return the error that ends a flow, and quarantine its answer."""
        if error in self.left_out:
            return error
        if self._heard and error is self._thrown:
            return await self._set_aside(self._heard, error)
        if self._last and isinstance(error, Unreadable):  # the source has read it by itself
            return await self._set_aside(_unread(self._last, error))
        return error

    async def _set_aside(self, settled: Answer | Rejected, error: Unusable | None = None) -> Unusable:
        """Quarantine an answer, and return the error with the reason."""
        error = error or _trouble(settled)
        with about(key=settled.query.key):
            log.warning("%s", error)
        self.left_out.append(error)
        bad = settled if isinstance(settled, Rejected) else _unread(settled, error)
        await asyncio.to_thread(self._quarantine, bad)
        return error

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        """Ask the API."""
        self.asked += 1
        with about(key=asked.query.key):
            return await self._client.ask(asked.query, lambda _, parsed: asked.read(parsed))

    # --- for a run --------------------------------------------------------------------------------

    async def _taken(self, answer: Answer) -> None:
        """Called when the source has accepted an answer."""

    async def _planned(self, planned: Planned) -> None:
        """Called with queries of the plan."""

    async def _missing(self, gap: Gap) -> None:
        """Called with a query of the plan that the API has no answer to."""

    def _quarantine(self, bad: Rejected) -> None:
        """Store an unusable answer. Runs in a thread."""


def _unread(answer: Answer, error: Unusable) -> Rejected:
    reason = error.reason if isinstance(error, Unreadable) else error.what
    return Rejected(answer.query, answer.status, answer.body, reason, answer.fetched_at)


def _trouble(settled: Answer | Rejected) -> Unusable:
    """Make the error for a query without a usable answer."""
    key, status = settled.query.key, settled.status
    if isinstance(settled, Rejected) and status < HTTPStatus.MULTIPLE_CHOICES:
        return Unreadable(settled.reason, key=key, received=settled.body)
    missing = "it does not exist" if status in _GONE else f"the API says '{_phrase(status)}'"
    reason = settled.reason if isinstance(settled, Rejected) else missing
    return (QueryRefused if isinstance(settled, Rejected) else NotGiven)(
        f"The API has no answer to {key!r}: {reason} (HTTP {status})",
        advice="Check the params of the run, and the path of the API in its Airflow connection.",
        key=key,
        status=status,
    )


_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


def _phrase(status: int) -> str:
    """Return what a status means, in words; empty for an unknown one."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
