"""Open the broker of a run from an Airflow connection of type ``redis``.

The connection has host, port, login and password; its extra may have ``db`` (0) and ``ssl`` (false).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from redis.backoff import NoBackoff
from redis.retry import Retry

from windrow.airflow.hooks import no_connection
from windrow.harvest.broker import Broker
from windrow.model.errors import ConnectionUnusable
from windrow.model.plan import Run
from windrow.model.redact import know

_TIMEOUT_S = 5.0
"""The longest silence of Redis. A command is sent twice at most, as a connection may have died unseen: the client's own
way is eleven times, and the event loop of a worker would stand still for a minute."""


@contextmanager
def broker(conn_id: str, run: Run) -> Iterator[Broker]:
    """Open the broker of a run. It connects to the server at first use.

    :raises ConnectionUnusable: the connection does not exist, or a field is missing or invalid.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise no_connection(conn_id, "Redis") from None
    extra = connection.extra_dejson
    if not connection.host or not str(extra.get("db", 0)).isdecimal():
        raise ConnectionUnusable(
            f"The Airflow connection '{conn_id}' has no host, or 'db' in its extra is not a number.",
            advice="Fix it under Admin > Connections; .env.example has an example.",
        )
    know(connection.password)
    client = redis.Redis(
        host=connection.host,
        port=connection.port or 6379,
        db=int(extra.get("db", 0)),
        username=connection.login or None,
        password=connection.password or None,
        ssl=bool(extra.get("ssl", False)),
        protocol=2,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )
    with client:
        yield Broker(client, run, f"the Airflow connection '{conn_id}'")
