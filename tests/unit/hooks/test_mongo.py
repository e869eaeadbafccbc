"""The connection to MongoDB: each option reaches the driver, from Airflow and from the terminal."""

import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest
from pymongo import MongoClient

from windrow.airflow.hooks.staging import staging_and_status
from windrow.cli.address import mongo_url
from windrow.model.errors import ConnectionUnusable, StagingUnavailable, WindrowError
from windrow.store.staging import checked

CONNECTION = "AIRFLOW_CONN_MONGO_DEFAULT"
PASSWORD = "p@ss/word-4711"
NAMES = ("_mongodb._tcp.cluster.example.com.", "cluster.example.com.")


class Names(socketserver.BaseRequestHandler):
    """A name server that knows one cluster."""

    def handle(self) -> None:
        data, server = self.request
        asked = dns.message.from_wire(data)
        answer = dns.message.make_response(asked)
        (question,) = asked.question
        told = {
            (NAMES[0], "SRV"): "0 0 27017 one.example.com.",
            (NAMES[1], "TXT"): '"replicaSet=rs0&authSource=people"',
        }.get((question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
        if told:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", question.rdtype, told))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(answer.to_wire(), self.client_address)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look names up on this machine."""
    with socketserver.UDPServer(("127.0.0.1", 0), Names) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.server_address[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        yield
        server.shutdown()


def connection(extra: dict[str, Any], **fields: Any) -> str:
    given = {"conn_type": "mongo", "host": "127.0.0.1", "schema": "windrow", "login": "me", "password": PASSWORD}
    return json.dumps({name: value for name, value in (given | fields).items() if value} | {"extra": extra})


def told(client: MongoClient) -> dict[str, Any]:
    """Return what a client was told, in the words of its options."""
    options = client.options
    credentials, pool = options.pool_options._credentials, options.pool_options
    return {
        "source": credentials and (credentials.source, credentials.username, credentials.password),
        "tls": pool._ssl_context is not None,
        "checks": pool._ssl_context is not None and pool._ssl_context.verify_mode == ssl.CERT_REQUIRED,
        "set": options.replica_set_name,
        "w": client.write_concern.document,
        "reads": client.read_concern.document,
        "selection": options.server_selection_timeout,
        "connect": pool.connect_timeout,
        "socket": pool.socket_timeout,
        "retries": options.retry_writes,
        "direct": client.topology_description.topology_type_name == "Single",
        "compressed": bool(pool._compression_settings.compressors),
    }


PLAIN = {
    "source": ("windrow", "me", PASSWORD), "tls": False, "checks": False, "set": None, "w": {}, "reads": {},
    "selection": 10.0, "connect": 20.0, "socket": 60.0, "retries": True, "direct": False, "compressed": False,
}  # fmt: skip
SAFE = {"tls": True, "checks": True}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}, {}),
    "no login": ({}, {"login": "", "password": ""}, {"source": None}),
    "where users are": ({"authSource": "admin"}, {}, {"source": ("admin", "me", PASSWORD)}),
    "TLS": ({"tls": True}, {}, SAFE),
    "TLS, as Airflow's form says it": ({"ssl": "true"}, {}, SAFE),
    "TLS without a check": ({"ssl": True, "allow_insecure": True}, {}, {"tls": True}),
    "TLS without a check, in new words": ({"tls": "true", "allow_insecure": "true"}, {}, {"tls": True}),
    "no TLS, as Airflow's form says it": ({"ssl": False, "allow_insecure": False}, {}, {}),
    "a replica set": ({"replicaSet": "rs0"}, {"host": "127.0.0.1:1,127.0.0.1:2"}, {"set": "rs0"}),
    "concerns": (
        {"w": "majority", "journal": True, "wtimeoutMS": 5_000, "readConcernLevel": "majority"}, {},
        {"w": {"w": "majority", "j": True, "wtimeout": 5_000}, "reads": {"level": "majority"}},
    ),
    "timeouts": (
        {"serverSelectionTimeoutMS": 3_000, "connectTimeoutMS": "2000", "socketTimeoutMS": 7_000}, {},
        {"selection": 3.0, "connect": 2.0, "socket": 7.0},
    ),
    "more": (
        {"retryWrites": False, "directConnection": True, "compressors": "zlib"}, {"port": 27018},
        {"retries": False, "direct": True, "compressed": True},
    ),
    "SRV, with what the names say": (
        {"srv": True}, {"host": "cluster.example.com"},
        {**SAFE, "set": "rs0", "source": ("people", "me", PASSWORD)},
    ),
    "SRV, and what the connection says": (
        {"srv": True, "authSource": "admin"}, {"host": "cluster.example.com"},
        {**SAFE, "set": "rs0", "source": ("admin", "me", PASSWORD)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_options_reach_the_driver_from_airflow_and_from_the_terminal(
    case: str, names: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra, fields, changed = CASES[case]
    monkeypatch.setenv(CONNECTION, connection(extra, **fields))

    with staging_and_status("mongo_default") as (state, _):
        assert told(state._client) == PLAIN | changed
        assert state._database.name == "windrow"
    url = mongo_url("", {CONNECTION: connection(extra, **fields)})
    limits = {"serverSelectionTimeoutMS": 10_000, "socketTimeoutMS": 60_000} if case != "timeouts" else {}
    with checked(lambda: MongoClient(url, **limits), "the test") as client:
        assert told(client) == PLAIN | changed
        assert client.get_default_database().name == "windrow"


@pytest.mark.parametrize(
    ("extra", "kind", "said"),
    [
        ({"w": 0}, ConnectionUnusable, "w=0"),
        ({"readPreference": "secondary"}, ConnectionUnusable, "readPreference"),
        ({"tlss": True}, ConnectionUnusable, "tlss"),
        ({"authMechanism": "x"}, ConnectionUnusable, "authMechanism must be"),
        ({"tls": True, "tlsCAFile": "/nowhere.pem"}, ConnectionUnusable, "or one of its options, is invalid"),
        ({"srv": True}, StagingUnavailable, "cannot be looked up"),
    ],
)
def test_what_cannot_be_is_said_without_the_password(
    extra: dict[str, Any], kind: type[WindrowError], said: str, names: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, connection(extra, host="unknown.example.com"))

    with pytest.raises(kind, match=said) as error, staging_and_status("mongo_default"):
        pass

    assert PASSWORD not in str(error.value)
