"""The client against a real server: what it sends, whom it signs for, what it makes of an answer, and how it waits."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import scripted_api
from tests.scripted_api import Reply, ScriptedApi
from tests.unit.books import MemoryBook
from windrow.http.auth import Auth, Exchange, NoAuth, StaticToken
from windrow.http.client import Client, Limits
from windrow.http.ledger import Ledger
from windrow.http.loop import run_async
from windrow.http.pacing import Pause
from windrow.http.pool import Credential, TokenPool
from windrow.http.results import Reader
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected
from windrow.model.errors import ApiUnreachable, CredentialsRejected, Misconfigured, RateLimited, Unanswered
from windrow.model.policy import HTTP_POLICY, Action, Backoff, ErrorDetail, on
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.response import Response

QUICK = Backoff(base_s=0.001, cap_s=0.002, attempts=3)
QUERY = Query.of("/items", {"page": "1"})


@pytest.fixture
def api(scripted: ScriptedApi) -> ScriptedApi:
    return scripted


@pytest.fixture(scope="module")
def stranger() -> Iterator[ScriptedApi]:
    """Another host, as far as signatures go: another port."""
    with scripted_api.running() as api:
        yield api


class Keys(Auth):
    """Signs with a key, and with the next one where its quota is spent."""

    def __init__(self, *keys: str) -> None:
        self.left = list(keys)
        self.waits: list[float | None] = []

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.left[0]}"}

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        raise AssertionError("no 401 here")

    def throttled(self, signature: Mapping[str, str], wait_s: float | None, query: Query) -> bool:
        self.waits.append(wait_s)
        if len(self.left) > 1 and signature["Authorization"] == f"Bearer {self.left[0]}":
            del self.left[0]
            return True
        return False


def asking(
    api: ScriptedApi,
    query: Query = QUERY,
    *,
    auth: Auth | None = None,
    read: Reader = lambda query, answer: None,
    base: str = "",
    limits: Mapping[str, Any] | None = None,
    **settings: Any,
) -> tuple[Answer | Rejected, Client]:
    async def ask() -> tuple[Answer | Rejected, Client]:
        many = Limits(**{"backoff": QUICK, "patience_s": 5.0, **(limits or {})})
        async with Client(api.url + base, auth or Keys("k1"), name="shop", limits=many, **settings) as client:
            return await client.ask(query, read), client

    return run_async(ask())


def asked(api: ScriptedApi, query: Query = QUERY, **settings: Any) -> Answer | Rejected:
    return asking(api, query, **settings)[0]


def answer(api: ScriptedApi, query: Query = QUERY, **settings: Any) -> Answer:
    settled = asked(api, query, **settings)
    assert isinstance(settled, Answer), settled
    return settled


def rejected(api: ScriptedApi, query: Query = QUERY, **settings: Any) -> Rejected:
    settled = asked(api, query, **settings)
    assert isinstance(settled, Rejected), settled
    return settled


# --- what is sent ------------------------------------------------------------------------------


def test_a_query_is_a_get_with_its_params_in_order(api: ScriptedApi):
    answer(api, Query.of("/a/b", {"z": "1", "a": "ü &="}))
    (one,) = api.asked
    assert (one.method, one.path, one.params, one.body) == ("GET", "/a/b", (("z", "1"), ("a", "ü &=")), "")
    assert one.headers["User-Agent"] == "windrow"
    assert one.headers["Accept"] == "application/json"
    assert one.signature == "Bearer k1"
    assert "Content-Type" not in one.headers


def test_a_query_with_a_body_is_a_post_of_json(api: ScriptedApi):
    body = json.dumps({"query": "{ ships { name } }", "é": "\u2028"})
    answer(api, Query.of("/graphql", {"v": "2"}, body=body, known_by={"ships": "all"}))
    (one,) = api.asked
    assert (one.method, one.path, one.params, one.body) == ("POST", "/graphql", (("v", "2"),), body)
    assert one.headers["Content-Type"] == "application/json"
    assert one.signature == "Bearer k1"


def test_headers_of_the_api_and_of_the_query_are_sent_and_the_nearer_one_wins(api: ScriptedApi):
    headers = {"Accept": "application/star+json", "X-One": "query", "Content-Type": "application/x"}
    asked(api, Query.of("/a", headers=headers, body="{}"), headers={"X-One": "api", "X-Two": "api"})
    sent = api.asked[0].headers
    assert [sent[name] for name in ("Accept", "X-One", "X-Two", "Content-Type")] == [
        "application/star+json", "query", "api", "application/x"
    ]  # fmt: skip
    assert sent.getall("Content-Type") == ["application/x"]  # type: ignore[attr-defined]


def test_no_header_of_a_query_takes_the_place_of_the_signature(api: ScriptedApi):
    answer(api, Query.of("/a", headers={"Authorization": "Bearer other"}))
    assert api.asked[0].signature == "Bearer k1"


def test_a_post_that_is_tried_again_is_the_same_post(api: ScriptedApi):
    api.answers(Reply(status=503), Reply(status=503), Reply({"a": 1}))
    answer(api, Query.of("/a", body='{"b": 1}', headers={"X-One": "1"}))
    sent = [(one.method, one.body, one.headers["X-One"], one.signature) for one in api.asked]
    assert sent == [("POST", '{"b": 1}', "1", "Bearer k1")] * 3


def test_the_client_can_be_of_an_api_below_a_path(api: ScriptedApi):
    answer(api, Query.of("/items"), base="/v2")
    assert api.paths == ["/v2/items"]


# --- redirects ---------------------------------------------------------------------------------


def moved(to: str, status: int = 301) -> Reply:
    return Reply("", status, {"Location": to})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_thing_that_moved_on_the_same_host_is_found_and_signed_for(api: ScriptedApi, status: int):
    api.script = lambda asked: Reply({"id": 7}) if asked.path == "/things/7" else moved("/things/7", status)
    assert answer(api, Query.of("/thing", {"name": "x"})).body == '{"id": 7}'
    assert [(one.path, one.signature) for one in api.asked] == [("/thing", "Bearer k1"), ("/things/7", "Bearer k1")]


def test_another_host_that_an_answer_points_to_is_not_asked(api: ScriptedApi, stranger: ScriptedApi):
    api.answers(moved(f"{stranger.url}/elsewhere"))
    stranger.asked.clear()
    settled = rejected(api)
    assert settled.reason == (
        f"the API rejected the query: HTTP 301 redirects to '{stranger.url}/elsewhere', "
        f"which is not at an allowed origin: {api.url}"
    )
    assert (len(api.asked), stranger.asked) == (1, [])


def test_an_origin_that_the_connection_names_is_asked_and_signed_for(api: ScriptedApi, stranger: ScriptedApi):
    api.answers(moved(f"{stranger.url.replace('://', '://user:secret@')}/elsewhere?page=2"))
    stranger.asked.clear()
    assert isinstance(asked(api, origins=[stranger.url]), Answer)
    ((path, signature),) = [(one.path, one.signature) for one in stranger.asked]
    assert (path, signature) == ("/elsewhere", "Bearer k1"), "the login in the address is not sent"


def test_each_hop_counts(api: ScriptedApi):
    api.answers(moved("/b"), moved("/c"), Reply({"a": 1}))
    begun = time.monotonic()
    settled, client = asking(api, limits={"rate_per_s": 20.0})
    assert isinstance(settled, Answer)
    assert (client.events["sent"], client.events["http_301"], client.events["retried"]) == (3, 2, 0)
    assert time.monotonic() - begun >= 0.1, "two pauses of a twentieth of a second"


@pytest.mark.parametrize(
    ("to", "query", "words"),
    [
        ("/items?page=1", QUERY, "redirects in a loop, back to '/items?page=1'"),
        ("http://[", QUERY, "redirects to an invalid URL: 'http://['"),
        ("file:///etc/passwd", QUERY, "redirects to an invalid URL: 'file:///etc/passwd'"),
        ("/b", Query.of("/items", body="{}"), "redirects a POST to '/b', which would drop its body"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_told(api: ScriptedApi, to: str, query: Query, words: str):
    api.answers(moved(to))
    settled = rejected(api, query)
    assert settled.reason == f"the API rejected the query: HTTP 301 {words}"
    assert len(api.asked) == 1


def test_redirects_have_an_end(api: ScriptedApi):
    numbers = itertools.count()
    api.script = lambda asked: moved(f"/{next(numbers)}")
    assert "redirects more than 10 times, last to '/10'" in rejected(api).reason
    assert len(api.asked) == 11


def test_a_form_with_secrets_is_taken_nowhere_else(api: ScriptedApi, stranger: ScriptedApi):
    api.answers(moved(f"{stranger.url}/token", 307))
    stranger.asked.clear()

    async def post() -> Response:
        async with Client(api.url, NoAuth(), limits=Limits()) as client:
            return await client._exchange("/token", {"client_secret": "s3cr3t"})

    assert run_async(post()).status == 307
    assert stranger.asked == []
    assert [(one.body, one.signature) for one in api.asked] == [("client_secret=s3cr3t", None)]


# --- answers -----------------------------------------------------------------------------------


def test_no_content_is_an_answer(api: ScriptedApi):
    read: list[object] = []
    api.answers(Reply("", 204))
    settled = answer(api, read=lambda query, parsed: read.append(parsed))
    assert (settled.outcome, settled.status, settled.body, settled.parsed) == (Outcome.ANSWERED, 204, "", None)
    assert read == [None]


def test_nothing_where_something_should_be_is_none(api: ScriptedApi):
    api.answers(Reply("", 200))
    settled = rejected(api)
    assert (settled.reason[:13], settled.status, settled.body, len(api.asked)) == ("invalid JSON:", 200, "", 2)


def test_a_body_is_kept_word_for_word(api: ScriptedApi):
    text = '{"a": 1.0,  "b": 123456789012345678901234567890, "c": "\\u00e9é"}'
    api.answers(Reply(text))
    assert answer(api).body == text


def padded(size: int) -> str:
    return json.dumps({"pad": "x" * (size - len('{"pad": ""}'))})


def test_an_answer_of_15_mb_is_the_largest(api: ScriptedApi):
    api.answers(Reply(padded(LARGEST)))
    assert len(answer(api).body) == LARGEST


def test_a_larger_one_goes_into_the_quarantine_at_once_and_says_why(api: ScriptedApi):
    api.answers(Reply(padded(LARGEST + 1)))
    settled = rejected(api)
    assert settled.reason == "body of 15,000,001 bytes, more than 15,000,000 bytes; the connection was closed"
    assert (settled.status, settled.incomplete, len(api.asked)) == (200, True, 1)
    assert settled.body == padded(LARGEST + 1)[:-1]


@pytest.mark.parametrize("status", [200, 400, 404])
def test_what_is_kept_of_a_body_without_sense_is_not_too_large_either(api: ScriptedApi, status: int):
    """Each of its bytes is written as four signs."""
    api.answers(Reply(b"\xff" * (LARGEST // 4 + 1), status))
    settled = asked(api, limits={"backoff": Backoff(attempts=1)})
    assert len(settled.body.encode()) == LARGEST
    assert settled.body.startswith("\\xff\\xff")


def test_a_large_body_is_cut_between_signs(api: ScriptedApi):
    api.answers(Reply("x" + "é" * 8_000_000, 400))
    assert rejected(api).body == "x" + "é" * 7_499_999


# --- the next page -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ('<{url}/items?page=2>; rel="next"', "/items?page=2"),
        ("<{url}/items?page=2>; rel=next", "/items?page=2"),
        ("<{url}/items?page=2>;rel=next", "/items?page=2"),
        ('<{url}/items?page=2> ; title="page 2" ; REL="Next"', "/items?page=2"),
        ('<{url}/items?page=2>; rel="last next"; type=json', "/items?page=2"),
        ('<{url}/items?page=1>; rel="prev", <{url}/items?page=3>; rel="next", <{url}/>; rel="last"', "/items?page=3"),
        ('<{url}/items?page=9>; rel="last",<{url}/items?page=2>; rel="next"', "/items?page=2"),
        ('<{url}/items?ids=1,2,3&page=2>; rel="next"', "/items?ids=1,2,3&page=2"),
        ('<{url}/wrong>; title="; rel=next, <x>"; rel="prev", <{url}/items?page=2>; rel="next"', "/items?page=2"),
        ('</items?page=2>; rel="next"', "/items?page=2"),
        ('<?page=2>; rel="next"', "/shop/items?page=2"),
        ('<more?page=2>; rel="next"', "/shop/more?page=2"),
        ('<{url}>; rel="next"', "/"),
        ('<{url}/items?after=a%26b%3D%2F+c>; rel="next"', "/items?after=a%26b%3D/+c"),
        ('<{url}/items?page=1>; rel="prev"', ""),
        ('<{url}/items?page=1>; rel="nextcloud"', ""),
        ('<{url}/items?page=1>; title="next"', ""),
        ("", ""),
        ("next", ""),
    ],
)  # fmt: skip
def test_the_next_page_is_found(api: ScriptedApi, link: str, following: str):
    api.answers(Reply({}, headers={"Link": link.format(url=api.url)}))
    assert answer(api, Query.of("/shop/items")).next_link == following


def test_the_next_page_may_be_in_the_second_of_two_headers():
    """A mapping of two headers of one name, as the wire may bring it."""
    from multidict import CIMultiDict

    headers = CIMultiDict([("Link", '<https://h/1>; rel="prev"'), ("link", '<https://h/3>; rel="next"')])
    assert Response(200, b"{}", headers).next_link == "https://h/3"


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ("{url}/v2/items?page=2", "/items?page=2"),
        ("/v2/items?page=2", "/items?page=2"),
        ("/items?page=2", "/items?page=2"),
        ("?page=2", "/items?page=2"),
        ("{url}/v20/items", "{url}/v20/items"),
    ],
)
def test_the_next_page_of_an_api_below_a_path_is_below_it_too(api: ScriptedApi, link: str, following: str):
    api.answers(Reply({}, headers={"Link": f"<{link.format(url=api.url)}>; rel=next"}))
    assert answer(api, Query.of("/items"), base="/v2").next_link == following.format(url=api.url)


def test_the_next_page_is_asked_for_as_the_link_says(api: ScriptedApi):
    link = '</items?page=2&tag=a&tag=b%26c&empty=>; rel="next"'
    api.answers(Reply({}, headers={"Link": link}), Reply({}))
    first = Query.of("/items", {"page": "1"}, headers={"X-One": "1"}, cost=5)
    following = first.following(answer(api, first).next_link)
    answer(api, following)
    assert api.asked[1].params == (("page", "2"), ("tag", "a"), ("tag", "b&c"), ("empty", ""))
    assert api.asked[1].headers["X-One"] == "1"
    assert following.cost == 5
    assert following.key == "items?empty=&page=2&tag=a&tag=b%26c"


@pytest.mark.parametrize(
    "link",
    [
        "{other}/items?page=2",
        "//{other_host}/items?page=2",
        "https://api.example.com/items",
        "ftp://127.0.0.1/items",
        "http://[broken/items",
        "javascript:alert(1)",
    ],
)
def test_a_next_page_on_another_host_is_refused_and_gets_no_signature(
    api: ScriptedApi, stranger: ScriptedApi, link: str
):
    target = link.format(other=stranger.url, other_host=stranger.url.removeprefix("http://"))
    api.answers(Reply({"id": 1}, headers={"Link": f'<{target}>; rel="next"'}))
    stranger.asked.clear()
    settled = rejected(api)
    assert settled.reason == f"its next page {target!r} is not at an allowed origin: {api.url}"
    assert settled.incomplete
    assert stranger.asked == []


def test_a_page_that_cannot_be_read_is_marked_as_a_part(api: ScriptedApi):
    api.answers(Reply("<html>", headers={"Link": '</items?page=2>; rel="next"'}))
    assert rejected(api).incomplete
    api.answers(Reply("<html>"))
    assert not rejected(api).incomplete


# --- a spent quota, as the API says it ---------------------------------------------------------


def error_detail(response: Response) -> ErrorDetail:
    reason = "spent" if b"quota" in response.body else ""
    return ErrorDetail(reason, response.retry_after_s)


POLICY = HTTP_POLICY.preceded_by(
    on(403, Action.QUOTA_EXHAUSTED, "the day is over", reason="spent"), error_detail=error_detail
)
OVER = Reply({"error": "quota"}, 403)
DAILY = Quota("items", Period.PACIFIC_DAY, 1_000, ("/items",))
NOON = datetime(2026, 6, 15, 19, tzinfo=UTC)
HALF_A_DAY_S = 12 * 3600


def ledger(book: MemoryBook, *quotas: Quota, now: datetime = NOON) -> Ledger:
    return Ledger(book, quotas or (DAILY,), account="me", clock=lambda: now)


def until(limit: RateLimited) -> float:
    return (limit.retry_at - datetime.now(UTC)).total_seconds()


def test_a_spent_quota_defers_until_its_window_ends_and_all_runs_learn_it(api: ScriptedApi):
    api.answers(OVER)
    book = MemoryBook()
    with pytest.raises(RateLimited, match=r"'shop' asks to wait.*403.*quota") as limit:
        asked(api, policy=POLICY, ledger=ledger(book))
    assert until(limit.value) == pytest.approx(HALF_A_DAY_S, abs=30)
    assert book.closed.keys() == book.windows.keys()
    assert len(api.asked) == 1


def test_the_next_client_makes_no_call_at_all_and_names_the_quota(api: ScriptedApi):
    api.answers(OVER)
    book = MemoryBook()
    for said in ("asks to wait", "The quota 'items' of 'shop' is used up at 'items"):
        with pytest.raises(RateLimited, match=said) as limit:
            asked(api, policy=POLICY, ledger=ledger(book))
    assert limit.value.key == QUERY.key
    assert until(limit.value) == pytest.approx(HALF_A_DAY_S, abs=30)
    assert len(api.asked) == 1


def test_a_longer_wait_that_the_api_asks_for_counts(api: ScriptedApi):
    api.answers(Reply({"error": "quota"}, 403, {"Retry-After": "90000"}))
    with pytest.raises(RateLimited) as limit:
        asked(api, policy=POLICY, ledger=ledger(MemoryBook()))
    assert until(limit.value) == pytest.approx(90_000, abs=30)


def test_without_a_ledger_the_api_is_believed(api: ScriptedApi):
    api.answers(Reply({"error": "quota"}, 403, {"Retry-After": "7200"}))
    with pytest.raises(RateLimited) as limit:
        asked(api, policy=POLICY)
    assert until(limit.value) == pytest.approx(7_200, abs=30)
    assert len(api.asked) == 1


def test_without_a_ledger_and_a_word_how_long_it_waits_in_place_while_it_has_patience(api: ScriptedApi):
    api.answers(OVER, OVER, Reply({"id": 1}))
    settled, client = asking(api, policy=POLICY)
    assert isinstance(settled, Answer)
    assert (client.events["sent"], client.events["throttled"]) == (3, 2)


def test_without_a_ledger_patience_ends(api: ScriptedApi):
    api.answers(OVER)
    with pytest.raises(RateLimited):
        asked(api, policy=POLICY, limits={"patience_s": 0.1})


def test_few_calls_are_made_while_the_api_limits_the_rate(api: ScriptedApi):
    api.answers(Reply(status=429))

    async def ask() -> list[object]:
        limits = Limits(connections=16, patience_s=0.3, backoff=QUICK)
        async with Client(api.url, NoAuth(), name="shop", limits=limits) as client:
            asking = (client.ask(Query.of(f"/{place}"), lambda query, answer: None) for place in range(16))
            return list(await asyncio.gather(*asking, return_exceptions=True))

    assert {type(end) for end in run_async(ask())} == {RateLimited}
    assert len(api.asked) <= 16 + 9, "after the calls that were in flight, one probe for each pause from 1 to 256 ms"


@pytest.mark.parametrize("kind", ["single", "pool"])
def test_a_pause_without_a_time_grows_over_tries_until_a_success(api: ScriptedApi, kind: str):
    api.answers(Reply(status=429))
    book, waits = MemoryBook(), []
    settings = {"limits": {"patience_s": 0.0005, "backoff": Backoff(base_s=100.0)}, "pauses": book}

    def auth() -> Auth:
        return NoAuth() if kind == "single" else TokenPool([Credential(StaticToken("t1"), "t1")], patience_s=0.1)

    for _ in range(4):
        with pytest.raises(RateLimited) as limit:
            asking(api, auth=auth(), **settings)
        waits.append(until(limit.value))
    assert len(api.asked) == 4, "one call for each try"
    assert waits == sorted(waits)
    assert waits[3] > 4 * waits[0]
    assert book.pauses["shop"].times == 4
    api.answers(Reply({"id": 1}))
    asking(api, auth=auth(), **settings)
    assert book.pauses == {}


def test_the_next_call_is_the_probe_when_the_answer_of_the_probe_cannot_be_judged(api: ScriptedApi):
    api.answers(Reply({"id": 1}))
    book = MemoryBook()
    book.pauses["shop"] = Pause(1, datetime.now(UTC))  # so the first call is a probe
    faults = [ValueError("a fault in the policy")]

    def judge(query: Query, response: Response) -> None:
        if faults:
            raise faults.pop()

    async def ask() -> Answer | Rejected:
        async with Client(api.url, NoAuth(), name="shop", pauses=book, on_response=judge) as client:
            with pytest.raises(ValueError, match="a fault in the policy"):
                await client.ask(QUERY, lambda query, answer: None)
            async with asyncio.timeout(10):
                return await client.ask(QUERY, lambda query, answer: None)

    assert isinstance(run_async(ask()), Answer)
    assert book.pauses == {}


def test_another_credential_signs_in_place_of_one_whose_quota_is_spent(api: ScriptedApi):
    api.script = lambda asked: OVER if asked.signature != "Bearer k3" else Reply({"id": 1})
    keys = Keys("k1", "k2", "k3")
    settled, client = asking(api, policy=POLICY, auth=keys, limits={"patience_s": 0.1})
    assert isinstance(settled, Answer)
    assert [one.signature for one in api.asked] == ["Bearer k1", "Bearer k2", "Bearer k3"]
    assert (client.events["sent"], client.events["retried"], client.events["throttled"]) == (3, 2, 0)


def test_once_the_last_credential_is_spent_too_the_harvest_stops(api: ScriptedApi):
    api.answers(Reply({"error": "quota"}, 403, {"Retry-After": "7200"}))
    keys = Keys("k1", "k2")
    with pytest.raises(RateLimited):
        asked(api, policy=POLICY, auth=keys)
    assert [one.signature for one in api.asked] == ["Bearer k1", "Bearer k2"]
    assert keys.waits == [7200.0, 7200.0]


# --- quotas of our own -------------------------------------------------------------------------


def test_every_attempt_takes_units_also_one_that_fails(api: ScriptedApi):
    api.answers(Reply(status=503), Reply(status=503), Reply({}))
    book = MemoryBook()
    answer(api, Query.of("/items", cost=7), ledger=ledger(book))
    assert sum(book.windows.popitem()[1]) == 21, "what was not used is given back at the end"


def test_a_quota_that_is_full_again_soon_is_waited_for_in_place(api: ScriptedApi, caplog: pytest.LogCaptureFixture):
    """The minute ends a moment from now, as the ledger's clock sees it."""
    caplog.set_level("INFO", "windrow")
    now = [NOON.replace(second=59, microsecond=900_000)]
    book = MemoryBook()
    minute = Quota("fast", Period.MINUTE, 2, ("/items",))
    one = Ledger(book, [minute], account="me", clock=lambda: now[0])

    async def ask() -> list[Answer | Rejected]:
        async def turn() -> None:
            while len(api.asked) < 2:  # noqa: ASYNC110 - the server is in another thread
                await asyncio.sleep(0.001)
            now[0] += timedelta(seconds=0.2)

        async with Client(api.url, NoAuth(), ledger=one, limits=Limits(patience_s=1)) as client:
            turning = asyncio.create_task(turn())
            settled = await asyncio.gather(*(client.ask(QUERY, lambda query, answer: None) for _ in range(4)))
            await turning
            return settled

    settled = run_async(ask())
    assert all(isinstance(one, Answer) for one in settled)
    assert len(api.asked) == 4
    assert [*map(sum, book.windows.values())] == [2, 2]
    waits = [line for line in caplog.messages if "has no free units" in line]
    assert waits == [
        "The quota 'fast' has no free units for a call of cost 1 until 2026-06-15 19:01:00 UTC: they are used, or "
        "claimed by other tasks. Calls wait."
    ]


def test_one_that_is_full_again_late_is_not_waited_for_and_named(api: ScriptedApi):
    one = ledger(MemoryBook(), Quota("items", Period.PACIFIC_DAY, 10, ("/items",)))
    dear = Query.of("/items", cost=10)

    async def ask() -> None:
        async with Client(api.url, NoAuth(), name="shop", ledger=one, limits=Limits()) as client:
            await client.ask(dear, lambda query, answer: None)
            with pytest.raises(RateLimited, match="The quota 'items' of 'shop' is used up") as limit:
                await client.ask(dear, lambda query, answer: None)
            assert until(limit.value) == pytest.approx(HALF_A_DAY_S, abs=30)

    run_async(ask())
    assert len(api.asked) == 1


class Renewed(Keys):
    """Takes the next key after a 401."""

    async def rejected(self, signature: Mapping[str, str], post: Exchange, why: str = "") -> None:
        del self.left[0]


@pytest.mark.parametrize(
    ("statuses", "error", "said"),
    [
        ((401, 401, 401), CredentialsRejected, "rejected 3 new tokens in a row"),
        ((503, 503, 401), Unanswered, "in 3 attempts. Last response: HTTP 401"),
        ((401, 503, 401), Unanswered, "in 3 attempts. Last response: HTTP 401"),
    ],
)
def test_credentials_are_rejected_only_if_nothing_else_failed(
    api: ScriptedApi, statuses: tuple[int, ...], error: type[Exception], said: str
):
    api.answers(*(Reply(status=status) for status in statuses))
    with pytest.raises(error, match=said):
        asked(api, auth=Renewed("k1", "k2", "k3", "k4"))
    assert len(api.asked) == 3


def test_a_query_beyond_any_window_is_a_setting_to_mend(api: ScriptedApi):
    with pytest.raises(Misconfigured, match="costs 1,001 units"):
        asked(api, Query.of("/items", cost=1_001), ledger=ledger(MemoryBook()))
    assert api.asked == []


@pytest.mark.parametrize(("gone", "error"), [(False, Unanswered), (True, ApiUnreachable)])
def test_units_are_given_back_when_the_harvest_fails(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, gone: bool, error: type[Exception]
):
    api.answers(Reply(status=503))
    monkeypatch.setattr(api, "url", "http://127.0.0.1:9" if gone else api.url)
    book = MemoryBook()
    with pytest.raises(error):
        asked(api, ledger=ledger(book))
    assert sum(book.windows.popitem()[1]) == 3
