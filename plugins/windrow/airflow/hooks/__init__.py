"""Hooks that turn Airflow connections into clients."""

from windrow.connect import no_connection, unusable

__all__ = ["no_connection", "unusable"]
