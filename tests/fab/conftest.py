"""Tests of a second auth manager, in an environment of its own: `make test-fab`. `make test` does not have it."""

import importlib.util

if importlib.util.find_spec("airflow.providers.fab") is None:
    collect_ignore_glob = ["test_*.py"]
