"""Warnings in MongoDB: what does not fail a run, and a person should look at. Each is open until a person accepts it.

A document is a warning of a dataset, by its name: the path of a field, ``column <name>``, or the id of a run.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from pymongo import UpdateOne
from pymongo.collection import Collection

from windrow.model.plan import Run
from windrow.store.documents import Document, Documents
from windrow.store.summary import RUNS, stamp

T = TypeVar("T")
WARNINGS = "windrow_warnings"
_COMPARED = 40
"""Earlier runs that are read for a comparison."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning. Times are ISO texts in UTC; empty for never.

    :param run_id: the run that saw it last.
    """

    dataset: str
    name: str
    text: str
    run_id: str
    first_at: str = ""
    alerted_at: str = ""
    accepted_at: str = ""

    @classmethod
    def of(cls, document: Document) -> "Warned":
        """Read a document."""
        return cls(**{name: str(document.get(name, "")) for name in cls.__slots__})


class WarningDocuments(Documents):
    """Reads and writes the documents."""

    @abstractmethod
    def _collection(self, name: str) -> Collection[Document]: ...

    @abstractmethod
    def _do(self, operation: Callable[[], T]) -> T: ...

    def warn(self, run: Run, texts: Mapping[str, str]) -> None:
        """Store warnings of a run, by name. One that exists keeps whether it was accepted."""
        now = stamp()
        self._update([
            UpdateOne(
                {"_id": f"{run.dataset}|{name}"},
                {
                    "$set": {"text": text, "run_id": run.run_id},
                    "$setOnInsert": {"dataset": run.dataset, "name": name, "first_at": now},
                },
                upsert=True,
            )
            for name, text in texts.items()
        ])

    def withdraw(self, run: Run, name: str) -> None:
        """Delete a warning."""
        self._delete(WARNINGS, f"{run.dataset}|{name}")

    def warnings(self, dataset: str) -> list[Warned]:
        """Return the warnings of a dataset, by name."""
        found = map(Warned.of, self._find(WARNINGS, {"dataset": dataset}))
        return sorted(found, key=lambda one: one.name)

    def mark(self, warnings: Sequence[Warned], field: str) -> None:
        """Set a time of warnings to now: ``alerted_at`` or ``accepted_at``."""
        change = {"$set": {field: stamp()}}
        self._update([UpdateOne({"_id": f"{one.dataset}|{one.name}"}, change) for one in warnings])

    def profiles(self, run: Run) -> list[tuple[Document, dict[str, str]]]:
        """Return profiles and scopes of other runs whose receipts agree, the newest first."""

        def read() -> list[Document]:
            fields = {"run_id": 1, "profile": 1, "scope": 1, "receipt": 1}
            found = self._collection(RUNS).find({"dataset": run.dataset}, fields)
            return list(found.sort("first_at", -1).limit(_COMPARED))

        return [
            (one["profile"], one.get("scope") or {})
            for one in self._do(read)
            if one["run_id"] != run.run_id and "profile" in one and one.get("receipt", {}).get("agrees") is True
        ]

    def _update(self, updates: list[UpdateOne]) -> None:
        if updates:
            self._do(lambda: self._collection(WARNINGS).bulk_write(updates, ordered=False))


def as_data(warnings: Sequence[Warned]) -> list[dict[str, str]]:
    """Return warnings for a program."""
    return list(map(asdict, warnings))
