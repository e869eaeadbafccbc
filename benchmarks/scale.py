"""What 100 workers and 1,000 credentials do to one another, simulated with the code that claims, on a moved clock.

``.venv/bin/python -m benchmarks.scale`` (``make bench-scale``) writes the table of docs/scale.md. The blocks of quotas,
the turns of ``rate_per_s``, the leases of a plan and the limits of owners are Windrow's own; only the way to the server
and the API are modelled: see `Server`.
"""

import asyncio
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.errors import DuplicateKeyError

from benchmarks.virtual import Server, VirtualLoop, run
from windrow.harvest.shares import Leases
from windrow.http.ledger import Ledger
from windrow.http.owner_limits import OwnerLimits
from windrow.http.pacing import Pace
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.rate_limits import LimitWindow, RateLimits
from windrow.store.documents import Document
from windrow.store.leases import Held
from windrow.store.limits import QUOTAS
from windrow.store.local import LocalStaging, opened
from windrow.store.staging import Staging

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGINS, ENDS = "<!-- begin of the tables: benchmarks/scale.py writes them -->", "<!-- end of the tables -->"
AWAY_S, BUSY_S = 0.0005, 0.001
"""Half a millisecond to the server and as much back; a millisecond for an update of one document."""
ANSWER_S = 0.5
PER_S, STEP = 116.0, 100
"""Calls a second of a worker with a pool, and calls that the simulation makes in one step."""


class _Turns:
    """The collection of turns: the operations of `Staging.claim_turns`, each atomic."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ends: dict[str, int] = {}

    def find_one_and_update(self, which: Document, change: Document) -> Document | None:
        """Add to an end in a range, and return it as it was."""

        def operation() -> Document | None:
            before = self._ends.get(which["_id"])
            if before is None or not which["ends_us"]["$gte"] <= before <= which["ends_us"]["$lte"]:
                return None
            self._ends[which["_id"]] += change["$inc"]["ends_us"]
            return {"ends_us": before}

        return self._server.do(which["_id"], operation)

    def update_one(self, which: Document, change: Document, *, upsert: bool) -> None:
        """Replace an end that is out of a range, or add the first one."""

        def operation() -> None:
            before = self._ends.get(which["_id"])
            below, above = which["$or"]
            if before is not None and below["ends_us"]["$lt"] <= before <= above["ends_us"]["$gt"]:
                raise DuplicateKeyError("there is an end")
            self._ends[which["_id"]] = change["$set"]["ends_us"]

        self._server.do(which["_id"], operation)


class FarStaging(LocalStaging):
    """The local staging, behind the way to a server."""

    claim_turns = Staging.claim_turns  # not that of one process alone

    def __init__(self, local: LocalStaging, loop: VirtualLoop, server: Server) -> None:
        super().__init__(local._sqlite, local._name)
        self._loop = loop
        self._server = server
        self._collections = _Turns(server)
        self.lost = 0
        """Inserts of an id that another one had inserted."""

    def turns_clock(self) -> float:
        """Return the time of the server."""
        return self._loop.time()

    def _collection(self, name: str) -> Any:
        return self._collections

    def _insert(self, collection: str, document: Document) -> bool:
        ours = self._server.do(document["_id"], lambda: super(FarStaging, self)._insert(collection, document))
        self.lost += not ours
        return ours

    def _find(self, collection: str, where: Mapping[str, str], fields: Sequence[str] = ()) -> list[Document]:
        if collection != QUOTAS or "_id" in where:  # the look that belongs to an insert
            return super()._find(collection, where, fields)
        return self._server.do(
            f"read {random.random()}", lambda: super(FarStaging, self)._find(collection, where, fields)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a simulation of calls showed in its second half: calls and operations a second.

    ``lost`` is the share of the operations that lost a block to another worker.
    """

    calls: float
    operations: float
    lost: float
    first_s: float
    """Seconds until the last worker had its first call."""
    most: int
    """Calls of the worker with the most."""
    least: int


def paced(workers: int, *, rate_per_s: float, connections: int, seconds: float, busy_s: float = BUSY_S) -> Found:
    """Let workers share ``rate_per_s``, each with calls that take half a second."""

    async def simulate(loop: VirtualLoop) -> Found:
        server = Server(loop, away_s=AWAY_S, busy_s=busy_s)
        with opened() as local:
            staging = FarStaging(local, loop, server)
            paces = [Pace(rate_per_s, turns=staging, clock=loop.time) for _ in range(workers)]
            return await _calls(loop, staging, server, [pace.turn for pace in paces], connections, seconds)

    return run(simulate)


def metered(workers: int, *, quota: Quota, connections: int, seconds: float) -> Found:
    """Let workers share a quota, each with calls that take half a second."""

    async def simulate(loop: VirtualLoop) -> Found:
        server = Server(loop, away_s=AWAY_S, busy_s=BUSY_S)
        with opened() as local:
            staging = FarStaging(local, loop, server)
            ledgers = [Ledger(staging, [quota], account="one", clock=loop.instant) for _ in range(workers)]
            query = Query.of("/item")

            def take(ledger: Ledger) -> Callable[[], Any]:
                async def turn() -> None:
                    while wait_s := await ledger.take(query):  # noqa: ASYNC110 - it says how long
                        await asyncio.sleep(wait_s)

                return turn

            return await _calls(loop, staging, server, [take(ledger) for ledger in ledgers], connections, seconds)

    return run(simulate)


async def _calls(
    loop: VirtualLoop,
    staging: FarStaging,
    server: Server,
    turns: Sequence[Callable[[], Any]],
    connections: int,
    seconds: float,
) -> Found:
    """Let each worker make calls on its connections until the time is over."""
    made: Counter[int] = Counter()
    first: dict[int, float] = {}
    chance = random.Random(7)  # the same each time

    async def connection(worker: int) -> None:
        await asyncio.sleep(chance.random() * ANSWER_S)
        while True:
            await turns[worker]()
            made[worker] += loop.time() >= seconds / 2
            first.setdefault(worker, loop.time())
            await asyncio.sleep(ANSWER_S * chance.uniform(0.8, 1.2))

    tasks = [asyncio.create_task(connection(worker)) for worker in range(len(turns)) for _ in range(connections)]
    await asyncio.sleep(seconds / 2)
    before = server.operations, staging.lost
    await asyncio.sleep(seconds / 2)
    operations, lost = server.operations - before[0], staging.lost - before[1]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    each = [made[worker] for worker in range(len(turns))]
    half_s = seconds / 2
    return Found(
        calls=sum(each) / half_s,
        operations=operations / half_s,
        lost=lost / max(1, operations),
        first_s=max(first.values(), default=0.0),
        most=max(each),
        least=min(each),
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What a simulation of a plan and a pool showed. Times are in hours."""

    hours: float
    """Until every call was made."""
    ended: float
    """Until the last worker ended: one whose owners are used up looks again when they have calls."""
    idle: float
    """Mean time of a worker without a call that it may make, until the plan was done."""
    most: int
    """Calls of the owner with the most."""
    least: int
    open_at_most: int
    """The most parts that were unfinished while no part was free."""


def pooled(workers: int, owners: int, *, calls: int, limit: int, spent: int = 0, part: int = 1_000) -> Shared:
    """Let workers harvest a plan with the owners of a pool; owner i belongs to worker i modulo the workers.

    :param calls: calls of the plan.
    :param limit: calls of an owner an hour.
    :param spent: owners whose limit something else has used up in the first hour: those of the first workers.
    """

    async def simulate(loop: VirtualLoop) -> Shared:
        with opened() as staging:
            plan = Plan(Run("pool", "run"), calls, calls, -(-calls // part))
            limits = [OwnerLimits.of(RateLimits()) for _ in range(owners)]
            mine = [limits[worker::workers] for worker in range(workers)]
            used_up = {id(one) for one in [one for some in mine for one in some][:spent]}
            for one in limits:
                one.observe("core", LimitWindow(limit, 0 if id(one) in used_up else limit, 3_600.0))
            made: Counter[int] = Counter()
            busy: Counter[int] = Counter()
            left = Counter({number: min(part, calls - number * part) for number in range(plan.chunks)})
            held: list[int] = [0]
            done = [0.0]

            async def work(number: int) -> None:
                """Do what the tries of a worker do: each ends when its owners are used up, and the next begins then."""
                while sum(left.values()):
                    leases = Leases(staging, plan, number, workers)
                    leases.begin()
                    while True:
                        lease = leases.take()
                        if lease is None and not leases.others_work:
                            return
                        if lease is None:
                            held.append(sum(count > 0 for count in left.values()))
                            await asyncio.sleep(10.0)
                        elif not await call(number, lease.part // leases.pieces):
                            leases.end(Held.LEFT)  # the task defers
                            break
                        else:
                            leases.close(lease, Held.DONE)
                    await asyncio.sleep(max(1.0, min(one.opens_at("core") for one in mine[number]) - loop.time()))

            async def call(number: int, which: int) -> bool:
                """Make the calls of a part; return whether all were made."""
                while left[which]:
                    now = loop.time()
                    some = max(mine[number], key=lambda one: one.free("core", now))
                    if (free := some.free("core", now)) <= 0:
                        return False
                    count = min(left[which], free, STEP)
                    window = some.windows["core"] or LimitWindow(limit, limit, 0.0)
                    # what the headers of the last of these answers tell
                    resets_at = 3_600.0 * (now // 3_600.0 + 1)
                    some.observe("core", LimitWindow(limit, window.remaining - count, max(resets_at, window.reset_at)))
                    made[id(some)] += count
                    busy[number] += count
                    left[which] -= count
                    await asyncio.sleep(count / PER_S)
                    done.append(loop.time())
                return True

            await asyncio.gather(*(work(number) for number in range(workers)))
            took = max(done)
            each = [made[id(one)] for one in limits]
            idle = statistics.mean(took - busy[number] / PER_S for number in range(workers))
            return Shared(took / 3_600, loop.time() / 3_600, idle / 3_600, max(each), min(each), max(held))

    return run(simulate)


def tables() -> str:
    """Simulate, and return the tables."""
    lines = [
        "| `rate_per_s` of 11,574 | calls a second | operations a second | last worker's first call |",
        "|---|---:|---:|---:|",
    ]
    for workers, busy_s in ((1, BUSY_S), (10, BUSY_S), (100, BUSY_S), (300, BUSY_S), (100, 3 * BUSY_S)):
        found = paced(workers, rate_per_s=11_574, connections=-(-8_000 // workers), seconds=8, busy_s=busy_s)
        lines.append(
            f"| {workers} workers, {busy_s * 1e3:.0f} ms an update | {found.calls:,.0f} | {found.operations:,.0f} "
            f"| {found.first_s:.2f} s |"
        )
    lines += [
        "",
        "| quota | workers | operations a second | lost claims | calls of a worker | last worker's first call |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for workers, units, period in (
        (100, 694_440, "minute"),
        (300, 694_440, "minute"),
        (100, 60_000, "minute"),
        (100, 10**9, "day"),
    ):
        quota = Quota("all", Period.of(period), units, ("/",))
        found = metered(workers, quota=quota, connections=-(-5_800 // workers), seconds=8)
        lines.append(
            f"| {units:,} a {period} | {workers} | {found.operations:,.0f} | {found.lost:.0%} "
            f"| {found.least:,} to {found.most:,} | {found.first_s:.2f} s |"
        )
    lines += [
        "",
        "| 20 workers, 200 owners of 5,000 an hour | all called | ended | idle | calls of an owner | parts that wait |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for what, calls, spent in (
        ("800,000 calls", 800_000, 0),
        ("2,400,000 calls", 2_400_000, 0),
        ("700,000 calls; something else has used up the 40 owners of 4 workers", 700_000, 40),
    ):
        shared = pooled(20, 200, calls=calls, limit=5_000, spent=spent)
        lines.append(
            f"| {what} | {shared.hours:.2f} h | {shared.ended:.2f} h | {shared.idle:.2f} h "
            f"| {shared.least:,} to {shared.most:,} | {shared.open_at_most} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write the tables into the page."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGINS)
    made = tables()
    print(made)
    PAGE.write_text(f"{head}{BEGINS}\n\n{made}\n\n{ENDS}{rest.partition(ENDS)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
