"""MongoDB: where a run's plan, answers, quarantine and figures are durable. The only module that writes to it.

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
``windrow_runs``       a summary of a run, see `windrow.store.summary` dataset|run_id; ``dataset, first_at``
``windrow_quotas``     a block of units of a window, and its holder   window|number; ``window``
``windrow_quotas``     that the API has closed a window, until when   window|spent; ``window``
``windrow_pauses``     how often calls to an API were paused in a row  connection id; none
``windrow_stops``      who stopped all calls to an API, and when     connection id; none
``windrow_consents``   tokens of a refresh, encrypted, or a claim     consent|number; ``consent``
``windrow_warnings``   a warning, and whether it was accepted         dataset|name; ``dataset``
``windrow_alerts``     a problem that people were told of             its cause; none
``windrow_accepted``   a query whose gap a person accepted            dataset|run_id|key; ``run``
``windrow_erasures``   what an erasure of a person found              a salted digest; none
``windrow_leases``     who calls a part of a plan, at which turn      dataset|run_id|parts|part|turn; ``run``
``windrow_turns``      until when the calls of an API are spaced      connection id; none
``windrow_claims``     a replay that goes on, and its queries         dataset|run_id; none
``windrow_events``     what a person did, see `windrow.store.events`  place|id; ``place, at``
``windrow_indexes``    that the indexes of a dataset were made        dataset|digest of them; none
=====================  =============================================  ==============================

An answer, or the bytes of a quarantined one, that is larger than one document is in several: the first is as above, and
the others have no indexed field.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import partial
from typing import Any, TypeVar

from pymongo import DeleteOne, MongoClient, ReadPreference, ReplaceOne
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, DocumentTooLarge, DuplicateKeyError, PyMongoError, ServerSelectionTimeoutError

from windrow.http.pacing import LATE_S
from windrow.model.cloud_policy import DISK_FULL
from windrow.model.errors import ConnectionUnusable, StagingUnavailable
from windrow.model.plan import Run
from windrow.store import status, summary
from windrow.store.accepted import ACCEPTED, AcceptedDocuments
from windrow.store.alerts import AlertDocuments
from windrow.store.answers import KEPT, LISTINGS, PAGES
from windrow.store.consents import CONSENTS, ConsentDocuments
from windrow.store.documents import Document
from windrow.store.erasure import ErasureDocuments
from windrow.store.events import EVENTS, KEEP_DAYS, EventDocuments
from windrow.store.leases import LEASES, LeaseDocuments
from windrow.store.limits import QUOTAS, TURNS, LimitDocuments
from windrow.store.login import connect, know_password, login_error
from windrow.store.plans import PLANS
from windrow.store.quarantine import CLAIMS, QUARANTINE
from windrow.store.warnings import WARNINGS, WarningDocuments

T = TypeVar("T")
Figures = dict[str, Any]
"""What a step counted: numbers and short texts by name."""

_FIGURES = "windrow_figures"
_MADE = "windrow_indexes"
_KEEP_QUOTAS_S = 7 * 24 * 3600
"""For how long after its end a window can be looked at. Then MongoDB deletes it."""
_KEEP_CACHE_S = 90 * 24 * 3600
"""For how long an answer may be asked whether it still holds. Then MongoDB deletes it."""
_INDEXES: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    *((name, "run", {}) for name in (QUARANTINE, _FIGURES, PAGES, ACCEPTED, LEASES)),
    (QUARANTINE, [("run", 1), ("cause", 1), ("status", 1), ("fetched_at", 1)], {}),
    (summary.RUNS, [("dataset", 1), ("first_at", -1)], {}),
    (summary.RUNS, "first_at", {}),
    (QUOTAS, "window", {}),
    (CONSENTS, "consent", {}),
    (WARNINGS, "dataset", {}),
    (EVENTS, [("place", 1), ("at", -1)], {}),
    (EVENTS, "at", {"expireAfterSeconds": KEEP_DAYS * 24 * 3600}),
    (QUOTAS, "ends_at", {"expireAfterSeconds": _KEEP_QUOTAS_S}),
    (KEPT, "kept_at", {"expireAfterSeconds": _KEEP_CACHE_S}),
)
"""The indexes that all datasets share: collection, fields, options."""
SELECTION_MS = 10_000
"""How long the driver looks for a server."""
SOCKET_MS = 60_000
"""The longest silence of MongoDB within one call: a server that hangs is not waited for for ever."""
_LONGEST_LINE, _LONGEST_LINE_US = 1_000, 3_600_000_000
"""Spans, and microseconds, that workers can wait for their turns. What is later is wrong."""
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before an operation is tried again while the server cannot be reached: a restart takes seconds."""


class Staging(
    ErasureDocuments,
    LimitDocuments,
    ConsentDocuments,
    WarningDocuments,
    AlertDocuments,
    EventDocuments,
    AcceptedDocuments,
    LeaseDocuments,
):
    """The state of harvests in one MongoDB database.

    Durability is that of the connection's write concern; MongoDB's default (majority, journaled) is the right
    one. All methods raise `StagingUnavailable` when the server cannot be reached or refuses, and `LoginRejected` when
    it rejects the login that is set in ``place``.
    """

    def __init__(self, client: MongoClient[Document], database: str, place: str = "this program") -> None:
        self._client = client
        self._place = place
        self._database = client[database]

    def prepare(self, dataset: str) -> None:
        """Make sure the server is there and the indexes exist.

        Each task opens the staging, so what was made is remembered: one operation in place of one for each index.
        """
        made = f"{dataset}|{hashlib.sha256(repr(_INDEXES).encode()).hexdigest()[:16]}"
        if self._find(_MADE, {"_id": made}):
            return
        for collection, fields, options in ((dataset, "chunk", {}), *_INDEXES):
            self._do(partial(self._database[collection].create_index, fields, **options))
        self._replace(_MADE, [{"_id": made}])

    # --- figures -------------------------------------------------------------------------------

    def note(self, run: Run, step: str, figures: Figures) -> None:
        """Keep what a step of a run counted; the last word of a step stays."""
        document = {"_id": f"{run}|{step}", "run": str(run), "step": step, "figures": figures}
        self._replace(_FIGURES, [document])
        if change := summary.summary_update(run, step, figures, summary.stamp(self._now())):
            self._summarize(run, change)

    def notes(self, run: Run) -> dict[str, Figures]:
        """Return what the steps of a run counted, by step."""
        found = self._find(_FIGURES, {"run": str(run)})
        return {document["step"]: document["figures"] for document in found}

    # --- turns ---------------------------------------------------------------------------------

    def turns_clock(self) -> float:
        """Return the time of the server, in seconds of the epoch: the clocks of workers may differ."""
        told = self._do(lambda: self._database.command("hello"))["localTime"]
        return float(told.replace(tzinfo=UTC).timestamp())

    def claim_turns(self, api: str, span_s: float, now: float, ahead_s: float) -> float:
        """Claim a span of time for calls to an API, and return its start. No two spans overlap.

        One operation adds the span to the end of the last one. Where that end has passed, a second one moves it to
        ``ahead_s`` from ``now``; of several workers the first does, and the others add to it. No operation depends on
        what an earlier one has read, so any number of workers can claim at once. A claim that is tried again after a
        broken connection leaves a span unused.
        """
        span, at = math.ceil(span_s * 1e6), int(now * 1e6)
        start = at + int(ahead_s * 1e6)
        earliest, latest = at - int(LATE_S * 1e6), at + _LONGEST_LINE_US + _LONGEST_LINE * span
        turns = self._collection(TURNS)
        usable: Document = {"_id": api, "ends_us": {"$gte": earliest, "$lte": latest}}
        # there is none yet, it has passed, or is what a wrong clock has written
        wrong: Document = {"_id": api, "$or": [{"ends_us": {"$lt": earliest}}, {"ends_us": {"$gt": latest}}]}

        def move() -> bool:
            try:
                turns.update_one(wrong, {"$set": {"ends_us": start + span}}, upsert=True)
            except DuplicateKeyError:  # another worker has moved it
                return False
            return True

        while True:
            if last := self._do(lambda: turns.find_one_and_update(usable, {"$inc": {"ends_us": span}})):
                return int(last["ends_us"]) / 1e6
            if self._do(move):
                return start / 1e6

    # --- the end of a run ----------------------------------------------------------------------

    def forget(self, run: Run) -> int:
        """Delete plan, quarantine, pages and answers of a run, and return how many documents of answers that were.

        The figures and the summary stay. `windrow.landing.archive` copies the rest back, which it does whole if there
        is no plan: so the size of the plan is deleted first, and a deletion that was killed is repeated.
        """
        self._delete(PLANS, f"{run}|size")
        for collection in (PLANS, QUARANTINE, PAGES, LEASES):
            self._delete_below(collection, str(run))
        return self._delete_below(run.dataset, run.run_id)

    def forget_figures(self, run: Run) -> None:
        """Delete what the steps of a run counted, its warning, and the gaps that people accepted; last its summary."""
        for collection in (_FIGURES, ACCEPTED):
            self._delete_below(collection, str(run))
        self._delete(WARNINGS, f"{run.dataset}|{run.run_id}")
        self._delete(CLAIMS, str(run))
        self._delete(summary.RUNS, str(run))

    def forget_listings(self, run_id: str) -> int:
        """Delete what the plans of a run were made from, and return how many documents that were.

        All datasets of a run share them.
        """
        return self._delete_below(LISTINGS, run_id)

    # --- the operations ------------------------------------------------------------------------

    def _replace(self, collection: str, documents: Sequence[Document]) -> None:
        if documents:
            self._do(partial(self._write, collection, documents))

    def _write(self, collection: str, documents: Sequence[Document]) -> None:
        """Write documents by one command, with a third less CPU than `bulk_write`.

        What is too large for a command, or was not written in whole, `bulk_write` writes once more: it splits, tries
        again after a change of the primary, and says what is wrong.
        """
        updates: list[Document] = [
            {"q": {"_id": document["_id"]}, "u": document, "upsert": True} for document in documents
        ]
        with suppress(DocumentTooLarge):
            command: Document = {"update": collection, "updates": updates, "ordered": False}
            if concern := self._database.write_concern.document:  # a command does not take that of the client
                command["writeConcern"] = concern
            told = self._database.command(command)
            if not told.get("writeErrors") and not told.get("writeConcernError"):
                return
        writes = [ReplaceOne(update["q"], update["u"], upsert=True) for update in updates]
        self._collection(collection).bulk_write(writes, ordered=False)

    def _summarize(self, run: Run, change: Document) -> None:
        self._do(lambda: self._database[summary.RUNS].update_one({"_id": str(run)}, change, upsert=True))

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

    def _delete_below(self, collection: str, start: str) -> int:
        """Delete the documents whose ``_id`` is this text, ``|`` and something; return how many."""
        where = {"_id": {"$gte": f"{start}|", "$lt": f"{start}{status.AFTER}"}}
        return self._do(lambda: self._collection(collection).delete_many(where).deleted_count)

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
                    raise self._unavailable(error) from error
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
                raise self._unavailable(error) from error
            except AutoReconnect:
                time.sleep(pause_s)
            except PyMongoError as error:
                raise self._unavailable(error) from error
        try:
            return operation()
        except PyMongoError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: PyMongoError) -> StagingUnavailable:
        if any(text in str(error) for text in DISK_FULL):
            return StagingUnavailable(
                f"The disk of MongoDB is full: {type(error).__name__}: {error}",
                advice="Free space on the disk of MongoDB, or enlarge it. Data staged earlier is safe; the next try "
                "continues from there.",
            )
        return login_error(error, self._place) or StagingUnavailable(
            f"MongoDB operation failed: {type(error).__name__}: {error}",
            advice=f"Check that MongoDB is running, and that host, port and database of {self._place} are correct. "
            "Data staged earlier is safe; the next try continues from there.",
        )


@contextmanager
def opened(url: str, database: str, place: str = "this program") -> Iterator[Staging]:
    """Open the staging at a MongoDB address, for programs that run outside of Airflow, and close it at the end.

    Its methods raise `StagingUnavailable` when there is no such server, or it refuses.

    :param place: where the address is set.
    :raises ConnectionUnusable: the address is invalid.
    """

    def make() -> MongoClient[Document]:
        know_password(url)
        return MongoClient(url, serverSelectionTimeoutMS=SELECTION_MS, socketTimeoutMS=SOCKET_MS)

    with checked(make, place) as client:
        yield Staging(client, database, place)


def checked(make: Callable[[], MongoClient[Document]], place: str) -> MongoClient[Document]:
    """Make a client, if its options keep what harvests rely on.

    :param place: where the address is set.
    :raises ConnectionUnusable: the address or an option is invalid; or writes would not be acknowledged, or old data
        read.
    :raises StagingUnavailable: the names of the servers (SRV) cannot be looked up.
    """
    client = connect(make, place)
    if not client.write_concern.acknowledged:
        client.close()
        raise ConnectionUnusable(
            f"The address of MongoDB in {place} has w=0: a write would count before it is stored.",
            advice="Remove 'w' from its options. MongoDB's default, majority, is the right one.",
        )
    if client.read_preference.mode != ReadPreference.PRIMARY.mode:
        client.close()
        raise ConnectionUnusable(
            f"The address of MongoDB in {place} has a readPreference: a secondary may not have yet what was written.",
            advice="Remove 'readPreference' from its options.",
        )
    return client
