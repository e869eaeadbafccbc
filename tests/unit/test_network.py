"""Calls through a proxy and with a private certificate authority, over real sockets."""

import asyncio
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from tests import scripted_api
from tests.scripted_api import Reply, ScriptedApi
from windrow.http.auth import Auth, NoAuth
from windrow.http.client import Client, Limits
from windrow.http.network import Network
from windrow.http.oauth import ClientCredentials
from windrow.model.answer import Answer, Rejected
from windrow.model.errors import ApiUnreachable, ConnectionUnusable
from windrow.model.policy import Backoff
from windrow.model.query import Query

LIMITS = Limits(connections=2, timeout_s=10, backoff=Backoff(base_s=0.001, cap_s=0.002, attempts=2))
SECRET = "p@ss-word!"
LOGIN = "worker:p%40ss-word!"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[ScriptedApi]:
    """An API over TLS, with a certificate of a private authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with scripted_api.running(context) as api:
        yield api


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a forward proxy that requires a login and notes what it was asked for."""
    folder = tmp_path_factory.mktemp("proxy")
    port_file = folder / "port"
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file)]
    command += ["--basic-auth", f"worker:{SECRET}", "--num-workers", "1", "--num-acceptors", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not (port_file.exists() and (text := port_file.read_text().strip())) and time.monotonic() < until:
            time.sleep(0.02)
        yield f"127.0.0.1:{text}"
        process.terminate()


def ask(
    url: str, *, auth: Auth | None = None, network: Network | None = None, limits: Limits = LIMITS
) -> Answer | Rejected:
    async def asking() -> Answer | Rejected:
        async with Client(url, auth or NoAuth(), name="shop", limits=limits, network=network) as client:
            return await client.ask(Query.of("/items"), lambda query, answer: None)

    return asyncio.run(asking())


def through(api: ScriptedApi) -> bool:
    """Whether the last request came through the proxy, which adds its name."""
    return "Via" in api.asked[-1].headers


# --- proxy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "connection"])
def test_calls_go_through_the_proxy(scripted: ScriptedApi, proxy: str, source: str, monkeypatch: pytest.MonkeyPatch):
    url = f"http://{LOGIN}@{proxy}"
    if source != "connection":
        monkeypatch.setenv(source, url)
    ask(scripted.url, network=Network(proxy=url) if source == "connection" else None)
    assert through(scripted)


def test_calls_over_tls_go_through_the_proxy(
    secure: ScriptedApi, proxy: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@{proxy}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert isinstance(ask(secure.url), Answer)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
    with pytest.raises(ConnectionUnusable, match="requires a login"):
        ask(secure.url)


def test_a_token_is_requested_through_the_proxy_too(scripted: ScriptedApi, proxy: str, monkeypatch: pytest.MonkeyPatch):
    scripted.answers(Reply({"access_token": "t1", "expires_in": 3600}), Reply({"id": 1}))
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOGIN}@{proxy}")
    ask(scripted.url, auth=ClientCredentials("/token", "id", "client-secret"))
    assert [asked.path for asked in scripted.asked] == ["/token", "/items"]
    assert "Via" in scripted.asked[0].headers


def test_a_stream_goes_through_the_proxy(scripted: ScriptedApi, proxy: str, monkeypatch: pytest.MonkeyPatch):
    scripted.answers(Reply('{"id": 1}\r\n{"id": 2}\r\n'))

    async def read() -> list[bytes]:
        async with Client(scripted.url, NoAuth(), name="shop", limits=LIMITS) as client:
            return [line async for line in client.lines(Query.of("/stream"), silence_s=5, opened=lambda headers: None)]

    monkeypatch.setenv("HTTP_PROXY", f"http://{LOGIN}@{proxy}")
    assert asyncio.run(read()) == [b'{"id": 1}', b'{"id": 2}']
    assert through(scripted)
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
    with pytest.raises(ConnectionUnusable, match="requires a login"):
        asyncio.run(read())


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "example.org, 127.0.0.1"])
def test_a_host_in_no_proxy_is_called_directly(
    scripted: ScriptedApi, proxy: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOGIN}@{proxy}")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    ask(scripted.url)
    assert not through(scripted)


@pytest.mark.parametrize(
    ("login", "what"), [("", "requires a login"), ("worker:wrong-password@", "rejected the login")]
)
def test_a_proxy_without_a_valid_login_ends_the_harvest_at_once(
    scripted: ScriptedApi, proxy: str, login: str, what: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", f"http://{login}{proxy}")
    with pytest.raises(ConnectionUnusable, match=what) as error:
        ask(scripted.url)
    assert "wrong-password" not in str(error.value)
    assert proxy in str(error.value)
    assert scripted.asked == []


def test_advice_for_a_proxy_that_is_down_names_the_proxy(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOGIN}@{dead}")
    with pytest.raises(ApiUnreachable) as error:
        ask(scripted.url)
    assert f"The proxy http://{dead} cannot be reached" in error.value.advice
    assert SECRET not in str(error.value)
    assert "p%40ss" not in str(error.value)


@pytest.mark.parametrize("wrong", ["socks5://127.0.0.1:1080", "http://", "http://[half", "ftp://proxy"])
def test_a_proxy_that_cannot_be_one_is_refused(scripted: ScriptedApi, wrong: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConnectionUnusable, match="'proxy' in the extra of the Airflow connection 'shop'"):
        ask(scripted.url, network=Network(proxy=wrong))
    monkeypatch.setenv("HTTP_PROXY", wrong)
    with pytest.raises(ConnectionUnusable, match="the environment"):
        ask(scripted.url)


# --- certificates ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "connection"])
def test_a_private_authority_is_trusted(
    secure: ScriptedApi, bundle: Path, source: str, monkeypatch: pytest.MonkeyPatch
):
    if source != "connection":
        monkeypatch.setenv(source, str(bundle))
    network = Network(ca_bundle=str(bundle)) if source == "connection" else None
    assert isinstance(ask(secure.url, network=network), Answer)


def test_an_unknown_authority_is_not_trusted_and_the_advice_says_what_to_set(secure: ScriptedApi):
    with pytest.raises(ApiUnreachable) as error:
        ask(secure.url)
    assert "certificate" in error.value.what
    assert "REQUESTS_CA_BUNDLE" in error.value.advice


def test_without_verification_each_run_warns(secure: ScriptedApi, caplog: pytest.LogCaptureFixture):
    assert isinstance(ask(secure.url, network=Network(verify_tls=False)), Answer)
    assert "certificates of the API 'shop' are NOT verified" in caplog.text


def test_an_expired_certificate_is_named(authority: trustme.CA, bundle: Path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    authority.issue_cert("127.0.0.1", not_after=past).configure_cert(context)
    with scripted_api.running(context) as api, pytest.raises(ApiUnreachable, match="has expired") as error:
        ask(api.url, network=Network(ca_bundle=str(bundle)))
    assert "its owner must renew it" in error.value.advice


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read_is_refused(
    secure: ScriptedApi, tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(ConnectionUnusable, match=r"ca\.pem.*REQUESTS_CA_BUNDLE"):
        ask(secure.url)


def test_a_port_without_tls_is_named(scripted: ScriptedApi):
    with pytest.raises(ApiUnreachable) as error:
        ask(scripted.url.replace("http://", "https://"))
    assert "may not speak TLS" in error.value.advice


# --- connections -------------------------------------------------------------------------------


def test_dead_connections_cost_no_query(scripted: ScriptedApi):
    """A server restarts behind open connections: more of them are dead than a call has attempts."""

    async def scenario() -> list[object]:
        limits = Limits(connections=6, backoff=Backoff(base_s=0.001, cap_s=0.002, attempts=2))
        async with Cutting() as server, Client(server.url, NoAuth(), name="shop", limits=limits) as client:
            queries = [Query.of(f"/{place}") for place in range(6)]
            await asyncio.gather(*(client.ask(query, lambda *_: None) for query in queries))
            server.cut_idle = True
            ends: list[object] = [await client.ask(query, lambda *_: None) for query in queries]
            return ends

    assert {type(end) for end in asyncio.run(scenario())} == {Answer}


class Cutting:
    """A server that can close each connection that it has answered before when the next request arrives there."""

    def __init__(self) -> None:
        self.cut_idle = False

    async def __aenter__(self) -> "Cutting":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = 0
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            if answered and self.cut_idle:
                break
            await asyncio.sleep(0.01)  # so that each call has its own connection
            answered += 1
            closes = b"close" in head.lower()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
            if closes:
                break
        writer.close()
