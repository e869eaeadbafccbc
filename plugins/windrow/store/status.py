"""What MongoDB says about all runs, for people who watch: one summary per run, quarantine by reason, quotas, pauses.

Nothing here writes. Every read has a limit in number and time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from windrow.model.body import ANSWER, EXCERPT, OVERLAP, Body, Place
from windrow.model.errors import StagingUnavailable
from windrow.model.plan import CHUNK, Run
from windrow.model.query import Query
from windrow.store.events import EVENTS, Event
from windrow.store.events import where as events_of
from windrow.store.login import connect, know_password, login_error
from windrow.store.reports import AcceptedGap, Found, Paused, Quarantined, QuotaUse, Reason, Size, Snoozed, Stopped
from windrow.store.summary import RUNS, Document, Summary, stamp

ALERTS = "windrow_alerts"
WATCH = "watch"
"""``_id`` of the document of `ALERTS` that says when problems were last looked for."""
CONNECTION = "connection"
"""Name of the note of a run that has the Airflow connection of its API, its account, and the quotas that apply."""
CAUSE = 160
"""Characters of a reason that quarantined answers are grouped by."""
DATABASE = "windrow"
"""Default database, if a connection names none."""
_SELECTION_MS, _READ_MS = 2_000, 3_000
"""How long a reader waits for a server, and for one answer of it: a page must not wait as long as a task."""
RUNS_AT_ONCE, _QUARANTINED, _BLOCKS, _NOTES, _WARNINGS = 2_000, 20_000, 20_000, 500, 2_000
_OLD = 500
"""Runs that are read at a time for housekeeping."""
AFTER = "}"
"""The character after ``|``: ``dataset|`` up to ``dataset}`` are all ids of a dataset."""


class StatusStore:
    """Reads the state of all harvests from one MongoDB database, and writes nothing.

    All methods raise `StagingUnavailable` when the server cannot be reached, refuses, or takes too long, and
    `LoginRejected` when it rejects the login that is set in ``place``.
    """

    def __init__(self, client: "MongoClient[Document]", database: str, place: str = "this program") -> None:
        self.database = database
        self._place = place
        self._database = client[database]

    def datasets(self) -> list[str]:
        """Return the datasets that have summaries."""
        with _reading(self._place):
            return sorted(map(str, self._database[RUNS].distinct("dataset", maxTimeMS=_READ_MS)))

    def summaries(self, dataset: str = "", *, limit: int = RUNS_AT_ONCE) -> list[Summary]:
        """Return the newest runs of one dataset, or of all; the newest first."""
        where = {"dataset": dataset} if dataset else {}
        return [Summary.of(one) for one in self._find(RUNS, where, sort=[("first_at", -1)], limit=limit)]

    def year(self, dataset: str, since: str) -> list[Summary]:
        """Return the runs of a dataset that began after a time, at most `RUNS_AT_ONCE`, without their profiles."""
        fields = dict.fromkeys(("profile", "verdict", "scope"), 0)
        where = {"dataset": dataset, "first_at": {"$gte": since}}
        found = self._find(RUNS, where, fields, sort=[("first_at", -1)], limit=RUNS_AT_ONCE)
        return [Summary.of(one) for one in found]

    def latest(self, datasets: Sequence[str], *, each: int) -> dict[str, list[Summary]]:
        """Return the newest runs of each dataset; the newest first.

        All in one read while that is enough: a busy dataset can push out the runs of a quiet one, which is read alone.
        """
        found: dict[str, list[Summary]] = {dataset: [] for dataset in datasets}
        newest = self.summaries(limit=min(RUNS_AT_ONCE, each * max(1, len(datasets))))
        complete = len(newest) < min(RUNS_AT_ONCE, each * max(1, len(datasets)))
        for one in newest:
            found.setdefault(one.dataset, []).append(one)
        for dataset, runs in found.items():
            if not complete and len(runs) < each:
                found[dataset] = self.summaries(dataset, limit=each)
        return {dataset: runs[:each] for dataset, runs in found.items()}

    def older(self, than: str, *, with_answers: bool = False) -> Iterator[Summary]:
        """Yield the runs of all datasets that began before a time, the oldest first, without their profiles.

        :param with_answers: only those whose answers were not deleted.
        """
        where: Document = {"first_at": {"$lt": than}} | ({"purged": {"$exists": False}} if with_answers else {})
        found = self._find(RUNS, where, {"_id": 1}, sort=[("first_at", 1)], limit=0)
        fields = dict.fromkeys(("profile", "verdict", "scope", "code"), 0)
        for start in range(0, len(found), _OLD):
            ids = [one["_id"] for one in found[start : start + _OLD]]
            by_id = {one["_id"]: one for one in self._find(RUNS, {"_id": {"$in": ids}}, fields, limit=len(ids))}
            yield from (Summary.of(by_id[id_]) for id_ in ids if id_ in by_id)

    def named(self, runs: Sequence[Run]) -> list[Summary]:
        """Return the summaries of these runs, as far as there are some."""
        where = {"_id": {"$in": [*map(str, runs)]}}
        return [Summary.of(one) for one in self._find(RUNS, where, limit=len(runs))] if runs else []

    def summary(self, run: Run) -> Summary | None:
        """Return the summary of one run; None if there is none."""
        return next(map(Summary.of, self._find(RUNS, {"_id": str(run)}, limit=1)), None)

    def notes(self, run: Run) -> list[tuple[str, dict[str, Any]]]:
        """Return the figures of each step of a run, by the name of the step; the first `_NOTES`."""
        found = self._find("windrow_figures", {"run": str(run)}, limit=_NOTES)
        return sorted((str(one["step"]), one["figures"]) for one in found)

    def noted(self, runs: Sequence[Run], step: str) -> dict[Run, dict[str, Any]]:
        """Return the figures of one step of each of these runs, as far as there are some."""
        ids = {f"{run}|{step}": run for run in runs}
        found = self._find("windrow_figures", {"_id": {"$in": [*ids]}}, limit=len(ids)) if ids else []
        return {ids[one["_id"]]: one["figures"] for one in found}

    def reasons(self, dataset: str = "", run_id: str = "") -> tuple[list[Reason], bool]:
        """Return the quarantine by run and reason, the largest first, and whether all of it was read.

        It reads an index only: bodies can have 15 MB each.
        """
        where = {"run": f"{dataset}|{run_id}"} if run_id else _all_of("run", dataset)
        fields = {"_id": 0, "run": 1, "cause": 1, "status": 1, "fetched_at": 1}
        groups: dict[tuple[str, str, int], list[str]] = {}
        read = self._find("windrow_quarantine", where, fields, limit=_QUARANTINED)
        for one in read:
            group = (str(one["run"]), str(one.get("cause", "")), int(one.get("status") or 0))
            groups.setdefault(group, []).append(str(one.get("fetched_at", "")))
        found = []
        for (run, reason, status), at in groups.items():
            named, _, of_run = run.partition("|")
            found.append(Reason(named, of_run, reason, status, len(at), min(at), max(at)))
        return sorted(found, key=lambda one: (-one.count, one.dataset, one.reason)), len(read) < _QUARANTINED

    def quarantined(self, run: Run, *, cause: str | None = None, limit: int = 100) -> list[Quarantined]:
        """Return answers in the quarantine of a run, of one reason or of all."""
        where = {"run": str(run)} | ({} if cause is None else {"cause": cause})
        found = []
        fields = dict.fromkeys(("reason", "status", "fetched_at", "chunk"), 1)
        for one in self._find("windrow_quarantine", where, fields, limit=limit):
            key = str(one["_id"]).removeprefix(f"{run}|")
            found.append(
                Quarantined(
                    *(run.dataset, run.run_id, key.removeprefix("|"), str(one["reason"]), int(one["status"])),
                    fetched_at=str(one["fetched_at"]),
                    in_plan=one.get("chunk", 0) >= 0,
                )
            )
        return found

    def quarantined_queries(self, run: Run, *, cause: str = "", key: str = "") -> list[tuple[str, int, bool]]:
        """Return queries of the plan in the quarantine of a run: the row, the status, whether a part is missing."""
        where: Document = {"_id": f"{run}|{key}"} if key else {"run": str(run)} | ({"cause": cause} if cause else {})
        fields = dict.fromkeys(("query", "status", "incomplete", "chunk"), 1)
        found = self._find("windrow_quarantine", where, fields, limit=_QUARANTINED + 1)
        return [
            (str(one["query"]), int(one["status"]), bool(one.get("incomplete"))) for one in found if one["chunk"] >= 0
        ]

    def accepted(self, run: Run, *, limit: int = 200) -> list[AcceptedGap]:
        """Return gaps of a run that a person accepted."""
        found = self._find("windrow_accepted", {"run": str(run)}, limit=limit)
        return [
            AcceptedGap(str(one["_id"]).removeprefix(f"{run}|"), *(str(one[name]) for name in ("by", "at", "note")))
            for one in found
        ]

    def keys(self, run: Run, outcome: str, *, limit: int = 200) -> list[str]:
        """Return keys of a run's settled queries with an outcome (answered or gap), or of those without one (open)."""
        if outcome == "open":
            return self._open(run, limit)
        where = {"chunk": {"$gte": f"{run.run_id}|", "$lt": f"{run.run_id}{AFTER}"}, "outcome": outcome}
        return sorted(str(one["key"]) for one in self._find(run.dataset, where, {"key": 1}, limit=limit))

    def _open(self, run: Run, limit: int) -> list[str]:
        """Look for planned queries without an answer, chunk by chunk, until there are enough."""
        found: list[str] = []
        where = {"_id": {"$gte": f"{run}|0", "$lt": f"{run}|:"}}
        for chunk in self._find("windrow_plans", where, limit=1_000):
            number = str(chunk["_id"]).rsplit("|", 1)[1]
            done = {
                one["key"] for one in self._find(run.dataset, {"chunk": f"{run.run_id}|{number}"}, {"key": 1}, limit=0)
            }
            found += (row[0] for row in orjson.loads(chunk["queries"]) if row[0] not in done)
            if len(found) >= limit:
                break
        return found[:limit]

    def planned(self, run: Run, start: int = 0, *, limit: int = 100) -> tuple[list[str], int | None]:
        """Return keys of a plan from a place on, and the place after them; None at the end of the plan.

        A place is the number of a chunk times `CHUNK`, plus the place in the chunk.
        """
        number, place = divmod(start, CHUNK)
        for chunk in self._find("windrow_plans", {"_id": f"{run}|{number:05d}"}, limit=1):
            keys = [str(row[0]) for row in orjson.loads(chunk["queries"])]
            after = start + limit if place + limit < len(keys) else (number + 1) * CHUNK
            more = after % CHUNK or self._find("windrow_plans", {"_id": f"{run}|{number + 1:05d}"}, {"_id": 1}, limit=1)
            return keys[place : place + limit], after if more else None
        return [], None

    def answered(self, dataset: str, keys: Sequence[str], run_ids: Sequence[str]) -> dict[str, str]:
        """Return by key the first of these runs that has an answer to its query. It reads an index only."""
        ids = [f"{run_id}|{key}" for run_id in run_ids for key in keys]
        found = (
            {str(one["_id"]) for one in self._find(dataset, {"_id": {"$in": ids}}, {"_id": 1}, limit=len(ids))}
            if ids
            else set()
        )
        return {
            key: next(run_id for run_id in run_ids if f"{run_id}|{key}" in found)
            for key in keys
            if any(f"{run_id}|{key}" in found for run_id in run_ids)
        }

    def find(self, key: str, runs: Sequence[Run]) -> list[Found]:
        """Return what is known about the query of this key in each of these runs; runs without it are left out."""
        found = []
        by_dataset: dict[str, list[Run]] = {}
        for run in runs:
            by_dataset.setdefault(run.dataset, []).append(run)
        for dataset, some in by_dataset.items():
            ids = {f"{run.run_id}|{key}": run for run in some}
            fields = dict.fromkeys(("outcome", "status", "fetched_at", "chunk"), 1)
            for one in self._find(dataset, {"_id": {"$in": [*ids]}}, fields, limit=len(ids)):
                what = str(one["outcome"]), int(one["status"]), str(one["fetched_at"])
                number = int(str(one["chunk"]).rpartition("|")[2])
                found.append(Found(dataset, ids[one["_id"]].run_id, key, *what, chunk=number))
            places = {f"{run}|{aside}{key}": run for run in some for aside in ("", "|")}
            fields = dict.fromkeys(("reason", "status", "fetched_at", "chunk"), 1)
            for one in self._find("windrow_quarantine", {"_id": {"$in": [*places]}}, fields, limit=len(places)):
                what = "quarantined", int(one["status"]), str(one["fetched_at"])
                number, reason = int(one.get("chunk", -1)), str(one["reason"])
                found.append(Found(dataset, places[one["_id"]].run_id, key, *what, reason=reason, chunk=number))
        return sorted(found, key=lambda one: one.fetched_at, reverse=True)

    def query(self, found: Found) -> Query | None:
        """Return the query of a key that was found; None if the plan does not have it."""
        place = f"{found.dataset}|{found.run_id}|{found.chunk:05d}"
        for chunk in self._find("windrow_plans", {"_id": place}, limit=1) if found.chunk >= 0 else ():
            for row in orjson.loads(chunk["queries"]):
                if row[0] == found.key:
                    return Query.from_row(row)
        return None

    def begun(self, since: str, until: str) -> list[Summary]:
        """Return the runs of all datasets that began in a time, at most `RUNS_AT_ONCE`, without what no sheet needs."""
        fields = dict.fromkeys(("profile", "scope", "verdict", "code"), 0)
        where = {"first_at": {"$gte": since, "$lt": until}}
        found = self._find(RUNS, where, fields, sort=[("first_at", -1)], limit=RUNS_AT_ONCE)
        return [Summary.of(one) for one in found]

    def quotas(self, now: datetime | None = None) -> list[QuotaUse]:
        """Return the windows that have not ended; the one that ends first is first."""
        windows: dict[str, list[Document]] = {}
        for one in self._find("windrow_quotas", {"ends_at": {"$gte": now or datetime.now(UTC)}}, limit=_BLOCKS):
            windows.setdefault(str(one["window"]), []).append(one)
        found = []
        for window, entries in windows.items():
            account, _, rest = window.partition("|")
            taken = sum(int(one.get("units", 0)) for one in entries if one.get("kind") != "spent")
            ends_at = max(one["ends_at"] for one in entries).replace(tzinfo=UTC).isoformat()
            closed = any(one.get("kind") == "spent" for one in entries)
            found.append(QuotaUse(account, rest.partition("|")[0], taken, ends_at, closed))
        return sorted(found, key=lambda one: (one.ends_at, one.name))

    def warnings(self, dataset: str = "", *, only_open: bool = False) -> list[Document]:
        """Return the warnings of one dataset, or of all; the first `_WARNINGS`.

        :param only_open: leave out those that a person has accepted.
        """
        where = ({"dataset": dataset} if dataset else {}) | ({"accepted_at": {"$exists": False}} if only_open else {})
        found = self._find("windrow_warnings", where, limit=_WARNINGS)
        return sorted(found, key=lambda one: (str(one["dataset"]), str(one["name"])))

    def alerts(self) -> tuple[str, list[Snoozed]]:
        """Return when problems were last looked for, empty for never, and the alerts that are snoozed now."""
        where = {"$or": [{"_id": WATCH}, {"snoozed_until": {"$gt": stamp()}}]}
        found = self._find(ALERTS, where, limit=1_000)
        snoozed = [one for one in found if one["_id"] != WATCH]
        return next((str(one.get("at", "")) for one in found if one["_id"] == WATCH), ""), [
            Snoozed(*(str(one[name]) for name in ("cause", "snoozed_by", "snoozed_until"))) for one in snoozed
        ]

    def events(self, places: Sequence[str], *, limit: int = 100) -> list[Event]:
        """Return what people did to streams and connections, the newest first; see `windrow.store.events`."""
        found = self._find(EVENTS, events_of(places), sort=[("at", -1)], limit=limit)
        return list(map(Event.of, found))

    def requested(self, place: Place, user: str, since: datetime) -> datetime | None:
        """Return when this user last asked to see a body, if that was after a time; None if not."""
        where = {"place": place.run.dataset, "at": {"$gt": since}, "user": user, "subject": place.subject}
        found = self._find(EVENTS, where, {"at": 1}, sort=[("at", -1)], limit=1)
        return next((one["at"].replace(tzinfo=UTC) for one in found), None)

    def body(self, place: Place) -> Body | None:
        """Return the body of an answer, its first 15 MB; None if it is not there."""
        if place.of == ANSWER:
            collection, ids = place.run.dataset, [f"{place.run.run_id}|{place.key}"]
        else:
            collection, ids = "windrow_quarantine", [f"{place.run}|{place.key}", f"{place.run}||{place.key}"]
        names = ("body", "raw", "content_type", "status", "fetched_at", "body_pieces", "raw_pieces")
        for id_ in ids:
            for one in self._find(collection, {"_id": id_}, dict.fromkeys(names, 1), limit=1):
                body, raw = one.get("body", ""), one.get("raw", b"")
                text = body if isinstance(body, str) else body.decode("utf-8", "replace")
                return Body(
                    text=text[: EXCERPT + OVERLAP],
                    data=bytes(raw or (body.encode() if isinstance(body, str) else body)),
                    content_type=str(one.get("content_type", "")),
                    status=int(one["status"]),
                    fetched_at=str(one["fetched_at"]),
                    is_whole=not one.get("raw_pieces" if raw else "body_pieces"),
                )
        return None

    def collections(self) -> set[str]:
        """Return the names of the collections that there are."""
        with _reading(self._place):
            return set(self._database.list_collection_names(maxTimeMS=_READ_MS))

    def size(self, collection: str) -> Size:
        """Return how large a collection is, as MongoDB keeps count of it. The collection must exist."""
        with _reading(self._place):
            found = self._database.command("collStats", collection, maxTimeMS=_READ_MS)
            return Size(int(found.get("count", 0)), int(found.get("size", 0)))

    def counted(self, collection: str, dataset: str, whole: Size) -> Size:
        """Return how many documents of a collection a dataset has, and about how large they are. It reads an index."""
        with _reading(self._place):
            count = self._database[collection].count_documents(_all_of("_id", dataset), maxTimeMS=_READ_MS)
        return Size(count, round(whole.octets * count / whole.documents) if whole.documents else 0)

    def oldest(self, dataset: str) -> str:
        """Return when the oldest run of a dataset began whose answers are still in MongoDB; empty if there is none."""
        where = {"dataset": dataset, "purged": {"$exists": False}}
        found = self._find(RUNS, where, {"first_at": 1}, sort=[("first_at", 1)], limit=1)
        return next((str(one["first_at"]) for one in found), "")

    def pauses(self) -> list[Paused]:
        """Return the APIs that calls are paused for."""
        found = self._find("windrow_pauses", {}, limit=1_000)
        return [Paused(str(one["_id"]), int(one["times"]), str(one["since"])) for one in found]

    def stops(self) -> list[Stopped]:
        """Return the APIs to which a person stopped all calls."""
        found = self._find("windrow_stops", {}, limit=1_000)
        return [Stopped(str(one["_id"]), *(str(one[name]) for name in ("by", "at", "note"))) for one in found]

    def _find(
        self,
        collection: str,
        where: Mapping[str, Any],
        fields: Mapping[str, int] | None = None,
        *,
        sort: list[tuple[str, int]] | None = None,
        limit: int,
    ) -> list[Document]:
        with _reading(self._place):
            cursor = self._database[collection].find(where, fields).limit(limit).max_time_ms(_READ_MS)
            return list(cursor.sort(sort) if sort else cursor)


def _all_of(field_name: str, dataset: str) -> Document:
    if not dataset:
        return {field_name: {"$gte": ""}}
    return {field_name: {"$gte": f"{dataset}|", "$lt": f"{dataset}{AFTER}"}}


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turn errors of the driver into `StagingUnavailable`."""
    try:
        yield
    except PyMongoError as error:
        what = re.split(r" \(configured|, Timeout:", str(error))[0][:300]  # without the settings of the driver
        raise login_error(error, place) or StagingUnavailable(
            f"MongoDB did not answer: {type(error).__name__}: {what}",
            advice=f"Check that MongoDB is running, and that host, port and database of {place} are correct. Harvests "
            "continue by themselves when it is back; answers that were staged are safe.",
        ) from error


@contextmanager
def open_status(url: str, database: str = "", place: str = "this program") -> Iterator[StatusStore]:
    """Open the database at a MongoDB URL for reading, and close it at the end.

    :param database: overrides the one in the URL; the default is `DATABASE`.
    :param place: where the URL is set.
    :raises ConnectionUnusable: the URL is invalid.
    :raises StagingUnavailable: the names of the servers (SRV) cannot be looked up.
    """

    def make() -> MongoClient[Document]:
        know_password(url)
        return MongoClient(
            url, serverSelectionTimeoutMS=_SELECTION_MS, socketTimeoutMS=2 * _READ_MS, connectTimeoutMS=_SELECTION_MS
        )

    with connect(make, place) as client:
        named = database or client.get_default_database(DATABASE).name
        yield StatusStore(client, named, place)
