"""A ledger that never gives out more than there is, whatever happens in between."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.books import MemoryBook
from windrow.http.ledger import Ledger, Page
from windrow.model.errors import Misconfigured, StagingUnavailable
from windrow.model.query import Query
from windrow.model.quota import Period, Quota

PACIFIC = ZoneInfo("America/Los_Angeles")
NOON = datetime(2026, 6, 15, 19, tzinfo=UTC)
"""Noon in California."""
MIDNIGHT = datetime(2026, 6, 16, 7, tzinfo=UTC)
ITEM = Query.of("/items/1")
SEARCH = Query.of("/search", cost=100)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class WatchedBook(MemoryBook):
    """Tells of every opening, before it and after it."""

    opened = 0

    def quota_page(self, window: str) -> Page:
        self.open(window)
        page = super().quota_page(window)
        self.opened_and_read(window)
        return page

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        self.open(window)
        return super().claim_block(window, number, units, by=by, ends_at=ends_at)

    def close_window(self, window: str, until: datetime) -> None:
        self.open(window)
        super().close_window(window, until)

    def open(self, window: str) -> None:
        self.opened += 1

    def opened_and_read(self, window: str) -> None:
        pass


def daily(units: int | None, *paths: str, name: str = "items") -> Quota:
    return Quota(name, Period.PACIFIC_DAY, units, paths or ("/",))


def ledger(
    book: MemoryBook, *quotas: Quota, account: str = "me", clock: Callable[[], datetime] | None = None
) -> Ledger:
    return Ledger(book, quotas, account=account, clock=clock or Clock())


def taken(ledger: Ledger, tries: int, query: Query = ITEM) -> int:
    """Take one after the other, and return how often it went well."""

    async def take() -> int:
        return sum([not await ledger.take(query) for _ in range(tries)])

    return asyncio.run(take())


def reserved(book: MemoryBook) -> int:
    return sum(map(sum, book.windows.values()))


# --- taking ------------------------------------------------------------------------------------


def test_a_quota_gives_what_it_has_and_then_says_how_long_to_wait():
    one = ledger(MemoryBook(), daily(7))
    assert taken(one, 10) == 7
    assert asyncio.run(one.take(ITEM)) == (MIDNIGHT - NOON).total_seconds()


def test_a_reserved_share_is_left_to_others():
    book = MemoryBook()
    backfill = Ledger(book, (daily(1_000),), account="me", reserved=0.3, clock=Clock())
    assert taken(backfill, 1_100) == 700
    assert taken(ledger(book, daily(1_000)), 1_100) == 300, "a scheduled run has the rest"


def test_a_wait_is_never_nothing():
    clock = Clock(MIDNIGHT - timedelta(microseconds=1))
    assert asyncio.run(ledger(MemoryBook(), daily(1), clock=clock).take(ITEM)) == 0.0
    one = ledger(MemoryBook(), daily(1), clock=clock)
    taken(one, 1)
    assert asyncio.run(one.take(ITEM)) == 0.001


@pytest.mark.parametrize(("cost", "times"), [(1, 1_000), (3, 333), (100, 10), (400, 2), (1_000, 1)])
def test_queries_take_what_they_cost(cost: int, times: int):
    book = MemoryBook()
    one = ledger(book, daily(1_000))
    assert taken(one, times + 5, Query.of("/items", cost=cost)) == times
    assert one.taken == {"items": times * cost}
    assert reserved(book) >= times * cost


def test_a_dear_query_leaves_the_rest_to_cheap_ones():
    one = ledger(MemoryBook(), daily(150))
    assert (taken(one, 2, SEARCH), taken(one, 60)) == (1, 50)


def test_a_query_that_costs_more_than_there_ever_is_is_a_wrong_setting():
    with pytest.raises(Misconfigured, match=r"'search' costs 100 units.*'items' only has 99"):
        asyncio.run(ledger(MemoryBook(), daily(99)).take(SEARCH))


def test_calls_that_no_quota_counts_are_free():
    book = WatchedBook()
    one = ledger(book, daily(1, "/items"))
    assert (taken(one, 50, Query.of("/other")), book.opened) == (50, 0)
    assert one.name(Query.of("/other")) == ""
    assert asyncio.run(one.exhaust(Query.of("/other"))) == 0.0
    assert book.opened == 0


def test_the_first_quota_that_fits_the_path_counts_a_call():
    quotas = [daily(2, "/v3/search", name="search"), daily(5, "/v3", "/v2", name="rest")]
    one = ledger(MemoryBook(), *quotas)
    assert taken(one, 9, Query.of("/v3/search")) == 2
    assert taken(one, 3, Query.of("/v3/videos")) + taken(one, 9, Query.of("/v2/reports")) == 5
    assert one.name(Query.of("/v3/search")) == "search"
    assert one.name(Query.of("/v2/reports")) == "rest"


def test_without_a_number_all_is_given_until_the_api_says_stop():
    book = WatchedBook()
    one = ledger(book, daily(None))
    assert taken(one, 5_000) == 5_000
    assert book.opened == 2, "once for the window, once for what the API has closed"
    asyncio.run(one.exhaust(ITEM))
    assert taken(one, 5) == 0
    assert reserved(book) == 0


def test_while_a_block_lasts_the_book_stays_shut():
    book = WatchedBook()
    one = ledger(book, daily(10_000))
    blocks = (10, 10, 20, 40, 80, 100, 100)
    for number, block in enumerate(blocks, start=1):
        assert taken(one, block) == block
        assert book.opened == 2 * number, "a look, a claim"


def test_nobody_claims_more_than_it_can_use_until_the_window_ends():
    clock, book = Clock(MIDNIGHT - timedelta(minutes=60)), MemoryBook()
    one = ledger(book, daily(10_000), clock=clock)
    taken(one, 80)
    clock.now += timedelta(minutes=40)
    taken(one, 1)
    clock.now += timedelta(minutes=19, seconds=59)
    taken(one, 41)
    assert list(book.windows.values()) == [[10, 10, 20, 40, 40, 10]]


def test_hundreds_of_clients_get_units_of_a_quota():
    book = MemoryBook()
    assert [taken(ledger(book, daily(10_000)), 1) for _ in range(300)] == [1] * 300


def test_blocks_get_smaller_towards_the_end_and_all_units_are_given_out():
    book = WatchedBook()
    one = ledger(book, daily(2_000))
    assert taken(one, 2_001) == 2_000
    assert book.opened < 2 * 80
    assert reserved(book) == 2_000


# --- many tasks of one client ------------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 50, 333, 5_000])
def test_tasks_that_take_at_once_take_no_more_than_there_is(units: int):
    book = WatchedBook()
    one = ledger(book, daily(units))

    async def take() -> list[float]:
        return await asyncio.gather(*(one.take(ITEM) for _ in range(400)))

    waits = asyncio.run(take())
    assert waits.count(0.0) == min(units, 400)
    assert book.opened <= 9 * 2 or units < 5_000, "they share blocks"


def test_tasks_get_their_units_in_the_order_they_came():
    one = ledger(MemoryBook(), daily(20))
    served: list[int] = []

    async def worker(number: int) -> None:
        if not await one.take(ITEM):
            served.append(number)

    async def take() -> None:
        await asyncio.gather(*(worker(number) for number in range(60)))

    asyncio.run(take())
    assert served == list(range(20))


def test_a_dear_query_is_not_starved_by_cheap_ones():
    """Who reserves is the one who gets it, however many ask in the meantime."""
    one = ledger(MemoryBook(), daily(10_000))
    served: list[str] = []

    async def worker(query: Query) -> None:
        assert await one.take(query) == 0.0
        served.append(query.key)

    async def take() -> None:
        cheap = [worker(ITEM) for _ in range(150)]
        await asyncio.gather(*cheap[:120], worker(SEARCH), *cheap[120:])

    asyncio.run(take())
    assert served.index(SEARCH.key) <= 120


# --- many clients ------------------------------------------------------------------------------


class Crossing(WatchedBook):
    """Another client claims so many units, one after the other, right after the page was read."""

    def __init__(self, *claims: int) -> None:
        super().__init__()
        self.claims = list(claims)

    def opened_and_read(self, window: str) -> None:
        if self.claims:
            self.windows[window].append(self.claims.pop(0))


@pytest.mark.parametrize(("claims", "given", "opened"), [((95,), 1, 4), ((40, 55), 1, 6), ((100,), 0, 3)])
def test_a_block_that_another_one_has_won_is_not_used(claims: tuple[int, ...], given: int, opened: int):
    book = Crossing(*claims)
    assert taken(ledger(book, daily(100)), 1) == given
    assert (reserved(book), book.opened) == (sum(claims) + given, opened)


def test_what_is_given_back_while_another_one_claims_is_given_back():
    book = Crossing()
    one = ledger(book, daily(1_000))
    taken(one, 30)
    book.claims = [500]
    asyncio.run(one.close())
    assert reserved(book) == 530


class InterruptedBook(WatchedBook):
    """A book at which, before any look or entry, another client may come first and do all it wants to."""

    def __init__(self, schedule: Iterable[int]) -> None:
        super().__init__()
        self.schedule = iter(schedule)
        self.others: list[Callable[[], None]] = []
        self.depth = 0

    def open(self, window: str) -> None:
        choice = next(self.schedule, 0)
        if choice and self.others and self.depth < 3:
            self.depth += 1
            try:
                self.others[choice % len(self.others)]()
            finally:
                self.depth -= 1

    opened_and_read = open


@settings(deadline=None, max_examples=100)
@given(
    units=st.integers(1, 400),
    schedule=st.lists(st.integers(0, 3), max_size=60),
    calls=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([1, 1, 2, 7, 40])), max_size=60),
    killed=st.booleans(),
)
def test_whatever_comes_between_no_window_gives_more_than_it_has(
    units: int, schedule: list[int], calls: list[tuple[int, int]], killed: bool
):
    book = InterruptedBook(schedule)
    clients = [ledger(book, daily(units)) for _ in range(3)]
    busy: set[int] = set()
    used = 0

    def take(client: int, cost: int) -> None:
        nonlocal used
        if client in busy or cost > units:  # a client reserves one block at a time
            return
        busy.add(client)
        try:
            if not asyncio.run(clients[client].take(Query.of("/items", cost=cost))):
                used += cost
        finally:
            busy.discard(client)

    book.others = [lambda: take(0, 1), lambda: take(1, 2), lambda: take(2, 5)]
    for client, cost in calls:
        take(client, cost)
        assert used <= units
    book.others = []
    for client in clients[1:] if killed else clients:
        asyncio.run(client.close())
    left = taken(ledger(book, daily(units)), units + 1)
    assert used + left <= units
    assert killed or used + left == units, "what was given back can be used, to the last unit"


def test_what_is_not_used_is_given_back():
    book = MemoryBook()
    first, second = ledger(book, daily(1_000)), ledger(book, daily(1_000))
    taken(first, 30)
    taken(second, 5)
    asyncio.run(first.close())
    assert reserved(book) == 30 + 8  # five, in blocks of 1, 1, 2 and 4
    asyncio.run(second.close())
    assert reserved(book) == 35
    assert taken(ledger(book, daily(1_000)), 1_000) == 965


@pytest.mark.parametrize("who_goes_on", [0, 1])
def test_what_was_given_back_is_used_once(who_goes_on: int):
    book = MemoryBook()
    both = ledger(book, daily(100)), ledger(book, daily(100))
    taken(both[0], 5)
    asyncio.run(both[0].close())
    assert taken(both[who_goes_on], 200) == 95
    assert [taken(one, 1) for one in both] == [0, 0]


def test_tasks_that_are_refused_together_look_once():
    book = WatchedBook()
    one = ledger(book, daily(10))
    taken(one, 10)
    before = book.opened

    async def take() -> list[float]:
        return await asyncio.gather(*(one.take(ITEM) for _ in range(100)))

    assert 0.0 not in asyncio.run(take())
    assert book.opened - before < 10


def test_a_dear_query_that_is_refused_does_not_take_the_cheap_ones_behind_it_along():
    one = ledger(MemoryBook(), daily(100))
    taken(one, 90)

    async def take() -> list[float]:
        return await asyncio.gather(*(one.take(query) for query in (SEARCH, ITEM, SEARCH, ITEM)))

    assert [wait > 0 for wait in asyncio.run(take())] == [True, False, True, False]


@pytest.mark.parametrize("units", [20, 500, 10_000, 70_000])
def test_a_client_that_is_killed_leaves_one_block_at_most(units: int):
    book = MemoryBook()
    taken(ledger(book, daily(units)), 3)  # and is never heard of again
    left = taken(ledger(book, daily(units)), units)
    assert units - 3 - min(max(100, units // 100), units // 10) <= left <= units - 3


def test_other_accounts_have_quotas_of_their_own():
    book = MemoryBook()
    assert taken(ledger(book, daily(3), account="me"), 5) == 3
    assert taken(ledger(book, daily(3), account="you"), 5) == 3
    assert taken(ledger(book, daily(3), account="me"), 5) == 0


def test_giving_back_one_quota_leaves_the_others_alone():
    """A minute ends while another quota of the same client is being used: its block must stay as it is."""
    clock, book = Clock(), WatchedBook()
    fast = Quota("fast", Period.MINUTE, 60, ("/fast",))
    one = ledger(book, fast, daily(1_000, "/items"), clock=clock)
    taken(one, 33)  # of 64 that are reserved
    taken(one, 1, Query.of("/fast"))
    before = book.opened
    clock.now += timedelta(minutes=1)
    taken(one, 1, Query.of("/fast"))
    assert taken(one, 31) == 31
    assert book.opened - before == 2, "only the new minute was claimed"


class Unreachable(WatchedBook):
    """A book that closes for good after so many openings."""

    def __init__(self, openings: int) -> None:
        super().__init__()
        self.openings = openings

    def open(self, window: str) -> None:
        self.openings -= 1
        if self.openings < 0:
            raise StagingUnavailable("MongoDB is away", advice="Wait.")


@pytest.mark.parametrize("openings", [0, 1])
def test_what_cannot_be_written_down_is_not_taken(openings: int):
    book = Unreachable(openings)
    one = ledger(book, daily(100))
    with pytest.raises(StagingUnavailable):
        asyncio.run(one.take(ITEM))
    book.openings = 1_000
    assert taken(one, 200) == 100


def test_a_book_that_is_away_at_the_end_does_not_hide_how_the_harvest_ended(caplog: pytest.LogCaptureFixture):
    one = ledger(Unreachable(10), daily(1_000))
    taken(one, 10)
    asyncio.run(one.close())
    assert "6 unused units of the quota 'items' could not be returned" in caplog.text


# --- the next window ---------------------------------------------------------------------------


def test_the_next_window_is_full_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "windrow")
    clock, book = Clock(), MemoryBook()
    one, other = ledger(book, daily(10), clock=clock), ledger(book, daily(10), clock=clock)
    assert (taken(one, 20), taken(other, 20)) == (10, 0)
    assert len(caplog.messages) == 2, "each client says it once"
    clock.now = MIDNIGHT
    assert taken(other, 4) == 4
    assert taken(one, 20) == 6
    assert len(book.windows) == 2


def test_units_of_a_window_are_not_carried_into_the_next():
    clock = Clock()
    one = ledger(MemoryBook(), daily(1_000), clock=clock)
    assert taken(one, 1) == 1  # of a block of 100
    clock.now = MIDNIGHT
    assert taken(one, 2_000) == 1_000


def test_tasks_that_wait_while_a_window_begins_share_it():
    clock = Clock()
    one = ledger(MemoryBook(), daily(50), clock=clock)
    taken(one, 60)
    clock.now = MIDNIGHT

    async def take() -> list[float]:
        return await asyncio.gather(*(one.take(ITEM) for _ in range(80)))

    assert asyncio.run(take()).count(0.0) == 50


# --- what the API says -------------------------------------------------------------------------


def test_a_spent_quota_is_spent_for_all_and_only_until_the_window_ends():
    clock, book = Clock(), MemoryBook()
    one, other = ledger(book, daily(1_000), clock=clock), ledger(book, daily(1_000), clock=clock)
    assert (taken(one, 1), taken(other, 64)) == (1, 64)

    assert asyncio.run(one.exhaust(ITEM)) == (MIDNIGHT - NOON).total_seconds()

    assert taken(one, 1) == 0
    assert taken(other, 100) == 0, "its block is used up, and it looks before it reserves another"
    assert taken(ledger(book, daily(1_000), clock=clock), 1) == 0
    assert taken(ledger(book, daily(None), clock=clock), 1) == 0
    clock.now = MIDNIGHT
    assert taken(one, 1) == taken(other, 1) == 1


def test_a_spent_quota_leaves_the_others_of_the_api_alone():
    one = ledger(MemoryBook(), daily(10, "/a", name="a"), daily(10, "/b", name="b"))
    taken(one, 1, Query.of("/a"))
    asyncio.run(one.exhaust(Query.of("/a")))
    assert taken(one, 1, Query.of("/a")) == 0
    assert taken(one, 10, Query.of("/b")) == 10


def test_it_is_written_down_once():
    book = WatchedBook()
    one = ledger(book, daily(1_000))
    taken(one, 1)
    before = book.opened

    async def exhaust() -> None:
        await asyncio.gather(*(one.exhaust(ITEM) for _ in range(16)))

    asyncio.run(exhaust())
    assert book.opened - before == 1


@pytest.mark.parametrize(
    ("window", "after_s", "wait_s"),
    [
        (Period.PACIFIC_DAY, 0.5, 299.5),
        (Period.PACIFIC_DAY, 299, 1),
        (Period.HOUR, 10, 290),
        (Period.MINUTE, 1, 4),
    ],
)
def test_right_after_a_window_began_the_api_is_asked_again_before_it_is_given_up(
    window: Period, after_s: float, wait_s: float
):
    """The refusal may be about a call of the window before: believed, it would cost the whole new one."""
    start, end = window.bounds(NOON + timedelta(days=1))
    clock, book = Clock(start + timedelta(seconds=after_s)), MemoryBook()
    one = ledger(book, Quota("items", window, 100, ("/",)), clock=clock)
    taken(one, 1)

    assert asyncio.run(one.exhaust(ITEM)) == pytest.approx(wait_s)
    assert taken(one, 1) == taken(ledger(book, Quota("items", window, 100, ("/",)), clock=clock), 1) == 1

    clock.now += timedelta(seconds=wait_s)
    assert asyncio.run(one.exhaust(ITEM)) == (end - clock.now).total_seconds()
    assert taken(one, 1) == 0


def test_a_refusal_of_the_old_window_that_comes_in_the_new_one_does_not_spend_it():
    clock, book = Clock(MIDNIGHT - timedelta(seconds=1)), MemoryBook()
    one = ledger(book, daily(10), clock=clock)
    taken(one, 1)
    clock.now = MIDNIGHT + timedelta(seconds=1)
    assert asyncio.run(one.exhaust(ITEM)) == 0.001
    assert taken(one, 20) == 10
    assert [window in book.closed for window in book.windows] == [True, False]
