"""Make a client of an API from the fields of an Airflow connection of type ``http`` or ``windrow``.

Schema, host and port are the address of the API; schema defaults to https, and host may also be a complete URL.
`windrow.connect.fields` has all other fields, docs/connections.md explains them.
"""

import json
import math
from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import date
from typing import Any, Protocol
from urllib.parse import urlsplit

from windrow.connect import auth, pool, unusable
from windrow.connect.fields import AUTH_FIELDS, COMMON, LIMITS
from windrow.connect.given import Connection, Platform, read
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits, OnResponse
from windrow.http.conditional import ConditionalRequests, HttpCache
from windrow.http.consent import ConsentStore
from windrow.http.export import STORAGE_POLICY
from windrow.http.ledger import Ledger, QuotaStore
from windrow.http.network import Network
from windrow.http.pacing import PauseStore, TurnStore
from windrow.http.pool import by_owner
from windrow.model.errors import ConnectionUnusable
from windrow.model.policy import Backoff
from windrow.model.quota import Quota, restated
from windrow.model.stream import Stream

_NETWORK = ("proxy", "ca_bundle", "verify_tls")
_EXTRAS = {*COMMON, *AUTH_FIELDS}
_DOWNLOAD_S = 300.0
"""Minimum timeout of a download."""
_OF_HTTP = "srv_lookup"
"""Field that Airflow's form adds to connections of type HTTP. Windrow does not look up DNS SRV records."""


class State(QuotaStore, HttpCache, ConsentStore, PauseStore, TurnStore, Protocol):
    """State that the clients of all runs share."""


class Api(ABC):
    """Makes clients for the API of a connection. A subclass finds the connection."""

    conn_id: str
    platform: Platform

    @abstractmethod
    def connection(self) -> Connection:
        """Return the connection.

        :raises ConnectionUnusable: it does not exist.
        """

    def client(
        self,
        stream: Stream,
        state: State,
        *,
        connections: int | None = None,
        rate_per_s: float | None = None,
        share: tuple[int, int] = (0, 1),
        reserved: float = 0.0,
        backoff: Backoff | None = None,
        on_response: OnResponse | None = None,
    ) -> Client:
        """Make a client for a stream of this API. The caller enters its context.

        :param state: stores the quotas and the earlier answers that all runs share.
        :param connections: overrides the value of the connection.
        :param rate_per_s: maximum calls per second, if the connection does not set a lower one.
        :param share: number of this worker, from 0, and number of workers. Each worker gets a part of the connections
            and its own owners of the pool; see `room`.
        :param reserved: share of every limit that is left to other runs, from 0 to 1.
        :param backoff: overrides the pauses and the number of attempts of a call.
        :param on_response: called with each response.
        :raises ConnectionUnusable: the connection does not exist, or a field is missing or invalid.
        """
        connection = self.connection()
        extra = self._extra(connection, stream)
        limits = self._limits(extra, connections)
        worker, workers = share
        limits = replace(limits, connections=len(range(worker, limits.connections, workers)))
        if backoff:
            limits = replace(limits, backoff=backoff)
        if rate_per_s is not None:
            limits = replace(limits, rate_per_s=min(rate_per_s, limits.rate_per_s or rate_per_s))
        quotas = self._quotas(extra, stream.quotas)
        base_url = self._base_url(connection)
        given = read(
            self.conn_id,
            connection,
            extra,
            stream,
            limits,
            store=state,
            share=share,
            reserved=reserved,
            platform=self.platform,
        )
        certificate = auth.client_certificate(given)
        if certificate and not base_url.startswith("https:"):
            raise self._unusable("has a client_cert, but its schema is http", "Set the schema to https.")
        return Client(
            base_url,
            auth.make(given),
            name=self.conn_id,
            limits=limits,
            policy=stream.policy,
            ledger=Ledger(state, quotas, account=connection.login or self.conn_id, reserved=reserved)
            if quotas
            else None,
            headers=stream.headers,
            origins=self._origins(extra, "origins"),
            owner_only=stream.owner_only,
            conditional_requests=ConditionalRequests(state, base_url) if stream.conditional_requests else None,
            network=self._network(extra, certificate),
            pauses=state,
            turns=state,
            storage=self._storage(extra, limits),
            on_response=on_response,
        )

    @property
    def base_url(self) -> str:
        """The URL of the API, without a login and a query string.

        :raises ConnectionUnusable: the connection does not exist, or its host is invalid.
        """
        return self._base_url(self.connection())

    def pool_size(self, stream: Stream) -> int:
        """Return how many owners the pool of this connection has; 0 without a pool.

        :raises ConnectionUnusable: as `client`.
        """
        connection = self.connection()
        given = read(self.conn_id, connection, self._extra(connection, stream), stream, Limits())
        return len(by_owner(pool.credentials(given)))

    def room(self, stream: Stream, connections: int | None = None) -> int:
        """Return for how many workers there is a share: each has at least a connection, and an owner of the pool.

        :param connections: overrides the value of the connection.
        :raises ConnectionUnusable: as `client`.
        """
        most = self._limits(self._extra(self.connection(), stream), connections).connections
        return min(most, self.pool_size(stream) or most)

    def cost(self, stream: Stream) -> tuple[Limits, list[Quota]]:
        """Return the limits and quotas that apply to this stream, without making a client.

        :raises ConnectionUnusable: as `client`.
        """
        extra = self._extra(self.connection(), stream)
        return self._limits(extra), self._quotas(extra, stream.quotas)

    def shared_quotas(self, stream: Stream) -> dict[str, Any]:
        """Return whose units this stream takes, as plain values: ``account``, and of each quota name, units and period.

        :raises ConnectionUnusable: as `client`.
        """
        connection = self.connection()
        quotas = self._quotas(self._extra(connection, stream), stream.quotas)
        periods = [[one.name, one.units, one.period.unit, one.period.zone] for one in quotas]
        return {"account": connection.login or self.conn_id, "quotas": periods}

    def _extra(self, connection: Connection, stream: Stream) -> dict[str, Any]:
        """Read the extra. Airflow itself treats invalid JSON as an empty extra, which would drop tokens and limits."""
        try:
            extra = json.loads(connection.extra or "{}")
        except json.JSONDecodeError:
            extra = None
        if not isinstance(extra, dict):
            raise self._unusable("has an invalid extra", 'It must be a JSON object, like {"connections": 16}.')
        if extra.pop(_OF_HTTP, None):
            raise self._unusable(f"has {_OF_HTTP}", "Switch it off, and set the host of the API.")
        known = {*_EXTRAS, *stream.credentials}
        unknown = sorted(set(extra) - known)
        if unknown:
            raise self._unusable(f"has unknown fields in its extra: {unknown}", f"Valid fields are {sorted(known)}.")
        if extra.get("expires_on") is not None and not _is_date(extra["expires_on"]):
            raise self._unusable("has an invalid 'expires_on'", 'It must be a date, like "2027-03-31".')
        return {name: value for name, value in extra.items() if value is not None}  # Airflow's form saves null

    def _base_url(self, connection: Connection) -> str:
        host = (connection.host or "").rstrip("/")
        if not host or host.endswith(":"):  # such as "https://"
            raise self._unusable("has no host", "Set the host of the API.")
        if "?" in host or "#" in host:
            raise self._unusable(
                "has a query string or a fragment in its host",
                "Remove it. For a key in a query parameter, set auth to 'query_key', with api_key and param.",
            )
        if "://" not in host:
            bare = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host  # IPv6
            host = f"{connection.schema or 'https'}://{bare}"
        try:
            url = urlsplit(host)
            port = url.port
        except ValueError:
            raise self._unusable(
                "has an invalid host", "It must be a host name or a URL, like api.example.com."
            ) from None
        if url.username is not None:
            raise self._unusable("has a login in its host", "Move it to the fields login and password.")
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise self._unusable(f"has an invalid schema {url.scheme!r}", "It must be https or http.")
        if port and connection.port and port != connection.port:
            raise self._unusable(
                f"has two different ports: {port} in host, {connection.port} in port", "Remove one of them."
            )
        netloc = url.netloc if port or not connection.port else f"{url.netloc}:{connection.port}"
        return f"{url.scheme}://{netloc}{url.path}"

    def _storage(self, extra: dict[str, Any], limits: Limits) -> Client | None:
        """Make the client for export files. It has no credential and no client certificate."""
        origins = self._origins(extra, "storage_origins")
        if not origins:
            return None
        return Client(
            origins[0].rstrip("/"),
            NoAuth(),
            name=self.conn_id,
            limits=replace(limits, timeout_s=max(limits.timeout_s, _DOWNLOAD_S), rate_per_s=None),
            policy=STORAGE_POLICY,
            origins=origins,
            network=self._network(extra, None),
        )

    def _origins(self, extra: dict[str, Any], name: str) -> list[str]:
        given = extra.get(name, [])
        for origin in given if isinstance(given, list) else [given]:
            try:
                parts = urlsplit(origin)
                good = parts.scheme in {"http", "https"} and parts.hostname and parts.path in {"", "/"}
                good = good and parts.port != 0 and parts.username is None and not parts.query
            except (ValueError, AttributeError, TypeError):
                good = False
            if not good or not isinstance(given, list):
                raise self._unusable(
                    f"has an invalid '{name}': {given!r:.80}",
                    'It must be a list of origins, like ["https://api2.example.com"].',
                )
        return list(given)

    def _quotas(self, extra: dict[str, Any], quotas: tuple[Quota, ...]) -> list[Quota]:
        given = extra.get("quota", {})
        if not isinstance(given, dict):
            raise self._unusable("has an invalid 'quota'", 'It must be a JSON object, like {"name": {"units": 100}}.')
        try:
            return restated(quotas, given)
        except ValueError as error:
            raise self._unusable(f"has an invalid 'quota': {error}", "Fix 'quota' in the extra.") from None

    def _limits(self, extra: dict[str, Any], connections: int | None = None) -> Limits:
        if connections is not None:
            extra = {**extra, "connections": connections}
        given: dict[str, Any] = {}
        for name in extra.keys() & LIMITS.keys():
            number = _positive(extra[name])
            if number is None or (name == "connections" and not number.is_integer()):
                kind = "whole number" if name == "connections" else "number"
                raise self._unusable(
                    f"has an invalid '{name}' in its extra: {extra[name]!r:.40}", f"It must be a {kind} above 0."
                )
            given[name] = int(number) if name == "connections" else number
        return Limits(**given)

    def _network(self, extra: dict[str, Any], certificate: tuple[str, str | None, str | None] | None) -> Network:
        given = {name: extra[name] for name in _NETWORK if name in extra}
        for name, value in given.items():
            kind, example = (bool, "true or false") if name == "verify_tls" else (str, "a string")
            if not isinstance(value, kind) or value == "":
                raise self._unusable(f"has an invalid '{name}' in its extra", f"It must be {example}.")
        return Network(**given, certificate=certificate)

    def _unusable(self, what: str, advice: str) -> ConnectionUnusable:
        return unusable(self.conn_id, what, advice)


def _is_date(value: object) -> bool:
    """Return whether a value is a date in ISO format. The Harvest page counts the days until it."""
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _positive(value: object) -> float | None:
    """Read a number above 0, also from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None
