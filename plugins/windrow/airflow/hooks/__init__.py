"""Hooks that turn Airflow connections into clients."""

from windrow.model.errors import ConnectionUnusable


def no_connection(conn_id: str, kind: str) -> ConnectionUnusable:
    """Make the error for a missing Airflow connection; ``kind`` is the name of its type in the UI."""
    return ConnectionUnusable(
        f"The Airflow connection '{conn_id}' does not exist.",
        advice=f"Add it under Admin > Connections with type {kind}, or set AIRFLOW_CONN_{conn_id.upper()} "
        "(.env.example has an example).",
    )
