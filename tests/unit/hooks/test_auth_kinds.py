"""Each kind of auth on the wire, against a server that refuses every other kind; and each nearest misuse."""

import asyncio
import base64
import importlib.util
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from airflow.providers_manager import _create_provider_info_schema_validator
from airflow.sdk.crypto import get_fernet
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt as google_jwt

from tests import scripted_api
from tests.private_ca import PrivateCa
from tests.scripted_api import Asked, Reply, ScriptedApi
from tests.shop import Orders
from tests.unit.books import MemoryBook
from windrow import __version__
from windrow.airflow.hooks.api import ApiHook
from windrow.connect.auth import MAKERS
from windrow.connect.fields import COMMON, FIELDS, KINDS, STANDARD
from windrow.http.auth import StaticAuth
from windrow.http.sigv4 import SigV4
from windrow.model.answer import Answer, Rejected
from windrow.model.errors import ConnectionUnusable, CredentialsRejected
from windrow.model.query import Query

ROOT = Path(__file__).resolve().parents[3]
STREAM = Orders()
SECRET = "s3cr3t-of-the-client"
KEY = "k3y+of/the=shop%25"
TOKEN = "t0k3n-that-opens-doors"
CONSENT = "c0ns3nt-of-an-owner"
AUDIENCE = "https://shop.example/"
PRIVATE = rsa.generate_private_key(65537, 2048)
PEM = PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
GRANTS = {
    "client_credentials": {"scope": "read write", "audience": AUDIENCE},
    "refresh_token": {"refresh_token": CONSENT},
    "jwt": {},
}
"""What the token endpoint wants besides id and secret, by kind. The kind's token is ``t0k3n-of-<kind>``."""


class Marked(StaticAuth):
    """What a user may write."""

    def __init__(self, *, options: dict[str, str], name: str, patience_s: float) -> None:
        super().__init__({"X-Mark": f"{options['mark']} {name} {patience_s:g}"}, "mark", [options["mark"]])


def broken(*, options: dict[str, str], **_: object) -> StaticAuth:
    raise ValueError(f"bad key {options['key']}")


def proven(asked: Asked) -> set[str]:
    """Return the kinds of auth that a request proves."""
    word, _, rest = asked.headers.get("Authorization", "").partition(" ")
    found = {f"{kind}" for kind in GRANTS if (word, rest) == ("Bearer", f"t0k3n-of-{kind}")}
    found |= {"bearer"} if rest == TOKEN else set()
    found |= {"pool"} if rest == f"{TOKEN}-2" else set()
    found |= {"basic"} if word == "Basic" and base64.b64decode(rest).decode() == f"me:{SECRET}" else set()
    found |= {"header_key"} if asked.headers.get("X-Key") == f"Key {KEY}" else set()
    found |= {"query_key"} if ("key", KEY) in asked.params else set()
    found |= {"custom"} if asked.headers.get("X-Mark") == "m4rk3d shop 60" else set()
    found |= {"sigv4"} if word == "AWS4-HMAC-SHA256" and signed_with_aws(asked) else set()
    found |= {"certificate"} if asked.certificate == "shop client" else set()
    if rest.count(".") == 2 and google_jwt.decode(rest, PUBLIC, audience=AUDIENCE)["iss"] == "me":
        found |= {"jwt itself"}
    return found or ({"none"} if not rest else {"unknown"})


def signed_with_aws(asked: Asked) -> bool:
    """Let botocore sign what arrived, and compare."""
    told = dict(part.strip().split("=", 1) for part in asked.headers["Authorization"].partition(" ")[2].split(","))
    signed = {name: asked.headers[name] for name in told["SignedHeaders"].split(";")}
    url = f"http://{asked.headers['Host']}{asked.raw}"
    request = AWSRequest(asked.method, url, headers=signed, data=asked.body.encode())
    request.context["timestamp"] = asked.headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials("me", SECRET), "execute-api", "eu-central-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return signer.signature(text, request) == told["Signature"] and "host" in signed


def token(asked: Asked) -> Reply:
    """The token endpoint."""
    form = dict(parse_qsl(asked.body))
    kind = {"client_credentials": "client_credentials", "refresh_token": "refresh_token"}.get(form["grant_type"], "jwt")
    if kind == "jwt":
        claims = google_jwt.decode(form["assertion"], PUBLIC, audience=AUDIENCE)
        good = claims["iss"] == "me" and claims["scope"] == "read"
    else:
        login = base64.b64encode(f"me:{SECRET}".encode()).decode()
        client = (form.get("client_id"), form.get("client_secret"))
        good = asked.signature == f"Basic {login}" or client == ("me", SECRET)
        good = good and all(form.get(name) == value for name, value in GRANTS[kind].items())
    return Reply({"access_token": f"t0k3n-of-{kind}", "expires_in": 60}) if good else Reply({"error": "bad"}, 400)


def guarded(kind: str) -> Callable[[Asked], Reply]:
    """Return the script of an API that accepts this kind of auth alone."""

    def script(asked: Asked) -> Reply:
        if asked.path == "/token":
            return token(asked)
        found = proven(asked)
        return Reply({"id": 7}) if found == {kind} else Reply({"found": sorted(found)}, 401)

    return script


LOGIN = {"login": "me", "password": SECRET}
CONNECTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "bearer": ({"token": f"{TOKEN}\n"}, {}),
    "basic": ({}, LOGIN),
    "header_key": ({"api_key": KEY, "header": "X-Key", "prefix": "Key"}, {}),
    "query_key": ({"api_key": KEY, "param": "key"}, {}),
    "client_credentials": ({"token_path": "/token", **GRANTS["client_credentials"]}, LOGIN),
    "refresh_token": ({"token_path": "/token", "refresh_token": CONSENT, "token_auth": "basic"}, LOGIN),
    "jwt": ({"token_path": "/token", "private_key": PEM, "audience": AUDIENCE, "scope": "read"}, {"login": "me"}),
    "jwt itself": ({"private_key": PEM.replace("\n", "\\n"), "audience": AUDIENCE, "key_id": "1"}, {"login": "me"}),
    "pool": ({"tokens": [f"{TOKEN}-2"]}, {}),
    "sigv4": ({"service": "execute-api", "region": "eu-central-1"}, LOGIN),
    "custom": ({"factory": f"{__name__}:Marked", "options": {"mark": "m4rk3d"}}, {}),
}
"""Extra and other fields of a connection, by kind."""
QUERIES = (
    Query.of("/a b/ü", {"z": "1", "a": "ü &=+,:/*~'", "": ""}),
    Query.of("/graphql", {"v": "2"}, body='{"a": "ü"}', known_by={"a": "1"}, headers={"x-key": "other"}),
)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random pause may be none."""
    monkeypatch.setattr("windrow.model.policy.random.uniform", lambda low, high: low)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ApiHook]:
    """Give the hook of a connection with this extra and these fields."""

    def connected(extra: Any, **fields: Any) -> ApiHook:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "windrow", "extra": extra} | fields))
        return ApiHook("shop")

    return connected


def asked(hook: ApiHook, *queries: Query) -> list[Answer | Rejected]:
    async def ask() -> list[Answer | Rejected]:
        async with hook.client(STREAM, MemoryBook()) as client:
            return [await client.ask(query, lambda query, answer: None) for query in queries]

    return asyncio.run(ask())


def test_every_kind_is_tested():
    assert {*CONNECTIONS, "certificate"} - {"jwt itself"} == set(KINDS) == set(MAKERS)
    assert {name for kind in KINDS.values() for name in kind.fields} <= set(FIELDS)


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_server_that_accepts_this_kind_alone(kind: str, connect: Any, scripted: ScriptedApi):
    extra, fields = CONNECTIONS[kind]
    hook = connect({"auth": kind.split(maxsplit=1)[0], **extra}, host=scripted.url, **fields)
    scripted.script = guarded(kind)
    assert [one.status for one in asked(hook, *QUERIES)] == [200, 200]
    scripted.script = guarded("basic" if kind == "none" else "none")
    with pytest.raises(CredentialsRejected):
        asked(hook, *QUERIES)


def test_a_scope_that_the_endpoint_refuses_is_named(connect: Any, scripted: ScriptedApi):
    scripted.script = lambda asked: Reply({"error": "invalid_scope"}, 400)
    extra, fields = CONNECTIONS["jwt"]
    with pytest.raises(CredentialsRejected, match=r"rejected the scope 'read': .*Set a scope"):
        asked(connect({"auth": "jwt", **extra}, host=scripted.url, **fields), *QUERIES)
    assert len(scripted.asked) == 1


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return PrivateCa(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def tls(ca: PrivateCa, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedApi]:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.root))
    with scripted_api.running(ca.server()) as api:
        api.script = guarded("certificate")
        yield api


@pytest.mark.parametrize("password", ["", "p4ssw0rd-of-the-key"])
def test_a_server_that_accepts_certificates_alone(password: str, connect: Any, tls: ScriptedApi, ca: PrivateCa):
    own = ca.issue("shop client", password=password)
    extra = {"auth": "certificate", "client_cert": str(own.certificate), "client_key": str(own.key)}
    hook = connect(extra | ({"client_key_password": password} if password else {}), host=tls.url)
    assert [one.status for one in asked(hook, *QUERIES)] == [200, 200]


def test_a_certificate_goes_with_every_kind(connect: Any, tls: ScriptedApi, ca: PrivateCa):
    own = ca.issue("other client")
    extra = {"token": TOKEN, "client_cert": str(own.certificate), "client_key": str(own.key)}
    tls.script = guarded("bearer")
    assert [one.status for one in asked(connect(extra, host=tls.url), *QUERIES)] == [200, 200]
    assert {one.certificate for one in tls.asked} == {"other client"}


def bad_certificate(ca: PrivateCa, what: str) -> dict[str, str]:
    good, other = ca.issue("good client"), ca.issue("other")
    files = {
        "expired": ca.issue("expired", ends_in=timedelta(days=-1)),
        "locked": ca.issue("locked", password="p4ssw0rd-of-the-key"),
    }
    made = files.get(what, good)
    paths = {"client_cert": str(made.certificate), "client_key": str(made.key)}
    return paths | {
        "missing": {"client_cert": "/nowhere/client.pem"},
        "garbled": {"client_cert": str(good.key)},
        "of another key": {"client_key": str(other.key)},
        "in another format": {"client_cert": __file__},
    }.get(what, {})


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("expired", "expired on 20"),
        ("locked", "cannot be loaded, or does not fit the key"),
        ("missing", "No such file"),
        ("garbled", "not a certificate in PEM format"),
        ("of another key", "does not fit the key"),
        ("in another format", "not a certificate in PEM format"),
    ],
)
def test_a_certificate_that_cannot_be_used(what: str, words: str, connect: Any, ca: PrivateCa):
    hook = connect({"auth": "certificate", **bad_certificate(ca, what)}, host="https://api.example")
    with pytest.raises(ConnectionUnusable, match=f"'shop' has an invalid 'client_cert': .*{words}"):
        hook.client(STREAM, MemoryBook())


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "fields", "words"),
    [
        ({}, LOGIN, "has login, password, but no 'auth'.*one of .*'basic'"),
        ({}, {"login": "me"}, "has login, but no 'auth'"),
        ({"auth": "oauth"}, {}, "unknown 'auth': 'oauth'.*Valid values are .*'bearer'"),
        ({"auth": ["basic"]}, LOGIN, "unknown 'auth'"),
        ({"api_key": KEY}, {}, r"has api_key, but no 'auth'.*\['header_key', 'query_key'\]"),
        ({"auth": "bearer"}, {}, "auth 'bearer' but no 'token'.*Set token: "),
        ({"auth": "header_key", "api_key": KEY}, {}, "no 'header'"),
        ({"auth": "sigv4", "service": "s3", "region": "r"}, {"login": "me"}, "no AWS keys.*aws_conn_id"),
        ({"auth": "sigv4", "service": "s3", "region": "r", "aws_conn_id": "aws"}, LOGIN, "aws_conn_id and also login"),
        ({"auth": "pool"}, {}, "auth 'pool' but no tokens"),
        ({"auth": "certificate"}, {}, "no client_cert"),
        ({"client_key": "/k"}, {}, "no client_cert"),
        ({"client_cert": "/nowhere"}, {}, "invalid 'client_cert'"),
        ({"auth": "bearer", "token": TOKEN}, LOGIN, r"auth 'bearer' does not use: \['password'\]"),
        ({"token": TOKEN, "tokens": [TOKEN]}, {}, r"auth 'pool' does not use: \['token'\]"),
        ({"token": TOKEN, "token_path": "/t"}, {}, r"auth 'bearer' does not use: \['token_path'\]"),
        ({"token": TOKEN, "rate_limits": {}}, {}, r"does not use: \['rate_limits'\]"),
        ({"auth": "none", "token": TOKEN}, {}, r"auth 'none' does not use: \['token'\].*uses \["),
        ({"auth": "bearer", "token": f"{TOKEN}\nX-Evil: 1"}, {}, "invalid 'token'.*line breaks"),
        ({"auth": "bearer", "token": f"tökén {TOKEN}"}, {}, "invalid 'token'.*visible ASCII"),
        ({"auth": "bearer", "token": ""}, {}, "invalid 'token'"),
        ({"auth": "bearer", "token": 7}, {}, "invalid 'token'"),
        ({"auth": "header_key", "api_key": f"{KEY}\r\n{KEY}", "header": "X"}, {}, "invalid 'api_key'.*line breaks"),
        ({"auth": "header_key", "api_key": KEY, "header": "X: Y"}, {}, "invalid 'header'"),
        ({"auth": "query_key", "api_key": KEY, "param": "a&b"}, {}, "invalid 'param'"),
        ({"auth": "query_key", "api_key": "abc", "param": "key"}, {}, "invalid 'api_key'.*6 characters"),
        ({"auth": "basic"}, {"login": "a:b", "password": SECRET}, "colon"),
        ({"auth": "basic"}, {"login": "a", "password": f"{SECRET}\n"}, "control characters"),
        ({"auth": "client_credentials", "token_path": "/t", "token_auth": "jwt"}, LOGIN, "'token_auth'.*form, basic"),
        ({"auth": "jwt", "private_key": "secret-pem-key"}, {"login": "me"}, "invalid 'private_key'.*PEM"),
        ({"auth": "jwt", "private_key": PEM[:200]}, {"login": "me"}, "not a PEM private key for RS256"),
        ({"auth": "jwt", "private_key": PEM, "algorithm": "ES256"}, {"login": "me"}, "not a PEM private key for ES256"),
        ({"auth": "jwt", "private_key": PEM, "token_path": "/token"}, {"login": "me"}, "no 'audience'"),
        ({"auth": "pool", "tokens": [{"token": TOKEN, "onwer": "a"}]}, {}, "invalid token 1 of 1"),
        ({"auth": "jwt", "private_key": PEM, "algorithm": "none"}, {"login": "me"}, "invalid 'algorithm'"),
        ({"auth": "custom", "factory": "nowhere.auth:Mine"}, {}, "invalid 'factory'.*No module named 'nowhere'"),
        ({"auth": "custom", "factory": "json:Mine"}, {}, "invalid 'factory'"),
        ({"auth": "custom", "factory": "json"}, {}, "invalid 'factory'"),
        ({"auth": "custom", "factory": f"{__name__}:Marked"}, {}, "failed: KeyError"),
        ({"auth": "custom", "factory": f"{__name__}:broken", "options": {"key": KEY}}, {}, "failed: ValueError: bad "),
        ({"auth": "custom", "factory": "builtins:dict"}, {}, "returned dict, not a windrow.http.auth.Auth"),
        ({"auth": "custom", "factory": "builtins:dict", "options": "x"}, {}, "invalid 'options'"),
        ({"auth": "none", "srv_lookup": True}, {}, "srv_lookup"),
        ({"auth": "none"}, {"host": f"https://api.example/v1?api_key={KEY}"}, "query string.*'query_key'"),
        ({"auth": "none"}, {"host": f"api.example#{KEY}"}, "fragment in its host"),
    ],
)
def test_settings_that_are_incomplete_or_unclear_are_refused_by_name(
    extra: dict[str, Any], fields: dict[str, Any], words: str, connect: Any, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(ConnectionUnusable, match=f"'shop'.*{words}") as refused:
        connect(extra, **{"host": "https://api.example"} | fields).client(STREAM, MemoryBook())
    shown = "".join(traceback.format_exception(refused.value)) + str(vars(refused.value)) + caplog.text
    assert not [secret for secret in (SECRET, KEY, TOKEN, PEM[40:80], "secret-pem-key") if secret in shown]


def test_fields_that_a_form_leaves_empty_say_nothing(connect: Any, scripted: ScriptedApi):
    form = dict.fromkeys({*FIELDS, *COMMON, "auth"} - {*STANDARD})
    empty = form | {"api_key": "", "tokens": [], "srv_lookup": False, "scope": ""}
    assert [one.status for one in asked(connect(empty, host=scripted.url), QUERIES[0])] == [200]


def test_a_certificate_needs_https(connect: Any, ca: PrivateCa):
    own = ca.issue("plain client")
    hook = connect({"client_cert": str(own.certificate), "client_key": str(own.key)}, host="http://api.example")
    with pytest.raises(ConnectionUnusable, match="schema is http"):
        hook.client(STREAM, MemoryBook())


# --- a consent, and the key of Airflow that encrypts it ------------------------------------------


@pytest.fixture
def fernet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the Fernet keys of Airflow, which it reads once a process."""

    def set_keys(keys: str) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", keys)
        get_fernet.cache_clear()

    yield set_keys
    monkeypatch.undo()
    get_fernet.cache_clear()


def test_a_consent_is_encrypted_with_the_key_of_airflow(
    connect: Any, scripted: ScriptedApi, fernet: Callable[[str], None]
):
    book, old, new = MemoryBook(), *(Fernet.generate_key().decode() for _ in range(2))
    tokens = {"access_token": TOKEN, "refresh_token": "n3xt-c0nsent"}
    scripted.script = lambda asked: Reply(tokens if asked.path == "/token" else {})
    hook = connect({"token_path": "/token", "refresh_token": CONSENT}, host=scripted.url, **LOGIN)

    def ask() -> None:
        async def scenario() -> None:
            async with hook.client(STREAM, book) as client:
                await client.ask(QUERIES[0], lambda query, answer: None)

        asyncio.run(scenario())

    fernet(old)
    ask()
    [stored] = [one["sealed"] for one in book.documents.values()]
    assert json.loads(Fernet(old).decrypt(stored))["refresh_token"] == "n3xt-c0nsent"
    fernet(f"{new},{old}")
    ask()
    fernet(new)
    with pytest.raises(ConnectionUnusable, match=r"Fernet key does not decrypt.*new,old"):
        ask()
    for none in ("", "{FERNET_KEY}"):
        fernet(none)
        with pytest.raises(ConnectionUnusable, match=r"Airflow has no valid Fernet key.*AIRFLOW__CORE__FERNET_KEY"):
            ask()
    assert [one.path for one in scripted.asked].count("/token") == 1


# --- a key in a query parameter ----------------------------------------------------------------


def test_a_key_in_a_query_parameter_is_kept_nowhere(
    connect: Any, scripted: ScriptedApi, caplog: pytest.LogCaptureFixture
):
    """The API writes complete URLs into everything that it sends."""
    caplog.set_level(logging.DEBUG)

    def script(asked: Asked) -> Reply:
        own = f"{scripted.url}{asked.raw}"
        told = {"Link": f'<{own}&page=2>; rel="next"', "X-Own": own, "Retry-After": own}
        if asked.path == "/moved":
            return Reply("", 302, {"Location": own.replace("/moved", "/items")})
        if asked.path == "/circle":
            return Reply("", 302, {"Location": own})
        return Reply({"own": own, "key": KEY}, int(dict(asked.params).get("status", 200)), told)

    scripted.script = script
    hook = connect({"auth": "query_key", "api_key": KEY, "param": "key"}, host=scripted.url)
    paths = [("/items", "200"), ("/moved", "200"), ("/items", "400"), ("/items", "500"), ("/circle", "200")]
    shown = []

    async def ask() -> None:
        async with hook.client(STREAM, MemoryBook()) as client:
            for path, status in paths:
                query = Query.of(path, {"status": status})
                try:
                    settled = await client.ask(query, lambda query, answer: None)
                except Exception as error:
                    shown.append("".join(traceback.format_exception(error)) + str(vars(error)))
                    continue
                shown.append(f"{settled!r} {settled.query.row} {getattr(settled, 'next_link', '')}")
                if isinstance(settled, Answer):
                    assert settled.next_link.endswith("?status=200&page=2")
                    following = query.following(settled.next_link)
                    assert following.key == "items?page=2&status=200"
                    assert (await client.ask(following, lambda query, answer: None)).status == 200

    asyncio.run(ask())
    assert len(shown) == len(paths)
    assert all(("key", KEY) in one.params for one in scripted.asked)
    assert all(one.raw.count("key=") == 1 for one in scripted.asked)
    logged = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # the server's
    everything = "\n".join([*shown, *logged])
    for spelled in (KEY, KEY[:12], "k3y%2Bof", "k3y+of", "k3y%252Bof", base64.b64encode(KEY.encode()).decode()[:20]):
        assert spelled not in everything


def test_a_stream_is_opened_with_the_signature(connect: Any, scripted: ScriptedApi):
    scripted.answers(Reply("one\r\n"))

    async def read() -> list[bytes]:
        hook = connect({"auth": "query_key", "api_key": KEY, "param": "key"}, host=scripted.url)
        async with hook.client(STREAM, MemoryBook()) as client:
            opened = client.lines(Query.of("/stream"), silence_s=5, opened=lambda headers: None)
            return [line async for line in opened]

    assert asyncio.run(read()) == [b"one"]
    assert ("key", KEY) in scripted.asked[0].params


# --- what explains the fields ------------------------------------------------------------------


def test_the_page_of_connections_has_the_fields_of_today():
    spec = importlib.util.spec_from_file_location("connections", ROOT / "docs/connections.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run .venv/bin/python docs/connections.py"


@pytest.mark.parametrize(
    "example", re.findall(r"^```json\n(.*?)\n```", (ROOT / "docs/connections.md").read_text(), re.MULTILINE | re.DOTALL)
)
def test_the_examples_of_the_page_make_clients(example: str, monkeypatch: pytest.MonkeyPatch):
    keys = {"conn_type": "aws", "login": "key-id", "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(keys))
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", example)
    auth = ApiHook("shop").client(STREAM, MemoryBook())._auth
    if isinstance(auth, SigV4):
        assert asyncio.run(auth.signature(None)) == {"access_key": "key-id"}


def test_airflow_accepts_the_connection_form():
    """Airflow finds the entry point in the plugins folder, where no package is installed."""
    [found] = [one for one in metadata.distributions(path=[str(ROOT / "plugins")]) if one.name == "windrow"]
    [entry] = [one for one in found.entry_points if one.group == "apache_airflow_provider"]
    info = entry.load()()
    _create_provider_info_schema_validator().validate(info)
    assert found.version == info["versions"][0] == __version__
    [form] = info["connection-types"]
    assert {*form["conn-fields"], *STANDARD} == {"auth", *FIELDS, *COMMON}
    assert form["conn-fields"]["api_key"]["schema"]["format"] == "password"
    assert form["conn-fields"]["auth"]["schema"]["enum"] == [*KINDS, None]
    module, _, name = form["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is ApiHook
    assert form["connection-type"] == ApiHook.conn_type
