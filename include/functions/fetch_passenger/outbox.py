"""Write answers to MongoDB in batches: answers that arrive during a write go into the next one."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from windrow.model.answer import Answer
from windrow.model.plan import Run
from windrow.store.staging import Staging


@dataclass(frozen=True, slots=True)
class _Entry:
    run: Run
    chunk: int
    answer: Answer
    durable: "asyncio.Future[None]"


class Outbox:
    """Stages the answers of many calls in few writes, and notifies each call when its answer is durable."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._waiting: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None

    async def stage(self, run: Run, chunk: int, answer: Answer) -> None:
        """Return when the answer is durable.

        :raises StagingUnavailable: the write failed, or its result is unknown.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(run, chunk, answer, durable))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await durable

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            trouble: Exception | None = None
            try:
                await asyncio.to_thread(self._stage, batch)
            except Exception as error:  # every waiting call must get the error
                trouble = error
            for entry in batch:
                if entry.durable.done():  # its call was cancelled
                    continue
                if trouble is None:
                    entry.durable.set_result(None)
                else:
                    entry.durable.set_exception(trouble)
        self._writer = None

    def _stage(self, batch: list[_Entry]) -> None:
        """Write a batch, run by run. Runs in a thread."""
        by_run: defaultdict[Run, list[tuple[int, Answer]]] = defaultdict(list)
        for entry in batch:
            by_run[entry.run].append((entry.chunk, entry.answer))
        for run, answers in by_run.items():
            self._staging.stage(run, answers)
