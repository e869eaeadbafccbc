"""Airflow connections turned into clients, and every garbled one into one clear error."""

import asyncio
import json
import traceback
from typing import Any

import pytest

from tests.shop import Orders
from tests.unit.books import MemoryBook
from windrow.airflow.hooks.api import ApiHook
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.http.network import Network
from windrow.http.oauth import ClientCredentials
from windrow.http.pool import TokenPool
from windrow.model.answer import Answer
from windrow.model.errors import ConnectionUnusable
from windrow.model.query import Query

STREAM = Orders()
SECRET = "s3cr3t-of-the-client"
TOKENS = {"login": "me", "password": SECRET, "extra": {"token_path": "/oauth/token"}}


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the hook of a connection with these fields, or out of this text."""

    def connected(text: str | None = None, **fields: Any) -> ApiHook:
        monkeypatch.setenv("AIRFLOW_CONN_SHIPS", text or json.dumps({"conn_type": "http"} | fields))
        return ApiHook("ships")

    return connected


async def enter(client: Client) -> None:
    async with client:
        pass


# --- where the API is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "api.example"}, "https://api.example"),
        ({"host": "api.example", "port": 8443}, "https://api.example:8443"),
        ({"host": "api.example", "schema": "http", "port": 80}, "http://api.example:80"),
        ({"host": "api.example", "schema": "https"}, "https://api.example"),
        ({"host": "https://api.example"}, "https://api.example"),
        ({"host": "https://api.example/"}, "https://api.example"),
        ({"host": "http://api.example", "port": 28400}, "http://api.example:28400"),
        ({"host": "http://api.example", "schema": "https"}, "http://api.example"),
        ({"host": "127.0.0.1:28400", "schema": "http"}, "http://127.0.0.1:28400"),
    ],
)
def test_the_address_is_put_together(connect: Any, fields: dict[str, Any], base_url: str):
    client = connect(**fields).client(STREAM, MemoryBook())
    assert (client.base_url, client.name) == (base_url, "ships")
    asyncio.run(enter(client))


def test_a_connection_may_be_a_uri(connect: Any):
    client = connect("http://me:pass%2Fword@api.example:99/http?token_path=%2Foauth&connections=4").client(
        STREAM, MemoryBook()
    )
    assert client.base_url == "http://api.example:99"
    assert client.limits.connections == 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "no host"),
        ({"host": ""}, "no host"),
        ({"host": "/"}, "no host"),
        ({"host": "ftp://api.example"}, "'ftp'"),
        ({"host": "api.example", "schema": "ftp"}, "'ftp'"),
    ],
)
def test_an_address_that_is_none_is_refused(connect: Any, fields: dict[str, Any], words: str):
    with pytest.raises(ConnectionUnusable, match=f"'ships'.*{words}"):
        connect(**fields).client(STREAM, MemoryBook())


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "https://api.example/v2"},
        {"host": "api.example/v2", "port": 8443},
        {"host": "http://api.example:80", "port": 81},
        {"host": "::1", "port": 28400},
        {"host": "api.example:port"},
    ],
)
def test_an_address_that_no_client_takes_is_refused_too(connect: Any, fields: dict[str, Any]):
    try:
        client = connect(**fields).client(STREAM, MemoryBook())
    except ConnectionUnusable:
        return
    asyncio.run(enter(client))  # raises if the address was let pass and cannot be used


def test_two_ports_are_one_too_many(connect: Any):
    with pytest.raises(ConnectionUnusable, match=r"'ships'.*80.*81"):
        connect(host="http://api.example:80", port=81).client(STREAM, MemoryBook())
    assert (
        connect(host="http://api.example:81", port=81).client(STREAM, MemoryBook()).base_url == "http://api.example:81"
    )


def test_a_path_in_the_host_stands_in_front_of_every_call(connect: Any, api: Any):
    async def asked() -> object:
        async with connect(host=f"{api.url}/oauth").client(STREAM, MemoryBook()) as client:
            return await client.ask(Query.of("/token"), lambda query, answer: answer)

    settled: Any = asyncio.run(asked())
    assert settled.status == 405  # GET /oauth/token; without its beginning it would be 404


# --- tokens ------------------------------------------------------------------------------------


def test_without_a_token_path_nothing_is_signed(connect: Any):
    assert isinstance(connect(host="api.example").client(STREAM, MemoryBook())._auth, NoAuth)


@pytest.mark.parametrize("lacking", ["login", "password"])
def test_a_token_path_needs_login_and_password(connect: Any, lacking: str):
    fields = {"host": "api.example"} | TOKENS
    del fields[lacking]
    with pytest.raises(ConnectionUnusable, match=rf"'ships'.*no '{lacking}'"):
        connect(**fields).client(STREAM, MemoryBook())


@pytest.mark.parametrize("bad", [5, True, ["/oauth/token"], {"a": "b"}])
def test_a_token_path_is_a_text(connect: Any, bad: object):
    with pytest.raises(ConnectionUnusable, match=r"'ships'.*token_path"):
        connect(host="api.example", login="me", password=SECRET, extra={"token_path": bad}).client(STREAM, MemoryBook())


def test_the_client_signs_with_what_the_connection_says(connect: Any, api: Any):
    hook = connect(host=api.url, login=api.client.client_id, password=api.client.client_secret, extra=TOKENS["extra"])

    async def asked() -> object:
        async with hook.client(STREAM, MemoryBook()) as client:
            assert isinstance(client._auth, ClientCredentials)
            return await client.ask(Query.of("/get_user_list"), lambda query, answer: answer)

    assert isinstance(asyncio.run(asked()), Answer)
    assert api.counters()["tokens_issued"] == 1


def test_the_token_flow_has_the_patience_of_the_connection(connect: Any):
    hook = connect(host="api.example", login="me", password=SECRET, extra=TOKENS["extra"] | {"patience_s": 7})
    assert hook.client(STREAM, MemoryBook())._auth._patience_s == 7


# --- limits ------------------------------------------------------------------------------------


def test_limits_have_defaults(connect: Any):
    assert connect(host="api.example").client(STREAM, MemoryBook()).limits == Limits(16, None, 30.0, 60.0)


def test_limits_are_taken_from_the_extra(connect: Any):
    extra = {"connections": 4, "rate_per_s": 2.5, "timeout_s": 5, "patience_s": "90"}
    assert connect(host="api.example", extra=extra).client(STREAM, MemoryBook()).limits == Limits(4, 2.5, 5.0, 90.0)


def test_a_run_may_override_the_connections(connect: Any):
    hook = connect(host="api.example", extra={"connections": 4, "rate_per_s": 9})
    assert hook.client(STREAM, MemoryBook(), connections=32).limits == Limits(32, 9.0)
    assert hook.client(STREAM, MemoryBook()).limits == Limits(4, 9.0)


def test_an_override_is_checked_too(connect: Any):
    with pytest.raises(ConnectionUnusable, match="'connections' in its extra: 0"):
        connect(host="api.example").client(STREAM, MemoryBook(), connections=0)


@pytest.mark.parametrize("name", ["connections", "rate_per_s", "timeout_s", "patience_s"])
@pytest.mark.parametrize("bad", [0, -1, "many", "", [1], {}, float("nan"), True, False])
def test_a_limit_that_is_no_number_above_0_is_refused(connect: Any, name: str, bad: object):
    with pytest.raises(ConnectionUnusable, match=f"'ships'.*{name}"):
        connect(host="api.example", extra={name: bad}).client(STREAM, MemoryBook())


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        pytest.param("connections", 0.5, id="less than one connection"),
        pytest.param("connections", 2.7, id="a part of a connection"),
        pytest.param("connections", float("inf"), id="endless connections"),
        pytest.param("rate_per_s", 10**400, id="beyond a float"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(connect: Any, name: str, bad: object):
    with pytest.raises(ConnectionUnusable, match=f"'ships'.*{name}"):
        connect(host="api.example", extra={name: bad}).client(STREAM, MemoryBook())


def test_an_unknown_field_is_refused_with_the_known_ones(connect: Any):
    with pytest.raises(ConnectionUnusable, match="rate_per_sec") as refused:
        connect(host="api.example", extra={"rate_per_sec": 5, "connections": 4}).client(STREAM, MemoryBook())
    assert "'rate_per_s'" in refused.value.advice


def test_the_network_is_taken_from_the_extra(connect: Any):
    settings = {"proxy": f"http://me:{SECRET}@proxy.example:3128", "ca_bundle": "/etc/ca.pem", "verify_tls": False}
    client = connect(host="api.example", extra=settings).client(STREAM, MemoryBook())
    assert client._transport._network == Network(**settings)


@pytest.mark.parametrize(("name", "bad"), [("proxy", 1), ("proxy", ""), ("ca_bundle", 1), ("verify_tls", "false")])
def test_a_setting_of_the_network_of_another_type_is_refused(connect: Any, name: str, bad: object):
    with pytest.raises(ConnectionUnusable, match=f"'ships' has an invalid '{name}' in its extra"):
        connect(host="api.example", extra={name: bad}).client(STREAM, MemoryBook())


def test_other_origins_are_those_that_are_named(connect: Any):
    hook = connect(host="api.example", extra={"origins": ["https://b.example", "http://c.example:81/"]})
    origins = hook.client(STREAM, MemoryBook()).urls.origins
    assert sorted(map(str, origins)) == ["http://c.example:81", "https://api.example", "https://b.example"]


@pytest.mark.parametrize(
    "bad", ["https://b.example", ["b.example"], ["https://b.example/path"], ["https://a:b@c"], ["ftp://x"], [7], [None]]
)
def test_an_origin_that_is_none_is_refused(connect: Any, bad: object):
    with pytest.raises(ConnectionUnusable, match=r"'ships' has an invalid 'origins': "):
        connect(host="api.example", extra={"origins": bad}).client(STREAM, MemoryBook())


def test_export_files_are_downloaded_from_named_hosts_without_a_credential(connect: Any, api: Any):
    extra = {"auth": "bearer", "token": "t0ken-of-the-api", "storage_origins": [api.url]}
    client = connect(host="api.example", extra=extra).client(STREAM, MemoryBook())
    assert isinstance(client.storage._auth, NoAuth)
    assert (client.storage.base_url, client.storage.limits.timeout_s) == (api.url, 300)
    assert connect(host="api.example").client(STREAM, MemoryBook()).storage is None
    with pytest.raises(ConnectionUnusable, match="'ships' has an invalid 'storage_origins'"):
        connect(host="api.example", extra={"storage_origins": ["files.example"]}).client(STREAM, MemoryBook())


@pytest.mark.parametrize("extra", ['{"rate_per_s": 5', "rate_per_s=5", "[]", "5", '"rate_per_s"'])
def test_an_extra_that_is_no_object_is_refused(connect: Any, extra: str):
    """Airflow takes a garbled extra for an empty one: the API would be asked without limit and without token."""
    with pytest.raises(ConnectionUnusable, match=r"'ships'.*extra"):
        connect(host="api.example", extra=extra).client(STREAM, MemoryBook())


# --- no connection, and secrets ----------------------------------------------------------------


def test_a_connection_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AIRFLOW_CONN_SHIPS", raising=False)
    with pytest.raises(ConnectionUnusable, match="Airflow connection 'ships' does not exist") as missing:
        ApiHook("ships").client(STREAM, MemoryBook())
    assert "AIRFLOW_CONN_SHIPS" in missing.value.advice


def test_nothing_is_looked_up_before_it_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AIRFLOW_CONN_SHIPS", raising=False)
    assert ApiHook("ships").conn_id == "ships"


def test_a_password_in_the_host_is_not_shown_as_part_of_the_address(connect: Any):
    """The base URL goes into messages about the API."""
    try:
        base_url = connect(host=f"https://me:{SECRET}@api.example").client(STREAM, MemoryBook()).base_url
    except ConnectionUnusable as refused:
        base_url = str(refused)
    assert SECRET not in base_url


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"conn_type": "http", "host": "ftp://h"} | TOKENS),
        json.dumps({"conn_type": "http", "host": "h"} | TOKENS | {"extra": {"secret": SECRET}}),
        json.dumps({"conn_type": "http", "host": "h"} | TOKENS | {"extra": {"connections": 0}}),
        json.dumps({"conn_type": "http", "host": "h"} | TOKENS | {"login": ""}),
        json.dumps({"conn_type": "http", "host": "h", "port": "x"} | TOKENS),
        f'{{"password": "{SECRET}"',
        f"http://me:{SECRET}@h:port/",
    ],
)
def test_errors_do_not_show_the_password(connect: Any, text: str, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ConnectionUnusable) as refused:
        connect(text).client(STREAM, MemoryBook())
    shown = "".join(traceback.format_exception(refused.value)) + str(vars(refused.value))
    assert SECRET not in shown
    assert SECRET not in caplog.text


# --- pools -------------------------------------------------------------------------------------

POOLED = "ghp_secret-of-the-pool"


def own(hook: ApiHook, share: tuple[int, int]) -> list[str]:
    """The labels of a worker's own credentials."""
    pool = hook.client(STREAM, MemoryBook(), share=share)._auth
    return [member.label for member in pool._members if not member.stands_by]


def test_a_pool_is_shared_out_among_workers(connect: Any):
    hook = connect(host="api.example", extra={"tokens": [f"{POOLED}{n}" for n in range(5)]})
    assert hook.pool_size(STREAM) == 5
    shares = [own(hook, share=(n, 2)) for n in range(2)]
    assert shares == [
        ["token 1 of 5", "token 3 of 5", "token 5 of 5"],
        ["token 2 of 5", "token 4 of 5"],
    ]


def test_tokens_of_one_owner_share_an_account(connect: Any):
    tokens = [{"token": f"{POOLED}1", "owner": "ada"}, {"token": f"{POOLED}2", "owner": "ada"}, f"{POOLED}3"]
    pool = connect(host="api.example", extra={"tokens": tokens}).client(STREAM, MemoryBook())._auth
    assert isinstance(pool, TokenPool)
    one, two, three = pool._members
    assert one.limits is two.limits is not three.limits
    assert two.label == "token 2 of 3 (ada)"


def test_workers_share_no_owner(connect: Any):
    owners = ["ada", "ada", "ben", "", "ben"]
    tokens = [{"token": f"{POOLED}{place}", "owner": owner} for place, owner in enumerate(owners)]
    hook = connect(host="api.example", extra={"tokens": tokens})
    assert hook.pool_size(STREAM) == 3, "two of ada's are one, and so are two of ben's"
    shares = [[label[:7] for label in own(hook, share=(n, 2))] for n in range(2)]
    assert shares == [["token 1", "token 2", "token 4"], ["token 3", "token 5"]]


def test_a_token_that_is_there_twice_counts_once(connect: Any):
    tokens = [POOLED, {"token": f"{POOLED} ", "owner": "ada"}, POOLED, f"{POOLED}2"]
    hook = connect(host="api.example", extra={"tokens": tokens})
    assert hook.pool_size(STREAM) == 2
    members = hook.client(STREAM, MemoryBook())._auth._members
    assert [member.label for member in members] == ["token 2 of 4 (ada)", "token 4 of 4"]


def test_a_connection_without_tokens_has_no_pool(connect: Any):
    hook = connect(host="api.example", extra={"tokens": []})
    assert hook.pool_size(STREAM) == 0
    assert isinstance(hook.client(STREAM, MemoryBook())._auth, NoAuth)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"tokens": POOLED}, "must be a list"),
        ({"tokens": [POOLED, 7]}, "invalid token 2 of 2"),
        ({"tokens": [POOLED, " "]}, "invalid token 2 of 2"),
        ({"tokens": [{"token": POOLED, "owner": 7}]}, "invalid token 1 of 1"),
        ({"tokens": [f"{POOLED}\r\nX: y"]}, "invalid token 1 of 1"),
        ({"tokens": [{"token": POOLED, "owner": "a", "more": 1}]}, "invalid token 1 of 1"),
        ({"tokens": [POOLED], "points_per_minute": 0}, r"invalid value for 'per_minute': 0"),
    ],
)
def test_a_pool_that_cannot_be_used(connect: Any, extra: dict[str, Any], words: str):
    hook = connect(host="api.example", extra=extra)
    with pytest.raises(ConnectionUnusable, match=words) as unusable:
        hook.client(STREAM, MemoryBook())
    assert POOLED not in "".join(traceback.format_exception(unusable.value))


@pytest.mark.parametrize(
    ("given", "good"), [("2027-03-31", True), ("soon", False), (20270331, False), ("2027-02-30", False)]
)
def test_the_last_day_of_a_credential_is_a_date(connect: Any, given: object, good: bool):
    hook = connect(host="api.example", extra={"expires_on": given})
    if good:
        hook.client(STREAM, MemoryBook())
    else:
        with pytest.raises(ConnectionUnusable, match=r"'ships'.*'expires_on'"):
            hook.client(STREAM, MemoryBook())
