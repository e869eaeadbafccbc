"""The JSON of what the Harvest pages know, for other processes: the same types write it and read it."""

from pydantic import TypeAdapter

from windrow.harvest.lineage import Origin
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.waterfall import Attempt

SNAPSHOT: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)
ATTEMPTS: TypeAdapter[list[Attempt]] = TypeAdapter(list[Attempt])
ORIGINS: TypeAdapter[list[Origin]] = TypeAdapter(list[Origin])
