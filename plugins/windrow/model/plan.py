"""A run, and its plan: the queries it has to settle, cut into chunks.

A chunk is what is resumed, landed and counted at a time, so memory stays flat however long the plan is.
"""

import hashlib
import re
from dataclasses import dataclass, field

from windrow.model.query import Query

CHUNK = 1_000
"""Queries in a chunk."""


@dataclass(frozen=True, slots=True)
class Run:
    """One harvest of one dataset. ``run_id`` is Airflow's, so a cleared or retried task finds its own work."""

    dataset: str
    run_id: str
    dag_id: str = field(default="", compare=False)
    """The DAG that the run belongs to, for summaries; empty if it is not known. It is not part of the identity."""

    def __str__(self) -> str:
        return f"{self.dataset}|{self.run_id}"


def slug(run_id: str) -> str:
    """Turn a run id into a name that folders and tables may have: letters, digits, underscores.

    It ends in a digest, so that two run ids never give one name.
    """
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:16]
    return f"{re.sub('[^A-Za-z0-9]+', '_', run_id)[:80].strip('_')}_{digest}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a plan, numbered from 0."""

    run: Run
    number: int
    queries: tuple[Query, ...]

    @property
    def id(self) -> str:
        """Identify the chunk across runs of one dataset; documents of settled queries carry it."""
        return chunk_id(self.run, self.number)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a plan holds. It is written after its chunks: where it is, the plan is whole."""

    run: Run
    listed: int
    """Queries named by the source, repetitions included."""
    planned: int
    """Distinct queries."""
    chunks: int


def chunk_id(run: Run, number: int) -> str:
    """Make the id of a chunk."""
    return f"{run.run_id}|{number:05d}"
