"""Many answers in one write: each call hears of its own."""

import asyncio
from datetime import UTC, datetime

from pymongo import MongoClient

from include.functions.fetch_passenger.outbox import Outbox
from local_cloud import ports
from tests.functions.harness import ask_for
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Run
from windrow.store.staging import Staging

Result = BaseException | None


def stage(staging: Staging, runs: list[Run], *, rounds: int = 1) -> list[Result]:
    """Stage twenty answers of each run at once, and that some times; return what became of each."""

    async def staged() -> list[Result]:
        outbox = Outbox(staging)
        results: list[Result] = []
        for number in range(rounds):
            answers = [(run, answer(run, f"{number}-{name}")) for name in range(20) for run in runs]
            writes = (outbox.stage(run, 0, one) for run, one in answers)
            results += await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 30)
        return results

    return asyncio.run(staged())


def answer(run: Run, name: str) -> Answer:
    return Answer(ask_for(run, name).query, Outcome.ANSWERED, 200, "{}", datetime.now(UTC))


def test_answers_of_different_runs_come_to_their_own(staging: Staging, run: Run) -> None:
    other = Run(run.dataset, f"{run.run_id}-other")

    results = stage(staging, [run, other], rounds=3)

    assert results == [None] * 120
    assert len(staging.settled(run, 0)) == len(staging.settled(other, 0)) == 60


def test_all_hear_that_a_write_failed_and_later_ones_are_tried(run: Run) -> None:
    (closed,) = ports.find_free(1)
    with MongoClient("127.0.0.1", closed, serverSelectionTimeoutMS=100) as client:
        results = stage(Staging(client, "nowhere"), [run], rounds=2)

    assert [type(result) for result in results] == [StagingUnavailable] * 40
