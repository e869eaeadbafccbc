"""Now `windrow.airflow.operators.deadline`. A run that began before the move has these paths in its deadline."""

from windrow.airflow.operators import deadline
from windrow.airflow.operators.deadline import tell

__all__ = ["FirstQueuedAt", "tell"]


class FirstQueuedAt(deadline.FirstQueuedAt):
    """The same, under the path that a stored DAG names it by."""
