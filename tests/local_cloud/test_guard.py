"""Nobody but programs of the same user gets anything from a service of the local cloud."""

import http.server
import multiprocessing
import os
import socket
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery
from redis import AuthenticationError, Redis

from local_cloud.emulators import guard
from local_cloud.settings import PROJECT_ID, Settings
from tests.shared_cloud import SharedCloud

NOBODY = 65534
GRPC = ("bigquery_grpc_port", "cloud_tasks_port", "pubsub_port")
HTTP = {
    "gcs_port": "/",
    "bigquery_port": f"/bigquery/v2/projects/{PROJECT_ID}/datasets",
    "cloud_tasks_http_port": "/health",
    "pubsub_http_port": "/health",
    "aws_port": "/_ministack/health",
    "athena_port": "/health",
    "api_port": "/_admin/health",
    "function_port": "/",
}
OTHERS = ("mongo_port",)
"""Ports that speak no HTTP. MongoDB, PostgreSQL and Redis also have a password: tests/integration/test_logins.py."""


@pytest.fixture(scope="module")
def cloud(shared: SharedCloud) -> Settings:
    return shared.need(*(
        "mongo",
        "redis",
        "gcs",
        "bigquery",
        "cloud-tasks",
        "pubsub",
        "aws",
        "athena",
        "apis",
        "fetch-passenger",
    ))


def url(cloud: Settings, port: str) -> str:
    return f"http://127.0.0.1:{getattr(cloud, port)}{HTTP[port]}"


@pytest.mark.parametrize("port", HTTP)
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "evil.example:80"}],
    ids=["Origin", "no Origin to tell", "Host", "Host and port"],
)
def test_a_request_of_a_page_is_refused(cloud: Settings, port: str, headers: dict[str, str]) -> None:
    assert requests.get(url(cloud, port), timeout=20).status_code in {200, 405}
    for method in ("GET", "POST", "OPTIONS"):
        answer = requests.request(method, url(cloud, port), headers=headers, timeout=20)
        assert answer.status_code == 403, method
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.fixture(scope="module")
def nobody() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be another user: run this as root")


def _become(uid: int) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def _as_nobody(call: Any, *arguments: Any, uid: int = NOBODY) -> Any:
    """Return what a function returns in a process of another user."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()

    def work() -> None:
        _become(uid)
        try:
            theirs.send(call(*arguments))
        except BaseException as error:
            theirs.send(repr(error))
        os._exit(0)

    process = fork.Process(target=work)
    process.start()
    try:
        assert ours.poll(60), "no word of it"
        return ours.recv()
    finally:
        process.kill()
        process.join(10)


def _told(port: int, said: bytes) -> bytes:
    """Say something to a port, and return what it answers: nothing, if it hangs up."""
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.settimeout(10)
        try:
            link.sendall(said)
            return link.recv(4096)
        except ConnectionError:
            return b""


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("port", [*HTTP, *OTHERS])
def test_another_user_is_told_nothing(cloud: Settings, port: str) -> None:
    said = f"GET {HTTP.get(port, '/')} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    number = getattr(cloud, port)
    assert _as_nobody(_told, number, said) == b""
    if port in HTTP:
        assert _told(number, said).startswith(b"HTTP/1.1 ") or _told(number, said).startswith(b"HTTP/1.0 ")


@pytest.mark.usefixtures("nobody")
def test_a_service_without_the_rights_of_root_refuses_others_too() -> None:
    """The kernel's table of connections tells every user whose they are."""

    def serve(server: http.server.HTTPServer) -> None:
        _become(NOBODY)
        guard.install()
        server.serve_forever()

    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        service = multiprocessing.get_context("fork").Process(target=serve, args=(server,))
        service.start()
        try:
            call = (_told, server.server_port, b"HEAD / HTTP/1.0\r\n\r\n")
            assert _as_nobody(*call).startswith(b"HTTP/1.0 ")
            assert _as_nobody(*call, uid=NOBODY - 1) == b""
            assert _told(*call[1:]) == b"", "root is another user as well"
        finally:
            service.kill()
            service.join(10)


def _grpc_status(port: int, method: str) -> str:
    """Call a method without a message by gRPC, and return the status."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=20)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _grpc_status_as_nobody(port: int, method: str) -> str:
    """The same, as written on the wire: gRPC's core does not survive a fork. Returns what comes back, as text."""
    frame = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a000000040000000000")
    path = method.encode()
    headers = b"\x83\x86" + b"\x44" + bytes([len(path)]) + path + b"\x41\x09127.0.0.1" + b"\x5f\x10application/grpc"
    headers += b"\x40\x02te\x08trailers"
    call = len(headers).to_bytes(3, "big") + b"\x01\x04\x00\x00\x00\x01" + headers
    data = (5).to_bytes(3, "big") + b"\x00\x01\x00\x00\x00\x01" + b"\0\0\0\0\0"
    found = b""
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.settimeout(10)
        link.sendall(frame + call + data)
        while b"grpc-message" not in found and (piece := link.recv(4096)):
            found += piece
    return found.decode("latin-1")


METHODS = {
    "bigquery_grpc_port": "/google.cloud.bigquery.storage.v1.BigQueryRead/CreateReadSession",
    "cloud_tasks_port": "/google.cloud.tasks.v2.CloudTasks/ListQueues",
    "pubsub_port": "/google.pubsub.v1.Publisher/ListTopics",
}


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("port", GRPC)
def test_another_user_is_refused_by_grpc(cloud: Settings, port: str) -> None:
    assert _grpc_status(getattr(cloud, port), METHODS[port]) != "PERMISSION_DENIED"
    told = _as_nobody(_grpc_status_as_nobody, getattr(cloud, port), METHODS[port])
    assert "The local cloud serves programs of this machine" in told


def test_redis_and_its_like_have_a_password(cloud: Settings) -> None:
    with Redis.from_url(cloud.redis_url) as client, pytest.raises(AuthenticationError):
        client.ping()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM '{secret}'",
        "CREATE TABLE guard.stolen AS SELECT * FROM read_csv('{secret}')",
        "EXPORT DATA OPTIONS (uri = 'gs://x/../../../../../../../..{secret}-*.csv', format = 'CSV') AS SELECT 1 AS n",
        "COPY (SELECT 1) TO '{secret}-copy'",
    ],
)
def test_sql_reaches_no_file_of_the_user(cloud: Settings, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hush-hush")
    options = {"api_endpoint": cloud.bigquery_url}
    from google.auth.credentials import AnonymousCredentials

    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset("guard", exists_ok=True)
        with pytest.raises(GoogleAPICallError) as refused:
            list(client.query_and_wait(sql.format(secret=secret)))
    assert "hush-hush" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.parametrize(
    ("origin", "host", "is_served"),
    [
        *[(None, "127.0.0.1:80", True), (None, "localhost", True), (None, "[::1]:80", True), (None, None, True)],
        *[(None, "LOCALHOST:1", True), (None, "", True), ("http://127.0.0.1:80", "127.0.0.1:80", False)],
        *[
            (None, "localhost.evil.example", False),
            (None, "127.0.0.1.evil.example:80", False),
            ("", "localhost", False),
        ],
    ],
)
def test_who_is_served(origin: str | None, host: str | None, is_served: bool) -> None:
    assert (guard.fault(origin, host) is None) == is_served


def test_whose_a_connection_is() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as ear:
            try:
                ear.bind((host, 0))
            except OSError:
                continue  # no IPv6 here
            ear.listen()
            with socket.create_connection(ear.getsockname()[:2]) as ours:
                link, address = ear.accept()
                with link:
                    assert not guard.is_stranger(address[:2], link.getsockname()[:2])
                    assert guard.is_stranger((address[0], address[1] ^ 1), link.getsockname()[:2]), "nobody's"
                    assert guard.is_stranger(ear.getsockname()[:2], link.getsockname()[:2]), "a port is no connection"
                assert ours


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a connection is")
def test_the_tables_of_all_connections_are_not_read_for_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They take the kernel 10 ms if there are thousands."""
    (tmp_path / "tcp").write_text("no connections\n")
    monkeypatch.setattr(guard, "_TABLES", (tmp_path / "tcp",))
    with socket.create_server(("127.0.0.1", 0)) as ear, socket.create_connection(ear.getsockname()):
        link, address = ear.accept()
        with link:
            assert not guard.is_stranger(address, link.getsockname())
