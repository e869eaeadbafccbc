"""MongoDB: where a run's plan, answers, quarantine and figures are durable. The only module that speaks to it.

It keeps to a few operations: whole documents replaced, or inserted, by a string ``_id``, and finds and deletes by
equality on ``_id`` or on one indexed field. Doing any of it twice changes nothing, so a task that is killed is simply
run again.

=====================  =============================================  ==============================
collection             one document is                                ``_id``; indexed field
=====================  =============================================  ==============================
``<dataset>``          a settled query with its answer                run_id|key; ``chunk``
``windrow_pages``      a page of an answer that is not complete      dataset|run_id|key|number; ``run``
``windrow_kept``       an answer that may still hold, of any run      api|key; none
``windrow_listings``   what a plan was made from: a list's answer     run_id|api|key; none
``windrow_plans``      a chunk of a plan, or the plan's size          dataset|run_id|number; none
``windrow_quarantine`` an answer that cannot be read, and the reason  dataset|run_id|key; ``run``
``windrow_figures``    what a step of a run counted                   dataset|run_id|step; ``run``
``windrow_runs``       a summary of a run, see `windrow.store.status`  dataset|run_id; ``dataset, first_at``
``windrow_quotas``     a block of units of a window, and its holder   window|number; ``window``
``windrow_quotas``     that the API has closed a window, until when   window|spent; ``window``
``windrow_pauses``     how often calls to an API were paused in a row  connection id; none
``windrow_consents``   tokens of a refresh, encrypted, or a claim     consent|number; ``consent``
``windrow_warnings``   a warning, and whether it was accepted         dataset|name; ``dataset``
=====================  =============================================  ==============================

An answer, or the bytes of a quarantined one, that is larger than one document is in several: the first is as above, and
the others have no indexed field.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from itertools import count
from tempfile import SpooledTemporaryFile
from typing import Any, TypeVar

import bson
import orjson
from pymongo import DeleteOne, MongoClient, ReplaceOne
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, DuplicateKeyError, PyMongoError, ServerSelectionTimeoutError

from windrow.http.conditional import CachedAnswer
from windrow.http.ledger import Page
from windrow.http.pacing import Pause
from windrow.http.paging import StoredPage
from windrow.model.answer import LARGEST, Answer, Outcome, Rejected, kept
from windrow.model.errors import PlanMissing, StagingUnavailable
from windrow.model.plan import CHUNK, Chunk, Plan, Run, chunk_id
from windrow.model.query import Query
from windrow.store import status
from windrow.store.consents import CONSENTS, ConsentDocuments
from windrow.store.warnings import WARNINGS, WarningDocuments

T = TypeVar("T")
_WAITING = 16_000_000
"""Bytes of answers that wait in memory for their turn."""
Document = dict[str, Any]
Figures = dict[str, Any]
"""What a step counted: numbers and short texts by name."""

_KEPT, _LISTINGS, _PLANS = "windrow_kept", "windrow_listings", "windrow_plans"
_QUARANTINE, _FIGURES, _QUOTAS = "windrow_quarantine", "windrow_figures", "windrow_quotas"
_PAGES = "windrow_pages"
_EXCERPT = 100_000
"""Characters of a quarantined text that are stored beside its bytes."""
_ASIDE = "|"
"""Before the key of a query that is in no plan: one that is may have the same key, and a fate of its own."""
LIST, LOOK_UP = -1, -2
"""In place of the number of a chunk, where the quarantine holds what is in no plan: what one was to be made from, which
a receipt does not let pass, or what was only looked up."""
_PAUSES = "windrow_pauses"
_KEEP_QUOTAS_S = 7 * 24 * 3600
"""For how long after its end a window can be looked at. Then MongoDB deletes it."""
_SELECTION_MS = 10_000
"""How long the driver looks for a server."""
SOCKET_MS = 60_000
"""The longest silence of MongoDB within one call: a server that hangs is not waited for for ever."""
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before an operation is tried again while the server cannot be reached: a restart takes seconds."""


class Staging(ConsentDocuments, WarningDocuments):
    """The state of harvests in one MongoDB database.

    Durability is that of the connection's write concern; MongoDB's default (majority, journaled) is the right
    one. All methods raise `StagingUnavailable` when the server cannot be reached or refuses.
    """

    def __init__(self, client: MongoClient[Document], database: str) -> None:
        self._client = client
        self._database = client[database]

    def prepare(self, dataset: str) -> None:
        """Make sure the server is there and the indexes exist."""
        self._do(lambda: self._database[dataset].create_index("chunk"))
        for name in (_QUARANTINE, _FIGURES, _PAGES):
            self._do(partial(self._database[name].create_index, "run"))
        by_cause = [("run", 1), ("cause", 1), ("status", 1), ("fetched_at", 1)]
        self._do(lambda: self._database[_QUARANTINE].create_index(by_cause))
        self._do(lambda: self._database[status.RUNS].create_index([("dataset", 1), ("first_at", -1)]))
        self._do(lambda: self._database[status.RUNS].create_index("first_at"))
        self._do(lambda: self._database[_QUOTAS].create_index("window"))
        self._do(lambda: self._database[CONSENTS].create_index("consent"))
        self._do(lambda: self._database[WARNINGS].create_index("dataset"))
        self._do(lambda: self._database[_QUOTAS].create_index("ends_at", expireAfterSeconds=_KEEP_QUOTAS_S))

    # --- the plan ------------------------------------------------------------------------------

    def listing(self, run: Run, api: str, query: Query) -> Answer | None:
        """Return what an API answered when this DAG run asked for a list, for whichever of its datasets."""
        for document in self._find(_LISTINGS, {"_id": f"{run.run_id}|{api}|{query.key}"}):
            return self._answer(_LISTINGS, query, document)
        return None

    def keep_listing(self, run: Run, api: str, answer: Answer) -> None:
        """Keep the answer to a query that a plan follows from."""
        self._put(_LISTINGS, [{"_id": f"{run.run_id}|{api}|{answer.query.key}", **_told(answer)}])

    def plan_writer(self, run: Run, standing: Plan | None = None) -> "PlanWriter":
        """Begin to write the plan of a run. One that stands may be added to: staged answers belong to its chunks."""
        return PlanWriter(self, run, standing)

    def save_plan(self, run: Run, queries: Iterable[Query]) -> Plan:
        """Write a plan whose queries need no asking."""
        writer = self.plan_writer(run)
        for query in queries:  # one by one: what is added comes back, and is not to be held
            writer.add((query,))
        return writer.close()

    def save_chunk(self, chunk: Chunk) -> None:
        """Write a part of a plan."""
        rows = orjson.dumps([query.row for query in chunk.queries]).decode()
        self._replace(_PLANS, [{"_id": f"{chunk.run}|{chunk.number:05d}", "queries": rows}])

    def save_size(self, plan: Plan) -> None:
        """Write the size of a plan, which makes it whole."""
        size = {"listed": plan.listed, "planned": plan.planned, "chunks": plan.chunks}
        self._replace(_PLANS, [{"_id": f"{plan.run}|size", **size}])
        self._summarize(plan.run, status.plan_update(plan.run, plan.listed, plan.planned))

    def plan(self, run: Run) -> Plan:
        """Return the size of a run's plan.

        :raises PlanMissing: there is none, or it was not written to its end.
        """
        for size in self._find(_PLANS, {"_id": f"{run}|size"}):
            return Plan(run, size["listed"], size["planned"], size["chunks"])
        raise PlanMissing(
            f"MongoDB has no plan for the run {run.run_id!r} of {run.dataset}.",
            advice="Clear the task 'plan' with all tasks downstream.",
        )

    def chunk(self, run: Run, number: int) -> Chunk:
        """Return one chunk of a plan, by its number from 0."""
        for document in self._find(_PLANS, {"_id": f"{run}|{number:05d}"}):
            return Chunk(run, number, tuple(Query.from_row(row) for row in orjson.loads(document["queries"])))
        raise PlanMissing(
            f"Chunk {number} of the plan of {run} is missing in MongoDB.",
            advice="Clear the task 'plan' with all tasks downstream.",
        )

    # --- answers -------------------------------------------------------------------------------

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

    # --- pages of answers that are not complete -------------------------------------------------

    def keep_page(self, run: Run, key: str, number: int, page: StoredPage) -> None:
        """Make a page durable, by the key of its query in the plan. Pages are numbered from 0."""
        rows = {
            "query": orjson.dumps(page.answer.query.row).decode(),
            "following": orjson.dumps(page.following.row).decode(),
        }
        place = {"_id": f"{run}|{key}|{number:05d}", "run": str(run), "of": key, "number": number}
        self._put(_PAGES, [{**place, **rows, **_told(page.answer)}])

    def paged(self, run: Run) -> dict[str, int]:
        """Return how many pages there are of each query of a run that has some, by key."""
        found = self._find(_PAGES, {"run": str(run)}, fields=("of", "number"))
        return dict(Counter(document["of"] for document in found))

    def pages(self, run: Run, key: str, count: int) -> list[StoredPage]:
        """Return the first ``count`` pages of a query, as far as each leads to the one after it."""
        found: list[StoredPage] = []
        for number in range(count):
            for document in self._find(_PAGES, {"_id": f"{run}|{key}|{number:05d}"}):
                query = Query.from_row(orjson.loads(document["query"]))
                if not found or found[-1].following.key == query.key:
                    answer = self._answer(_PAGES, query, document)
                    found.append(StoredPage(answer, Query.from_row(orjson.loads(document["following"]))))
            if len(found) <= number:
                break
        return found

    def drop_pages(self, run: Run, key: str, count: int) -> None:
        """Delete the pages of a query, from the last to the first: a kill leaves a beginning."""
        self._delete(_PAGES, *(f"{run}|{key}|{number:05d}" for number in reversed(range(count))))

    # --- quarantine ----------------------------------------------------------------------------

    def reject(self, run: Run, rejected: Sequence[tuple[int, Rejected]]) -> None:
        """Keep answers that cannot be read, with the reason."""
        self._put(
            _QUARANTINE,
            [
                {
                    "_id": f"{run}|{_ASIDE if number < 0 else ''}{one.query.key}",
                    "run": str(run),
                    "chunk": number,
                    "query": orjson.dumps(one.query.row).decode(),
                    "status": one.status,
                    "reason": one.reason,
                    "cause": one.reason[: status.CAUSE],
                    "fetched_at": one.fetched_at.isoformat(),
                    "incomplete": one.incomplete,
                    "body": one.body[:_EXCERPT] if one.raw else kept(one.body),
                    **({"raw": one.raw, "content_type": one.content_type} if one.raw else {}),
                }
                for number, one in rejected
            ],
        )

    def quarantined(self, run: Run, *, with_bodies: bool = True) -> list[tuple[int, Rejected]]:
        """Return what is in the quarantine of a run, by key, each with the number of its query's chunk.

        :param with_bodies: whether texts and bytes are read too; without them the answers are empty.
        """
        fields = () if with_bodies else ("chunk", "query", "status", "reason", "fetched_at", "incomplete")
        found = map(self._rejected, self._find(_QUARANTINE, {"run": str(run)}, fields))
        return sorted(found, key=lambda entry: entry[1].query.key)

    def each_quarantined(self, run: Run) -> Iterator[tuple[int, Rejected]]:
        """Yield what `quarantined` returns, one by one, in the order of their ids. Memory holds one of them."""
        for key in sorted(self.quarantined_keys(run)):
            yield from map(self._rejected, self._find(_QUARANTINE, {"_id": f"{run}|{key}"}))

    def _rejected(self, document: Document) -> tuple[int, Rejected]:
        """Make the number of a chunk and a quarantined answer of the fields of a document."""
        one = Rejected(
            query=Query.from_row(orjson.loads(document["query"])),
            status=document["status"],
            body=self._body(_QUARANTINE, document),
            reason=document["reason"],
            fetched_at=datetime.fromisoformat(document["fetched_at"]),
            incomplete=document.get("incomplete", False),
            raw=self._bytes(_QUARANTINE, document, "raw"),
            content_type=document.get("content_type", ""),
        )
        return document["chunk"], one

    def quarantined_keys(self, run: Run) -> set[str]:
        """Return the keys of the queries that are in the quarantine of a run."""
        found = self._find(_QUARANTINE, {"run": str(run)}, fields=("run",))
        return {document["_id"].removeprefix(f"{run}|") for document in found}

    def aside(self, run: Run, place: int) -> set[str]:
        """Return the keys of queries of no plan whose answers are in the quarantine of a run: LIST, or LOOK_UP."""
        found = self._find(_QUARANTINE, {"run": str(run)}, fields=("chunk",))
        return {one["_id"].removeprefix(f"{run}|{_ASIDE}") for one in found if one["chunk"] == place}

    def release(self, run: Run, key: str, *, aside: bool = False) -> None:
        """Take a query out of the quarantine, once its answer is staged; with ``aside`` one that is in no plan."""
        self._delete(_QUARANTINE, f"{run}|{_ASIDE if aside else ''}{key}")

    # --- figures -------------------------------------------------------------------------------

    def note(self, run: Run, step: str, figures: Figures) -> None:
        """Keep what a step of a run counted; the last word of a step stays."""
        document = {"_id": f"{run}|{step}", "run": str(run), "step": step, "figures": figures}
        self._replace(_FIGURES, [document])
        if change := status.summary_update(run, step, figures):
            self._summarize(run, change)

    def notes(self, run: Run) -> dict[str, Figures]:
        """Return what the steps of a run counted, by step."""
        found = self._find(_FIGURES, {"run": str(run)})
        return {document["step"]: document["figures"] for document in found}

    # --- answers that may still hold -----------------------------------------------------------

    def kept(self, api: str, key: str) -> CachedAnswer | None:
        """Return the last answer of an API to the query of this key, of whichever run."""
        for document in self._find(_KEPT, {"_id": f"{api}|{key}"}):
            return CachedAnswer(**{field: document[field] for field in CachedAnswer.__slots__})
        return None

    def keep(self, api: str, key: str, kept: CachedAnswer) -> None:
        """Keep an answer, in place of the one before."""
        self._replace(_KEPT, [{"_id": f"{api}|{key}", **asdict(kept)}])

    # --- quotas --------------------------------------------------------------------------------

    def quota_page(self, window: str) -> Page:
        """Return what is in the book of quotas for a window.

        What version 0.1 wrote counts: documents by holder, which have no number, and a mark without ``ends_at``.
        """
        found = {document["_id"]: document for document in self._find(_QUOTAS, {"window": window})}
        mark = found.pop(f"{window}|spent", None)
        until = (mark.get("ends_at") or datetime.fromtimestamp(mark["units"], UTC)) if mark else None
        number = next(number for number in count() if f"{window}|{number}" not in found)
        taken = sum(document["units"] for document in found.values())
        return Page(taken, number, until.replace(tzinfo=UTC) if until else None)  # MongoDB keeps no zone

    def claim_block(self, window: str, number: int, units: int, *, by: str, ends_at: datetime) -> bool:
        """Write down the block of this number, unless there is one, and say whether it is the caller's."""
        document = {"_id": f"{window}|{number}", "window": window, "kind": "block", "number": number}
        document |= {"holder": by, "units": units, "ends_at": ends_at}
        return self._insert(_QUOTAS, document)

    def close_window(self, window: str, until: datetime) -> None:
        """Write down that the API gives nothing more in this window, until an instant."""
        self._replace(_QUOTAS, [{"_id": f"{window}|spent", "window": window, "kind": "spent", "ends_at": until}])

    # --- pauses --------------------------------------------------------------------------------

    def pause(self, api: str) -> Pause | None:
        """Return how often calls to an API were paused in a row; None if its last call was successful."""
        for document in self._find(_PAUSES, {"_id": api}):
            return Pause(document["times"], datetime.fromisoformat(document["since"]))
        return None

    def keep_pause(self, api: str, pause: Pause | None) -> None:
        """Store the pause of an API, or delete it."""
        if pause is None:
            self._delete(_PAUSES, api)
        else:
            self._replace(_PAUSES, [{"_id": api, "times": pause.times, "since": pause.since.isoformat()}])

    # --- the operations ------------------------------------------------------------------------

    def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        writes = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
        if writes:
            self._do(lambda: self._database[collection].bulk_write(writes, ordered=False))

    def _summarize(self, run: Run, change: Document) -> None:
        self._do(lambda: self._database[status.RUNS].update_one({"_id": str(run)}, change, upsert=True))

    def _insert(self, collection: str, document: Document) -> bool:
        """Insert a document, unless its ``_id`` exists; return whether the document with this ``_id`` is ours.

        A broken connection may hide that the first try went well, so ``holder`` says whose it is.
        """

        def insert() -> bool:
            try:
                self._collection(collection).insert_one(document)
            except DuplicateKeyError:
                ours = {"_id": document["_id"], "holder": document["holder"]}
                return self._collection(collection).find_one(ours) is not None
            return True

        return self._do(insert)

    def _delete(self, collection: str, *ids: str) -> None:
        """Delete documents, in this order."""
        deletions = [DeleteOne({"_id": id_}) for id_ in ids]
        if deletions:
            self._do(lambda: self._collection(collection).bulk_write(deletions))

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

    def _find(self, collection: str, where: Mapping[str, str], fields: Sequence[str] = ()) -> list[Document]:
        projection = dict.fromkeys(fields, 1) or None
        return self._do(lambda: list(self._collection(collection).find(where, projection)))

    def _each(self, collection: str, where: Mapping[str, str]) -> Iterator[Document]:
        """Yield documents, each once; memory holds what the server sends at a time, 16 MB at most.

        It begins again when the connection breaks, as `_do` does.
        """
        seen: set[str] = set()
        for pause_s in (*_PAUSES_S, None):
            try:
                for document in self._collection(collection).find(where):
                    if document["_id"] not in seen:
                        seen.add(document["_id"])
                        yield document
                return
            except PyMongoError as error:
                if (
                    pause_s is None
                    or not isinstance(error, AutoReconnect)
                    or isinstance(error, ServerSelectionTimeoutError)
                ):
                    raise _unavailable(error) from error
                time.sleep(pause_s)

    def _collection(self, name: str) -> Collection[Document]:
        return self._database[name]

    def _do(self, operation: Callable[[], T]) -> T:
        """Run an operation; try again when the connection breaks, as it does when the server restarts.

        All operations here are idempotent, so trying again is safe whatever became of the first try.
        """
        for pause_s in _PAUSES_S:
            try:
                return operation()
            except ServerSelectionTimeoutError as error:  # the driver has waited long enough already
                raise _unavailable(error) from error
            except AutoReconnect:
                time.sleep(pause_s)
            except PyMongoError as error:
                raise _unavailable(error) from error
        try:
            return operation()
        except PyMongoError as error:
            raise _unavailable(error) from error


@contextmanager
def opened(url: str, database: str) -> Iterator[Staging]:
    """Open the staging at a MongoDB address, for programs that run outside of Airflow, and close it at the end.

    Its methods raise `StagingUnavailable` when there is no such server, or it refuses.
    """
    client: MongoClient[Document]
    with MongoClient(url, serverSelectionTimeoutMS=_SELECTION_MS, socketTimeoutMS=SOCKET_MS) as client:
        yield Staging(client, database)


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


class PlanWriter:
    """Writes a plan as it comes about, each query once, and last its size. Made by `Staging.plan_writer`."""

    def __init__(self, staging: Staging, run: Run, standing: Plan | None = None) -> None:
        self._staging = staging
        self._run = run
        self._chunks = standing.chunks if standing else 0
        self._seen = {query.key for number in range(self._chunks) for query in staging.chunk(run, number).queries}
        self._rest: list[Query] = []
        self._listed = 0

    def add(self, queries: Iterable[Query]) -> list[tuple[int, Query]]:
        """Add queries, and return those that are new, each with the number of its chunk. Whole chunks are written."""
        added = []
        for query in queries:
            self._listed += 1
            if query.key not in self._seen:
                self._seen.add(query.key)
                added.append((self._chunks, query))
                self._rest.append(query)
                if len(self._rest) == CHUNK:
                    self._cut()
        return added

    def close(self) -> Plan:
        """Write what is left, and the size: from now on the plan is whole."""
        if self._rest:
            self._cut()
        plan = Plan(self._run, self._listed, len(self._seen), self._chunks)
        self._staging.save_size(plan)
        return plan

    @property
    def planned(self) -> int:
        """Queries so far."""
        return len(self._seen)

    def _cut(self) -> None:
        self._staging.save_chunk(Chunk(self._run, self._chunks, tuple(self._rest)))
        self._chunks += 1
        self._rest = []


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


def _unavailable(error: PyMongoError) -> StagingUnavailable:
    return StagingUnavailable(
        f"MongoDB operation failed: {type(error).__name__}: {error}",
        advice="Check that MongoDB is running, and that host, port, login and database of the Airflow connection are "
        "correct. Data staged earlier is safe; the next try continues from there.",
    )
