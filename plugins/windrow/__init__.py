"""Windrow: harvest rate-limited, token-protected HTTP APIs without losing a call.

The modules beside this file know no Airflow; ``hooks/`` and ``operators/`` are their faces in Airflow.
"""
