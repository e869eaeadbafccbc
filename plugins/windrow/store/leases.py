"""Which worker makes the calls of which part of a plan.

A lease is a document whose ``_id`` ends with its turn. The worker that inserts it has the part, so each turn is won
once. While the worker lives it counts its beats up. Another worker that sees no new beat for some time inserts the next
turn. No clocks of two machines are compared.
"""

from dataclasses import dataclass
from enum import StrEnum

from windrow.model.plan import Run
from windrow.store.documents import Document, Documents

LEASES = "windrow_leases"


class Held(StrEnum):
    """What became of a lease."""

    HELD = "held"
    """Its worker makes the calls."""
    DONE = "done"
    """Every query has an answer or is in the quarantine."""
    TRIED = "tried"
    """Every query was called, and some got no answer."""
    LEFT = "left"
    """Its worker stopped before it had called every query."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A turn at one part of a plan. ``parts`` is how many parts the plan was divided into."""

    parts: int
    part: int
    turn: int
    worker: int
    holder: str
    """Identifies the try of a worker."""
    round: int = 0
    """How often every part had been finished before."""
    beat: int = 0
    state: Held = Held.HELD

    @property
    def ticket(self) -> str:
        """Identify this turn in its run."""
        return f"{self.part}|{self.turn}"

    def place(self, run: Run) -> str:
        """Return the ``_id`` of this turn."""
        return f"{run}|{self.parts}|{self.ticket}"


_FIELDS = ("parts", "part", "turn", "worker", "holder", "round", "beat", "state")


class LeaseDocuments(Documents):
    """Writes and reads leases."""

    def claim_part(self, run: Run, lease: Lease) -> bool:
        """Store a lease, unless its turn exists; return whether the turn is the caller's."""
        return self._insert(LEASES, _document(run, lease))

    def keep_lease(self, run: Run, lease: Lease) -> None:
        """Store what became of a lease."""
        self._replace(LEASES, [_document(run, lease)])

    def has_lease(self, run: Run, lease: Lease) -> bool:
        """Return whether the turn of a lease exists, whoever has it."""
        return bool(self._find(LEASES, {"_id": lease.place(run)}, fields=("turn",)))

    def leases(self, run: Run, parts: int) -> dict[int, Lease]:
        """Return the last turn of each part that was ever leased, for a plan that is divided into so many parts."""
        found: dict[int, Lease] = {}
        for one in self._find(LEASES, {"run": str(run)}):
            if one["parts"] == parts and ((last := found.get(one["part"])) is None or last.turn < one["turn"]):
                found[one["part"]] = Lease(**{name: one[name] for name in _FIELDS} | {"state": Held(one["state"])})
        return found


def _document(run: Run, lease: Lease) -> Document:
    return {"_id": lease.place(run), "run": str(run)} | {name: getattr(lease, name) for name in _FIELDS}
