"""The harvester: settle every query of a feed, with many calls in flight, without losing an answer.

* An answer counts once MongoDB has it. At most ``in_flight`` calls are running, or answered and not yet durable. A
  kill can repeat these, and no others.
* Answers are written in batches: a write has a fixed cost, which is most of the cost of a small one. A batch is written
  when it has half of ``in_flight`` answers, `_BATCH` at most, or when its first answer has waited `_GATHER_S`. So
  connections stay busy while one batch is written and the next one fills.
* A settled query is not called again in the same run. A second start makes only the missing calls.
* A failed query does not stop the others. The harvest stops after `_HOPELESS` failures in a row.
"""

import asyncio
import contextlib
import gc
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from windrow.harvest.feeds import Feed, Item
from windrow.harvest.flow import calls_of
from windrow.harvest.window import Window
from windrow.http.client import Client
from windrow.http.paging import NextPage, Pages
from windrow.http.results import Reader
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import (
    ApiError,
    ApiUnreachable,
    Interrupted,
    QueryRefused,
    RateLimited,
    Unanswered,
    WindrowError,
)
from windrow.model.export import ExportJob
from windrow.model.formats import JSON, Format
from windrow.model.logs import name_query
from windrow.model.paging import Paging
from windrow.store.pages import RunPages
from windrow.store.staging import Figures, Staging

log = logging.getLogger(__name__)

_HOPELESS = 25
"""After so many failed queries in a row the cause is not one query."""
_BATCH = 64
"""Answers after which a batch is written. More at a time take no less CPU an answer, and calls wait for their write."""
_GATHER_S = 0.018
"""The longest time that an answer waits for others before it is written."""
_GARBAGE_AFTER = 10_000
"""Objects that are made before the collector looks for cycles. A harvest makes hardly any, and Python's 700 cost 24 us
of CPU a call."""
_NOTE_EVERY_S = 1.0
_LOG_EVERY_S = 10.0
_RECENT = 300
"""Notes, one a second, that the rate of the last minutes is computed from."""
_ERROR = 600
"""Characters of an error that the figures keep."""

Settled = tuple[Item, Answer | Rejected]
"""The result of a query."""


@dataclass(slots=True)
class Tally:
    """Counts of one harvest. ``planned`` and ``done_before`` come from the feed."""

    planned: int = 0
    done_before: int = 0
    answered: int = 0
    gaps: int = 0
    rejected: int = 0
    unanswered: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def settled(self) -> int:
        """Queries that need no further call."""
        return self.done_before + self.answered + self.gaps


class Harvester:
    """Settles the queries of one feed. Make one for each harvest.

    :param client: entered by the caller.
    :param read: accepts a parsed answer or raises `Unreadable`. Its result is not used.
    :param next_page: names the next page of an answer that has one; not called with a declared ``paging``.
    :param paging: how to page, as the stream declares it.
    :param format: of the answers.
    :param export: how to run the export job that a query starts.
    :param in_flight: maximum calls that are running, or answered and not yet durable; by default twice the
        connections of the client, so that calls do not wait for writes.
    """

    def __init__(
        self,
        client: Client,
        staging: Staging,
        feed: Feed,
        read: Reader,
        *,
        next_page: NextPage = lambda query, answer: None,
        paging: Paging | None = None,
        format: Format = JSON,
        export: ExportJob | None = None,
        in_flight: int | None = None,
    ) -> None:
        self.tally = Tally()
        self._client = client
        self._staging = staging
        self._feed = feed
        self._run = feed.run
        is_shared = feed.is_shared and (paging is not None or export is not None)
        self._stored_pages = RunPages(staging, feed.run, is_shared=is_shared)
        self._pages = Pages(read, next_page, paging, format, self._stored_pages, export)
        in_flight = in_flight or 2 * client.limits.connections
        self._window = Window(in_flight)
        self._batch = max(1, min(in_flight // 2, _BATCH))
        self._outbox: list[Settled] = []
        self._news = asyncio.Event()
        self._enough = asyncio.Event()
        self._ended = False
        self._stopped_by: WindrowError | None = None
        self._last_failure: ApiError | None = None
        self._failures_in_a_row = 0
        self._quarantined: set[str] = set()
        self._noted = self._logged = self._began = time.monotonic()
        self._counted: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=_RECENT)

    async def run(self) -> Tally:
        """Settle the queries that are not settled yet. On return all answers are staged, also after an error.

        :raises Unanswered: some queries got no answer; `ApiUnreachable` if the API does not answer at all.
        :raises WindrowError: what stopped the harvest before its end: `RateLimited`, `CredentialsRejected`,
            `QueryRefused`, `StagingUnavailable`.
        """
        self._quarantined = await asyncio.to_thread(self._staging.quarantined_keys, self._run)
        await self._stored_pages.load()
        self._feed.start()
        before = gc.get_threshold()
        gc.set_threshold(_GARBAGE_AFTER, *before[1:])
        writer = asyncio.create_task(self._write())
        workers = [asyncio.create_task(self._work()) for _ in range(self._client.limits.connections)]
        working = asyncio.gather(*workers)
        try:
            # The writer ends first only when it fails. Then the workers must not wait for it.
            either: set[asyncio.Future[Any]] = {writer, working}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gc.set_threshold(*before)
            # After one worker failed, `gather` does not cancel the others.
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, working, return_exceptions=True)
            self._ended = True
            self._news.set()
            self._enough.set()
            await asyncio.wait({writer})
            self._feed.stop()
        writer.result()
        working.result()
        self._raise_trouble()
        return self.tally

    def stop(self) -> None:
        """Take no further queries. Running calls end and are staged. A signal handler may call this."""
        self._stop_by(
            Interrupted(
                f"The harvest of {self._run.dataset} was asked to stop, after {self.tally.settled:,} of "
                f"{self.tally.planned:,} queries.",
                advice="All answers are staged. Clear this task, or let it retry, to continue from there.",
            )
        )

    def _stop_by(self, error: WindrowError) -> None:
        self._stopped_by = self._stopped_by or error
        self._feed.halt()

    # --- workers -------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Take queries and settle them, until there are none left or the harvest stops."""
        while self._stopped_by is None and (item := await self._feed.next()) is not None:
            await self._window.enter()
            name_query(item.query.key)
            try:
                settled = await self._pages.ask(self._client, item.query)
            except (ApiUnreachable, Unanswered) as error:
                self._window.leave()
                self.tally.unanswered += 1
                self._failed(error)
            except WindrowError as error:
                self._window.leave()
                self._stop_by(error)
            else:
                self._outbox.append((item, settled))
                self._news.set()
                if len(self._outbox) >= self._batch:
                    self._enough.set()
                if isinstance(settled, Rejected):
                    self._failed(_refused(settled))
                else:
                    self._failures_in_a_row = 0

    def _failed(self, error: ApiError) -> None:
        log.warning("%s", error.what)
        self._last_failure = error
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= _HOPELESS and self._stopped_by is None:
            self._stop_by(
                type(error)(
                    f"{_HOPELESS} queries in a row failed, so the harvest stops. The last: {error.what}",
                    advice=error.advice,
                    key=error.key,
                    status=error.status,
                )
            )

    # --- writer --------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Make answers durable, batch by batch."""
        while not self._ended or self._outbox:
            await self._news.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_S):
                    await self._enough.wait()
            self._news.clear()
            self._enough.clear()
            batch, self._outbox = self._outbox, []
            if batch:
                await asyncio.to_thread(self._stage, batch)
                self._window.leave(len(batch))
                self._count(batch)
            await self._tell()
            if self._ended:
                self._news.set()
                self._enough.set()
        await self._tell(last=True)

    def _stage(self, batch: list[Settled]) -> None:
        """Write a batch. Runs in a thread."""
        answers = [(item.chunk, one) for item, one in batch if isinstance(one, Answer)]
        self._staging.stage(self._run, answers)
        self._staging.reject(self._run, [(item.chunk, one) for item, one in batch if isinstance(one, Rejected)])
        for _, answer in answers:
            if answer.query.key in self._quarantined:
                self._staging.release(self._run, answer.query.key)
            self._stored_pages.drop(answer.query.key)
        self._feed.durable([item for item, _ in batch])

    def _count(self, batch: list[Settled]) -> None:
        for _, one in batch:
            if isinstance(one, Rejected):
                self.tally.rejected += 1
            elif one.outcome is Outcome.MISSING:
                self.tally.gaps += 1
            else:
                self.tally.answered += 1

    # --- telling -------------------------------------------------------------------------------

    async def _tell(self, *, last: bool = False) -> None:
        """Write the counts of this harvest: to MongoDB every second, to the log every ten seconds."""
        self.tally.planned, self.tally.done_before = self._feed.planned, self._feed.done_before
        now = time.monotonic()
        if last or now - self._noted >= _NOTE_EVERY_S:
            self._noted = now
            self._counted.append((now, self.tally.answered + self.tally.gaps))
            figures = self.figures("ended" if last else "running")
            await asyncio.to_thread(self._staging.note, self._run, self._step, figures)
        if last or now - self._logged >= _LOG_EVERY_S:
            self._logged = now
            log.info("%s", self.progress_line())

    @property
    def _step(self) -> str:
        """Name of this harvest among the figures of its run. Each try of the task has its own."""
        worker = "" if self._feed.worker is None else f" {self._feed.worker}"
        return f"harvest {self.tally.started_at.isoformat()}{worker}"

    def figures(self, state: str) -> Figures:
        """Return the counts of this harvest so far."""
        tally, seconds = self.tally, time.monotonic() - self._began
        return {
            "state": state,
            **({} if self._feed.worker is None else {"worker": self._feed.worker, "round": self._feed.round}),
            "started_at": tally.started_at.isoformat(),
            "planned": tally.planned,
            "settled_before": tally.done_before,
            "answered": tally.answered,
            "gaps": tally.gaps,
            "rejected": tally.rejected,
            "unanswered": tally.unanswered,
            **calls_of(self._client),
            "seconds": round(seconds, 3),
            "recent_done": self._counted[-1][1] - self._counted[0][1],
            "recent_seconds": round(self._counted[-1][0] - self._counted[0][0], 3),
            "stopped_by": type(self._stopped_by).__name__ if self._stopped_by else None,
            **self._trouble(),
        }

    def _trouble(self) -> Figures:
        """Return what people need to know about a harvest that stopped or lacks answers; nothing if all is well."""
        error = self._stopped_by or (self._last_failure if self.tally.unanswered or self.tally.rejected else None)
        if error is None:
            return {}
        until = {"waits_until": error.retry_at.isoformat()} if isinstance(error, RateLimited) else {}
        return {"error": error.what[:_ERROR], "advice": error.advice[:_ERROR], **until}

    def progress_line(self) -> str:
        """Return one line that says how far the harvest is."""
        tally, events = self.tally, self._client.events
        fresh = tally.answered + tally.gaps
        rate = fresh / max(time.monotonic() - self._began, 1e-9)
        left = tally.planned - tally.settled
        eta = f", {left / rate:.0f} s left" if rate and left > 0 and self._feed.worker is None else ""
        worker = "" if self._feed.worker is None else f", worker {self._feed.worker}"
        return (
            f"harvest {self._run.dataset}{worker}: {tally.settled:,} of {tally.planned:,} settled, {rate:,.0f}/s{eta}; "
            f"{events['sent']:,} calls sent, {events['retried']:,} of them repeated, {tally.gaps:,} gaps, "
            f"{tally.rejected:,} in quarantine, {tally.unanswered:,} unanswered, {self._client.refreshes} tokens"
        )

    def _raise_trouble(self) -> None:
        if self._stopped_by is not None:
            raise self._stopped_by
        if self.tally.unanswered and self._last_failure is not None:
            kind = type(self._last_failure)
            raise (kind if kind is ApiUnreachable else Unanswered)(
                f"{self.tally.unanswered:,} of {self.tally.planned:,} queries got no answer; all others are "
                f"staged. The last: {self._last_failure.what}",
                advice=f"Clear this task, or let it retry: it makes only these calls. {self._last_failure.advice}",
                key=self._last_failure.key,
                status=self._last_failure.status,
            )


def _refused(rejected: Rejected) -> QueryRefused:
    """Return the error for an answer that is quarantined."""
    return QueryRefused(
        f"{rejected.query.key!r} is quarantined: {rejected.reason}",
        advice="Inspect the answer in the quarantine (docs/operations.md). Fix the source and clear 'land', which "
        "reads it again, or clear this task to call the API again.",
        key=rejected.query.key,
        status=rejected.status,
    )
