"""Answers of several pages: whole or not at all, in the client, in the engine, in the quarantine."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.faults.harvest_process import QUICK
from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.harvest.engine import Harvester, Tally
from windrow.harvest.feeds import PlanFeed
from windrow.harvest.replay import replay
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.http.loop import run_async
from windrow.http.paging import NextPage, Pages, StoredPage
from windrow.http.results import Reader
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import RateLimited, Unreadable
from windrow.model.export import ExportJob
from windrow.model.formats import Csv
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.stream import MaybePage, PlanFlow, Request, Stream
from windrow.store.pages import RunPages
from windrow.store.staging import Staging

RUN = Run("shop_items", "daily")
SHELF = Query.of("/shelf", {"name": "a"})


class Shelf(Stream):
    """Items of a shelf, in pages that the Link header or a field ``next`` leads to."""

    dataset = "shop_items"
    contract = Contract((Column("id", "id", Kind.INTEGER, "Number of the item.", required=True),))

    def plan(self, request: Request) -> PlanFlow:
        yield from ()

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        if answer.next_link:
            return query.following(answer.next_link)
        page: Any = answer.parsed
        if not isinstance(page, dict):
            return None
        if "next" not in page:
            return None
        if not isinstance(page["next"], int):
            raise Unreadable(f"next is {page['next']!r}")
        return Query.of("/shelf", dict(SHELF.params) | {"page": str(page["next"])})

    def records(self, query: Query, answer: Any) -> Sequence[dict[str, object]]:
        pages = answer if isinstance(answer, list) else [answer]
        if not all(isinstance(page, dict) and isinstance(page.get("items"), list) for page in pages):
            raise Unreadable("no items")
        return [self.contract.record(item) for page in pages for item in page["items"]]


STREAM = Shelf()


def page(*ids: int, link: int | None = None, **fields: Any) -> Reply:
    headers = {"Link": f'</shelf?name=a&page={link}>; rel="next"'} if link else {}
    return Reply({"items": [{"id": one} for one in ids], **fields}, headers=headers)


def asked(api: ScriptedApi, read: Reader = STREAM.records, next_page: NextPage = STREAM.next_page) -> Any:
    async def ask() -> Answer | Rejected:
        async with Client(api.url, NoAuth(), name="shop", limits=Limits(backoff=QUICK, patience_s=0.2)) as client:
            return await Pages(read, next_page).ask(client, SHELF)

    return run_async(ask())


def ids(answer: Answer) -> list[object]:
    return [record["id"] for record in STREAM.records(SHELF, answer.parsed)]


# --- whole answers -----------------------------------------------------------------------------


def test_one_page_stays_as_it_is(scripted: ScriptedApi):
    scripted.answers(Reply('{"items":  [ {"id": 1} ]}'))
    assert asked(scripted).body == '{"items":  [ {"id": 1} ]}'


def test_pages_are_joined_in_their_order_word_for_word(scripted: ScriptedApi):
    first, second, third = '{"items": [{"id": 1}],  "next": 2}', '{"next":3,"items":[{"id":2}]}', '{"items": [ ]}'
    scripted.answers(Reply(first), Reply(second), Reply(third))
    began = datetime.now(UTC)
    whole = asked(scripted)
    assert (whole.query, whole.outcome, whole.status, whole.next_link) == (SHELF, Outcome.ANSWERED, 200, "")
    assert whole.body == f"[{first},{second},{third}]"
    assert ids(whole) == [1, 2]
    assert began <= whole.fetched_at <= datetime.now(UTC)
    assert scripted.paths == ["/shelf?name=a", "/shelf?name=a&page=2", "/shelf?name=a&page=3"]


def test_pages_that_links_lead_to_are_joined_and_the_link_is_gone(scripted: ScriptedApi):
    scripted.answers(page(1, link=2), page(2, link=3), page(3))
    whole = asked(scripted)
    assert (ids(whole), whole.next_link) == ([1, 2, 3], "")
    assert scripted.paths[1:] == ["/shelf?name=a&page=2", "/shelf?name=a&page=3"]


def test_each_page_is_read_with_its_own_query_and_then_all_together(scripted: ScriptedApi):
    seen: list[tuple[str, object]] = []
    scripted.answers(page(1, link=2), page(2))
    asked(scripted, lambda query, answer: seen.append((query.key, answer)))
    first, second = {"items": [{"id": 1}]}, {"items": [{"id": 2}]}
    assert seen == [("shelf?name=a", first), ("shelf?name=a&page=2", second), ("shelf?name=a", [first, second])]


def test_a_page_without_content_is_null_among_the_others(scripted: ScriptedApi):
    scripted.answers(page(1, link=2), Reply("", 204))
    assert asked(scripted, lambda query, answer: None).parsed == [{"items": [{"id": 1}]}, None]


def test_a_gap_has_no_pages(scripted: ScriptedApi):
    scripted.answers(Reply({"next": 2}, 404))
    assert asked(scripted).outcome is Outcome.MISSING
    assert len(scripted.asked) == 1


def test_what_is_refused_at_its_first_page_is_refused_as_it_is(scripted: ScriptedApi):
    scripted.answers(Reply({"error": "no"}, 400))
    refused = asked(scripted)
    assert (refused.status, refused.body) == (400, '{"error": "no"}')
    assert refused.reason.startswith("the API rejected the query")


# --- answers that are not whole ----------------------------------------------------------------

GONE = Reply({"error": "gone"}, 404)
GARBLED = Reply('{"items": [{"id": 2}')
SECOND = r"page 2 (shelf?name=a&page=2): "


@pytest.mark.parametrize(
    ("second", "status", "reason"),
    [
        (GONE, 404, "the API has no such page"),
        (GARBLED, 200, "invalid JSON"),
        (Reply({"itmes": []}), 200, "no items"),
        (Reply({"error": "no"}, 400), 400, "the API rejected the query"),
        (page(2, next="three"), 200, "next is 'three'"),
        (page(2, link=2), 200, "its next page is 'shelf?name=a&page=2', which was called before"),
        (page(2, next=2), 200, "its next page is 'shelf?name=a&page=2', which was called before"),
    ],
)
def test_a_page_that_cannot_be_had_rejects_the_whole_query_and_is_named(
    scripted: ScriptedApi, second: Reply, status: int, reason: str
):
    scripted.answers(page(1, link=2), second)
    whole = asked(scripted)
    assert isinstance(whole, Rejected)
    assert (whole.query, whole.status, whole.incomplete) == (SHELF, status, True)
    assert whole.reason.startswith(SECOND + reason)
    assert whole.body.startswith('[{"items": [{"id": 1}]},')


def maybe(query: Query, answer: Answer) -> Query | None:
    """Lead on as the stream does, but never for certain."""
    page = STREAM.next_page(query, answer)
    return MaybePage.of(page.path, dict(page.params)) if page else None


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (GONE, 404),
        (GARBLED, 200),
        (Reply({"error": "no"}, 403), 403),
        (page(3, next="three"), 200),
        (page(2, link=2), 200),
        (page(1), 200),
    ],
)
def test_pages_before_one_that_may_not_exist_are_kept(scripted: ScriptedApi, bad: Reply, status: int):
    scripted.answers(page(1, link=2), page(2, link=3), bad)
    found = asked(scripted, Once().records, maybe)
    assert (found.outcome, found.status, found.next_link) == (Outcome.PARTIAL, status, "shelf?name=a&page=3")
    assert ids(found) == [1, 2]
    scripted.answers(page(1, link=2), bad)
    assert ids(asked(scripted, Once().records, maybe)) == [1]


def test_a_partial_answer_is_asked_for_again_when_the_harvest_is_run_again(scripted: ScriptedApi, shelf: Staging):
    class Unsure(Shelf):
        next_page = staticmethod(maybe)

    scripted.answers(page(1, link=2), GONE)
    assert harvest(scripted, shelf, Unsure()).answered == 1
    assert [(one.outcome, ids(one)) for one in staged(shelf)] == [(Outcome.PARTIAL, [1])]
    scripted.answers(page(1, link=2), page(2))
    harvest(scripted, shelf, Unsure())
    assert [(one.outcome, ids(one)) for one in staged(shelf)] == [(Outcome.ANSWERED, [1, 2])]


def test_a_first_page_whose_next_one_cannot_be_found_is_rejected(scripted: ScriptedApi):
    scripted.answers(page(1, next="two"))
    whole = asked(scripted)
    assert whole.reason == "page 1 (shelf?name=a): next is 'two'"


def test_pages_that_lead_back_to_the_first_end(scripted: ScriptedApi):
    link = {"Link": '</shelf?name=a>; rel="next"'}
    scripted.answers(page(1, link=2), Reply({"items": []}, headers=link))
    assert "'shelf?name=a', which was called before" in asked(scripted).reason
    assert len(scripted.asked) == 2


def test_pages_that_never_end_are_rejected(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windrow.http.paging.MOST_PAGES", 5)
    numbers = itertools.count(2)
    scripted.script = lambda asked: page(1, link=next(numbers))
    found = asked(scripted)
    assert isinstance(found, Rejected)
    assert "there are more than 5 pages" in found.reason
    assert (len(scripted.asked), found.incomplete) == (5, True)


def test_trouble_in_the_middle_is_raised_and_no_page_counts(scripted: ScriptedApi):
    scripted.answers(page(1, link=2), Reply(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(RateLimited):
        asked(scripted)


def test_pages_that_are_too_much_together_are_rejected_without_asking_for_more(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windrow.http.paging.LARGEST_SPLIT", LARGEST)
    scripted.answers(page(1, link=2, pad="x" * 8_000_000), page(2, link=3, pad="é" * 3_500_000), page(3))
    whole = asked(scripted)
    assert isinstance(whole, Rejected)
    assert len(scripted.asked) == 2
    assert "bytes, more than 15,000,000 bytes" in whole.reason
    assert whole.incomplete


# --- in the engine and the quarantine ----------------------------------------------------------


@pytest.fixture
def shelf(staging: Staging) -> Staging:
    staging.save_plan(RUN, [SHELF])
    return staging


def harvest(api: ScriptedApi, staging: Staging, stream: Stream = STREAM) -> Tally:
    async def run() -> Tally:
        limits = Limits(backoff=QUICK, patience_s=0.2)
        files = Client(api.url, NoAuth(), name="shop", limits=limits)
        async with Client(api.url, NoAuth(), name="shop", limits=limits, storage=files) as client:
            feed = PlanFeed(staging, staging.plan(RUN))
            pages: Any = {name: getattr(stream, name) for name in ("next_page", "paging", "format", "export")}
            return await Harvester(client, staging, feed, stream.records, **pages).run()

    return run_async(run())


def staged(staging: Staging) -> list[Answer]:
    return staging.answers(staging.chunk(RUN, 0))


def test_the_engine_stages_all_pages_as_one(scripted: ScriptedApi, shelf: Staging):
    scripted.answers(page(1, link=2), page(2))
    tally = harvest(scripted, shelf)
    assert (tally.answered, tally.rejected) == (1, 0)
    assert [ids(one) for one in staged(shelf)] == [[1, 2]]


class Once(Shelf):
    """A reader that takes an item once."""

    def records(self, query: Query, answer: Any) -> Sequence[dict[str, object]]:
        records = super().records(query, answer)
        if len({record["id"] for record in records}) < len(records):
            raise Unreadable("an item is there twice")
        return records


def test_pages_that_do_not_go_together_are_rejected_and_asked_again(scripted: ScriptedApi, shelf: Staging):
    """Staged, they would count as settled, and no clearing of the harvest would ever mend them."""
    scripted.answers(page(1, link=2), page(1))
    assert harvest(scripted, shelf, Once()).rejected == 1
    [(_, kept)] = shelf.quarantined(RUN)
    assert kept.incomplete
    assert "all pages together: an item is there twice" in kept.reason

    scripted.answers(page(1, link=2), page(2))
    assert harvest(scripted, shelf, Once()).answered == 1
    assert [ids(one) for one in staged(shelf)] == [[1, 2]]
    assert shelf.quarantined(RUN) == []


def by_page(scripted: ScriptedApi, *replies: Reply) -> None:
    """Answer each page with its reply. The link of the page before leads to it."""
    scripted.script = lambda asked: replies[int(dict(asked.params).get("page", "1")) - 1]


@pytest.mark.parametrize(("second", "calls"), [(GONE, 3), (GARBLED, 1), (page(2, next="three"), 2)])
def test_what_is_incomplete_is_kept_and_completed_by_the_next_try(
    scripted: ScriptedApi, shelf: Staging, second: Reply, calls: int
):
    """Of an unreadable page only that one is called again."""
    by_page(scripted, page(1, link=2), second)
    assert harvest(scripted, shelf).rejected == 1
    [(_, kept)] = shelf.quarantined(RUN)
    assert (kept.query, kept.incomplete) == (SHELF, True)
    assert kept.raw.decode() == second.text
    assert staged(shelf) == []

    scripted.asked.clear()
    by_page(scripted, page(1, link=2), page(2))
    assert harvest(scripted, shelf).answered == 1
    assert [ids(one) for one in staged(shelf)] == [[1, 2]]
    assert shelf.quarantined(RUN) == []
    assert len(scripted.asked) <= calls
    assert shelf.paged(RUN) == {}


FIVE = [page(number, link=number + 1) for number in range(1, 5)] + [page(5)]


def test_five_pages_at_three_calls_a_window_are_complete_after_two_windows(scripted: ScriptedApi, shelf: Staging):
    """Each page is durable when it arrives: a deferral between them repeats none."""
    allowed = 3

    def script(asked: Asked) -> Reply:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            return Reply(status=429, headers={"Retry-After": "3600"})
        return FIVE[int(dict(asked.params).get("page", "1")) - 1]

    scripted.script = script
    with pytest.raises(RateLimited):
        harvest(scripted, shelf)
    allowed = 3
    assert harvest(scripted, shelf).answered == 1
    assert [ids(one) for one in staged(shelf)] == [[1, 2, 3, 4, 5]]
    numbers = [dict(asked.params).get("page", "1") for asked in scripted.asked]
    assert numbers == ["1", "2", "3", "4", "4", "5"]  # the first call for 4 was answered with 429
    assert sum(note["sent"] for note in shelf.notes(RUN).values()) == len(numbers)
    assert shelf.paged(RUN) == {}


class Exported(Shelf):
    """Items that an export job writes to a file."""

    export = ExportJob("/jobs/{job}", poll_s=30)
    format = Csv()

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        return None

    def records(self, query: Query, answer: Any) -> Sequence[dict[str, object]]:
        return [self.contract.record({"id": int(row["id"])}) for row in answer]


def test_an_export_job_is_started_once_over_deferrals(scripted: ScriptedApi, shelf: Staging):
    state = {"status": "running", "url": f"{scripted.url}/file"}

    def script(asked: Asked) -> Reply:
        return {"/shelf": Reply({"id": 7}), "/jobs/7": Reply(state)}.get(asked.path, Reply("id\n1\n2\n"))

    scripted.script = script
    with pytest.raises(RateLimited, match="is not finished"):
        harvest(scripted, shelf, Exported())
    state["status"] = "completed"
    assert harvest(scripted, shelf, Exported()).answered == 1
    assert [asked.path for asked in scripted.asked] == ["/shelf", "/jobs/7", "/jobs/7", "/file"]
    assert sum(note["sent"] for note in shelf.notes(RUN).values()) == 4
    [answer] = staged(shelf)
    assert Exported().records(SHELF, answer.parsed_as(Csv())) == [{"id": 1, "_extra": None}, {"id": 2, "_extra": None}]
    assert shelf.paged(RUN) == {}


class Killed(BaseException):
    """The process ends here."""


class Dying(Shelf):
    """A reader in whose fourth page the process is killed."""

    def records(self, query: Query, answer: Any) -> Sequence[dict[str, object]]:
        if dict(query.params).get("page") == "4":
            raise Killed
        return super().records(query, answer)


def test_a_kill_between_pages_loses_the_page_in_flight_alone(scripted: ScriptedApi, shelf: Staging):
    by_page(scripted, *FIVE)
    with pytest.raises(Killed):
        harvest(scripted, shelf, Dying())
    assert harvest(scripted, shelf).answered == 1
    assert [ids(one) for one in staged(shelf)] == [[1, 2, 3, 4, 5]]
    assert [dict(asked.params).get("page", "1") for asked in scripted.asked] == ["1", "2", "3", "4", "4", "5"]


def test_a_worker_that_takes_over_a_query_continues_behind_its_pages(shelf: Staging):
    """The other worker has died since this one has begun."""
    own, other = RunPages(shelf, RUN, is_shared=True), RunPages(shelf, RUN, is_shared=True)
    answer = Answer(SHELF, Outcome.ANSWERED, 200, "{}", datetime.now(UTC))

    async def take_over() -> list[StoredPage]:
        await own.load()
        await other.keep_page(SHELF, 0, StoredPage(answer, SHELF.following("/shelf?page=2")))
        pages = await own.pages(SHELF)
        await own.drop_pages(SHELF)
        return pages

    assert [page.following.key for page in run_async(take_over())] == ["shelf?page=2"]
    assert shelf.paged(RUN) == {}


def test_pages_that_a_kill_left_behind_a_complete_answer_are_deleted(scripted: ScriptedApi, shelf: Staging):
    by_page(scripted, page(1, link=2), page(2))
    harvest(scripted, shelf)
    answer = Answer(SHELF, Outcome.ANSWERED, 200, "{}", datetime.now(UTC))
    shelf.keep_page(RUN, SHELF.key, 0, StoredPage(answer, SHELF.following("/shelf?page=2")))
    assert harvest(scripted, shelf).done_before == 1
    assert (shelf.paged(RUN), len(scripted.asked)) == ({}, 2)


def test_a_cursor_that_has_expired_meanwhile_starts_the_answer_again(scripted: ScriptedApi, shelf: Staging):
    by_page(scripted, page(1, link=2), Reply(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(RateLimited):
        harvest(scripted, shelf)
    by_page(scripted, page(7, link=3), Reply({"error": "expired"}, 400), page(8))
    assert harvest(scripted, shelf).answered == 1
    assert [ids(one) for one in staged(shelf)] == [[7, 8]]


class Strict(Shelf):
    """A reader with a mistake: it takes no item beyond the first."""

    def records(self, query: Query, answer: Any) -> Sequence[dict[str, object]]:
        records = super().records(query, answer)
        if any(record["id"] != 1 for record in records):
            raise Unreadable("an item beyond the first")
        return records


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([page(1, link=2), page(2, link=3), page(3)], id="the second of three"),
        pytest.param([page(2, link=2), page(3)], id="the first, and a link told of the second"),
        pytest.param([page(2, next=2), page(3)], id="the first, and its body told of the second"),
    ],
)
def test_pages_that_a_mended_reader_can_read_are_no_whole_answer(
    scripted: ScriptedApi, shelf: Staging, pages: list[Reply]
):
    by_page = {str(number): reply for number, reply in enumerate(pages, 1)}
    scripted.script = lambda asked: by_page[dict(asked.params).get("page", "1")]
    assert harvest(scripted, shelf, Strict()).rejected == 1
    assert replay(shelf, RUN, STREAM) == 0
    assert staged(shelf) == []
    assert len(shelf.quarantined(RUN)) == 1


def test_a_single_page_that_a_mended_reader_can_read_is_whole(scripted: ScriptedApi, shelf: Staging):
    scripted.answers(page(2))
    assert harvest(scripted, shelf, Strict()).rejected == 1
    assert replay(shelf, RUN, STREAM) == 1
    assert [ids(one) for one in staged(shelf)] == [[2]]


def test_a_part_never_takes_the_place_of_the_whole(scripted: ScriptedApi, shelf: Staging):
    """The whole answer was staged, and the process was killed before the part left the quarantine."""
    part = Rejected(SHELF, 200, '{"items": [{"id": 2}]}', "an item beyond the first", datetime.now(UTC))
    scripted.answers(page(1, link=2), page(2))
    harvest(scripted, shelf)
    shelf.reject(RUN, [(0, part)])

    assert replay(shelf, RUN, STREAM) == 0

    assert [ids(one) for one in staged(shelf)] == [[1, 2]]
    assert shelf.quarantined(RUN) == []


def test_pages_that_are_larger_than_a_document_are_staged_in_several_and_read_as_one(
    scripted: ScriptedApi, shelf: Staging
):
    by_page(scripted, page(1, link=2, pad="é" * 7_000_000), page(2, pad="x" * 9_000_000))
    assert harvest(scripted, shelf).answered == 1
    assert [ids(one) for one in staged(shelf)] == [[1, 2]]
    assert [len(one.body.encode()) for one in staged(shelf)] > [LARGEST]
