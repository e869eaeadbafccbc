"""Take a snapshot of all harvests in a task: from Airflow's API server, or from MongoDB alone."""

import re
from typing import Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from windrow.airflow.hooks.quiet import QuietHook
from windrow.airflow.hooks.staging import staging_and_status
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.snapshot import Snapshot, take
from windrow.harvest.wire import SNAPSHOT
from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import know

AIRFLOW = "windrow_airflow"
"""An Airflow connection of type HTTP: the API server, and login and password of a user who may read all DAGs."""
PATH = "/windrow/harvest/snapshot"
_TIMEOUT_S = 30


def snapshot(mongo_conn_id: str) -> Snapshot:
    """Return what the page Harvest shows to the user of the connection `AIRFLOW`.

    A task cannot read Airflow's database. Without that connection, the snapshot is that of a terminal: it does not know
    times of the schedule without a run, and failed tasks that note nothing.

    :raises ConnectionUnusable: Airflow refuses the user, or does not answer.
    :raises StagingUnavailable: there is no connection, and MongoDB does not answer.
    """
    try:
        connection = BaseHook.get_connection(AIRFLOW)
    except AirflowNotFoundException:
        with staging_and_status(mongo_conn_id) as (_, status):
            return take(status, Facts())
    know(connection.password)
    return _from_airflow(connection)


class _Bearer:
    """Signs requests of a hook with a token of Airflow."""

    token = ""

    def __init__(self, *_: object) -> None:
        """Take what a hook passes on: login and password."""

    def __call__(self, request: Any) -> Any:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _from_airflow(connection: Connection) -> Snapshot:
    try:
        user = {"username": connection.login, "password": connection.password}
        token = str(_ask("POST", "/auth/token", _Bearer, json=user).json()["access_token"])
        know(token)
        signed = type("_Signed", (_Bearer,), {"token": token})
        return SNAPSHOT.validate_json(_ask("GET", PATH, signed).content)
    except (AirflowException, OSError, ValueError, KeyError) as error:
        status = re.match(r"\d{3}\b", str(error))
        said = f"HTTP {status[0]}" if status else type(error).__name__  # its text may have the password
        raise ConnectionUnusable(
            f"Airflow's API server did not give a snapshot of the harvests to the user of the connection "
            f"'{AIRFLOW}': {said}.",
            advice="Check host, login and password of the connection. The user must be able to read all DAGs.",
        ) from None


def _ask(method: str, path: str, auth: type[_Bearer], **body: Any) -> Any:
    hook = QuietHook(method=method, http_conn_id=AIRFLOW, auth_type=auth)
    return hook.run(path, extra_options={"timeout": _TIMEOUT_S}, **body)
