"""Airflow connections turned into what the library works with."""

from windrow.model.errors import ConnectionUnusable


def no_connection(conn_id: str, kind: str) -> ConnectionUnusable:
    """Make the error for an Airflow connection that is not there; ``kind`` is its type's name in the UI."""
    return ConnectionUnusable(
        f"There is no Airflow connection '{conn_id}'.",
        advice=f"Add it under Admin > Connections, type {kind}, or set AIRFLOW_CONN_{conn_id.upper()} "
        "(.env.example shows it).",
    )
