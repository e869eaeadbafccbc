"""Airflow connections turned into what the library works with."""
