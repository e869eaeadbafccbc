"""What a stream brings to the client of a connection, and what the connection states in its place."""

import asyncio
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from tests.scripted_api import Reply, ScriptedApi
from tests.unit.books import MemoryBook
from windrow.airflow.hooks.api import ApiHook
from windrow.http.client import Limits
from windrow.http.oauth import ClientCredentials, RefreshToken
from windrow.model.answer import Answer, Rejected
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import ConnectionUnusable, RateLimited
from windrow.model.policy import HTTP_POLICY, Action, on
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.stream import PlanFlow, Request, Stream

SECRET, CONSENT = "s3cr3t-of-the-client", "c0ns3nt-of-the-owner"
TOKENS = {"token_path": "/token"}
ITEMS = Quota("items", Period.PACIFIC_DAY, 3, ("/items",))
REPORTS = Quota("reports", Period.MINUTE, 720, ("/reports",))


class DynamoTable(Stream):
    """A stream with all that one can have."""

    dataset = "shop_items"
    contract = Contract((Column("id", "id", Kind.INTEGER, "Number of the item.", required=True),))
    policy = HTTP_POLICY.preceded_by(on(418, Action.MISSING, "a teapot has no items"))
    quotas = (ITEMS, REPORTS)
    headers: ClassVar[dict[str, str]] = {"X-Version": "2026-01-01"}

    def plan(self, request: Request) -> PlanFlow:
        yield from ()

    def records(self, query: Query, answer: object) -> list[dict[str, object]]:
        return []


class Plain(DynamoTable):
    """One that knows of no quota."""

    quotas = ()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, scripted: ScriptedApi) -> Callable[..., ApiHook]:
    """Give the hook of a connection to the scripted API, with these fields."""

    def connected(extra: Any = None, **fields: Any) -> ApiHook:
        connection = {"conn_type": "http", "host": scripted.url, "extra": extra or {}} | fields
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))
        return ApiHook("shop")

    return connected


def asked(hook: ApiHook, *queries: Query, stream: Stream | None = None, book: MemoryBook | None = None) -> list[Any]:
    """Ask one after the other; an error that is raised is among the outcomes."""

    async def ask() -> list[Any]:
        outcomes: list[Answer | Rejected | Exception] = []
        async with hook.client(stream or DynamoTable(), book or MemoryBook()) as client:
            for query in queries:
                try:
                    outcomes.append(await client.ask(query, lambda query, answer: None))
                except RateLimited as limit:
                    outcomes.append(limit)
        return outcomes

    return asyncio.run(ask())


ITEM, REPORT = Query.of("/items"), Query.of("/reports")

# --- headers and policy ------------------------------------------------------------------------


def test_the_headers_of_the_stream_go_with_every_call(connect: Any, scripted: ScriptedApi):
    asked(connect(), ITEM, REPORT)
    assert [one.headers["X-Version"] for one in scripted.asked] == ["2026-01-01"] * 2


def test_the_policy_of_the_stream_judges_every_answer(connect: Any, scripted: ScriptedApi):
    scripted.answers(Reply({}, 418))
    [settled] = asked(connect(), ITEM)
    assert (settled.status, settled.outcome) == (418, "gap")


# --- quotas ------------------------------------------------------------------------------------


def test_the_quotas_of_the_stream_are_kept(connect: Any, scripted: ScriptedApi):
    *served, limit = asked(connect(), *[ITEM] * 4)
    assert [one.status for one in served] == [200] * 3
    assert "The quota 'items' of 'shop' is used up" in limit.what
    assert len(scripted.asked) == 3


def test_the_connection_states_what_its_account_has(connect: Any, scripted: ScriptedApi):
    outcomes = asked(connect({"quota": {"items": {"units": 1}}}), ITEM, ITEM, REPORT)
    assert [type(one) for one in outcomes] == [Answer, RateLimited, Answer]


def test_a_stream_without_quotas_opens_no_book(connect: Any):
    book = MemoryBook()
    assert len(asked(connect(), *[ITEM] * 5, stream=Plain(), book=book)) == 5
    assert book.windows == {}


@pytest.mark.parametrize(("login", "account"), [("client-7", "client-7"), ("", "shop")])
def test_the_api_counts_by_client_id_and_so_do_we(connect: Any, login: str, account: str):
    book = MemoryBook()
    asked(connect({"auth": "none"}, login=login), ITEM, book=book)
    [window] = book.windows
    start, _ = Period.PACIFIC_DAY.bounds(datetime.now(UTC))
    assert window == f"{account}|items|{start.isoformat()}"


def test_two_connections_of_one_client_id_share_its_quota(
    connect: Any, scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch
):
    book, first = MemoryBook(), connect({"auth": "none"}, login="client-7")
    other = {"conn_type": "http", "host": scripted.url, "login": "client-7", "extra": {"auth": "none"}}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(other))
    assert [type(one) for one in asked(first, ITEM, ITEM, book=book)] == [Answer] * 2
    assert [type(one) for one in asked(ApiHook("other"), ITEM, ITEM, book=book)] == [Answer, RateLimited]


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        (5, "an invalid 'quota'.*must be a JSON object"),
        ([], "an invalid 'quota'.*must be a JSON object"),
        ({"itmes": {"units": 5}}, r"unknown quota 'itmes'. Known quotas: \['items', 'reports'\]"),
        ({"items": {"units": 0}}, "must be a whole number above 0 or null, not 0"),
        ({"items": {"per": "week"}}, "'week': a period must be"),
        ({"items": 5}, "must look like"),
    ],
)
def test_a_quota_that_cannot_be_meant_is_refused(connect: Any, quota: object, said: str):
    hook = connect({"quota": quota})
    with pytest.raises(ConnectionUnusable, match=f"'shop'.*{said}"):
        hook.client(DynamoTable(), MemoryBook())
    with pytest.raises(ConnectionUnusable, match=f"'shop'.*{said}"):
        hook.cost(DynamoTable())


def test_what_bounds_a_harvest_is_told_without_a_client(connect: Any, scripted: ScriptedApi):
    hook = connect({"quota": {"items": {"units": None, "per": "hour"}}, "rate_per_s": 2, "connections": 4, **TOKENS})
    assert hook.cost(DynamoTable()) == (Limits(4, 2.0), [Quota("items", Period.HOUR, None, ("/items",)), REPORTS])
    assert connect().cost(Plain()) == (Limits(), [])
    assert scripted.asked == []


# --- a consent ---------------------------------------------------------------------------------

OWNER = {"login": "client-7", "password": SECRET}


def test_with_a_consent_the_client_signs_for_its_owner(connect: Any, scripted: ScriptedApi):
    scripted.script = lambda asked: Reply({"access_token": "t1", "expires_in": 60} if asked.method == "POST" else {})
    asked(connect(TOKENS | {"refresh_token": CONSENT}, **OWNER), ITEM)
    grant, call = scripted.asked
    assert (grant.path, grant.body) == (
        "/token",
        f"grant_type=refresh_token&client_id=client-7&client_secret={SECRET}&refresh_token={CONSENT}",
    )
    assert (grant.signature, call.signature) == (None, "Bearer t1")


def test_a_public_client_has_no_secret(connect: Any, scripted: ScriptedApi):
    scripted.script = lambda asked: Reply({"access_token": "t1"} if asked.method == "POST" else {})
    asked(connect(TOKENS | {"refresh_token": CONSENT}, login="client-7"), ITEM)
    assert scripted.asked[0].body == f"grant_type=refresh_token&client_id=client-7&refresh_token={CONSENT}"


def test_without_one_it_signs_for_itself(connect: Any):
    auth = connect(TOKENS, **OWNER).client(DynamoTable(), MemoryBook())._auth
    assert isinstance(auth, ClientCredentials)


def test_the_consent_flow_has_the_patience_of_the_connection(connect: Any):
    extra = TOKENS | {"refresh_token": CONSENT, "patience_s": 7}
    auth = connect(extra, **OWNER).client(DynamoTable(), MemoryBook())._auth
    assert isinstance(auth, RefreshToken)
    assert auth._patience_s == 7


@pytest.mark.parametrize("bad", ["", 5, True, ["token"], {"a": "b"}])
def test_a_consent_is_a_text(connect: Any, bad: object):
    with pytest.raises(ConnectionUnusable, match=r"'shop'.*invalid 'refresh_token'.*must be a string"):
        connect(TOKENS | {"refresh_token": bad}, **OWNER).client(DynamoTable(), MemoryBook())


def test_a_consent_needs_the_address_where_it_is_good(connect: Any):
    with pytest.raises(ConnectionUnusable, match=r"'shop'.*no 'token_path'") as unusable:
        connect({"refresh_token": CONSENT}, **OWNER).client(DynamoTable(), MemoryBook())
    assert "https://oauth2.googleapis.com/token" in unusable.value.advice


@pytest.mark.parametrize(
    ("extra", "fields"),
    [
        ({"refresh_token": CONSENT}, OWNER),
        ({"refresh_token": [CONSENT], **TOKENS}, OWNER),
        ({"refresh_token": CONSENT, **TOKENS}, {"password": SECRET}),
        ({"refresh_token": CONSENT, "tokenpath": "/token"}, OWNER),
        ({"refresh_token": CONSENT, **TOKENS, "quota": {"items": 5}}, OWNER),
        ({"refresh_token": CONSENT, **TOKENS, "connections": 0}, OWNER),
        (f'{{"refresh_token": "{CONSENT}"', OWNER),
    ],
)
def test_errors_do_not_show_secrets(connect: Any, extra: Any, fields: dict[str, str], caplog: pytest.LogCaptureFixture):
    with pytest.raises(ConnectionUnusable) as unusable:
        connect(extra, **fields).client(DynamoTable(), MemoryBook())
    shown = "".join(traceback.format_exception(unusable.value)) + str(vars(unusable.value)) + caplog.text
    assert CONSENT not in shown
    assert SECRET not in shown
