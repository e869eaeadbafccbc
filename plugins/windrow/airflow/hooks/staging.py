"""Open the staging of harvests from an Airflow connection of type ``mongo``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.exceptions import AirflowConfigException
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.airflow.hooks import no_connection
from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import know
from windrow.store.staging import SELECTION_MS, SOCKET_MS, Staging, checked
from windrow.store.status import StatusStore

DATABASE = "windrow"
"""Default database, if the connection has none."""


@contextmanager
def staging(conn_id: str, dataset: str) -> Iterator[Staging]:
    """Open the staging, check that the server answers, and close it at the end.

    :raises ConnectionUnusable: the connection does not exist, or is invalid.
    :raises StagingUnavailable: the server cannot be reached, or refuses an operation or the login.
    """
    with _database(conn_id) as (client, database):
        opened = Staging(client, database, _place(conn_id))
        opened.prepare(dataset)
        yield opened


@contextmanager
def staging_and_status(conn_id: str) -> Iterator[tuple[Staging, StatusStore]]:
    """Open the staging of all datasets, and what is known about their runs; the errors are those of `staging`."""
    with _database(conn_id) as (client, database):
        yield Staging(client, database, _place(conn_id)), StatusStore(client, database, _place(conn_id))


@contextmanager
def _database(conn_id: str) -> Iterator[tuple[Any, str]]:
    """Open a client of MongoDB; yield it and the name of the database."""
    try:
        hook = MongoHook(mongo_conn_id=conn_id)
    except AirflowNotFoundException:
        raise no_connection(conn_id, "MongoDB") from None
    except AirflowConfigException as error:
        raise ConnectionUnusable(
            f"The Airflow connection '{conn_id}' is invalid: {error}.", advice="Fix it under Admin > Connections."
        ) from error
    know(hook.connection.password)
    hook.extras = {"serverSelectionTimeoutMS": SELECTION_MS, "socketTimeoutMS": SOCKET_MS} | hook.extras
    keep_tls(hook)
    with hook:
        yield checked(hook.get_conn, _place(conn_id)), hook.connection.schema or DATABASE


def _place(conn_id: str) -> str:
    return f"the Airflow connection '{conn_id}'"


def keep_tls(hook: MongoHook) -> None:
    """Keep TLS where certificates are not checked: Airflow's hook removes `ssl` then, which the driver refuses."""
    if hook.allow_insecure:
        hook.extras["tls"] = True
