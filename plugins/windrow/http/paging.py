"""A query whose answer has several pages: it is complete with all of them, or not at all.

Each page but the last is durable before the next one is called. A harvest that starts again continues behind the pages
that it has.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import orjson

from windrow.http.client import Client
from windrow.http.export import Export
from windrow.http.results import Reader
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import Unreadable
from windrow.model.export import ExportJob
from windrow.model.formats import JSON, LARGEST_SPLIT, Format
from windrow.model.paging import Cursor, Paging
from windrow.model.query import Query
from windrow.model.stream import MaybePage

log = logging.getLogger(__name__)

MOST_PAGES = 10_000
"""Maximum pages of one answer. An API that has more is asked in parts, by another parameter."""
NextPage = Callable[[Query, Answer], Query | None]
"""See `Stream.next_page`; it gets the query of the page before, and its answer."""


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page of an answer that is not complete yet, and the query of the page after it."""

    answer: Answer
    following: Query


class PageStore(Protocol):
    """Where pages are durable until their answer is complete."""

    async def pages(self, query: Query) -> list[StoredPage]:
        """Return the pages of a query of the plan, in their order."""

    async def keep_page(self, query: Query, number: int, page: StoredPage) -> None:
        """Make a page durable. Pages are numbered from 0."""

    async def drop_pages(self, query: Query) -> None:
        """Delete the pages of a query: they do not lead to a complete answer."""


class Trail:
    """The pages so far: each leads to a new one, and at some point to the last.

    :param most: maximum pages in a row.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: set[str] = set()

    def to(self, query: Query) -> None:
        """Go to a page.

        :raises Unreadable: it was called before, or there are too many.
        """
        if query.key in self._keys:
            raise Unreadable(f"its next page is {query.key!r}, which was called before")
        if len(self._keys) >= self._most:
            self._keys.clear()
            raise Unreadable(f"there are more than {self._most:,} pages")
        self._keys.add(query.key)


@dataclass(frozen=True, slots=True)
class Pages:
    """How the pages of a stream are called, and where they are kept.

    :param read: accepts each page by itself, and then all pages together.
    :param paging: the declared paging. Without it ``next_page`` names the next page.
    :param format: of the answers.
    :param store: keeps the pages of unfinished answers; None to start each answer from its first page.
    :param export: how to run the job that a query starts, if it does.
    """

    read: Reader
    next_page: NextPage = lambda query, answer: None
    paging: Paging | None = None
    format: Format = JSON
    store: PageStore | None = None
    export: ExportJob | None = None

    async def ask(self, client: Client, query: Query) -> Answer | Rejected:
        """Call all pages of a query, and return one answer: a JSON array of the pages if there are several.

        :returns: `Rejected`, with the number of the page, when a page is missing or unreadable, when the pages lead in
            a circle or do not fit together, or when they are too large together.
        :raises WindrowError: what `Client.ask` raises. The pages up to then are kept.
        """
        if self.export:
            return await Export(client, query, self.export, self).run()
        stored = await self.stored(query) if self.store else []
        first: Answer | None = None
        if not stored and not self.paging:  # most of these answers have one page
            page = await client.ask(self.of_format(query), self.read)
            if isinstance(page, Rejected) or page.outcome is Outcome.MISSING or self._is_last(page):
                return page if page.query is query else replace(page, query=query)
            first = page
        walk = _Walk(self, client, query, stored, first)
        settled = await walk.to_the_end()
        if walk.is_stale(settled):  # a cursor may be valid for some minutes only
            await self.drop(query)
            return await _Walk(self, client, query, []).to_the_end()
        return settled

    def of_format(self, query: Query) -> Query:
        """Return the query with the format of the stream, which is not stored with it."""
        return query if self.format is query.format else replace(query, format=self.format)

    def _is_last(self, page: Answer) -> bool:
        try:
            return self.next_page(page.query, page) is None
        except Unreadable:
            return False

    async def stored(self, query: Query) -> list[StoredPage]:
        """Return the pages that are kept of a query."""
        return await self.store.pages(query) if self.store else []

    async def keep(self, query: Query, page: Answer, following: Query, number: int = 0) -> None:
        """Make a page of a query durable."""
        if self.store:
            await self.store.keep_page(query, number, StoredPage(page, following))

    async def drop(self, query: Query) -> None:
        """Delete the pages that are kept of a query."""
        if self.store:
            await self.store.drop_pages(query)

    def joined(self, query: Query, pages: Sequence[Answer]) -> Answer | Rejected:
        """Make one answer of pages, each of which is readable. Together they must be readable as well."""
        if len(pages) == 1:
            return pages[0] if pages[0].query is query else replace(pages[0], query=query)
        fetched_at = pages[0].fetched_at if pages else datetime.now(UTC)
        answer = Answer(query, Outcome.ANSWERED, 200, _joined(pages, self.format), fetched_at, is_paged=True)
        try:
            self.read(query, answer.parsed)
        except Unreadable as error:
            reason = f"all pages together: {error.reason}"
            return Rejected(query, answer.status, answer.body, reason, fetched_at, incomplete=True)
        return answer


@dataclass(slots=True)
class _Walk:
    """One way along the pages of a query."""

    how: Pages
    client: Client
    query: Query
    stored: Sequence[StoredPage]
    """The pages of an earlier try."""
    first: Answer | None = None
    """The first page, if it was called already."""
    pages: list[Answer] = field(default_factory=list)
    size: int = 1
    """Bytes of the JSON array of the pages."""
    seen: int = 0
    """Rows of the pages, if the paging counts them."""
    trail: Trail = field(default_factory=lambda: Trail(MOST_PAGES))
    parsed: object = None
    """The last page."""
    is_certain: bool = True
    """Whether the last page must exist, see `MaybePage`."""

    async def to_the_end(self) -> Answer | Rejected:
        """Call page after page."""
        try:
            following = self._begin()
        except Unreadable as error:  # the declaration has changed since
            return Rejected(self.query, 0, "", error.reason, datetime.now(UTC), incomplete=True)
        while True:
            try:
                self.trail.to(following)
            except Unreadable as error:
                return await self._abandoned(error.reason)
            self.is_certain = not isinstance(following, MaybePage)
            page = self.first or await self.client.ask(self.how.of_format(following), self._reader)
            self.first = None
            if isinstance(page, Rejected) or page.outcome is Outcome.MISSING:
                return await self._ended(page)
            try:
                next_query = self._add(page)
            except Unreadable as error:
                return await self._abandoned(error.reason)
            if next_query is None or not self.is_certain:
                settled = await self._complete()
                if next_query is None or not isinstance(settled, Answer) or settled.outcome is Outcome.PARTIAL:
                    return settled
            following = next_query
            await self.how.keep(self.query, page, following, len(self.pages) - 1)

    def is_stale(self, settled: Answer | Rejected) -> bool:
        """Return whether the pages of an earlier try led nowhere."""
        return bool(self.stored) and isinstance(settled, Rejected) and len(self.pages) <= len(self.stored)

    def _begin(self) -> Query:
        """Return the query of the first page that is not stored.

        :raises Unreadable: a stored page is not as the paging declares it.
        """
        following = self.how.paging.first(self.query) if self.how.paging else self.query
        for stored in self.stored:
            page = replace(stored.answer, query=self.how.of_format(stored.answer.query))
            self.trail.to(page.query)
            if self.how.paging:
                self.seen += self.how.paging.count(page.parsed)
            self.size += _size(page)
            self.pages.append(page)
            following = stored.following
        if self.pages and not self.how.paging:  # whether the page may not exist is not stored
            following = self.how.next_page(self.pages[-1].query, self.pages[-1]) or following
        return following

    def _reader(self, query: Query, parsed: object) -> None:
        self.how.read(query, parsed)
        self.parsed = parsed

    def _add(self, page: Answer) -> Query | None:
        """Add a page, and return the query of the one after it.

        :raises Unreadable: it does not lead on clearly, or the pages are too large together.
        """
        paging, before = self.how.paging, self.pages[-1] if self.pages else None
        self.pages.append(page)
        if paging is None:
            following = self.how.next_page(page.query, page)
        else:
            rows = paging.count(self.parsed)
            if rows and before and page.body == before.body and not paging.repeats:
                raise Unreadable("it has the same rows as the page before: the API ignores the parameter of the page")
            self.seen += rows
            following = paging.next_page(self.query, page, self.parsed, self.seen)
        if before or following:
            self.size += _size(page)
            if before and self.size > LARGEST_SPLIT:
                raise Unreadable(f"so far there are {self.size:,} bytes, more than {LARGEST_SPLIT:,} bytes")
        return self.client.urls.page_query(following) if following else None

    async def _ended(self, page: Answer | Rejected) -> Answer | Rejected:
        """Return the result where a page is missing or rejected."""
        paging = self.how.paging
        if self.pages:
            if not self.is_certain:
                return self._partial(page, page.reason if isinstance(page, Rejected) else "the API has no such page")
            if isinstance(page, Rejected):
                return self._rejected(page, page.reason)
            if paging and paging.ends_at_missing:
                return await self._complete()
            return self._rejected(page, "the API has no such page")
        if isinstance(page, Rejected) and isinstance(paging, Cursor) and page.headers.get(paging.header):
            return replace(page, query=self.query, incomplete=True)  # the header is not kept
        return replace(page, query=self.query)

    async def _complete(self) -> Answer | Rejected:
        """Join the pages."""
        query = self.query if len(self.pages) == 1 and not self.how.paging else self.how.of_format(self.query)
        answer = self.how.joined(query, self.pages)
        return await self._abandoned(answer.reason) if isinstance(answer, Rejected) else answer

    async def _abandoned(self, reason: str) -> Answer | Rejected:
        """Reject an answer whose pages do not lead to an end. The next try starts from the first page."""
        last = self.pages.pop()
        if not self.is_certain:
            return self._partial(last, reason)
        await self.how.drop(self.query)
        return self._rejected(last, reason)

    def _partial(self, bad: Answer | Rejected, reason: str) -> Answer:
        """Join the pages before a bad one that may not exist. The answer names the bad page and has its status."""
        number = len(self.pages) + 1
        log.warning(
            "%r has no page %s (%s: %s); the pages before it are kept", self.query.key, number, bad.query.key, reason
        )
        body = self.pages[0].body if number == 2 else _joined(self.pages, self.how.format)
        return replace(
            self.pages[0],
            query=self.query,
            outcome=Outcome.PARTIAL,
            status=bad.status,
            body=body,
            next_link=bad.query.key,
            is_paged=number > 2,
        )

    def _rejected(self, last: Answer | Rejected, reason: str) -> Rejected:
        """Make one record for the quarantine of pages that are not a complete answer. The last one is at fault."""
        pages = [*self.pages, last]
        raw = last.raw if isinstance(last, Rejected) else b""
        return Rejected(
            self.query,
            last.status,
            _joined(pages, self.how.format),
            f"page {len(pages)} ({last.query.key}): {reason}",
            last.fetched_at,
            incomplete=True,
            raw=raw or last.body.encode(),
            content_type=last.content_type if isinstance(last, Rejected) else "",
        )


def _size(page: Answer) -> int:
    """Return the bytes of a page in the array, with the comma or the bracket behind it."""
    return len(page.body.encode()) + 1


def _joined(pages: Sequence[Answer | Rejected], format: Format) -> str:
    """Return a JSON array of pages."""
    if format.media_type != JSON.media_type:
        return orjson.dumps([page.body for page in pages]).decode()
    return f"[{','.join(page.body or 'null' for page in pages)}]"
