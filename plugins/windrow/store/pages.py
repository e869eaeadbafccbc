"""The pages of a run's unfinished answers, for `windrow.http.paging`."""

import asyncio

from windrow.http.paging import MOST_PAGES, StoredPage
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.staging import Staging


class RunPages:
    """The pages of one run. A `PageStore`. What earlier tries left is known from `load` on.

    :param is_shared: other workers add pages to the run, so look for the pages of each query.
    """

    def __init__(self, staging: Staging, run: Run, *, is_shared: bool = False) -> None:
        self._staging = staging
        self._run = run
        self._is_shared = is_shared
        self._counts: dict[str, int] = {}

    async def load(self) -> None:
        """Find out which queries have pages, with one operation for all of them."""
        self._counts = await asyncio.to_thread(self._staging.paged, self._run)

    async def pages(self, query: Query) -> list[StoredPage]:
        """Return the pages of a query of the plan."""
        count = MOST_PAGES if self._is_shared else self._counts.get(query.key, 0)
        pages = await asyncio.to_thread(self._staging.pages, self._run, query.key, count) if count else []
        if self._is_shared and pages:
            self._counts[query.key] = len(pages)
        return pages

    async def keep_page(self, query: Query, number: int, page: StoredPage) -> None:
        """Make a page durable."""
        await asyncio.to_thread(self._staging.keep_page, self._run, query.key, number, page)
        self._counts[query.key] = max(number + 1, self._counts.get(query.key, 0))

    async def drop_pages(self, query: Query) -> None:
        """Delete the pages of a query."""
        await asyncio.to_thread(self.drop, query.key)

    def drop(self, key: str) -> None:
        """Delete the pages of a query. Runs in a thread."""
        if count := self._counts.pop(key, 0):
            self._staging.drop_pages(self._run, key, count)
