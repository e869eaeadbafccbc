"""Now `windrow.airflow.triggers.drain`. A task that deferred before the move has this path in its trigger."""

from windrow.airflow.triggers.drain import DrainTrigger

__all__ = ["DrainTrigger"]
