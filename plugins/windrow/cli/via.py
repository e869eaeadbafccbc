"""Reads the state of harvests from the Harvest pages of an Airflow, as the user of a token."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from windrow.cli.airflow import Airflow
from windrow.harvest.lineage import Origin
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.waterfall import Attempt
from windrow.harvest.wire import ATTEMPTS, ORIGINS, SNAPSHOT
from windrow.model.errors import ApiUnreachable, StagingUnavailable
from windrow.model.plan import Run

_T = TypeVar("_T")


class ViaAirflow:
    """Reads what the Harvest pages show to the user of a token."""

    def __init__(self, airflow: Airflow) -> None:
        self._airflow = airflow

    def snapshot(self) -> Snapshot:  # noqa: D102
        found = self._read(SNAPSHOT, "snapshot")
        if error := found.error or found.facts.error:
            raise StagingUnavailable(error, advice=found.advice or "Try again when it is back.")
        return found

    def attempts(self, run: Run) -> list[Attempt]:  # noqa: D102
        return self._read(ATTEMPTS, "attempts", stream=run.dataset, id=run.run_id)

    def origins(self, key: str) -> list[Origin]:  # noqa: D102
        return self._read(ORIGINS, "origins", key=key)

    def _read(self, adapter: TypeAdapter[_T], page: str, **params: str) -> _T:
        try:
            return adapter.validate_json(self._airflow.look(page, **params))
        except ValidationError:
            raise ApiUnreachable(
                f"Airflow at {self._airflow.url} answered something else than Windrow's data.",
                advice="Check the address, and that this Airflow has the same version of Windrow.",
            ) from None
