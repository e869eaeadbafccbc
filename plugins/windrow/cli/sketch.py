"""Find out what a run would call: its plan without a store, with as many listing calls as are allowed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from windrow.connect.environment import EnvironmentApi
from windrow.http.client import Client
from windrow.http.flow import Driver
from windrow.model.answer import Answer, Rejected
from windrow.model.cost import Cost, cost
from windrow.model.query import Query
from windrow.model.quota import Quota
from windrow.model.stream import Asked, Estimate, Gap, Planned, Request, Stream

MOST = 1_000_000
"""Maximum queries that are counted."""


@dataclass(slots=True)
class Sketch:
    """A plan, as far as it is known."""

    queries: dict[str, Query] = field(default_factory=dict)
    """By key: a query that is planned twice is called once."""
    listing_calls: int = 0
    needs: str = ""
    """Key of the listing call that was not made: the plan ends before it. Empty if the plan is complete."""

    @property
    def is_complete(self) -> bool:
        """Whether these are all queries of the run."""
        return not self.needs and len(self.queries) < MOST


class _Enough(Exception):
    """The plan needs another call, or is too long."""


class Sketcher(Driver):
    """Makes a plan without a store.

    :param calls: maximum listing calls.
    """

    def __init__(self, client: Client, calls: int) -> None:
        super().__init__(client)
        self.sketch = Sketch()
        self._calls = calls

    async def plan(self, stream: Stream, request: Request) -> Sketch:
        """Make the plan, up to the first listing call that is not allowed.

        :raises WindrowError: as `Driver.lead`.
        """
        with suppress(_Enough):
            await self.lead(stream.plan(request))
        return self.sketch

    async def estimate(self, stream: Stream, request: Request) -> Sequence[Estimate]:
        """Return the ways that the stream can harvest, each with its cost; none if that needs more calls.

        :raises WindrowError: as `Driver.lead`.
        """
        with suppress(_Enough):
            return await self.lead(stream.estimate(request))
        return ()

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        if self.asked >= self._calls:
            self.sketch.needs = asked.query.key
            raise _Enough
        self.sketch.listing_calls += 1
        return await super()._settled(asked)

    async def _planned(self, planned: Planned) -> None:
        for query in planned.queries:
            self.sketch.queries.setdefault(query.key, query)
            if len(self.sketch.queries) >= MOST:
                raise _Enough

    async def _missing(self, gap: Gap) -> None:
        """A gap makes no call."""


def cost_of(sketch: Sketch, api: EnvironmentApi, stream: Stream) -> tuple[Cost, Sequence[Quota]]:
    """Return the cost of a plan at the limits of the connection, and the quotas."""
    limits, quotas = api.cost(stream)
    found = cost(
        stream.dataset,
        sketch.queries.values(),
        quotas,
        connections=limits.connections,
        rate_per_s=limits.rate_per_s,
    )
    return found, quotas
