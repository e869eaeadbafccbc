"""An Airflow connection of type ``http``, turned into a signed and paced client of that API.

==================  =========================================================================================
field               meaning
==================  =========================================================================================
Schema, Host, Port  where the API is; Schema is https unless it says http. Host may also be a whole URL.
Login, Password     client id and client secret, if the API wants tokens
extra token_path    where they are turned into a token: a path of the API, or a whole URL
extra refresh_token a consent that was given once; with it the refresh token grant of OAuth 2.0 is used
extra quota         units of the API's quotas where the account's differ from the source's own, like
                    ``{"youtube.data": {"units": 50000, "per": "pacific_day"}}``
extra connections   calls in flight at once (16)
extra rate_per_s    calls a second, evenly spaced (no limit)
extra timeout_s     for one attempt (30)
extra patience_s    the longest pause that is waited for in place; for a longer one the task defers (60)
==================  =========================================================================================
"""

import json
import math
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.auth import Auth, ClientCredentials, NoAuth, RefreshToken
from windrow.client import Client, Limits
from windrow.errors import ConnectionUnusable
from windrow.hooks import no_connection
from windrow.quota import Book, Ledger, Quota, restated
from windrow.sources.base import Stream

_LIMITS = ("connections", "rate_per_s", "timeout_s", "patience_s")
_EXTRAS = {"token_path", "refresh_token", "quota", *_LIMITS}


class ApiHook(BaseHook):
    """Makes clients of the API that a connection describes."""

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def client(self, stream: Stream, book: Book, *, connections: int | None = None) -> Client:
        """Make a client for a stream of this API, not yet entered.

        :param book: where all runs see what is left of the quotas.
        :param connections: overrides the connection's own number.
        :raises ConnectionUnusable: the connection is not there, or lacks or garbles a field.
        """
        connection = self._connection()
        extra = self._extra(connection)
        if connections is not None:
            extra["connections"] = connections
        limits = self._limits(extra)
        quotas = self._quotas(extra, stream.quotas)
        return Client(
            self._base_url(connection),
            self._auth(connection, extra, limits),
            name=self.conn_id,
            limits=limits,
            policy=stream.policy,
            ledger=Ledger(book, quotas, account=connection.login or self.conn_id) if quotas else None,
            headers=stream.headers,
        )

    def cost(self, stream: Stream) -> tuple[Limits, list[Quota]]:
        """Return what bounds the speed of a harvest of this stream, without making a client.

        :raises ConnectionUnusable: as `client`.
        """
        extra = self._extra(self._connection())
        return self._limits(extra), self._quotas(extra, stream.quotas)

    def _connection(self) -> Connection:
        try:
            return self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise no_connection(self.conn_id, "HTTP") from None

    def _extra(self, connection: Connection) -> dict[str, Any]:
        """Read the extra. Airflow itself takes a garbled one for an empty one: no token then, and no limit."""
        try:
            extra = json.loads(connection.extra or "{}")
        except json.JSONDecodeError:
            extra = None
        if not isinstance(extra, dict):
            raise self._unusable("has an extra that is no JSON object", 'It should look like {"connections": 16}.')
        unknown = sorted(set(extra) - _EXTRAS)
        if unknown:
            raise self._unusable(f"has unknown extra fields {unknown}", f"Known are {sorted(_EXTRAS)}.")
        return extra

    def _base_url(self, connection: Connection) -> str:
        host = (connection.host or "").rstrip("/")
        if not host:
            raise self._unusable("has no host", "Fill in the host of the API.")
        if "://" not in host:
            bare = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host  # IPv6
            host = f"{connection.schema or 'https'}://{bare}"
        try:
            url = urlsplit(host)
            port = url.port
        except ValueError:
            raise self._unusable("has a host that is no address", "It should look like api.example.com.") from None
        if url.username is not None:
            raise self._unusable("has a login in its host", "Move it to the fields login and password.")
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise self._unusable(f"has the schema {url.scheme!r}", "It should be https or http.")
        if port and connection.port and port != connection.port:
            raise self._unusable(
                f"names two ports, {port} and {connection.port}", "Take one of them out of host or port."
            )
        netloc = url.netloc if port or not connection.port else f"{url.netloc}:{connection.port}"
        return f"{url.scheme}://{netloc}{url.path}"

    def _auth(self, connection: Connection, extra: dict[str, Any], limits: Limits) -> Auth:
        token_path, refresh_token = extra.get("token_path"), extra.get("refresh_token")
        if not token_path:
            if refresh_token:
                raise self._unusable(
                    "has a refresh_token and no token_path", 'Google\'s is "https://oauth2.googleapis.com/token".'
                )
            return NoAuth()
        if not isinstance(token_path, str):
            raise self._unusable("has a token_path that is no text", 'It should look like "/oauth/token".')
        if not connection.login or not connection.password:
            raise self._unusable(
                "names a token_path, and lacks a login or a password",
                "Fill in the client id as login and the client secret as password.",
            )
        client = (token_path, connection.login, connection.password)
        if refresh_token is None:
            return ClientCredentials(*client, name=self.conn_id, patience_s=limits.patience_s)
        if not isinstance(refresh_token, str) or not refresh_token:
            raise self._unusable("has a refresh_token that is no text", "docs/clouds.md says how to get one.")
        return RefreshToken(*client, refresh_token, name=self.conn_id, patience_s=limits.patience_s)

    def _quotas(self, extra: dict[str, Any], quotas: tuple[Quota, ...]) -> list[Quota]:
        given = extra.get("quota", {})
        if not isinstance(given, dict):
            raise self._unusable("has a quota that is no JSON object", 'It should look like {"name": {"units": 100}}.')
        try:
            return restated(quotas, given)
        except ValueError as error:
            raise self._unusable(f"has a quota that cannot be meant: {error}", "Mend its extra.") from None

    def _limits(self, extra: dict[str, Any]) -> Limits:
        given: dict[str, Any] = {}
        for name in extra.keys() & _LIMITS:
            number = _positive(extra[name])
            if number is None or (name == "connections" and not number.is_integer()):
                raise self._unusable(f"has {name} = {extra[name]!r:.40} in its extra", "It should be a number above 0.")
            given[name] = int(number) if name == "connections" else number
        return Limits(**given)

    def _unusable(self, what: str, advice: str) -> ConnectionUnusable:
        return ConnectionUnusable(f"The Airflow connection '{self.conn_id}' {what}.", advice=advice)


def _positive(value: object) -> float | None:
    """Read a number above 0 that is written as a number or as text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None
