"""Where the commands that only read get their data from: MongoDB here, Airflow in `windrow.cli.via`."""

from typing import Protocol

from windrow.harvest.lineage import SEARCHED, Origin, origins
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.snapshot import Snapshot, take
from windrow.harvest.waterfall import Attempt, attempts
from windrow.model.plan import Run
from windrow.store.status import StatusStore


class Source(Protocol):
    """Reads the state of harvests.

    :raises WindrowError: it cannot be read; the message says what to do.
    """

    def snapshot(self) -> Snapshot:
        """Return everything at one time."""

    def attempts(self, run: Run) -> list[Attempt]:
        """Return the attempts of a run."""

    def origins(self, key: str) -> list[Origin]:
        """Return what is known about a key, the newest answer first."""


class Direct:
    """Reads MongoDB, also while Airflow is down. It knows no schedules, and no tasks of the warehouse that failed."""

    def __init__(self, store: StatusStore) -> None:
        self.store = store

    def snapshot(self) -> Snapshot:  # noqa: D102 - as in the protocol
        return take(self.store, Facts())

    def attempts(self, run: Run) -> list[Attempt]:  # noqa: D102
        return attempts(self.store.notes(run))

    def origins(self, key: str) -> list[Origin]:  # noqa: D102
        runs = [one for dataset in self.store.datasets() for one in self.store.summaries(dataset, limit=SEARCHED)]
        return origins(self.store, key, runs)
