"""Turns connections into clients. A connection has the fields of an Airflow connection, but needs no Airflow."""

from windrow.model.errors import ConnectionUnusable


def no_connection(conn_id: str, kind: str) -> ConnectionUnusable:
    """Make the error for a missing Airflow connection; ``kind`` is the name of its type in the UI."""
    return ConnectionUnusable(
        f"The Airflow connection '{conn_id}' does not exist.",
        advice=f"Add it under Admin > Connections with type {kind}, or set AIRFLOW_CONN_{conn_id.upper()} "
        "(.env.example has an example).",
    )


def unusable(conn_id: str, what: str, advice: str) -> ConnectionUnusable:
    """Make the error for an Airflow connection with a missing or invalid field; ``what`` is the predicate."""
    return ConnectionUnusable(f"The Airflow connection '{conn_id}' {what}.", advice=advice)
