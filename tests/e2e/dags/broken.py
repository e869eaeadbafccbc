"""A DAG file that cannot be imported."""

import airflow  # noqa: F401
from nowhere import dag  # noqa: F401
