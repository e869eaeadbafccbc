"""An Airflow connection of type ``http``, turned into a signed and paced client of that API.

==================  =========================================================================================
field               meaning
==================  =========================================================================================
Schema, Host, Port  where the API is; Schema is https unless it says http. Host may also be a whole URL.
Login, Password     client id and client secret, if the API wants tokens
extra token_path    where they are turned into a token: a path of the API, or a whole URL
extra connections   calls in flight at once (16)
extra rate_per_s    calls a second, evenly spaced (no limit)
extra timeout_s     for one attempt (30)
extra patience_s    the longest pause that is waited for in place; for a longer one the task defers (60)
==================  =========================================================================================
"""

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.auth import Auth, ClientCredentials, NoAuth
from windrow.client import Client, Limits
from windrow.errors import ConnectionUnusable

_LIMITS = {"connections": int, "rate_per_s": float, "timeout_s": float, "patience_s": float}
_EXTRAS = {"token_path", *_LIMITS}


class ApiHook(BaseHook):
    """Makes clients of the API that a connection describes."""

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def client(self, *, connections: int | None = None) -> Client:
        """Make a client, not yet entered.

        :param connections: overrides the connection's own number.
        :raises ConnectionUnusable: the connection is not there, or lacks or garbles a field.
        """
        connection = self._connection()
        return Client(
            self._base_url(connection),
            self._auth(connection),
            name=self.conn_id,
            limits=self._limits(connection, connections),
        )

    def _connection(self) -> Connection:
        try:
            connection = self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise ConnectionUnusable(
                f"There is no Airflow connection '{self.conn_id}'.",
                advice=f"Add it under Admin > Connections, type HTTP, or set AIRFLOW_CONN_{self.conn_id.upper()}; "
                "the fields are described in windrow/hooks/api.py and .env.example.",
            ) from None
        unknown = sorted(set(connection.extra_dejson) - _EXTRAS)
        if unknown:
            raise self._unusable(f"has unknown extra fields {unknown}", f"Known are {sorted(_EXTRAS)}.")
        return connection

    def _base_url(self, connection: Connection) -> str:
        host = (connection.host or "").rstrip("/")
        if not host:
            raise self._unusable("has no host", "Fill in the host of the API.")
        if "://" not in host:
            host = f"{connection.schema or 'https'}://{host}"
        if not host.startswith(("http://", "https://")):
            raise self._unusable(f"has the schema {host.split(':')[0]!r}", "It should be https or http.")
        return f"{host}:{connection.port}" if connection.port else host

    def _auth(self, connection: Connection) -> Auth:
        token_path = connection.extra_dejson.get("token_path")
        if not token_path:
            return NoAuth()
        if not connection.login or not connection.password:
            raise self._unusable(
                "names a token_path, and lacks a login or a password",
                "Fill in the client id as login and the client secret as password.",
            )
        return ClientCredentials(token_path, connection.login, connection.password, name=self.conn_id)

    def _limits(self, connection: Connection, connections: int | None) -> Limits:
        given = {name: value for name, value in connection.extra_dejson.items() if name in _LIMITS}
        if connections is not None:
            given["connections"] = connections
        for name, value in given.items():
            try:
                given[name] = _LIMITS[name](value)
            except (TypeError, ValueError):
                given[name] = 0
            if not given[name] > 0:
                raise self._unusable(f"has {name} = {value!r} in its extra", "It should be a number above 0.")
        return Limits(**given)

    def _unusable(self, what: str, advice: str) -> ConnectionUnusable:
        return ConnectionUnusable(f"The Airflow connection '{self.conn_id}' {what}.", advice=advice)
