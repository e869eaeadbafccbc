"""BigQuery with a limit to every call: left to itself, its client waits for an answer for ever."""

from typing import Any

from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from google.api_core.retry import Retry, if_exception_type
from google.cloud.bigquery import Client
from google.cloud.bigquery.retry import DEFAULT_RETRY
from google.cloud.bigquery.table import RowIterator

CALL_S = 300.0
"""Seconds of silence after which a call is broken off. BigQuery holds a call for two minutes or so where a query takes
long, and the authors of its client have seen it take twice as long."""
LONGEST_S = 3600.0
"""For so long a query that counts may run."""
_ONCE = Retry(predicate=if_exception_type())


def limit(hook: BigQueryHook) -> BigQueryHook:
    """Let no call of the clients that a hook makes wait longer than `CALL_S`; return the hook.

    The client has no setting for it, and operators have no parameter. It tries such a call again for ten minutes.
    """
    make = hook.get_client

    def get_client(*args: Any, **kwargs: Any) -> Any:
        client = make(*args, **kwargs)
        request = client._http.request

        def limited(*args: Any, timeout: Any = None, **kwargs: Any) -> Any:
            short = isinstance(timeout, int | float) and timeout < CALL_S
            return request(*args, timeout=timeout if short else CALL_S, **kwargs)

        client._http.request = limited
        return client

    hook.get_client = get_client  # type: ignore[method-assign]
    return hook


def connect(gcp_conn_id: str) -> Client:
    """Make a client. Each fetches the connection and an access token, so a task needs one for all its statements."""
    hook = limit(BigQueryHook(gcp_conn_id=gcp_conn_id, use_legacy_sql=False))
    client: Client = hook.get_client(project_id=hook.project_id, location=hook.location)
    return client


def ask(client: Client, sql: str) -> RowIterator:
    """Run a short query. That it fails is Airflow's to repeat; the client itself would go on for forty minutes."""
    return client.query_and_wait(sql, wait_timeout=LONGEST_S, retry=DEFAULT_RETRY, job_retry=_ONCE)
