"""MongoDB over TLS with a certificate authority of one's own, as companies have it."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.private_ca import PrivateCa
from windrow.airflow.hooks.staging import staging
from windrow.cli.address import mongo_url
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.status import open_status

RUN = Run("shop_orders", "manual__over_tls")


class Terminator(socketserver.BaseRequestHandler):
    """Ends TLS, and passes on what a client says to the server without it."""

    def handle(self) -> None:
        try:
            secure = self.server.context.wrap_socket(self.request, server_side=True)
        except OSError:
            return  # one does not trust the other
        with secure, socket.create_connection(self.server.behind) as plain:
            threading.Thread(target=_pass_on, args=(plain, secure), daemon=True).start()
            _pass_on(secure, plain)


def _pass_on(from_: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := from_.recv(65_536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return PrivateCa(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def port(authority: PrivateCa, mongo: MongoClient) -> Iterator[int]:
    """The port of a MongoDB that wants a certificate of its clients."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Terminator) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.context, server.behind = authority.server(), mongo.address
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def client_file(authority: PrivateCa, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of a client, and its key, in one file."""
    issued, path = authority.issue("client"), tmp_path_factory.mktemp("client") / "both.pem"
    path.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    return path


def connection(port: int, database: str, **extra: object) -> str:
    given = {"conn_type": "mongo", "host": "127.0.0.1", "port": port, "schema": database}
    return json.dumps(given | {"extra": {"serverSelectionTimeoutMS": 2_000, **extra}})


def test_a_run_is_planned_over_tls_and_the_terminal_reads_it(
    port: int, authority: PrivateCa, client_file: Path, mongo: MongoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = "test_over_tls"
    extra = {"tls": True, "tlsCAFile": str(authority.root), "tlsCertificateKeyFile": str(client_file)}
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", connection(port, database, **extra))
    try:
        with staging("mongo_default", RUN.dataset) as state:
            state.save_plan(RUN, [Query.of("/order/1")])
            assert state.plan(RUN).planned == 1
        with open_status(mongo_url("", {"AIRFLOW_CONN_MONGO_DEFAULT": connection(port, database, **extra)})) as status:
            assert [one.planned for one in status.summaries(RUN.dataset)] == [1]
    finally:
        mongo.drop_database(database)


@pytest.mark.parametrize("case", ["another authority", "no certificate", "no TLS"])
def test_without_trust_there_is_no_connection(
    case: str,
    port: int,
    authority: PrivateCa,
    client_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = PrivateCa(tmp_path)
    extra = {
        "another authority": {"tls": True, "tlsCAFile": str(other.root), "tlsCertificateKeyFile": str(client_file)},
        "no certificate": {"tls": True, "tlsCAFile": str(authority.root)},
        "no TLS": {},
    }[case]
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", connection(port, "test_no_tls", **extra, connectTimeoutMS=500))

    with pytest.raises(StagingUnavailable, match="MongoDB operation failed"), staging("mongo_default", RUN.dataset):
        pass
