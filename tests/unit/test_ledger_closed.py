"""A quota that the API itself has closed: known to all runs until it said it opens, and to no other endpoint."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.books import MemoryBook
from windrow.http.ledger import Ledger
from windrow.model.query import Query
from windrow.model.quota import Period, Quota

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALBUMS = Query.of("/artists/1/albums")
ARTIST = Query.of("/artists/1")
QUOTAS = (
    Quota("albums", Period.MINUTE, None, ("/artists/*/albums",)),
    Quota("artists", Period.MINUTE, None, ("/artists",)),
)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def ledger(book: MemoryBook, clock: Clock, account: str = "me") -> Ledger:
    return Ledger(book, QUOTAS, account=account, clock=clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_closed_quota_is_known_to_every_run_until_it_opens(clock: Clock):
    book = MemoryBook()

    async def run() -> None:
        first = ledger(book, clock)
        assert await first.take(ALBUMS) == 0
        assert await first.exhaust(ALBUMS, 86_000) == 86_000
        assert await first.take(ALBUMS) == pytest.approx(86_000)
        other = ledger(book, clock)
        clock.now += timedelta(hours=1)
        assert await other.take(ALBUMS) == pytest.approx(86_000 - 3600, abs=1)
        clock.now += timedelta(days=1)
        assert await other.take(ALBUMS) == 0
        assert await first.take(ALBUMS) == 0

    asyncio.run(run())


def test_other_endpoints_and_other_accounts_go_on(clock: Clock):
    book = MemoryBook()

    async def run() -> None:
        mine = ledger(book, clock)
        await mine.exhaust(ALBUMS, 86_000)
        assert await mine.take(ARTIST) == 0
        assert await ledger(book, clock, "somebody else").take(ALBUMS) == 0

    asyncio.run(run())


def test_a_run_that_goes_on_learns_of_it_with_its_next_window(clock: Clock):
    book = MemoryBook()

    async def run() -> None:
        mine, other = ledger(book, clock), ledger(book, clock)
        assert await other.take(ALBUMS) == 0
        await mine.exhaust(ALBUMS, 86_000)
        clock.now += timedelta(minutes=1)
        assert await other.take(ALBUMS) > 85_000

    asyncio.run(run())


@pytest.mark.parametrize(("path", "counts"), [("/artists/1/albums", True), ("/artists/1", False), ("/albums", False)])
def test_a_path_with_a_star_is_a_pattern(path: str, counts: bool):
    assert QUOTAS[0].counts(path) is counts
