"""Erasing a person from a store: answers, plans, quarantine, what is cached; and the receipts of erasures.

Everything can be repeated: an erasure that is killed anywhere goes on when it is run again, and ends in the same state.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import orjson

from windrow.model.errors import PlanMissing
from windrow.model.person import Person, erase_from, erased
from windrow.model.plan import Chunk, Run, chunk_id
from windrow.model.query import Query
from windrow.model.stream import Stream
from windrow.store.accepted import ACCEPTED
from windrow.store.answers import KEPT, LISTINGS, PAGES, AnswerDocuments
from windrow.store.documents import Document
from windrow.store.plans import PlanDocuments
from windrow.store.quarantine import QUARANTINE, QuarantineDocuments
from windrow.store.summary import stamp

ERASURES = "windrow_erasures"


@dataclass(frozen=True, slots=True)
class Erasure:
    """The receipt of an erasure. It has nothing of the person but a salted digest, which only they can be tested with.

    :param columns: the columns that identified the person, without values.
    :param found: how many records, answers, rows or items each place had.
    :param done_at: when nothing was left, ISO 8601 in UTC; empty before.
    """

    id: str
    salt: str
    source: str
    columns: Sequence[str]
    found: Mapping[str, int]
    begun_at: str = field(default_factory=stamp)
    done_at: str = ""

    @classmethod
    def of(cls, source: str, person: Person, found: Mapping[str, int]) -> "Erasure":
        """Make the receipt of an erasure that begins."""
        salt = os.urandom(16).hex()
        return cls(_digest(source, person, salt), salt, source, sorted(person.columns), dict(found))

    def is_of(self, person: Person) -> bool:
        """Whether this receipt is about a person."""
        return self.id == _digest(self.source, person, self.salt)


def _digest(source: str, person: Person, salt: str) -> str:
    """Return a digest that is slow to compute: ids are short numbers, of which all could be tried."""
    told = orjson.dumps([source, [[name, sorted(person.columns[name])] for name in sorted(person.columns)]])
    return hashlib.scrypt(told, salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=16).hex()


class ErasureDocuments(PlanDocuments, AnswerDocuments, QuarantineDocuments):
    """Finds a person in what harvests have stored, and erases them."""

    def erase_from_run(self, run: Run, stream: Stream, person: Person, *, dry_run: bool) -> Counter[str]:
        """Erase a person from plan, answers and quarantine of a run, and return how many of each place had them.

        A query about the person stays in the plan as `windrow.model.person.erased`, which is settled.
        """
        found: Counter[str] = Counter()
        rejected = self._rejected_of(run, person)
        found["quarantine"] = len(rejected)
        try:
            chunks = self.plan(run).chunks
        except PlanMissing:
            chunks = 0
        for number in range(chunks):
            found += self._erase_from_chunk(run, number, stream, person, rejected, dry_run=dry_run)
        if not dry_run:
            for id_ in rejected:
                self._delete_with_pieces(QUARANTINE, id_)
            for document in self._find(ACCEPTED, {"run": str(run)}, fields=("run",)):
                if person.is_in_key(document["_id"].removeprefix(f"{run}|")):
                    self._delete(ACCEPTED, document["_id"])
        return found

    def erase_cached(self, datasets: Collection[str], person: Person, *, dry_run: bool) -> int:
        """Delete cached answers with a person, and return how many: these only save calls.

        They are answers that may still hold, lists that plans were made from, and pages of answers that are incomplete.
        """
        found: dict[str, set[str]] = {}
        for collection in (KEPT, LISTINGS, PAGES):
            for document in self._each(collection, {}):
                id_ = document["_id"]
                if "piece" in document or (collection == PAGES and id_.partition("|")[0] not in datasets):
                    continue
                if person.is_in_key(id_.split("|", 2)[-1]) or person.is_in_text(self._body(collection, document)):
                    # the pages of one answer lead from one to the next: without one of them, all are called again
                    found.setdefault(collection, set()).add(id_.rpartition("|")[0] if collection == PAGES else id_)
        for collection, ids in found.items() if not dry_run else ():
            for id_ in ids:
                pages = [id_]
                if collection == PAGES:
                    run, pages = "|".join(id_.split("|")[:2]), []
                    for document in self._find(PAGES, {"run": run}, fields=("run",)):
                        pages += [document["_id"]] if document["_id"].rpartition("|")[0] == id_ else []
                for page in pages:
                    self._delete_with_pieces(collection, page)
        return sum(map(len, found.values()))

    def begin_erasure(self, source: str, person: Person, found: Mapping[str, int]) -> Erasure:
        """Store the receipt of an erasure that begins, and return it.

        If the same erasure was begun before and has not ended, it goes on: its receipt has what was found first.
        """
        receipt = Erasure.of(source, person, found)
        for document in self._find(ERASURES, {"source": source}):
            before = Erasure(id=document["_id"], **{k: v for k, v in document.items() if k != "_id"})
            if not before.done_at and before.is_of(person):
                most = {name: max(before.found.get(name, 0), count) for name, count in found.items()}
                receipt = Erasure(**asdict(before) | {"found": {**before.found, **most}})
        self._keep_erasure(receipt)
        return receipt

    def end_erasure(self, receipt: Erasure) -> Erasure:
        """Store that nothing of the person is left, and return the receipt."""
        ended = Erasure(**asdict(receipt) | {"done_at": stamp()})
        self._keep_erasure(ended)
        return ended

    def _keep_erasure(self, receipt: Erasure) -> None:
        fields = asdict(receipt)
        self._replace(ERASURES, [{"_id": fields.pop("id"), **fields}])

    def _rejected_of(self, run: Run, person: Person) -> dict[str, tuple[int, str]]:
        """Return the chunk and the key of quarantined answers that have a person, by the id of the document."""
        found = {}
        for one in self._find(QUARANTINE, {"run": str(run)}, fields=("chunk",)):
            for document in self._find(QUARANTINE, {"_id": one["_id"]}):
                number, rejected = self._rejected(document)
                texts = (rejected.body, rejected.raw.decode("utf-8", "replace"))
                if person.is_asked_by(rejected.query) or any(map(person.is_in_text, texts)):
                    found[document["_id"]] = (number, rejected.query.key)
        return found

    def _erase_from_chunk(
        self,
        run: Run,
        number: int,
        stream: Stream,
        person: Person,
        rejected: Mapping[str, tuple[int, str]],
        *,
        dry_run: bool,
    ) -> Counter[str]:
        found: Counter[str] = Counter()
        chunk = self.chunk(run, number)
        gone: set[str] = set()
        settled: set[str] = set()
        for answer in self.each_answer(chunk):
            settled.add(answer.query.key)
            left, _ = erase_from(answer, stream, person)
            found["staging"] += left is not answer
            if left is None:
                gone.add(answer.query.key)
            elif left is not answer and not dry_run:
                id_ = f"{run.run_id}|{answer.query.key}"
                before = self._pieces(run.dataset, id_)
                self.stage(run, [(number, left)])
                self._delete(run.dataset, *(before - self._pieces(run.dataset, id_)))
        refused = {key for of, key in rejected.values() if of == number}
        for query in chunk.queries:
            if query.key not in settled and (query.key in refused or person.is_asked_by(query)):
                found["staging"] += query.key not in refused
                gone.add(query.key)
        # an answer that the plan no longer has: of an older plan, or left by an erasure that was killed
        planned = {query.key for query in chunk.queries}
        for key in self.settled(run, number).keys() - planned:
            for document in self._find(run.dataset, {"_id": f"{run.run_id}|{key}"}):
                if person.is_in_key(key) or person.is_in_text(self._body(run.dataset, document)):
                    found["staging"] += 1
                    if not dry_run:
                        self._delete_with_pieces(run.dataset, document["_id"])
        if gone and not dry_run:
            self._put_erased(chunk, gone)
        return found

    def _put_erased(self, chunk: Chunk, gone: Collection[str]) -> None:
        """Replace queries of a plan: first what settles them, then the plan, last their answers."""
        queries: list[Query] = list(chunk.queries)
        for place, query in enumerate(chunk.queries):
            if query.key in gone:
                answer = erased(chunk.number, place)
                queries[place] = answer.query
                self.stage(chunk.run, [(chunk.number, answer)])
        self.save_chunk(Chunk(chunk.run, chunk.number, tuple(queries)))
        for key in gone:
            self._delete_with_pieces(chunk.run.dataset, f"{chunk.run.run_id}|{key}")

    def _pieces(self, collection: str, id_: str) -> set[str]:
        found = self._find(collection, {"_id": id_}, fields=("body_pieces", "raw_pieces"))
        return {piece for one in found for name in ("body_pieces", "raw_pieces") for piece in one.get(name, ())}

    def _delete_with_pieces(self, collection: str, id_: str) -> None:
        self._delete(collection, *self._pieces(collection, id_), id_)

    def erased_queries(self, run: Run) -> int:
        """Return how many queries of a run's plan were erased."""
        try:
            chunks = self.plan(run).chunks
        except PlanMissing:
            return 0
        places = (chunk_id(run, number) for number in range(chunks))
        found: list[Document] = [
            one for place in places for one in self._find(run.dataset, {"chunk": place}, fields=("outcome",))
        ]
        return sum(one["outcome"] == "erased" for one in found)
