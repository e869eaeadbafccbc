"""A query whose answer has several pages: settled as one, or not at all."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from windrow.http.client import Client, Reader
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected, kept
from windrow.model.errors import Unreadable
from windrow.model.query import Query
from windrow.model.stream import MaybePage

log = logging.getLogger(__name__)

MOST_PAGES = 10_000
"""Pages of one answer. An API that has more is asked in parts, by another parameter."""
NextPage = Callable[[Query, Answer], Query | None]
"""See `Stream.next_page`; it is given the query of the page before, and its answer."""


class Trail:
    """Where pages lead: to a new one each time, and at some point to no more.

    :param most: of them, in a row.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: set[str] = set()

    def to(self, query: Query) -> None:
        """Go to a page.

        :raises Unreadable: it was there before, or there are too many.
        """
        if query.key in self._keys:
            raise Unreadable(f"its next page is {query.key!r}, which was there before")
        if len(self._keys) >= self._most:
            self._keys.clear()
            raise Unreadable(f"there are more than {self._most:,} pages")
        self._keys.add(query.key)


async def ask_whole(client: Client, query: Query, read: Reader, next_page: NextPage) -> Answer | Rejected:
    """Request all pages of a query, and return one answer: a JSON array of the pages if there are several.

    :param read: accepts each page by itself, and then all pages together.
    :returns: `Rejected`, with the bad page named, if a page is refused or cannot be read, if the pages lead in a loop
        or do not fit together, or if all together are too large to store. If the bad page is a `MaybePage`, the pages
        before it, as a partial answer.
    :raises WindrowError: what `Client.ask` raises; no page counts then.
    """
    first = await client.ask(query, read)
    if not isinstance(first, Answer) or first.outcome is Outcome.MISSING:
        return first
    pages, trail, size, maybe = [first], Trail(MOST_PAGES), 1 + _size(first), False
    trail.to(query)
    while True:
        try:
            following = next_page(pages[-1].query, pages[-1])
            if following is None:
                return first if len(pages) == 1 else _whole(pages, read)
            trail.to(following)
        except Unreadable as error:
            return _partial(pages[:-1], pages[-1], error.reason) if maybe else _rejected(pages, error.reason)
        maybe = isinstance(following, MaybePage)
        page = await client.ask(following, read)
        reason = page.reason if isinstance(page, Rejected) else ""
        if isinstance(page, Answer) and page.outcome is Outcome.MISSING:
            reason = "the API knows no such page"
        if isinstance(page, Answer) and maybe and not reason:
            together = _whole([*pages, page], read)
            reason = together.reason if isinstance(together, Rejected) else ""
        if isinstance(page, Rejected) or reason:
            return _partial(pages, page, reason) if maybe else _rejected([*pages, page], reason)
        pages.append(page)
        size += _size(page)
        if size > LARGEST:
            return _rejected(pages, f"so far there are {size:,} bytes, more than MongoDB keeps in a document")


def _partial(pages: Sequence[Answer], bad: Answer | Rejected, reason: str) -> Answer:
    """Join the pages before a bad one, which may not exist. The answer names the bad page and has its status."""
    first = pages[0]
    log.warning(
        "%r has no page %s (%s), the pages before are kept: %s", first.query.key, len(pages) + 1, bad.query.key, reason
    )
    body = first.body if len(pages) == 1 else _joined(pages)
    return replace(first, outcome=Outcome.PARTIAL, status=bad.status, body=body, next_link=bad.query.key)


def _whole(pages: Sequence[Answer], read: Reader) -> Answer | Rejected:
    """Join pages, each of which could be read. What they are together must be read as well before it counts."""
    whole = replace(pages[0], body=_joined(pages), next_link="")
    try:
        read(whole.query, whole.parsed)
    except Unreadable as error:
        return _rejected(pages, f"all pages together: {error.reason}")
    return whole


def _rejected(pages: Sequence[Answer | Rejected], reason: str) -> Rejected:
    """Make one record for the quarantine of pages that are no whole answer. The last one is at fault."""
    last = pages[-1]
    told = f"page {len(pages)} ({last.query.key}): {reason}"
    return Rejected(pages[0].query, last.status, kept(_joined(pages)), told, last.fetched_at, incomplete=True)


def _joined(pages: Sequence[Answer | Rejected]) -> str:
    return f"[{','.join(page.body or 'null' for page in pages)}]"


def _size(page: Answer) -> int:
    """Return the bytes of a page in the array, with the comma or the bracket behind it."""
    return len(page.body.encode()) + 1
