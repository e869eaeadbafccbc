"""What a year of the five systems leaves in MongoDB and in the bucket, with housekeeping every day.

``python -m benchmarks.year [--days 365] [--calls 1000] [--keep-answers 30] [--keep-receipts 730]``, with the
environment of Airflow (``make bench-year``). Every document is written by the store's own functions, every run is
landed and archived by `Landing`, and the day's end is `Housekeeping` and MongoDB's own deletions by age. Only the clock
is moved.

``--calls 1000`` makes a thousandth of the calls of each run, and ``--runs 24`` every 24th of the runs of a system that
has more than one a day. The figures of the whole are the mean bytes of a document times the number of documents.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from local_cloud import airflow_env
from local_cloud.testing import running
from windrow.declare.rows import OneRow
from windrow.declare.stream import Declared
from windrow.http.conditional import CachedAnswer
from windrow.landing.folder import FolderStore
from windrow.landing.housekeeping import LANDED, Housekeeping
from windrow.landing.parts import Landing
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Kind
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.answers import KEPT, LISTINGS
from windrow.store.plans import PLANS
from windrow.store.staging import Staging
from windrow.store.status import CONNECTION, StatusStore
from windrow.store.summary import RUNS, stamp

Document = dict[str, Any]
BEGINS = datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
DATABASE = "windrow_bench_year"
FREE = 512e6
"""Bytes of data and indexes in a free Atlas cluster."""
_FIGURES = "windrow_figures"
_ENTRY = 20
"""Bytes of an index entry beside its key, with the free space of its page: an estimate."""


@dataclass(frozen=True, slots=True)
class System:
    """What one dataset writes.

    :param runs: runs a day.
    :param calls: calls of a run; 0 for batches of messages, of which MongoDB has the figures only.
    :param body: bytes of an answer.
    :param lists: answers that the plan of a run is made from, of 100 members each.
    :param cached: whether each answer is also kept to ask whether it still holds.
    """

    dataset: str
    runs: int
    calls: int
    body: int
    lists: int = 0
    cached: bool = False


LIST_BODY = 95_000
"""Bytes of a list of 100 users or stargazers."""
SYSTEMS = (
    System("titanic_passengers", 1, 1_309, 270),
    System("youtube_video_days", 1, 200, 1_200, lists=4),
    System("youtube_videos", 1, 4, 95_000),
    System("github_memberships", 1, 1_000, LIST_BODY),
    System("github_users", 1, 100_000, 1_450, lists=0, cached=True),
    System("x_posts", 144, 0, 0),
    System("spotify_artists", 1, 20, 30_000),
    System("spotify_top_tracks", 1, 1_000, 24_000),
)
"""The five systems at the sizes of docs/costs.md. `github_users` takes its lists from `github_memberships`."""


class MovedStaging(Staging):
    """A staging at another time."""

    now = BEGINS

    def _now(self) -> datetime:
        return self.now


class Made(Declared):
    """A stream of one row an answer."""

    dataset = "made_rows"
    get = "/made"
    rows = OneRow()
    columns = (
        Column("id", "id", Kind.STRING, "Id.", required=True),
        Column("text", "text", Kind.STRING, "The rest.", required=True),
    )


class Year:
    """Simulated days in one database and one folder.

    :param calls: one of so many calls of a run is made.
    :param runs: one of so many runs of a system with several a day is made.
    """

    def __init__(
        self,
        client: MongoClient[Document],
        database: str,
        folder: Path,
        systems: Sequence[System] = SYSTEMS,
        *,
        calls: int = 1,
        runs: int = 1,
    ) -> None:
        self._staging = MovedStaging(client, database)
        self._status = StatusStore(client, database)
        self._database: Database[Document] = client[database]
        self._store = FolderStore(folder)
        self._systems = systems
        self._calls = calls
        self._runs = runs
        for system in systems:
            self._staging.prepare(system.dataset)

    def day(self, number: int, *, keep_answers: int, keep_receipts: int) -> None:
        """Let all systems run for a day, then delete what is old.

        Days to keep are those of the DAG's params.
        """
        for system in self._systems:
            runs = max(1, system.runs // self._runs)
            for place in range(runs):
                self._staging.now = BEGINS + timedelta(days=number, hours=20 * place / runs)
                self._run(system, f"scheduled__{self._staging.now.isoformat()}")
        self._staging.now = now = BEGINS + timedelta(days=number + 1)
        before = [stamp(now - timedelta(days=days)) for days in (keep_answers, keep_receipts)]
        housekeeping = Housekeeping(self._staging, self._status, lambda _: self._store)
        housekeeping.tidy(answers_before=before[0], receipts_before=before[1])
        self._expire(now)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return the documents and the bytes of data of each collection that is not empty."""
        found = {name: self._status.size(name) for name in sorted(self._status.collections())}
        return {name: (size.documents, size.octets) for name, size in found.items() if size.documents}

    def _run(self, system: System, run_id: str) -> None:
        """Do what the tasks of a run write."""
        run, staging = Run(system.dataset, run_id, system.dataset), self._staging
        prefix = f"{system.dataset}/run={run_id}"
        where = {"to": "gs://windrow-landing-of-a-company", "prefix": prefix, "gcp": "google_cloud_default", "aws": ""}
        calls = max(1, system.calls // self._calls) if system.calls else 0
        if calls:
            staging.note(run, CONNECTION, {"conn_id": system.dataset, "account": "3f2a9c", "quotas": []})
            staging.note(run, "scope", {"since": run_id[-32:], "names": "all"})
            staging.note(run, "watermark", {"watermark": run_id[-32:], "reached": run_id[-32:]})
            staging.note(run, "code", {"version": "0.1.0", "bundle": "dags-folder", "digest": "0" * 40})
            staging.note(run, "cost", {"plan_only": False, "ways": [{"calls": calls, "seconds": 60.0, "units": {}}]})
            for number in range(-(-system.lists // self._calls)):
                staging.keep_listing(run, system.dataset, _answer(Query.of("/list", {"page": str(number)}), LIST_BODY))
            queries = [Query.of(f"/{system.dataset}/item", {"id": f"{number:012d}"}) for number in range(calls)]
            plan = staging.save_plan(run, queries)
            for start in range(0, calls, 16):
                answers = [_answer(query, system.body) for query in queries[start : start + 16]]
                staging.stage(run, [((start + place) // 1_000, one) for place, one in enumerate(answers)])
                for one in answers if system.cached else ():
                    cached = CachedAnswer(one.body, etag='W/"' + "0" * 64 + '"', signed_by="0" * 16)
                    staging.keep(system.dataset, one.query.key, cached)
            staging.note(run, f"harvest {stamp(staging.now)}", _figures(calls))
            Landing(staging, Made(), self._store, prefix).land(plan)
        else:
            staging.note(run, "pull", {"messages": 20, "posts": 20, "repeated": 0, "unreadable": 0, "seconds": 45.0})
            staging.note(run, "profile", {"rows": 20, "nulls": {f"column_{number}": 3 for number in range(25)}})
        staging.note(run, f"{LANDED} land", where)
        counts = dict.fromkeys(("planned", "staged", "exported", "loaded", "merged"), calls)
        staging.note(run, "receipt", {"agrees": True, "gaps": 0, "quarantined": 0, **counts})
        staging.note(
            run, "verdict", {"text": f"All {calls:,} calls are answered, and all rows are merged.", "warnings": 0}
        )

    def _expire(self, now: datetime) -> None:
        """Delete what MongoDB deletes by age: the stand-in keeps such indexes, and deletes nothing."""
        for name in self._status.collections():
            for index in self._database[name].index_information().values():
                if (after_s := index.get("expireAfterSeconds")) is not None:
                    ((field, _),) = index["key"]
                    self._database[name].delete_many({field: {"$lt": now - timedelta(seconds=after_s)}})


def _answer(query: Query, size: int) -> Answer:
    body = {"id": dict(query.params).get("id", ""), "text": ""}
    body["text"] = "x" * max(0, size - len(json.dumps(body)))
    return Answer(query, Outcome.ANSWERED, 200, json.dumps(body), BEGINS)


def _figures(answered: int) -> Document:
    names = ("settled_before", "gaps", "rejected", "unanswered", "sent", "retried", "throttled", "unchanged", "tokens")
    return {"state": "ended", "planned": answered, "answered": answered, **dict.fromkeys(names, 0), "seconds": 61.257}


def whole(
    sizes: dict[str, tuple[int, int]], systems: Sequence[System], *, calls: int, runs: int, entry: Callable[[str], int]
) -> dict[str, float]:
    """Return the bytes of each collection, indexes included, if all calls and all runs had been made.

    :param entry: returns the bytes of the indexes of a document of a collection.
    """
    made = {system.dataset: max(1, system.calls // calls) for system in systems if system.calls}
    each_day = sum(max(1, system.runs // runs) for system in systems)
    by_runs = sum(system.runs for system in systems) / each_day
    cached = sum(system.calls for system in systems if system.cached) / (
        sum(made[system.dataset] for system in systems if system.cached) or 1
    )
    listed = sum(system.lists for system in systems) / (sum(-(-system.lists // calls) for system in systems) or 1)
    planned = sum(system.calls for system in systems) / (sum(made.values()) or 1)
    factors = {_FIGURES: by_runs, RUNS: by_runs, KEPT: cached, LISTINGS: listed, PLANS: planned}
    factors |= {system.dataset: system.calls / made[system.dataset] for system in systems if system.calls}
    return {name: (octets + count * entry(name)) * factors.get(name, 1) for name, (count, octets) in sizes.items()}


def index_entry(database: Database[Document]) -> Callable[[str], int]:
    """Return a function that estimates the bytes of the indexes of a document, from the keys of some documents."""

    def entry(name: str) -> int:
        fields = [field for index in database[name].index_information().values() for field, _ in index["key"]]
        some = list(database[name].find().limit(20))
        keys = [
            len(str(one[field])) if not isinstance(one[field], datetime) else 8
            for one in some
            for field in fields
            if field in one
        ]
        return round((sum(keys) + _ENTRY * len(keys)) / len(some)) if some else 0

    return entry


def main() -> None:
    """Simulate, and print what is there at the end of each month."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("days", 365), ("calls", 1_000), ("runs", 24), ("keep-answers", 30), ("keep-receipts", 730)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    keep = {"keep_answers": options.keep_answers, "keep_receipts": options.keep_receipts}
    scale = {"calls": options.calls, "runs": options.runs}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = os.environ.get("MONGO_URL")
        if url is None:
            url = airflow_env.mongo_url(stack.enter_context(running({"mongo"}, folder / "var")))
        client: MongoClient[Document] = stack.enter_context(MongoClient(url))
        client.drop_database(DATABASE)
        stack.callback(client.drop_database, DATABASE)
        began, most = time.monotonic(), (0.0, 0)
        months: list[tuple[int, dict[str, float]]] = []
        year = Year(client, DATABASE, folder / "bucket", **scale)
        for number in range(1, options.days + 1):
            year.day(number - 1, **keep)
            if number % 10 and number != options.days:
                continue
            sizes = year.sizes()
            full = whole(sizes, SYSTEMS, **scale, entry=index_entry(client[DATABASE]))
            most = max(most, (sum(full.values()), number))
            if number % 30 == 0 or number == options.days:
                months.append((number, full))
                print(
                    f"day {number:3}: {sum(octets for _, octets in sizes.values()) / 1e6:6.1f} MB here, "
                    f"{sum(full.values()) / 1e6:8,.0f} MB of all calls and runs, {time.monotonic() - began:5.0f} s"
                )
        names = sorted(months[-1][1], key=lambda name: -months[-1][1][name])
        print("\n| collection, MB | " + " | ".join(f"day {number}" for number, _ in months) + " |")
        print("|---" * (len(months) + 1) + "|")
        for name in names:
            print(f"| `{name}` | " + " | ".join(f"{full.get(name, 0) / 1e6:,.1f}" for _, full in months) + " |")
        print(
            f"\nThe most, {most[0] / 1e6:,.0f} MB, was there on day {most[1]}: "
            f"{most[0] / FREE:.2f} of a free Atlas cluster."
        )


if __name__ == "__main__":
    main()
