"""The YouTube benchmark with few calls: it kills a harvest and proves it, and it notices when something is wrong."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient

from benchmarks.backends import DATABASE, Mongo
from benchmarks.measure import Wrong
from benchmarks.youtube.evidence import prove_content, staged
from benchmarks.youtube.job import DATASET, PATH, params
from benchmarks.youtube.runs import Bench, Outcome, job_of
from local_cloud import airflow_env
from local_cloud.apis.testing import FakeApi
from local_cloud.settings import Settings

DAYS, CALLS = 2, 400
"""Of 200 videos."""


@pytest.fixture(scope="module")
def youtube(api_server: FakeApi) -> Iterator[FakeApi]:
    """The fake APIs, as troublesome for all tests of this module."""
    api_server.heal()
    api_server.faults(latency_ms=40, error_share=0.05, error_status=503, cut_share=0.02, token_lifetime_s=1)
    yield api_server
    api_server.heal()


@pytest.fixture(scope="module")
def store(mongo: MongoClient[dict[str, Any]], cloud: Settings) -> Iterator[Mongo]:
    connected = Mongo(os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud), "of the tests", None, mongo)
    yield connected
    connected.clear()


@pytest.fixture(scope="module")
def bench(youtube: FakeApi, store: Mongo) -> Bench:
    return Bench(youtube, store, job_of(youtube, store, DAYS, connections=16))


@pytest.fixture(scope="module")
def looped(bench: Bench) -> Outcome:
    """What the serial loop has done. It is before `killed`, which stores into the same collection."""
    return bench.loop(60)


@pytest.fixture(scope="module")
def killed(bench: Bench, looped: Outcome) -> Outcome:
    """A harvest that was killed in the middle, and all that it left on both sides."""
    return bench.windrow()


def test_the_proof_of_a_killed_harvest_adds_up(bench: Bench, killed: Outcome) -> None:
    plan, first, second = killed.processes
    assert (plan.staged_at_end, second.staged_at_end) == (0, CALLS)
    assert 0 < first.staged_at_end < CALLS
    assert (killed.calls.reports, killed.content.documents) == (CALLS, CALLS)
    assert killed.calls.error_503 > 0
    assert killed.calls.cut > 0
    assert killed.calls.repeated_for_faults + killed.calls.repeated_for_kill == killed.calls.sent - CALLS
    assert killed.content.with_rows > 0
    assert killed.content.views > 0
    assert killed.calls.tokens >= len(killed.processes)
    assert all(process.peak_rss > 10e6 for process in killed.processes)

    asked = bench.api.counters(detail=True)["routes"][f"GET {PATH}"]["asked"]
    assert asked.keys() == {  # the peers are told to make the very calls that Windrow plans
        "&".join(sorted(f"{name}={value}" for name, value in params(report).items())) for report in bench.job.reports()
    }


@pytest.mark.parametrize(
    "change",
    [{"reports": CALLS - 1}, {"answered": CALLS - 1}, {"sent": 10_000}],
    ids=["not asked for", "not answered", "called for no reason"],
)
def test_a_count_that_does_not_add_up_is_told(killed: Outcome, change: dict[str, int]) -> None:
    with pytest.raises(Wrong, match="should have asked for 400 reports"):
        replace(killed.calls, **change).prove("Windrow", CALLS)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("body", lambda body: body.replace('"rows": [["20', '"rows": [["19'), "and has"),
        ("body", lambda body: body.partition(', "rows"')[0] + "}", "and has \\[\\]"),
        ("outcome", lambda _: "gap", "no answer"),
        ("key", lambda key: key.replace("video%3D%3D", "video%3D%3Dx"), "nobody asked"),
    ],
)
def test_an_answer_that_is_wrong_is_told(bench: Bench, killed: Outcome, field: str, value: Any, told: str) -> None:
    collection = bench.mongo.client[DATABASE][DATASET]
    document = next(one for one in collection.find({}) if '"rows"' in one.get("body", ""))
    collection.replace_one({"_id": document["_id"]}, document | {field: value(document[field])})
    try:
        with pytest.raises(Wrong, match=told):
            prove_content("Windrow", bench.mongo, bench.job, staged)
    finally:
        collection.replace_one({"_id": document["_id"]}, document)


def test_an_answer_that_is_missing_or_there_twice_or_in_quarantine_is_told(bench: Bench, killed: Outcome) -> None:
    collection = bench.mongo.client[DATABASE][DATASET]
    document = collection.find_one({})
    assert document is not None
    collection.insert_one(document | {"_id": "again"})
    with pytest.raises(Wrong, match="there twice"):
        prove_content("Windrow", bench.mongo, bench.job, staged)
    collection.delete_one({"_id": "again"})
    collection.delete_one({"_id": document["_id"]})
    with pytest.raises(Wrong, match="1 reports are missing"):
        prove_content("Windrow", bench.mongo, bench.job, staged)
    collection.insert_one(document)
    quarantine = bench.mongo.client[DATABASE]["windrow_quarantine"]
    quarantine.insert_one({"_id": "unreadable"})
    with pytest.raises(Wrong, match="1 are in the quarantine"):
        prove_content("Windrow", bench.mongo, bench.job, staged)
    quarantine.delete_one({"_id": "unreadable"})
    assert prove_content("Windrow", bench.mongo, bench.job, staged) == killed.content


def test_the_serial_loop_outlives_its_tokens_and_the_faults(looped: Outcome) -> None:
    loop = looped
    assert (loop.content.documents, loop.calls.reports) == (60, 60)
    assert loop.calls.refused_401 > 0
    assert loop.calls.tokens == loop.calls.refused_401 + 1
    assert loop.calls.repeated_for_kill == 0
