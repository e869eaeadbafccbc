"""Run an export job of an API: start it, request its state, download its files."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from yarl import URL

from windrow.http.client import Client
from windrow.http.results import Reader
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import ConnectionUnusable, RateLimited
from windrow.model.export import ExportJob
from windrow.model.formats import JSON
from windrow.model.policy import HTTP_POLICY, Action, on
from windrow.model.query import Query
from windrow.model.redact import know

if TYPE_CHECKING:
    from windrow.http.paging import Pages

_EXPIRED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
"""Statuses of a download that a new URL may change."""
STORAGE_POLICY = HTTP_POLICY.preceded_by(
    *(on(status, Action.REFUSE, "the URL has expired, or the file was deleted") for status in sorted(_EXPIRED))
)
"""What the answers of a storage host mean."""
_SECRET = 20
"""Characters of a value in a signed URL that may be a signature. Shorter ones are dates and names."""


@dataclass(slots=True)
class Export:
    """One job, for one query of the plan.

    :param pages: how the stream reads answers, and where the answer that starts the job is kept.
    """

    client: Client
    query: Query
    job: ExportJob
    pages: "Pages"
    waited_s: float = 0.0
    parsed: list[object] = field(default_factory=list)

    async def run(self) -> Answer | Rejected:
        """Start the job, or continue with the one that an earlier try has started.

        :raises RateLimited: the job is not finished, and the task has waited as long as it may.
        :raises ConnectionUnusable: the connection does not allow the storage host.
        :raises WindrowError: what `Client.ask` raises.
        """
        started = await self._start()
        if not isinstance(started, tuple):
            return started
        settled = await self._result(*started)
        if settled.status in _EXPIRED:
            settled = await self._result(*started)
        if isinstance(settled, Rejected):
            await self.pages.drop(self.query)
        return settled

    async def _result(self, answer: Answer, status_query: Query) -> Answer | Rejected:
        """Wait for the job, and download its files."""
        urls = await self._finished(answer.fetched_at, status_query)
        files = await self._download(urls) if isinstance(urls, list) else urls
        if isinstance(files, Rejected):
            return files
        return self.pages.joined(replace(self.query, format=self.pages.format), files)

    async def _start(self) -> tuple[Answer, Query] | Answer | Rejected:
        """Return the answer that has started the job, and the query for its state; or why there is none."""
        if stored := await self.pages.stored(self.query):
            return stored[0].answer, stored[0].following
        started = await self._ask(
            replace(self.query, format=JSON), lambda parsed: self.job.status_query(self.query, parsed)
        )
        if isinstance(started, Rejected) or started.outcome is Outcome.MISSING:
            return started
        following = self.job.status_query(self.query, self.parsed[-1])
        await self.pages.keep(self.query, started, following)
        return started, following

    async def _finished(self, started_at: datetime, status_query: Query) -> list[str] | Rejected:
        """Return the URLs of the files, once the job is done."""
        # from here on a step of the clock does not count
        began = time.monotonic() - max(0.0, (datetime.now(UTC) - started_at).total_seconds())
        while True:
            status = await self._ask(status_query, self._read_status)
            if isinstance(status, Rejected):
                return self._failed(status, f"the state of the export job is unknown: {status.reason}")
            if status.outcome is Outcome.MISSING:
                return self._failed(status, "the API does not know the export job any longer")
            state = self.job.state_of(self.parsed[-1])
            if state in self.job.done:
                return self.job.urls(self.parsed[-1])
            if state in self.job.failed:
                return self._failed(status, f"the export job has failed: its state is {state!r:.60}")
            age_s = time.monotonic() - began
            if age_s > self.job.most_s:
                return self._failed(status, f"the export job is not finished after {age_s:,.0f} s: {state!r:.60}")
            self.waited_s += self.job.poll_s
            if self.waited_s > self.client.limits.patience_s:
                why = f"An export job of '{self.client.name}' is not finished (its state is {state!r:.60})"
                raise RateLimited.for_s(self.job.poll_s, why, key=self.query.key)
            await asyncio.sleep(self.job.poll_s)

    def _read_status(self, parsed: object) -> None:
        if self.job.state_of(parsed) in self.job.done:
            self.job.urls(parsed)

    async def _download(self, urls: list[str]) -> list[Answer] | Rejected:
        """Download the files, without the credential of the API."""
        files = []
        for number, url in enumerate(urls, 1):
            storage = self._storage(url)
            query = Query(f"{self.query.key}|file {number}", url, format=self.pages.format)
            file = await storage.ask(query, self.pages.read)
            if isinstance(file, Rejected):
                return replace(self._failed(file, f"file {number} of the export: {file.reason}"), raw=file.raw)
            files.append(file)
        return files

    def _storage(self, url: str) -> Client:
        """Return the client for a file. The query string of its URL is a secret: it gives access to the file."""
        target = URL(url, encoded=True)
        know(target.raw_query_string, *(value for value in target.query.values() if len(value) >= _SECRET))
        storage = self.client.storage
        if storage is None or not storage.urls.allows(target):
            raise ConnectionUnusable(
                f"An export file of the API '{self.client.name}' is at {target.origin()}, which is not an allowed "
                "storage host.",
                advice="If the host is correct, add its origin to 'storage_origins' in the extra of the Airflow "
                f"connection '{self.client.name}'.",
            )
        return storage

    async def _ask(self, query: Query, read: Callable[[object], object]) -> Answer | Rejected:
        """Make a call of the API, whose answers are JSON."""

        def reader(_: Query, parsed: object) -> None:
            read(parsed)
            self.parsed.append(parsed)

        checked: Reader = reader
        return await self.client.ask(query, checked)

    def _failed(self, settled: Answer | Rejected, reason: str) -> Rejected:
        return Rejected(
            self.query,
            settled.status,
            settled.body,
            reason,
            settled.fetched_at,
            incomplete=True,
            raw=settled.raw if isinstance(settled, Rejected) else b"",
            content_type=settled.content_type if isinstance(settled, Rejected) else "",
        )
