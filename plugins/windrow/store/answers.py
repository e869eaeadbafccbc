"""Answers in a store: those that settle queries, those that a plan is made from, pages, and the HTTP cache."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from tempfile import SpooledTemporaryFile

import bson
import orjson

from windrow.http.conditional import CachedAnswer
from windrow.http.paging import StoredPage
from windrow.model.answer import Answer, Outcome
from windrow.model.plan import Chunk, Run, chunk_id
from windrow.model.query import Query
from windrow.store.documents import Document, Documents

KEPT, LISTINGS, PAGES = "windrow_kept", "windrow_listings", "windrow_pages"
_WAITING = 16_000_000
"""Bytes of answers that wait in memory for their turn."""


class AnswerDocuments(Documents):
    """Writes and reads answers."""

    def stage(self, run: Run, answers: Sequence[tuple[int, Answer]]) -> None:
        """Make answers durable, each with the number of its query's chunk. On return they count."""
        self._put(
            run.dataset,
            [
                {"_id": f"{run.run_id}|{answer.query.key}", "chunk": chunk_id(run, number), **_told(answer)}
                for number, answer in answers
            ],
        )

    def settled(self, run: Run, number: int) -> dict[str, Outcome]:
        """Return the outcome of each settled query of a chunk, by key."""
        found = self._find(run.dataset, {"chunk": chunk_id(run, number)}, fields=("key", "outcome"))
        return {document["key"]: Outcome(document["outcome"]) for document in found}

    def is_settled(self, run: Run, key: str) -> bool:
        """Say whether one query of a run is settled."""
        return bool(self._find(run.dataset, {"_id": f"{run.run_id}|{key}"}, fields=("key",)))

    def answer(self, run: Run, query: Query) -> Answer | None:
        """Return the answer that settled one query of a run, or None while it is not settled."""
        for document in self._find(run.dataset, {"_id": f"{run.run_id}|{query.key}"}):
            return self._answer(run.dataset, query, document)
        return None

    def answers(self, chunk: Chunk) -> list[Answer]:
        """Return the settled queries of a chunk with their answers, in the order of the plan."""
        return list(self.each_answer(chunk))

    def each_answer(self, chunk: Chunk) -> Iterator[Answer]:
        """Yield what `answers` returns, one by one: memory holds a few megabytes, however large the answers are.

        MongoDB returns answers in about the order in which they arrived. Those that come before their turn wait: up
        to `_WAITING` bytes in memory, more in a temporary file.
        """
        queries = {query.key: query for query in chunk.queries}
        turns = deque(queries)
        with Waiting() as waiting:
            for document in self._each(chunk.run.dataset, {"chunk": chunk.id}):
                key = document["key"]
                if key not in queries:
                    continue
                if key != turns[0]:
                    waiting.add(key, document)
                    continue
                turns.popleft()
                yield self._answer(chunk.run.dataset, queries[key], document)
                while turns and turns[0] in waiting:
                    key = turns.popleft()
                    yield self._answer(chunk.run.dataset, queries[key], waiting.take(key))
            for key in turns:
                if key in waiting:
                    yield self._answer(chunk.run.dataset, queries[key], waiting.take(key))

    # --- what plans are made from --------------------------------------------------------------

    def listing(self, run: Run, api: str, query: Query) -> Answer | None:
        """Return what an API answered when this DAG run asked for a list, for whichever of its datasets."""
        for document in self._find(LISTINGS, {"_id": f"{run.run_id}|{api}|{query.key}"}):
            return self._answer(LISTINGS, query, document)
        return None

    def keep_listing(self, run: Run, api: str, answer: Answer) -> None:
        """Keep the answer to a query that a plan follows from."""
        self._put(LISTINGS, [{"_id": f"{run.run_id}|{api}|{answer.query.key}", **_told(answer)}])

    # --- pages of answers that are not complete ------------------------------------------------

    def keep_page(self, run: Run, key: str, number: int, page: StoredPage) -> None:
        """Make a page durable, by the key of its query in the plan. Pages are numbered from 0."""
        rows = {
            "query": orjson.dumps(page.answer.query.row).decode(),
            "following": orjson.dumps(page.following.row).decode(),
        }
        place = {"_id": f"{run}|{key}|{number:05d}", "run": str(run), "of": key, "number": number}
        self._put(PAGES, [{**place, **rows, **_told(page.answer)}])

    def paged(self, run: Run) -> dict[str, int]:
        """Return how many pages there are of each query of a run that has some, by key."""
        found = self._find(PAGES, {"run": str(run)}, fields=("of", "number"))
        return dict(Counter(document["of"] for document in found))

    def pages(self, run: Run, key: str, count: int) -> list[StoredPage]:
        """Return the first ``count`` pages of a query, as far as each leads to the one after it."""
        found: list[StoredPage] = []
        for number in range(count):
            for document in self._find(PAGES, {"_id": f"{run}|{key}|{number:05d}"}):
                query = Query.from_row(orjson.loads(document["query"]))
                if not found or found[-1].following.key == query.key:
                    answer = self._answer(PAGES, query, document)
                    found.append(StoredPage(answer, Query.from_row(orjson.loads(document["following"]))))
            if len(found) <= number:
                break
        return found

    def drop_pages(self, run: Run, key: str, count: int) -> None:
        """Delete the pages of a query, from the last to the first: a kill leaves a beginning."""
        self._delete(PAGES, *(f"{run}|{key}|{number:05d}" for number in reversed(range(count))))

    # --- the HTTP cache ------------------------------------------------------------------------

    def kept(self, api: str, key: str) -> CachedAnswer | None:
        """Return the last answer of an API to the query of this key, of whichever run."""
        for document in self._find(KEPT, {"_id": f"{api}|{key}"}):
            return CachedAnswer(**{field: document[field] for field in CachedAnswer.__slots__})
        return None

    def keep(self, api: str, key: str, kept: CachedAnswer) -> None:
        """Keep an answer, in place of the one before."""
        self._replace(KEPT, [{"_id": f"{api}|{key}", "kept_at": self._now(), **asdict(kept)}])

    def _answer(self, collection: str, query: Query, document: Document) -> Answer:
        """Make the answer again from the fields of a document."""
        return Answer(
            query=query,
            outcome=Outcome(document["outcome"]),
            status=document["status"],
            body=self._body(collection, document),
            fetched_at=datetime.fromisoformat(document["fetched_at"]),
            next_link=document.get("next_link", ""),
            is_paged=document.get("is_paged", False),
        )


class Waiting:
    """Documents that wait for their turn, by key. A context manager, which deletes the temporary file."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_WAITING, prefix="windrow-")  # noqa: SIM115 - closed by __exit__
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def add(self, key: str, document: Document) -> None:
        """Add a document."""
        if not self._places:  # what is in the file has been taken
            self._file.seek(0)
            self._file.truncate()
        data = bson.encode(document)
        self._places[key] = (self._file.seek(0, 2), len(data))
        self._file.write(data)

    def take(self, key: str) -> Document:
        """Remove a document and return it."""
        place, size = self._places.pop(key)
        self._file.seek(place)
        return bson.decode(self._file.read(size))


def _told(answer: Answer) -> Document:
    """Turn an answer into the fields of a document."""
    told: Document = {
        "key": answer.query.key,
        "outcome": answer.outcome.value,
        "status": answer.status,
        "fetched_at": answer.fetched_at.isoformat(),
        "body": answer.body,
    }
    if answer.next_link:
        told["next_link"] = answer.next_link
    if answer.is_paged:
        told["is_paged"] = True
    return told
