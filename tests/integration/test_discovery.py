"""Leading a source's conversation: over the fake API, and over lists that a test writes down."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from local_cloud.apis.testing import FakeApi
from tests import scripted_api
from tests.faults.harvest_process import QUICK, asking, connect, served, totals
from tests.scripted_api import Reply, ScriptedApi
from windrow.harvest.discovery import Announce, Discovery
from windrow.harvest.feeds import Item
from windrow.harvest.replay import replay
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.landing.receipt import Staged
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import (
    ApiUnreachable,
    BadParameter,
    PlanMissing,
    QueryRefused,
    RateLimited,
    Unanswered,
    Unreadable,
    Unusable,
)
from windrow.model.paging import LinkHeader, NextUrl
from windrow.model.plan import CHUNK, Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Asked, Gap, PlanFlow, Planned, Request, Stream
from windrow.sources.titanic.streams import Passengers
from windrow.store.quarantine import LIST
from windrow.store.staging import Staging

RUN = Run("shop_items", "scheduled__2026-01-01T00:00:00+00:00")
NOBODY: Request = Request()


class DynamoTable(Stream):
    """Shelves, then the pages of each shelf, then one call an item."""

    dataset = "shop_items"
    contract = Contract((Column("id", "id", Kind.INTEGER, "Number of the item.", required=True),))
    closed: ClassVar[list[str]] = []

    def plan(self, request: Request) -> PlanFlow:
        self.closed.clear()
        try:
            shelves = yield Query.of("/shelves")
            for shelf in _texts(shelves.parsed, "shelves"):
                page: Query | None = Query.of("/shelf", {"name": shelf})
                while page is not None:
                    try:
                        answer = yield Asked(page, lambda parsed: _texts(parsed, "items"))
                    except (Unreadable, Unanswered):
                        break
                    except QueryRefused as refused:
                        yield Planned([Query.of("/vanished", {"shelf": shelf, "status": str(refused.status)})])
                        break
                    yield Planned(Query.of("/item", {"id": item}) for item in _texts(answer.parsed, "items"))
                    page = page.following(answer.next_link) if answer.next_link else None
        finally:
            self.closed.append("closed")

    def records(self, query: Query, answer: object) -> list[dict[str, object]]:
        return [self.contract.record(answer)]


class Prices(DynamoTable):
    """Another dataset of the same API that lists the same things."""

    dataset = "shop_prices"


def _texts(page: Any, field: str) -> list[str]:
    if not isinstance(page, dict) or not isinstance(page.get(field), list):
        raise Unreadable(f"a list of {field} should look like {{{field!r}: [...]}}")
    return [str(text) for text in page[field]]


SHOP: dict[str, Reply] = {
    "/shelves": Reply({"shelves": ["a", "b", "c"]}),
    "/shelf?name=a": Reply({"items": [1, 2]}, headers={"Link": '</shelf?name=a&page=2>; rel="next"'}),
    "/shelf?name=a&page=2": Reply({"items": [3, 1]}),
    "/shelf?name=b": Reply({"items": []}),
    "/shelf?name=c": Reply({"items": [9]}),
}
ALL = ["item?id=1", "item?id=2", "item?id=3", "item?id=9"]


@pytest.fixture
def shop(scripted: ScriptedApi) -> ScriptedApi:
    scripted.script = serving({})
    return scripted


def serving(instead: dict[str, Reply]) -> Callable[[scripted_api.Asked], Reply]:
    """Serve the shop, with other replies for some paths."""
    replies = SHOP | instead

    def script(asked: scripted_api.Asked) -> Reply:
        params = "&".join("=".join(pair) for pair in asked.params)
        return replies[f"{asked.path}?{params}" if params else asked.path]

    return script


def discover(
    url: str,
    staging: Staging,
    stream: Stream | None = None,
    run: Run = RUN,
    request: Request = NOBODY,
    announce: Announce | None = None,
    standing: Plan | None = None,
) -> tuple[Plan, int]:
    """Make a plan; return it with the number of queries that were asked."""

    async def plan() -> tuple[Plan, int]:
        limits = Limits(backoff=QUICK, patience_s=0.2)
        async with Client(url, NoAuth(), name="shop", limits=limits) as client:
            discovery = Discovery(client, staging, run, stream or DynamoTable(), announce=announce)
            return await discovery.plan(request, standing), discovery.asked

    return asyncio.run(plan())


def keys(staging: Staging, run: Run = RUN) -> list[str]:
    plan = staging.plan(run)
    return [query.key for number in range(plan.chunks) for query in staging.chunk(run, number).queries]


# --- a whole conversation ----------------------------------------------------------------------


def test_the_fake_api_is_asked_once_and_each_name_is_planned_once(api: FakeApi, staging: Staging):
    run = Run(Passengers.dataset, "daily")
    passengers = served(api)

    async def plan() -> tuple[Plan, int]:
        async with connect(api.url) as client:
            discovery = Discovery(client, staging, run, Passengers())
            return await discovery.plan(Request()), discovery.asked

    made, asked = asyncio.run(plan())

    assert (made, asked) == (Plan(run, 1_782, 891, 1), 1)
    assert staging.plan(run) == made
    assert sorted(keys(staging, run)) == sorted(query.key for query in asking(passengers))
    assert totals(api)["requests"] == 1


def test_all_steps_are_led_in_their_order(shop: ScriptedApi, staging: Staging):
    plan, asked = discover(shop.url, staging)
    assert plan == Plan(RUN, listed=5, planned=4, chunks=1)
    assert shop.paths == list(SHOP)
    assert asked == 5
    assert keys(staging) == ALL
    assert DynamoTable.closed == ["closed"]


def test_a_conversation_without_a_word_makes_an_empty_plan(shop: ScriptedApi, staging: Staging):
    class Silent(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            yield from ()

    assert discover(shop.url, staging, Silent()) == (Plan(RUN, 0, 0, 0), 0)
    assert staging.plan(RUN) == Plan(RUN, 0, 0, 0)
    assert shop.asked == []


def test_a_conversation_may_end_with_a_question(shop: ScriptedApi, staging: Staging):
    class Asking(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            yield Planned([Query.of("/item", {"id": "1"})])
            yield Query.of("/shelves")

    assert discover(shop.url, staging, Asking()) == (Plan(RUN, 1, 1, 1), 1)
    assert discover(shop.url, staging, Asking())[1] == 0


def test_lists_that_never_end_make_no_plan(shop: ScriptedApi, staging: Staging, monkeypatch: pytest.MonkeyPatch):
    class Endless(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            for page in itertools.count():
                yield Query.of("/shelves", {"page": str(page)})

    shop.answers(Reply([]))
    monkeypatch.setattr("windrow.http.flow.MOST_ASKED", 3)
    with pytest.raises(Unreadable, match=r"'shelves\?page=2'.*more than 3 pages"):
        discover(shop.url, staging, Endless())
    assert len(shop.asked) == 3
    with pytest.raises(PlanMissing):
        staging.plan(RUN)


def test_no_content_is_told_as_nothing(shop: ScriptedApi, staging: Staging):
    shop.script = serving({"/shelves": Reply("", 204)})
    with pytest.raises(Unreadable, match="a list of shelves"):
        discover(shop.url, staging)


# --- a plan that breaks off --------------------------------------------------------------------


def test_after_a_rate_limit_only_the_rest_is_asked(shop: ScriptedApi, staging: Staging):
    shop.script = serving({"/shelf?name=b": Reply(status=429, headers={"Retry-After": "3600"})})
    with pytest.raises(RateLimited):
        discover(shop.url, staging)
    with pytest.raises(PlanMissing):
        staging.plan(RUN)
    assert DynamoTable.closed == ["closed"], "the conversation is ended, not left to the garbage collector"
    shop.asked.clear()
    shop.script = serving({})

    plan, asked = discover(shop.url, staging)

    assert shop.paths == ["/shelf?name=b", "/shelf?name=c"]
    assert (plan.planned, asked, keys(staging)) == (4, 2, ALL)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_after_a_kill_no_list_is_asked_twice(shop: ScriptedApi, staging: Staging, at: int):
    kept = 0

    class Dying(Staging):
        def keep_listing(self, *args: Any) -> None:
            nonlocal kept
            super().keep_listing(*args)
            kept += 1
            if kept == at:
                raise Killed

    with pytest.raises(Killed):
        discover(shop.url, Dying(staging._client, staging._database.name))
    with pytest.raises(PlanMissing):
        staging.plan(RUN)

    assert discover(shop.url, staging)[1] == 5 - at
    assert shop.paths == list(SHOP)
    assert keys(staging) == ALL


def test_killed_before_the_answer_was_kept_one_is_asked_again(shop: ScriptedApi, staging: Staging):
    class Dying(Staging):
        def keep_listing(self, *args: Any) -> None:
            raise Killed

    with pytest.raises(Killed):
        discover(shop.url, Dying(staging._client, staging._database.name))
    assert discover(shop.url, staging)[1] == 5
    assert shop.paths == ["/shelves", *SHOP]


def test_made_again_a_plan_is_the_same_and_asks_nothing(shop: ScriptedApi, staging: Staging):
    first = discover(shop.url, staging)[0]
    shop.asked.clear()
    assert discover(shop.url, staging) == (first, 0)
    assert shop.asked == []


def test_another_dataset_of_the_run_hears_what_was_told_before(shop: ScriptedApi, staging: Staging):
    discover(shop.url, staging)
    prices = Run(Prices.dataset, RUN.run_id)
    assert discover(shop.url, staging, Prices(), prices)[1] == 0
    assert keys(staging, prices) == ALL


def test_another_run_asks_anew(shop: ScriptedApi, staging: Staging):
    discover(shop.url, staging)
    assert discover(shop.url, staging, run=Run(RUN.dataset, "another"))[1] == 5


# --- what cannot be had ------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "body"), [(404, {"error": "no such shelf"}), (403, {"error": "private"})])
def test_a_source_may_go_on_without_what_it_cannot_have(
    shop: ScriptedApi, staging: Staging, status: int, body: dict[str, str]
):
    shop.script = serving({"/shelf?name=a": Reply(body, status)})
    plan, _ = discover(shop.url, staging)
    assert keys(staging) == [f"vanished?shelf=a&status={status}", "item?id=9"]
    assert plan.chunks == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply({}, 404), r"The API has no answer to 'shelves': it does not exist \(HTTP 404\)"),
        (Reply({"error": "who are you"}, 403), r"the API rejected the query.*who are you.*\(HTTP 403\)"),
        (Reply("<html>"), r"'shelves' cannot be read: invalid JSON.*Received: '<html>'"),
    ],
)
def test_without_the_list_that_all_follows_from_there_is_no_plan(
    shop: ScriptedApi, staging: Staging, reply: Reply, said: str
):
    shop.script = serving({"/shelves": reply})
    with pytest.raises(Unusable, match=said) as refused:
        discover(shop.url, staging)
    assert (refused.value.key, refused.value.status) == ("shelves", reply.status)
    with pytest.raises(PlanMissing):
        staging.plan(RUN)
    [(number, kept)] = staging.quarantined(RUN)
    assert (number, kept.query.key, kept.status, kept.body) == (LIST, "shelves", reply.status, reply.text)

    shop.script = serving({})  # it is asked anew
    assert discover(shop.url, staging)[0].planned == 4
    assert staging.quarantined(RUN) == []


def test_a_list_that_the_source_cannot_read_is_asked_anew_by_the_next_try(shop: ScriptedApi, staging: Staging):
    class Trusting(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            shelves = yield Query.of("/shelves")
            yield Planned(Query.of("/shelf", {"name": name}) for name in _texts(shelves.parsed, "shelves"))

    shop.script = serving({"/shelves": Reply({"shevles": []})})
    with pytest.raises(Unreadable, match=r"'shelves' cannot be read: a list of shelves.*Received: .*shevles"):
        discover(shop.url, staging, Trusting())
    assert [one.body for _, one in staging.quarantined(RUN)] == ['{"shevles": []}']
    shop.script = serving({})
    assert discover(shop.url, staging, Trusting())[1] == 1
    assert staging.quarantined(RUN) == []


BAD = [Reply({"itmes": []}), Reply("<html>"), Reply("", 204), Reply({"items": 1}, headers={"Link": '</x>; rel="next"'})]


@pytest.mark.parametrize("bad", BAD)
def test_one_list_that_cannot_be_read_leaves_the_others_in_the_plan(shop: ScriptedApi, staging: Staging, bad: Reply):
    shop.script = serving({"/shelf?name=a": bad})
    assert discover(shop.url, staging)[0].planned == 1
    assert keys(staging) == ["item?id=9"]
    [(number, kept)] = staging.quarantined(RUN)
    assert (number, kept.query.key, kept.body) == (LIST, "shelf?name=a", bad.text)
    assert replay(staging, RUN, DynamoTable()) == 0
    told = Staged.count(staging, staging.plan(RUN))
    assert (told.quarantined, told.left_out) == (1, 1)


def test_a_plan_that_lacks_a_list_is_added_to_once_that_can_be_read(shop: ScriptedApi, staging: Staging):
    shop.script = serving({"/shelf?name=a": Reply({"itmes": []})})
    first, _ = discover(shop.url, staging)
    staging.stage(RUN, [(0, answer("/item", id="9"))])
    announced: list[Sequence[Item]] = []
    shop.asked.clear()

    again, _ = discover(shop.url, staging, standing=first)
    assert (again, shop.paths) == (first, ["/shelf?name=a"] * 2), "it is still in the quarantine"
    shop.script = serving({})
    mended, asked = discover(shop.url, staging, standing=first, announce=announced.append)

    assert (mended, asked) == (Plan(RUN, 5, 4, 2), 2)
    assert sorted(keys(staging)) == ALL
    assert [item.query.key for items in announced for item in items] == ALL[:3]
    assert staging.quarantined(RUN) == []
    assert [answer.query.key for answer in staging.answers(staging.chunk(RUN, 0))] == ["item?id=9"], "it still counts"


def test_killed_while_a_plan_is_added_to_it_lacks_nothing_in_the_end(shop: ScriptedApi, staging: Staging):
    class Dying(Staging):
        def save_size(self, plan: Plan) -> None:
            raise Killed

    shop.script = serving({"/shelf?name=a": Reply({"itmes": []})})
    plan, _ = discover(shop.url, staging)
    shop.script = serving({})
    with pytest.raises(Killed):
        discover(shop.url, Dying(staging._client, staging._database.name), standing=plan)
    assert Staged.count(staging, plan).left_out == 1, "the receipt still fails, and a clear asks again"
    assert discover(shop.url, staging, standing=staging.plan(RUN))[0].planned == 4
    assert staging.quarantined(RUN) == []


def test_pages_in_a_circle_end_their_list_and_are_asked_anew(shop: ScriptedApi, staging: Staging):
    back = Reply({"items": [3]}, headers={"Link": '</shelf?name=a>; rel="next"'})
    shop.script = serving({"/shelf?name=a&page=2": back})
    plan, asked = discover(shop.url, staging)
    assert (asked, keys(staging)) == (5, ALL)
    [(_, kept)] = staging.quarantined(RUN)
    assert (kept.query.key, kept.reason) == (
        "shelf?name=a&page=2",
        "its next page is 'shelf?name=a', which was called before",
    )
    shop.script = serving({})
    assert discover(shop.url, staging, standing=plan)[1] == 1
    assert staging.quarantined(RUN) == []


def test_a_list_that_a_version_before_kept_is_asked_anew_where_it_cannot_be_read(shop: ScriptedApi, staging: Staging):
    for query in (Query.of("/shelves"), Query.of("/shelf", {"name": "a"})):
        staging.keep_listing(RUN, "shop", answer(query.path, '{"shelves": ["a"]}', **dict(query.params)))
    assert discover(shop.url, staging)[1] == 2
    assert keys(staging) == ALL[:3]


def test_where_no_list_can_be_read_there_is_no_plan(shop: ScriptedApi, staging: Staging):
    shop.script = serving({f"/shelf?name={name}": Reply("<html>") for name in "abc"})
    with pytest.raises(Unreadable, match=r"'shelf\?name=a' cannot be read: invalid JSON"):
        discover(shop.url, staging)
    with pytest.raises(PlanMissing):
        staging.plan(RUN)


def answer(path: str, body: str = "{}", **params: str) -> Answer:
    return Answer(Query.of(path, params), Outcome.ANSWERED, 200, body, datetime(2026, 1, 1, tzinfo=UTC))


def test_one_list_without_an_answer_leaves_the_others_and_is_asked_again(shop: ScriptedApi, staging: Staging):
    shop.script = serving({"/shelf?name=a": Reply({"error": "oh"}, 500)})
    plan, _ = discover(shop.url, staging)
    assert keys(staging) == ["item?id=9"]
    [(number, kept)] = staging.quarantined(RUN)
    assert (number, kept.query.key, kept.status, kept.body) == (LIST, "shelf?name=a", 500, '{"error": "oh"}')
    assert f"in {QUICK.attempts} attempts" in kept.reason
    shop.script = serving({})
    assert discover(shop.url, staging, standing=plan)[0].planned == 4
    assert staging.quarantined(RUN) == []


@pytest.mark.parametrize("failing", [["/shelves"], [f"/shelf?name={name}" for name in "abcde"]])
def test_an_api_that_answers_nothing_is_tried_again_by_the_task(
    shop: ScriptedApi, staging: Staging, failing: list[str]
):
    shelves = {"/shelves": Reply({"shelves": ["a", "b", "c", "d", "e", "f"]})}
    shop.script = serving(shelves | {path: Reply(status=500) for path in failing})
    with pytest.raises(Unanswered, match=failing[-1].removeprefix("/").replace("?", r"\?")):
        discover(shop.url, staging)
    with pytest.raises(PlanMissing):
        staging.plan(RUN)
    assert "/shelf?name=f" not in shop.paths


def test_a_gap_is_in_the_plan_and_is_not_asked_for(shop: ScriptedApi, staging: Staging):
    class Promising(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            shelves = yield Query.of("/shelves")
            yield Planned([Query.of("/item", {"id": "1"})])
            yield Gap(Query.of("/shelf", {"name": "z"}), f"{len(shelves.parsed)} of 2 lists", 451)

    announced: list[Item] = []
    plan, _ = discover(shop.url, staging, Promising(), announce=announced.extend)
    assert (plan.planned, keys(staging)) == (2, ["item?id=1", "shelf?name=z"])
    assert [item.query.key for item in announced] == ["item?id=1"]
    told = Staged.count(staging, plan)
    assert (told.gaps, told.examples) == (1, ("'shelf?name=z': HTTP 451 1 of 2 lists",))
    assert discover(shop.url, staging, Promising(), standing=plan)[0].planned == 2


def test_trouble_with_the_api_is_not_told_to_the_source(staging: Staging, shop: ScriptedApi):
    shop.script = serving({"/shelf?name=a": Reply(status=429, headers={"Retry-After": "3600"})})
    with pytest.raises(RateLimited):
        discover(shop.url, staging)
    with pytest.raises(ApiUnreachable):
        discover("http://127.0.0.1:9", staging, run=Run(RUN.dataset, "another"))


def test_errors_of_the_source_pass_through(shop: ScriptedApi, staging: Staging):
    class Broken(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            yield Planned(Query.of("/item", {"id": text}) for text in ("1", "\ud800"))

    class Picky(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            raise BadParameter("No such shelf.", advice="Name another.")
            yield

    class Buggy(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            answer = yield Query.of("/shelves")
            yield Planned([Query.of("/item", {"id": answer.parsed["shelfs"][0]})])

    for stream, kind in ((Broken(), BadParameter), (Picky(), BadParameter), (Buggy(), KeyError)):
        with pytest.raises(kind):
            discover(shop.url, staging, stream)
        with pytest.raises(PlanMissing):
            staging.plan(RUN)


def test_the_source_is_told_what_the_run_is_asked_for(shop: ScriptedApi, staging: Staging):
    class Told(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            yield Planned([
                Query.of("/item", {"id": str(request.params["id"]), "at": str(request.at), "mark": request.watermark})
            ])

    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    discover(shop.url, staging, Told(), request=Request({"id": 5}, noon, "3"))
    assert dict(staging.chunk(RUN, 0).queries[0].params) == {"id": "5", "at": str(noon), "mark": "3"}


def test_chunks_are_written_while_the_conversation_goes_on(
    shop: ScriptedApi, staging: Staging, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windrow.store.plans.CHUNK", 2)
    seen: list[int] = []

    class Watched(DynamoTable):
        def plan(self, request: Request) -> PlanFlow:
            for step in range(5):
                yield Planned([Query.of("/item", {"id": str(step)})])
                seen.append(_chunks(staging))

    assert discover(shop.url, staging, Watched())[0].chunks == 3
    assert seen == [0, 1, 1, 2, 2]


def _chunks(staging: Staging) -> int:
    number = 0
    while True:
        try:
            staging.chunk(RUN, number)
        except PlanMissing:
            return number
        number += 1


class Years(DynamoTable):
    """So many calls follow from one answer that they must not be held all at once."""

    dataset = "shop_years"
    calls = 12 * CHUNK
    held: ClassVar[list[int]] = []

    def plan(self, request: Request) -> PlanFlow:
        yield Query.of("/shelves")
        yield Planned(self.days())

    def days(self) -> Iterator[Query]:
        for day in range(self.calls):
            yield Query.of("/day", {"number": str(day)})
        queries = [one for one in gc.get_objects() if type(one) is Query]  # isinstance asks objects that may be gone
        self.held.append(sum(query.path == "/day" for query in queries))


def test_a_long_part_of_a_plan_is_written_while_it_is_listed(shop: ScriptedApi, staging: Staging) -> None:
    Years.held.clear()
    run = Run(Years.dataset, RUN.run_id)

    plan, _ = discover(shop.url, staging, Years(), run)

    assert plan.planned == Years.calls
    assert len(keys(staging, run)) == Years.calls
    assert 0 < Years.held[0] <= 3 * CHUNK


def test_a_long_part_of_a_plan_is_announced_whole_also_when_it_goes_on(shop: ScriptedApi, staging: Staging) -> None:
    run = Run(Years.dataset, RUN.run_id)
    for asked in (1, 0):  # the second finds the answer kept, and cannot know how much the first has announced
        told: list[Sequence[Item]] = []

        _, calls = discover(shop.url, staging, Years(), run, announce=told.append)

        assert calls == asked
        assert [item.query.key for items in told for item in items] == keys(staging, run)


class Paged(DynamoTable):
    """A list that is planned too. A plan gets its first page only."""

    paging = LinkHeader()

    def plan(self, request: Request) -> PlanFlow:
        first = Query.of("/shelf", {"name": "a"})
        yield first
        yield Planned((first,))


class Members(Paged):
    """Items of all pages of another list."""

    paging = NextUrl()

    def plan(self, request: Request) -> PlanFlow:
        pages = yield from self.pages(Query.of("/list"))
        yield Planned(Query.of("/item", {"id": str(item)}) for page in pages for item in page.parsed["items"])


def test_a_plan_follows_all_pages_of_a_list_also_when_it_continues(shop: ScriptedApi, staging: Staging):
    second = {"items": [2], "next": "/v1/list?page=3"}
    replies = {"/v1/list": {"items": [1], "next": "/v1/list?page=2"}, "/v1/list?page=3": {"items": [3]}}
    shop.script = serving({name: Reply(body) for name, body in replies.items()} | {"/v1/list?page=2": Reply({}, 500)})
    with pytest.raises(Unanswered):
        discover(f"{shop.url}/v1", staging, Members())
    shop.asked.clear()
    shop.script = serving({name: Reply(body) for name, body in {**replies, "/v1/list?page=2": second}.items()})
    assert discover(f"{shop.url}/v1", staging, Members())[0].planned == 3
    assert shop.paths == ["/v1/list?page=2", "/v1/list?page=3"]


def test_a_first_page_does_not_settle_a_query_of_several(shop: ScriptedApi, staging: Staging):
    shop.script = serving({})
    plan, asked = discover(shop.url, staging, Paged())
    assert (plan.planned, asked) == (1, 1)
    assert staging.settled(RUN, 0) == {}
