"""Plans in a store: chunks of queries, and last the size, which makes a plan whole."""

from collections.abc import Iterable

import orjson

from windrow.model.errors import PlanMissing
from windrow.model.plan import CHUNK, Chunk, Plan, Run
from windrow.model.query import Query
from windrow.store import summary
from windrow.store.documents import Documents
from windrow.store.keys import Keys

PLANS = "windrow_plans"


class PlanDocuments(Documents):
    """Writes and reads plans."""

    def plan_writer(self, run: Run, standing: Plan | None = None) -> "PlanWriter":
        """Begin to write the plan of a run. One that stands may be added to: staged answers belong to its chunks."""
        return PlanWriter(self, run, standing)

    def save_plan(self, run: Run, queries: Iterable[Query]) -> Plan:
        """Write a plan whose queries need no asking."""
        writer = self.plan_writer(run)
        for query in queries:  # one by one: what is added comes back, and is not to be held
            writer.add((query,))
        return writer.close()

    def save_chunk(self, chunk: Chunk) -> None:
        """Write a part of a plan."""
        rows = orjson.dumps([query.row for query in chunk.queries]).decode()
        self._replace(PLANS, [{"_id": f"{chunk.run}|{chunk.number:05d}", "queries": rows}])

    def save_size(self, plan: Plan) -> None:
        """Write the size of a plan, which makes it whole."""
        size = {"listed": plan.listed, "planned": plan.planned, "chunks": plan.chunks}
        self._replace(PLANS, [{"_id": f"{plan.run}|size", **size}])
        self._summarize(plan.run, summary.plan_update(plan.run, plan.listed, plan.planned, summary.stamp(self._now())))

    def plan(self, run: Run) -> Plan:
        """Return the size of a run's plan.

        :raises PlanMissing: there is none, or it was not written to its end.
        """
        for size in self._find(PLANS, {"_id": f"{run}|size"}):
            return Plan(run, size["listed"], size["planned"], size["chunks"])
        raise PlanMissing(
            f"MongoDB has no plan for the run {run.run_id!r} of {run.dataset}.",
            advice="Clear the task 'plan' with all tasks downstream.",
        )

    def dag_of(self, run: Run) -> str:
        """Return the DAG that a run belongs to; empty if it is not known."""
        for document in self._find(summary.RUNS, {"_id": str(run)}, fields=("dag_id",)):
            return str(document.get("dag_id", ""))
        return ""

    def chunk(self, run: Run, number: int) -> Chunk:
        """Return one chunk of a plan, by its number from 0."""
        for document in self._find(PLANS, {"_id": f"{run}|{number:05d}"}):
            return Chunk(run, number, tuple(Query.from_row(row) for row in orjson.loads(document["queries"])))
        raise PlanMissing(
            f"Chunk {number} of the plan of {run} is missing in MongoDB.",
            advice="Clear the task 'plan' with all tasks downstream.",
        )


class PlanWriter:
    """Writes a plan as it comes about, each query once, and last its size. Made by `Staging.plan_writer`."""

    def __init__(self, staging: PlanDocuments, run: Run, standing: Plan | None = None) -> None:
        self._staging = staging
        self._run = run
        self._chunks = standing.chunks if standing else 0
        self._seen = Keys(query.key for number in range(self._chunks) for query in staging.chunk(run, number).queries)
        self._rest: list[Query] = []
        self._listed = 0

    def add(self, queries: Iterable[Query]) -> list[tuple[int, Query]]:
        """Add queries, and return those that are new, each with the number of its chunk. Whole chunks are written."""
        added = []
        for query in queries:
            self._listed += 1
            if self._seen.add(query.key):
                added.append((self._chunks, query))
                self._rest.append(query)
                if len(self._rest) == CHUNK:
                    self._cut()
        return added

    def close(self) -> Plan:
        """Write what is left, and the size: from now on the plan is whole."""
        if self._rest:
            self._cut()
        plan = Plan(self._run, self._listed, len(self._seen), self._chunks)
        self._staging.save_size(plan)
        return plan

    @property
    def planned(self) -> int:
        """Queries so far."""
        return len(self._seen)

    def _cut(self) -> None:
        self._staging.save_chunk(Chunk(self._run, self._chunks, tuple(self._rest)))
        self._chunks += 1
        self._rest = []
