"""Leading a source's conversation: over the fake API, and over lists that a test writes down."""

import asyncio
import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from local_cloud.apis.testing import FakeApi
from tests.faults.harvest_process import QUICK, asking, connect, served, totals
from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.harvest.discovery import Announce, Discovery
from windrow.harvest.feeds import Item
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import ApiUnreachable, BadParameter, PlanMissing, QueryRefused, RateLimited, Unreadable
from windrow.model.plan import CHUNK, Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Conversation, Planned, Request, Stream
from windrow.sources.titanic.streams import Passengers
from windrow.store.staging import Staging

RUN = Run("shop_items", "scheduled__2026-01-01T00:00:00+00:00")
NOBODY: Request = Request()


class Items(Stream):
    """Shelves, then the pages of each shelf, then one call an item."""

    dataset = "shop_items"
    contract = Contract((Column("id", "id", Kind.INTEGER, "Number of the item.", required=True),))
    closed: ClassVar[list[str]] = []

    def plan(self, request: Request) -> Conversation:
        self.closed.clear()
        try:
            shelves = yield Query.of("/shelves")
            for shelf in _texts(shelves.parsed, "shelves"):
                page: Query | None = Query.of("/shelf", {"name": shelf})
                while page is not None:
                    try:
                        answer = yield page
                    except QueryRefused as refused:
                        yield Planned([Query.of("/vanished", {"shelf": shelf, "status": str(refused.status)})])
                        break
                    yield Planned(Query.of("/item", {"id": item}) for item in _texts(answer.parsed, "items"))
                    page = page.following(answer.next_link) if answer.next_link else None
        finally:
            self.closed.append("closed")

    def records(self, query: Query, answer: object) -> list[dict[str, object]]:
        return [self.contract.record(answer)]


class Prices(Items):
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


def serving(instead: dict[str, Reply]) -> Callable[[Asked], Reply]:
    """Serve the shop, with other replies for some paths."""
    replies = SHOP | instead

    def script(asked: Asked) -> Reply:
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
) -> tuple[Plan, int]:
    """Make a plan; return it with the number of queries that were asked."""

    async def plan() -> tuple[Plan, int]:
        limits = Limits(backoff=QUICK, patience_s=0.2)
        async with Client(url, NoAuth(), name="shop", limits=limits) as client:
            discovery = Discovery(client, staging, run, stream or Items(), announce=announce)
            return await discovery.plan(request), discovery.asked

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
    assert Items.closed == ["closed"]


def test_a_conversation_without_a_word_makes_an_empty_plan(shop: ScriptedApi, staging: Staging):
    class Silent(Items):
        def plan(self, request: Request) -> Conversation:
            yield from ()

    assert discover(shop.url, staging, Silent()) == (Plan(RUN, 0, 0, 0), 0)
    assert staging.plan(RUN) == Plan(RUN, 0, 0, 0)
    assert shop.asked == []


def test_a_conversation_may_end_with_a_question(shop: ScriptedApi, staging: Staging):
    class Asking(Items):
        def plan(self, request: Request) -> Conversation:
            yield Planned([Query.of("/item", {"id": "1"})])
            yield Query.of("/shelves")

    assert discover(shop.url, staging, Asking()) == (Plan(RUN, 1, 1, 1), 1)
    assert discover(shop.url, staging, Asking())[1] == 0


def test_lists_that_never_end_make_no_plan(shop: ScriptedApi, staging: Staging, monkeypatch: pytest.MonkeyPatch):
    class Endless(Items):
        def plan(self, request: Request) -> Conversation:
            for page in itertools.count():
                yield Query.of("/shelves", {"page": str(page)})

    shop.answers(Reply([]))
    monkeypatch.setattr("windrow.harvest.discovery.MOST_LISTS", 3)
    with pytest.raises(QueryRefused, match=r"'shelves\?page=3'.*it comes after 3 others"):
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
    assert Items.closed == ["closed"], "the conversation is ended, not left to the garbage collector"
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
        (Reply({}, 404), r"'shelves', cannot be had: the API says there is no such thing \(HTTP 404\)"),
        (Reply({"error": "who are you"}, 403), r"the API rejected the query.*who are you.*\(HTTP 403\)"),
        (Reply("<html>"), r"invalid JSON.*\(HTTP 200\)"),
    ],
)
def test_without_the_list_that_all_follows_from_there_is_no_plan(
    shop: ScriptedApi, staging: Staging, reply: Reply, said: str
):
    shop.script = serving({"/shelves": reply})
    with pytest.raises(QueryRefused, match=said) as refused:
        discover(shop.url, staging)
    assert (refused.value.key, refused.value.status) == ("shelves", reply.status)
    assert "params of the run" in refused.value.advice
    with pytest.raises(PlanMissing):
        staging.plan(RUN)

    shop.script = serving({})  # it is asked anew
    assert discover(shop.url, staging)[0].planned == 4


def test_a_list_that_the_source_cannot_read_is_asked_anew_by_the_next_try(shop: ScriptedApi, staging: Staging):
    shop.script = serving({"/shelf?name=b": Reply({"itmes": []})})
    with pytest.raises(Unreadable, match="a list of items"):
        discover(shop.url, staging)
    shop.script = serving({})
    assert discover(shop.url, staging)[1] == 2
    assert keys(staging) == ALL


def test_trouble_with_the_api_is_not_told_to_the_source(staging: Staging, shop: ScriptedApi):
    shop.script = serving({"/shelf?name=a": Reply(status=429, headers={"Retry-After": "3600"})})
    with pytest.raises(RateLimited):
        discover(shop.url, staging)
    with pytest.raises(ApiUnreachable):
        discover("http://127.0.0.1:9", staging, run=Run(RUN.dataset, "another"))


def test_errors_of_the_source_pass_through(shop: ScriptedApi, staging: Staging):
    class Broken(Items):
        def plan(self, request: Request) -> Conversation:
            yield Planned(Query.of("/item", {"id": text}) for text in ("1", "\ud800"))

    class Picky(Items):
        def plan(self, request: Request) -> Conversation:
            raise BadParameter("No such shelf.", advice="Name another.")
            yield

    class Buggy(Items):
        def plan(self, request: Request) -> Conversation:
            answer = yield Query.of("/shelves")
            yield Planned([Query.of("/item", {"id": answer.parsed["shelfs"][0]})])

    for stream, kind in ((Broken(), BadParameter), (Picky(), BadParameter), (Buggy(), KeyError)):
        with pytest.raises(kind):
            discover(shop.url, staging, stream)
        with pytest.raises(PlanMissing):
            staging.plan(RUN)


def test_the_source_is_told_what_the_run_is_asked_for(shop: ScriptedApi, staging: Staging):
    class Told(Items):
        def plan(self, request: Request) -> Conversation:
            yield Planned([
                Query.of("/item", {"id": str(request.params["id"]), "at": str(request.at), "mark": request.watermark})
            ])

    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    discover(shop.url, staging, Told(), request=Request({"id": 5}, noon, "3"))
    assert dict(staging.chunk(RUN, 0).queries[0].params) == {"id": "5", "at": str(noon), "mark": "3"}


def test_chunks_are_written_while_the_conversation_goes_on(
    shop: ScriptedApi, staging: Staging, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windrow.store.staging.CHUNK", 2)
    seen: list[int] = []

    class Watched(Items):
        def plan(self, request: Request) -> Conversation:
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


class Years(Items):
    """So many calls follow from one answer that they must not be held all at once."""

    dataset = "shop_years"
    calls = 12 * CHUNK
    held: ClassVar[list[int]] = []

    def plan(self, request: Request) -> Conversation:
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
