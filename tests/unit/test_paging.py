"""Kinds of paging, on the wire: each is declared, and an API that pages in another way is refused clearly."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared
from windrow.http.auth import StaticToken
from windrow.http.client import Client, Limits
from windrow.http.paging import Pages, StoredPage
from windrow.model.answer import Answer, Rejected
from windrow.model.contract import Column, Kind
from windrow.model.errors import BadParameter, QueryRefused, Unreadable
from windrow.model.export import ExportJob
from windrow.model.formats import Csv
from windrow.model.paging import Cursor, LinkHeader, NextUrl, Offset, PageNumber, Paging, TimeWindow
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.stream import Stream

ITEMS = list(range(1, 6))
QUERY = Query.of("/items", {"sort": "id"})
POST = Query.of("/items", {"sort": "id"}, body='{"filter": {"shop": 7}}', known_by={"shop": "7"})


class Memory:
    """A `PageStore` of one test."""

    def __init__(self) -> None:
        self.kept: dict[int, StoredPage] = {}

    async def pages(self, query: Query) -> list[StoredPage]:
        return list(self.kept.values())

    async def keep_page(self, query: Query, number: int, page: StoredPage) -> None:
        self.kept[number] = page

    async def drop_pages(self, query: Query) -> None:
        self.kept.clear()


def ask(
    api: ScriptedApi,
    paging: Paging | None,
    query: Query = QUERY,
    *,
    base: str = "",
    store: Memory | None = None,
    origins: Sequence[str] = (),
    **how: Any,
) -> Answer | Rejected:
    async def asking() -> Answer | Rejected:
        limits = Limits(backoff=Backoff(0.001, 0.002, 8), patience_s=0.5)
        pages = Pages(how.pop("read", lambda query, parsed: None), paging=paging, store=store or Memory(), **how)
        async with Client(
            f"{api.url}{base}", StaticToken("t0ken"), name="shop", limits=limits, origins=origins
        ) as shop:
            return await pages.ask(shop, query)

    return asyncio.run(asking())


def ids(answer: Answer | Rejected) -> list[int]:
    assert isinstance(answer, Answer), answer.reason
    pages = answer.parsed if answer.is_paged else [answer.parsed]
    return [item for page in pages for item in (page if isinstance(page, list) else page["items"])]


def rejected(settled: Answer | Rejected) -> Rejected:
    assert isinstance(settled, Rejected)
    return settled


def sliced(first: int, size: int = 2) -> list[int]:
    return ITEMS[first : first + size]


def linked(asked: Asked, url: str, place: str) -> Reply:
    """Two items a page, from the parameter ``at``; the next page is linked as ``place`` says."""
    at = int(dict(asked.params).get("at", "0"))
    link = f"{url}?sort=id&at={at + 2}" if at < 4 else ""
    headers = {"Link": f'<{link}>; rel="next"'} if link and place == "header" else {}
    return Reply({"items": sliced(at), "meta": {"next": link or None}}, headers=headers)


def value_of(asked: Asked, name: str, default: int) -> int:
    return int(dict(asked.params).get(name, default))


def cursor_of(asked: Asked) -> int:
    body = json.loads(asked.body or "{}")
    return int(body.get("page", {}).get("after", "0")) or value_of(asked, "cursor", 0)


def with_cursor(asked: Asked) -> Reply:
    at = cursor_of(asked)
    more = at < 4
    headers = {"X-Next": str(at + 2)} if more else {}
    return Reply({"items": sliced(at), "meta": {"after": str(at + 2), "more": more}}, headers=headers)


KINDS: list[tuple[Paging, Query, Callable[[Asked], Reply], list[str]]] = [
    (LinkHeader(), QUERY, lambda asked: linked(asked, "/v1/items", "header"), ["", "at=2", "at=4"]),
    (NextUrl("meta.next"), QUERY, lambda asked: linked(asked, "/v1/items", "body"), ["", "at=2", "at=4"]),
    (NextUrl("meta.next"), QUERY, lambda asked: linked(asked, "", "body"), ["", "at=2", "at=4"]),
    (NextUrl("meta.next"), POST, lambda asked: linked(asked, "/v1/items", "body"), ["", "at=2", "at=4"]),
    (LinkHeader(), POST, lambda asked: linked(asked, "/v1/items", "header"), ["", "at=2", "at=4"]),
    (Cursor("meta.after", more="meta.more"), QUERY, with_cursor, ["", "cursor=2", "cursor=4"]),
    (Cursor(header="x-next"), QUERY, with_cursor, ["", "cursor=2", "cursor=4"]),
    (Cursor(header="X-Next", param="page.after", in_body=True), POST, with_cursor, ["", "", ""]),
    (
        PageNumber(size_param="size", size=2, rows="items"),
        QUERY,
        lambda asked: Reply({"items": sliced(2 * value_of(asked, "page", 1) - 2)}),
        ["size=2&page=1", "size=2&page=2", "size=2&page=3"],
    ),
    (
        PageNumber(start=0, rows="items", total="count"),
        QUERY,
        lambda asked: Reply({"items": sliced(2 * value_of(asked, "page", 0)), "count": "5"}),
        ["page=0", "page=1", "page=2"],
    ),
    (
        PageNumber("p", pages="pages"),
        QUERY,
        lambda asked: Reply({"items": sliced(2 * value_of(asked, "p", 1) - 2), "pages": 3}),
        ["p=1", "p=2", "p=3"],
    ),
    (
        Offset(limit=2),
        QUERY,
        lambda asked: Reply(sliced(value_of(asked, "offset", 0), value_of(asked, "limit", 9))),
        ["limit=2&offset=0", "limit=2&offset=2", "limit=2&offset=4"],
    ),
    (
        Offset(limit=5, rows="items"),
        QUERY,
        lambda asked: Reply({"items": sliced(value_of(asked, "offset", 0), 5)}),
        ["limit=5&offset=0", "limit=5&offset=5"],
    ),
]


@pytest.mark.parametrize(("paging", "query", "script", "calls"), KINDS)
def test_all_pages_are_called_once_and_a_post_stays_a_post(scripted: ScriptedApi, paging, query, script, calls):
    scripted.script = script
    store = Memory()
    assert ids(ask(scripted, paging, query, base="/v1", store=store)) == ITEMS
    assert [path.removeprefix("/v1/items?sort=id").removeprefix("&") for path in scripted.paths] == calls
    assert {asked.method for asked in scripted.asked} == {"POST" if query.body else "GET"}
    assert all(json.loads(asked.body)["filter"] == {"shop": 7} for asked in scripted.asked if query.body)
    assert len(store.kept) == len(calls) - 1
    assert all(asked.signature == "Bearer t0ken" for asked in scripted.asked)


def test_a_page_number_behind_the_last_full_page_may_be_a_404(scripted: ScriptedApi):
    scripted.script = lambda asked: Reply([value_of(asked, "page", 1)], 200 if value_of(asked, "page", 1) < 3 else 404)
    assert ids(ask(scripted, PageNumber(size=1))) == [1, 2]


@pytest.mark.parametrize(
    ("style", "start", "end", "step", "windows"),
    [
        ("date", "2026-01-01", "2026-01-05", 1, ["01-01..01-03", "01-04..01-05"]),
        ("iso", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z", 0, ["01-01..01-03", "01-03..01-05"]),
        ("epoch", "1767225600", "1767571200", 0, ["1767225600..1767398400", "1767398400..1767571200"]),
    ],
)
def test_a_time_is_called_in_windows(scripted: ScriptedApi, style, start, end, step, windows):
    scripted.script = lambda asked: Reply([1])
    paging = TimeWindow(window=timedelta(days=2), style=style, step=timedelta(days=step))
    assert ids(ask(scripted, paging, Query.of("/items", {"from": start, "to": end}))) == [1] * len(windows)
    called = [dict(asked.params) for asked in scripted.asked]
    found = [f"{one['from']}..{one['to']}".replace("2026-", "").replace("T00:00:00Z", "") for one in called]
    assert found == windows


@pytest.mark.parametrize(
    "params", [{}, {"from": "soon", "to": "2026-01-01"}, {"from": "2026-01-02", "to": "2026-01-01"}]
)
def test_a_query_without_a_time_has_no_windows(scripted: ScriptedApi, params):
    with pytest.raises(BadParameter, match="time"):
        ask(scripted, TimeWindow(style="date"), Query.of("/items", params))
    assert scripted.asked == []


# --- paging that does not end well --------------------------------------------------------------


def counting(**fields: Any) -> Callable[[Asked], Reply]:
    numbers = itertools.count(1)
    return lambda asked: Reply({"items": [next(numbers)], "after": f"c{next(numbers)}", **fields})


@pytest.mark.parametrize(
    ("paging", "script", "page", "reason", "calls"),
    [
        (Cursor("after"), lambda asked: Reply({"after": "same"}), 2, "which was called before", 2),
        (Cursor("after"), counting(), 5, "there are more than 5 pages", 5),
        (Cursor("after", rows="items", total="n"), lambda asked: Reply({"items": [1], "n": 9}), 1, "'n' is 9, but", 1),
        (PageNumber(rows="items"), lambda asked: Reply({"items": [1]}), 2, "the same rows as the page before", 2),
        (Offset(limit=1), lambda asked: Reply([1]), 2, "the same rows as the page before", 2),
        (
            PageNumber(rows="items", total="n"),
            lambda asked: Reply({"items": [1] if value_of(asked, "page", 1) == 1 else [], "n": 3}),
            2,
            "'n' is 3, but the pages end after 1 rows",
            2,
        ),
        (PageNumber(rows="itmes"), counting(), 1, "the page has no list of rows at 'itmes'", 1),
        (PageNumber(rows="items", total="n"), counting(n="many"), 1, "'n' must be a whole number, not 'many'", 1),
        (Cursor("after", more="more"), counting(more="yes"), 1, "'more' must be true or false, not 'yes'", 1),
        (Cursor("next", more="more"), counting(more=True), 1, "'more' is true, but there is no cursor", 1),
        (PageNumber(), counting(), 1, "the page is not a list; declare in 'rows'", 1),
        (Offset(), counting(), 1, "the page is not a list; declare in 'rows'", 1),
        (NextUrl("items"), counting(), 1, "'items' must be a string, not [1]", 1),
        (NextUrl("after"), lambda asked: Reply({"after": "http://[x"}), 1, "not at an allowed origin", 1),
        (TimeWindow(style="date", most=1), lambda asked: Reply([1]), 1, "declare a shorter window", 1),
    ],
)
def test_paging_that_does_not_end_is_rejected_with_the_page(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch, paging, script, page, reason, calls
):
    monkeypatch.setattr("windrow.http.paging.MOST_PAGES", 5)
    scripted.script = script
    store = Memory()
    found = ask(scripted, paging, Query.of("/items", {"from": "2026-01-01", "to": "2026-02-01"}), store=store)
    assert isinstance(found, Rejected)
    assert found.reason.startswith(f"page {page} (")
    assert reason in found.reason
    assert (found.incomplete, len(scripted.asked), store.kept) == (True, calls, {})


def test_a_page_of_html_is_quarantined_with_its_bytes_and_the_pages_before_stay(scripted: ScriptedApi):
    page = "<html>Gr\xfc\xdfe</html>".encode("latin-1")
    wrong = Reply(page, headers={"Content-Type": "text/html; charset=iso-8859-1"})
    scripted.script = lambda asked: wrong if cursor_of(asked) == 2 else with_cursor(asked)
    store = Memory()
    found = ask(scripted, Cursor("meta.after", more="meta.more"), store=store)
    assert isinstance(found, Rejected)
    assert found.reason.startswith("page 2 (items?cursor=2&sort=id): invalid JSON")
    assert (found.raw, found.content_type) == (page, "text/html; charset=iso-8859-1")
    assert [stored.answer.parsed["items"] for stored in store.kept.values()] == [[1, 2]]
    assert len(scripted.asked) == 3  # the page twice

    scripted.script = with_cursor
    assert ids(ask(scripted, Cursor("meta.after", more="meta.more"), store=store)) == ITEMS
    assert len(scripted.asked) == 5


def test_a_first_page_whose_cursor_is_in_a_header_is_a_part_if_it_cannot_be_read(scripted: ScriptedApi):
    scripted.answers(Reply("<html>", headers={"X-Next": "2"}))
    assert rejected(ask(scripted, Cursor(header="X-Next"))).incomplete
    scripted.answers(Reply("<html>"))
    assert not rejected(ask(scripted, Cursor(header="X-Next"))).incomplete


def test_a_body_without_a_place_for_the_cursor_is_refused(scripted: ScriptedApi):
    scripted.answers(Reply({"after": "2"}))
    found = ask(scripted, Cursor("after", param="a.b", in_body=True), Query.of("/items", body="[1]"))
    assert "the body of the query has no place for 'a.b'" in rejected(found).reason


def test_pages_of_csv_are_read_as_a_list_of_pages(scripted: ScriptedApi):
    scripted.script = lambda asked: Reply(
        f"id\n{value_of(asked, 'page', 1)}\n" if value_of(asked, "page", 1) < 3 else "id\n"
    )
    read: list[object] = []
    found = ask(scripted, PageNumber(size=1), format=Csv(), read=lambda query, parsed: read.append(parsed))
    assert isinstance(found, Answer)
    assert found.parsed == [[{"id": "1"}], [{"id": "2"}], []] == read[-1]
    assert replace(found, query=QUERY).parsed_as(Csv()) == found.parsed
    assert scripted.asked[0].headers["Accept"] == "text/csv, */*;q=0.1"


# --- where calls go -----------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Any:
    from tests import scripted_api

    with scripted_api.running() as api:
        yield api


@pytest.mark.parametrize("form", ["{url}/items", "{upper}/items", "//{host}/items", "http://shop@{host}/items"])
@pytest.mark.parametrize("way", ["plan", "body", "header", "override"])
def test_another_origin_is_never_called(scripted: ScriptedApi, stranger: ScriptedApi, form: str, way: str):
    link = form.format(url=stranger.url, host=stranger.url[7:], upper=stranger.url.upper())
    scripted.answers(Reply({"next": link}, headers={"Link": f'<{link}>; rel="next"'}))
    if way == "plan":
        with pytest.raises(QueryRefused, match=r"not an allowed origin|has a login") as refused:
            ask(scripted, None, Query.of(link))
        assert "shop@" not in str(refused.value)
    elif way == "override":
        found = ask(scripted, None, next_page=lambda query, answer: query.following(link))
        assert "is not at an allowed origin" in rejected(found).reason
    else:
        found = ask(scripted, NextUrl() if way == "body" else LinkHeader())
        assert "is not at an allowed origin" in rejected(found).reason
    assert stranger.asked == []


@pytest.mark.parametrize("path", [r"/\evil\x", r"\\evil\x", "/items:batch", "items:batch", "/../items", "/a//b"])
def test_a_strange_path_stays_at_the_api(scripted: ScriptedApi, path: str):
    assert isinstance(ask(scripted, None, Query.of(path), base="/v1"), Answer)
    assert len(scripted.asked) == 1


def test_a_login_in_a_url_is_not_sent(scripted: ScriptedApi):
    with pytest.raises(QueryRefused, match="has a login in its URL") as error:
        ask(scripted, None, Query.of(scripted.url.replace("//", "//ada:s3cr3t@") + "/items"))
    assert "s3cr3t" not in str(error.value)
    assert scripted.asked == []


def test_a_complete_url_at_the_api_is_below_its_base(scripted: ScriptedApi):
    links = [f"{scripted.url}/v1/items?page=2", f"{scripted.url}/v2/items", None]
    scripted.answers(*(Reply({"next": link}) for link in links))
    keys: list[str] = []
    found = ask(scripted, NextUrl(), base="/v1", read=lambda query, parsed: keys.append(query.key))
    assert isinstance(found, Answer)
    assert scripted.paths == ["/v1/items?sort=id", "/v1/items?page=2", "/v2/items"]
    assert keys[:2] == ["items?sort=id", "items?page=2"]


def test_another_allowed_origin_is_called(scripted: ScriptedApi, stranger: ScriptedApi):
    scripted.answers(Reply({"next": f"{stranger.url}/more?page=2"}))
    found = ask(scripted, NextUrl(), origins=[stranger.url])
    assert isinstance(found, Answer)
    assert stranger.paths == ["/more?page=2"]


# --- declarations -------------------------------------------------------------------------------


def test_a_stream_pages_in_one_way():
    with pytest.raises(TypeError, match="remove one of them"):
        type("Both", (Stream,), {"paging": LinkHeader(), "next_page": lambda self, query, answer: None})
    with pytest.raises(TypeError, match="conditional_requests must be False"):
        type("Both", (Stream,), {"paging": Cursor(header="X-Next"), "conditional_requests": True})


@pytest.mark.parametrize(
    "declare",
    [
        Cursor,
        lambda: Cursor("a", header="b"),
        lambda: Offset(limit=0),
        lambda: TimeWindow(window=timedelta(0)),
        lambda: ExportJob("/exports"),
    ],
)
def test_a_declaration_that_cannot_page_is_refused(declare: Callable[[], object]):
    with pytest.raises(ValueError, match=r"Cursor|Offset|TimeWindow|ExportJob"):
        declare()


def test_a_declared_stream_says_once_where_its_rows_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windrow.model.registry._declared", {})
    columns = (Column("n", "n", Kind.INTEGER, "Number."),)
    given = {"dataset": "shop_items", "get": "/items", "columns": columns, "paging": Offset(limit=2)}
    assert type("Items", (Declared,), {**given, "rows": Rows("data.items")})().paging == Offset(
        limit=2, rows="data.items"
    )


def test_a_link_that_is_no_url_is_unreadable():
    with pytest.raises(Unreadable, match="is not a valid URL"):
        QUERY.following("http://[x/items")


def test_two_posts_have_two_keys_on_their_next_page():
    other = replace(POST, body='{"filter": {"shop": 8}}')
    assert POST.following("/items?page=2").key != other.following("/items?page=2").key
    assert orjson.loads(POST.following("/items?page=2").body) == {"filter": {"shop": 7}}
