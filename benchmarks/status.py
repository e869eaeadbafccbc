"""How long a snapshot of all harvests takes, and what the summaries cost that it is made from.

``python -m benchmarks.status [--runs 1000] [--streams 50] [--answers 100000]``, with the environment of Airflow
(``make bench-status``). MongoDB is that of the local cloud, a stand-in; set MONGO_URL for a real one.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.testing import running
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.snapshot import take
from windrow.model.answer import Answer, Outcome
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging
from windrow.store.status import StatusStore
from windrow.store.summary import RUNS, stamp, summary_update

TIMES = 20
DATABASE = "windrow_bench_status"


def main() -> None:
    """Fill a database, measure, and drop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("runs", 1_000), ("streams", 50), ("answers", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with ExitStack() as stack:
        url = os.environ.get("MONGO_URL")
        if url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = airflow_env.mongo_url(stack.enter_context(running({"mongo"}, Path(folder) / "var")))
        client: MongoClient[dict[str, object]] = stack.enter_context(MongoClient(url))
        client.drop_database(DATABASE)
        stack.callback(client.drop_database, DATABASE)
        staging = Staging(client, DATABASE)
        fill(staging, options.runs, options.streams, options.answers // options.runs)
        store = StatusStore(client, DATABASE)
        print(f"{options.runs:,} runs of {options.streams:,} streams, {options.answers:,} answers")
        _measure("snapshot", lambda: take(store, Facts()))
        run = Run("stream_00", "run_00000", "dag")
        update = summary_update(run, "harvest 1", _figures(7), stamp()) or {}
        _measure("note of a harvest, with its summary", lambda: staging.note(run, "harvest 1", _figures(7)))
        _measure(
            "of that, the summary", lambda: client[DATABASE][RUNS].update_one({"_id": str(run)}, update, upsert=True)
        )


def fill(
    staging: Staging,
    runs: int,
    streams: int,
    each: int,
    named: Callable[[int, int], tuple[str, str]] = lambda stream, place: (f"run_{place:05d}", "dag"),
) -> None:
    """Store runs with their answers and receipts.

    :param named: returns the id of a run and of its DAG, from the number of its stream and its place in it.
    """
    queries = [Query.of("/thing", {"id": str(number)}) for number in range(each)]
    at = datetime.now(UTC)
    for number in range(streams):
        staging.prepare(f"stream_{number:02d}")
    for number in range(runs):
        run = Run(f"stream_{number % streams:02d}", *named(number % streams, number // streams))
        staging.save_size(Plan(run, each, each, 1))
        staging.stage(run, [(0, Answer(query, Outcome.ANSWERED, 200, '{"a": 1}' * 20, at)) for query in queries])
        staging.note(run, f"harvest {stamp()}", _figures(each))
        staging.note(run, "receipt", {"agrees": True, "planned": each, "staged": each, "gaps": 0, "merged": each})


def _figures(answered: int) -> dict[str, object]:
    names = ("settled_before", "gaps", "rejected", "unanswered", "sent", "retried", "throttled", "unchanged", "tokens")
    return {"state": "ended", "planned": answered, "answered": answered, **dict.fromkeys(names, 0), "seconds": 1.0}


def _measure(what: str, job: Callable[[], object]) -> None:
    """Do something some times, and print its time and this process's CPU."""
    job()
    wall, cpu = [], time.process_time()
    for _ in range(TIMES):
        began = time.perf_counter()
        job()
        wall.append(time.perf_counter() - began)
    used = (time.process_time() - cpu) / TIMES
    middle, longest = 1000 * statistics.median(wall), 1000 * max(wall)
    print(f"{what:<38} median {middle:7.1f} ms  longest {longest:7.1f} ms  CPU {1000 * used:6.1f} ms")


if __name__ == "__main__":
    main()
