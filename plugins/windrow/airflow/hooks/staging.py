"""Open the staging of harvests from an Airflow connection of type ``mongo``."""

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
"""Default database, if the connection has none."""
_SELECTION_MS = 10_000
"""How long the driver looks for a server, unless the extra of the connection sets it."""


@contextmanager
def staging(conn_id: str, dataset: str) -> Iterator[Staging]:
    """Open the staging, check that the server answers, and close it at the end.

    :raises ConnectionUnusable: the connection does not exist, or is invalid.
    :raises StagingUnavailable: the server cannot be reached, or refuses an operation.
    """
    try:
        hook = MongoHook(mongo_conn_id=conn_id)
    except AirflowNotFoundException:
        raise no_connection(conn_id, "MongoDB") from None
    except AirflowConfigException as error:
        raise ConnectionUnusable(
            f"The Airflow connection '{conn_id}' is invalid: {error}.", advice="Fix it under Admin > Connections."
        ) from error
    hook.extras.setdefault("serverSelectionTimeoutMS", _SELECTION_MS)
    hook.extras.setdefault("socketTimeoutMS", SOCKET_MS)
    know(hook.connection.password)
    with hook:
        opened = Staging(hook.get_conn(), hook.connection.schema or DATABASE)
        opened.prepare(dataset)
        yield opened
