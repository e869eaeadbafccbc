"""The few operations on documents that all stores have, whatever they keep them in."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from windrow.model.answer import LARGEST
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import Run

Document = dict[str, Any]


class Documents(ABC):
    """Documents in collections, each with a string ``_id``. Doing an operation twice changes nothing.

    All methods raise `StagingUnavailable` when the store cannot be reached or refuses.
    """

    def _now(self) -> datetime:
        """Return the time that is written into documents which MongoDB or housekeeping deletes by age."""
        return datetime.now(UTC)

    @abstractmethod
    def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        """Write whole documents, in place of those with the same ``_id``."""

    @abstractmethod
    def _insert(self, collection: str, document: Document) -> bool:
        """Insert a document, unless its ``_id`` exists; return whether the document with this ``_id`` is ours."""

    @abstractmethod
    def _delete(self, collection: str, *ids: str) -> None:
        """Delete documents, in this order."""

    @abstractmethod
    def _find(self, collection: str, where: Mapping[str, str], fields: Sequence[str] = ()) -> list[Document]:
        """Return the documents whose ``_id`` or indexed field has this value, whole or only these fields."""

    @abstractmethod
    def _each(self, collection: str, where: Mapping[str, str]) -> Iterator[Document]:
        """Yield the documents that `_find` returns, each once; memory holds a part of them."""

    @abstractmethod
    def _summarize(self, run: Run, change: Document) -> None:
        """Apply a change to the summary of a run, see `windrow.store.summary`."""

    def _put(self, collection: str, documents: Sequence[Document]) -> None:
        """Write documents. What is larger than one document goes into further ones, which are written before."""
        further: list[Document] = []
        for document in documents:
            for name in ("body", "raw"):
                if len(value := document.get(name, "")) * 4 > LARGEST:  # whatever its characters
                    octets = value.encode() if isinstance(value, str) else value
                    pieces = [octets[at : at + LARGEST] for at in range(0, len(octets), LARGEST)]
                    if len(pieces) > 1:
                        place = f"{document['_id']}|{name}|{document['fetched_at']}"
                        document |= {
                            name: pieces[0],
                            f"{name}_pieces": [f"{place}|{at}" for at in range(1, len(pieces))],
                        }
                        further += (
                            {"_id": each, "piece": piece}
                            for each, piece in zip(document[f"{name}_pieces"], pieces[1:], strict=True)
                        )
        self._replace(collection, further)
        self._replace(collection, documents)

    def _bytes(self, collection: str, document: Document, name: str) -> bytes:
        """Return a field that may be in several documents."""
        pieces: list[bytes] = [document.get(name, b"")]
        for place in document.get(f"{name}_pieces", ()):
            pieces += [found["piece"] for found in self._find(collection, {"_id": place})]
        if len(pieces) != 1 + len(document.get(f"{name}_pieces", ())):
            raise StagingUnavailable(
                f"MongoDB has only a part of {document['_id']!r} in {collection}.",
                advice="Delete this document. Then clear the task that calls the API: it makes the call again.",
            )
        return b"".join(pieces)

    def _body(self, collection: str, document: Document) -> str:
        body = document.get("body", "")
        return body if isinstance(body, str) else self._bytes(collection, document, "body").decode()
