"""How far a run is whose calls others make: counted in MongoDB."""

from dataclasses import dataclass

from windrow.model.plan import Plan
from windrow.store.staging import Staging


@dataclass(frozen=True, slots=True)
class Progress:
    """Queries of a plan: settled, in quarantine, and some of those that are neither."""

    planned: int
    settled: int
    quarantined: int
    open_keys: tuple[str, ...]

    @classmethod
    def count(cls, staging: Staging, plan: Plan, *, examples: int = 5) -> "Progress":
        """Count chunk by chunk."""
        quarantined = staging.quarantined_keys(plan.run)
        settled = aside = 0
        open_keys: list[str] = []
        for number in range(plan.chunks):
            done = staging.settled(plan.run, number)
            for query in staging.chunk(plan.run, number).queries:
                if query.key in done:
                    settled += 1
                elif query.key in quarantined:
                    aside += 1
                elif len(open_keys) < examples:
                    open_keys.append(query.key)
        return cls(plan.planned, settled, aside, tuple(open_keys))

    @property
    def left(self) -> int:
        """Queries that nobody is done with."""
        return self.planned - self.settled - self.quarantined

    def __str__(self) -> str:
        """Say how many these are, and name some."""
        return f"{self.left:,} of {self.planned:,} calls: {'; '.join(map(repr, self.open_keys))}"
