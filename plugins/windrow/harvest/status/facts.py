"""What Airflow knows of DAGs and their runs, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DagFact:
    """What Airflow knows about a DAG. Times are ISO texts in UTC; empty if there is none."""

    dag_id: str
    tasks: Mapping[str, str] = field(default_factory=dict)
    """The dataset of each task that has one."""
    connections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The Airflow connections of APIs that each dataset is harvested from."""
    provers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The tasks that write the receipt of each dataset."""
    paused: bool = False
    schedule: str = ""
    next_at: str = ""
    cron: tuple[str, str] | None = None
    """The cron expression and the time zone of the schedule; None if it is not by time."""
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The params: the JSON schema of each, with its ``default`` and ``description``."""
    due: tuple[str, ...] = ()
    """When the schedule wanted runs, the newest first; empty if it is not by time."""

    @property
    def datasets(self) -> list[str]:
        """The datasets that the DAG harvests."""
        return sorted(self.provers)


@dataclass(frozen=True, slots=True)
class RunFact:
    """What Airflow knows about a DAG run."""

    dag_id: str
    run_id: str
    state: str
    due_at: str
    started_at: str = ""
    ended_at: str = ""
    kind: str = ""
    """scheduled, manual, backfill or asset_triggered."""
    by: str = ""
    """The user who triggered it."""
    failed: tuple[str, ...] = ()
    """Tasks that failed by themselves."""
    retrying: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    awaiting: tuple[str, ...] = ()
    """Tasks that wait for a person."""
    skipped: frozenset[str] = frozenset()
    """Tasks that were skipped."""
    deadline_at: str = ""
    """By when it must have succeeded, if its DAG says so and that time has not passed."""


@dataclass(frozen=True, slots=True)
class TaskFact:
    """One try of a task. Times are ISO texts in UTC; ``ended_at`` is empty while it runs."""

    task_id: str
    started_at: str
    ended_at: str
    state: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What Airflow knows. ``asked`` is False where nothing could ask it, such as in a terminal."""

    asked: bool = False
    dags: Mapping[str, DagFact] = field(default_factory=dict)
    runs: Mapping[str, Sequence[RunFact]] = field(default_factory=dict)
    """The newest runs of each DAG, the newest first."""
    error: str = ""
