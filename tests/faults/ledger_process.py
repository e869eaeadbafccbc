"""What one of several processes does that take from the same quotas at once. It has nothing to do with pytest."""

from datetime import UTC, datetime
from typing import Any

from windrow.http.ledger import Ledger
from windrow.http.loop import run_async
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.store.staging import Staging, opened

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUOTAS = {
    Quota("cheap", Period.PACIFIC_DAY, 100, ("/",)): 1,
    Quota("dear", Period.PACIFIC_DAY, 1_000, ("/",)): 7,
}
"""With what a call costs."""


def ledger(staging: Staging, quota: Quota, account: str = "me") -> Ledger:
    return Ledger(staging, [quota], account=account, clock=lambda: NOON)


async def take(ledger: Ledger, times: int, cost: int = 1) -> int:
    """Return how often it went well."""
    return [await ledger.take(Query.of("/ship", cost=cost)) for _ in range(times)].count(0.0)


def together(barrier: Any) -> None:
    """Give a process of a pool what it waits at for the others."""
    globals()["meet"] = lambda: barrier.wait(60)


def compete(url: str, database: str, number: int) -> tuple[list[int], list[int]]:
    """Claim 300 blocks, each with all others at once, and units of all quotas.

    A process of an even number is killed, as far as the ledger sees: it does not give back what it did not use.

    :returns: the blocks that were won, and how often a call went well, by quota.
    """

    async def taken(one: Ledger, cost: int) -> int:
        globals()["meet"]()
        well = await take(one, 30, cost)
        if number % 2:
            await one.close()
        return well

    with opened(url, database) as staging:

        def wins(n: int) -> bool:
            globals()["meet"]()
            return staging.claim_block("race", n, 1, by=str(number), ends_at=NOON)

        won = [n for n in range(300) if wins(n)]
        return won, [run_async(taken(ledger(staging, quota), cost)) for quota, cost in QUOTAS.items()]
