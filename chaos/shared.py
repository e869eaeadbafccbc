"""What `make chaos-many` and its DAGs share. It imports nothing: Airflow loads it in each of its processes."""

MAPPED, OWN, SHARED = 50, 200, 20
"""Mapped tasks of many_merges; the rows that only one of them has, and the rows that all of them have."""
UNTIL = "CHAOS_MANY_UNTIL"
"""Environment variable: when the schedule of many_passengers ends."""
SECOND_HOST = "second-scheduler"


def second_host() -> str:
    """Return the host name of the second scheduler, by which Airflow tells its tasks from those of the first."""
    return SECOND_HOST
