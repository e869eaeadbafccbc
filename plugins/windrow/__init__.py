"""Windrow: harvest rate-limited, token-protected HTTP APIs without losing a call.

The modules beside this file know no Airflow; ``hooks/`` and ``operators/`` are their faces in Airflow.
"""

__version__ = "0.1.0"
"""The one place where the version is written. CHANGELOG.md says what is in it."""
