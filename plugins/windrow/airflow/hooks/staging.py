"""An Airflow connection of type ``mongo``, turned into the staging of harvests."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.exceptions import AirflowConfigException
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.airflow.hooks import no_connection
from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import know
from windrow.store.staging import SOCKET_MS, Staging

DATABASE = "windrow"
"""Used where the connection names none."""
_SELECTION_MS = 10_000
"""How long the driver looks for a server, unless the connection's extra says otherwise."""


@contextmanager
def staging(conn_id: str, dataset: str) -> Iterator[Staging]:
    """Open the staging, check that the server is there, and close it at the end.

    :raises ConnectionUnusable: there is no such connection, or it cannot be used.
    :raises StagingUnavailable: there is no such server, or it refuses.
    """
    try:
        hook = MongoHook(mongo_conn_id=conn_id)
    except AirflowNotFoundException:
        raise no_connection(conn_id, "MongoDB") from None
    except AirflowConfigException as error:
        raise ConnectionUnusable(
            f"The Airflow connection '{conn_id}' cannot be used: {error}.", advice="Mend it under Admin > Connections."
        ) from error
    hook.extras.setdefault("serverSelectionTimeoutMS", _SELECTION_MS)
    hook.extras.setdefault("socketTimeoutMS", SOCKET_MS)
    know(hook.connection.password)
    with hook:
        opened = Staging(hook.get_conn(), hook.connection.schema or DATABASE)
        opened.prepare(dataset)
        yield opened
