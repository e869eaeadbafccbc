"""Settle one call, unless it is already settled, and turn the result into an HTTP status."""

import asyncio
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime

from delivery import Delivery
from outbox import Outbox

from windrow.http.client import Client
from windrow.http.paging import Pages
from windrow.model import registry
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import (
    ApiUnreachable,
    CredentialsRejected,
    RateLimited,
    StagingUnavailable,
    Unanswered,
    WindrowError,
)
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.pages import RunPages
from windrow.store.staging import Staging


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a delivery. The queue completes a task only after a status from 200 to 299."""

    status: int
    outcome: str
    reason: str = ""
    level: int = logging.INFO
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True)
class _Trouble:
    """The reply to the queue for an error."""

    error: type[WindrowError]
    status: int
    outcome: str
    level: int = logging.WARNING


_TROUBLES = (
    _Trouble(RateLimited, 429, "rate limited"),
    _Trouble(ApiUnreachable, 503, "no answer"),
    _Trouble(Unanswered, 503, "no answer"),
    _Trouble(CredentialsRejected, 500, "credentials rejected", logging.ERROR),
    _Trouble(StagingUnavailable, 503, "mongodb unavailable", logging.ERROR),
)
"""The queue delivers all of these again. 429 and 503 make Cloud Tasks slow down the whole queue, 500 only the task."""


class Settler:
    """Settles concurrent calls with one client, and so with one token.

    :param client: entered by the caller; it makes one attempt at each call.
    """

    def __init__(self, client: Client, staging: Staging) -> None:
        self._client = client
        self._staging = staging
        self._outbox = Outbox(staging)

    async def settle(self, delivery: Delivery) -> Reply:
        """Handle a delivery; a second one changes nothing."""
        try:
            return await self._settle(delivery)
        except WindrowError as error:
            return _told(error)

    async def record(self, run: Run, chunk: int, rejected: Rejected) -> Reply:
        """Put a rejected query into the quarantine."""
        try:
            await asyncio.to_thread(self._staging.reject, run, [(chunk, rejected)])
        except WindrowError as error:
            return _told(error)
        return Reply(200, "quarantined", rejected.reason, logging.ERROR)

    async def _settle(self, delivery: Delivery) -> Reply:
        call = delivery.call
        if await asyncio.to_thread(self._staging.is_settled, call.run, call.query.key):
            return Reply(200, "already settled")
        stream = registry.stream(call.run.dataset)
        stored = RunPages(self._staging, call.run) if stream.is_paged else None
        if stored:
            await stored.load()
        pages = Pages(stream.records, stream.next_page, stream.paging, stream.format, stored, stream.export)
        settled = await self._ask(pages, call.query)
        if isinstance(settled, Answer):
            await self._outbox.stage(call.run, call.chunk, settled)
            await pages.drop(call.query)
            return Reply(200, "gap" if settled.outcome is Outcome.MISSING else "answered")
        # An unreadable 2xx may be temporary; a rejection is final.
        if 200 <= settled.status <= 299 and not delivery.is_last_try:
            return Reply(503, "unreadable", settled.reason, logging.WARNING)
        return await self.record(call.run, call.chunk, settled)

    async def _ask(self, pages: Pages, query: Query) -> Answer | Rejected:
        """Make the call once, and once more if the token had expired, because a new one usually helps."""
        tokens = self._client.refreshes
        try:
            return await pages.ask(self._client, query)
        except CredentialsRejected:
            if self._client.refreshes == tokens:
                raise
            return await pages.ask(self._client, query)


def _told(error: WindrowError) -> Reply:
    """Turn an error into a reply.

    :raises WindrowError: the error itself, if it is not expected here.
    """
    for trouble in _TROUBLES:
        if isinstance(error, trouble.error):
            pause_s = (error.retry_at - datetime.now(UTC)).total_seconds() if isinstance(error, RateLimited) else 0.0
            retry_after_s = max(0, math.ceil(pause_s))
            return Reply(trouble.status, trouble.outcome, error.what, trouble.level, retry_after_s)
    raise error
