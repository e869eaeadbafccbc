"""Queries as tasks of a queue: what a task is called, and what it carries."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from windrow.model.plan import Run
from windrow.model.query import Query


@dataclass(frozen=True, slots=True)
class Call:
    """A query of a run on its way to whoever makes the call."""

    run: Run
    chunk: int
    query: Query

    def task_id(self, generation: int = 1) -> str:
        """Name the task of this call: always the same, so that a queue takes it once.

        A digest spreads names evenly, which Cloud Tasks wants. A queue that is done with a name refuses it for
        hours; ``generation`` makes further names for a call that has to be made again.
        """
        digest = hashlib.sha256(f"{self.run}|{self.query.key}".encode()).hexdigest()[:32]
        return digest if generation == 1 else f"{digest}-{generation}"

    @property
    def payload(self) -> bytes:
        """The call as JSON."""
        return orjson.dumps({
            "dataset": self.run.dataset,
            "run_id": self.run.run_id,
            "chunk": self.chunk,
            "query": self.query.row,
        })

    @classmethod
    def from_payload(cls, body: bytes) -> "Call":
        """Read what `payload` made.

        :raises ValueError: it is something else.
        """
        fields: Any = orjson.loads(body)
        try:
            run = Run(fields["dataset"], fields["run_id"])
            call = cls(run, fields["chunk"], Query.from_row(fields["query"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"the task is not a call: {type(error).__name__}: {error}") from None
        if not (isinstance(run.dataset, str) and isinstance(run.run_id, str) and isinstance(call.chunk, int)):
            raise ValueError("the task is not a call: a field has a wrong type")
        return call
