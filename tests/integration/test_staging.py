"""The contract of the staging: with MongoDB's protocol, also of a real server (see MONGO_URL), and in a SQLite file."""

import asyncio
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from local_cloud import airflow_env
from local_cloud.ports import find_free
from local_cloud.settings import Settings
from tests.faults.ledger_process import NOON, QUOTAS, compete, ledger, take, together
from windrow.http.ledger import Page
from windrow.http.pacing import Pause
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import PlanMissing, StagingUnavailable
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.store import local
from windrow.store.staging import Staging

RUN = Run("ships", "scheduled__2026-01-01T00:00:00+00:00")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
AWKWARD = (
    "plain",
    "ends with a blank ",
    'O\'Brien, Miss. Johanna "Hannah"',
    "Åström, Mrs. Ødegård (Žofia Łuczak)",
    "100% _under_ $dollar .dot \\back /slash",
    "a|b",
    "a%7Cb",
    "\U0001f6a2 \u2028 \u00a0",
)
"""Names that a server could take for a pattern, a path or an operator, or not bring back as they were."""


def ship(name: str) -> Query:
    return Query.of("/ship", {"name": name})


def answer(query: Query, body: str = "{}", outcome: Outcome = Outcome.ANSWERED) -> Answer:
    return Answer(query, outcome, 200 if outcome is Outcome.ANSWERED else 404, body, MOMENT)


def rejected(query: Query, reason: str = "invalid JSON") -> Rejected:
    return Rejected(query, 200, "<html>", reason, MOMENT)


def keys(staging: Staging, plan: Plan) -> list[list[str]]:
    return [[query.key for query in staging.chunk(plan.run, number).queries] for number in range(plan.chunks)]


@pytest.fixture(params=["mongodb", "sqlite"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Staging]:
    """An empty staging of each kind."""
    if request.param == "sqlite":
        with local.opened(tmp_path / "windrow.sqlite") as opened:
            yield opened
    else:
        yield request.getfixturevalue("mongodb")


@pytest.fixture
def mongodb(mongo: MongoClient[dict[str, Any]]) -> Iterator[Staging]:
    database = f"test_{uuid.uuid4().hex}"
    yield Staging(mongo, database)
    mongo.drop_database(database)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 3 queries."""
    monkeypatch.setattr("windrow.store.plans.CHUNK", 3)


# --- the plan ----------------------------------------------------------------------------------


def test_a_plan_comes_back_as_it_was(staging: Staging) -> None:
    queries = [Query.of("/ship", {"z": name, "a": "1"}, cost=7) for name in AWKWARD]

    saved = staging.save_plan(RUN, queries)

    assert saved == staging.plan(RUN) == Plan(RUN, listed=8, planned=8, chunks=1)
    assert staging.chunk(RUN, 0).queries == tuple(queries)  # params in their order, and the cost


def test_a_query_named_twice_is_planned_once_where_it_was_first_named(staging: Staging) -> None:
    plan = staging.save_plan(RUN, [ship(name) for name in "abcabda"])

    assert (plan.listed, plan.planned) == (7, 4)
    assert keys(staging, plan) == [[ship(name).key for name in "abcd"]]


@pytest.mark.usefixtures("small_chunks")
def test_a_plan_is_cut_into_chunks_and_a_repetition_does_not_cross_them(staging: Staging) -> None:
    plan = staging.save_plan(RUN, [ship(name) for name in "abcdeafg"])

    assert plan.chunks == 3
    assert keys(staging, plan) == [[ship(name).key for name in part] for part in ("abc", "def", "g")]


def test_a_plan_of_thousands(staging: Staging) -> None:
    queries = [ship(f"ship {number}") for number in range(2_500)]

    plan = staging.save_plan(RUN, iter(queries))

    assert plan == Plan(RUN, listed=2_500, planned=2_500, chunks=3)
    assert [query for number in range(3) for query in staging.chunk(RUN, number).queries] == queries


def test_an_empty_plan_is_a_plan(staging: Staging) -> None:
    staging.save_plan(RUN, [])

    assert staging.plan(RUN) == Plan(RUN, listed=0, planned=0, chunks=0)


@pytest.mark.usefixtures("small_chunks")
def test_a_plan_made_again_takes_the_place_of_the_first(staging: Staging) -> None:
    staging.save_plan(RUN, [ship(name) for name in "abcdefg"])

    again = staging.save_plan(RUN, [ship(name) for name in "gfed"])

    assert staging.plan(RUN) == again == Plan(RUN, listed=4, planned=4, chunks=2)
    assert keys(staging, again) == [[ship(name).key for name in part] for part in ("gfe", "d")]


def test_without_a_plan_there_is_a_clear_error(staging: Staging) -> None:
    with pytest.raises(PlanMissing, match="Clear the task 'plan'"):
        staging.plan(RUN)
    with pytest.raises(PlanMissing, match="Chunk 0"):
        staging.chunk(RUN, 0)


@pytest.mark.usefixtures("small_chunks")
def test_a_plan_that_was_not_written_to_its_end_is_none(staging: Staging) -> None:
    def breaks_off() -> Iterator[Query]:
        yield from (ship(name) for name in "abcd")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        staging.save_plan(RUN, breaks_off())

    with pytest.raises(PlanMissing):
        staging.plan(RUN)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("parts", [["abcdefg"], ["ab", "cdef", "", "g"], [*"abcdefg"], ["abc", "def", "g"]])
def test_a_plan_may_be_written_bit_by_bit(staging: Staging, parts: list[str]) -> None:
    writer = staging.plan_writer(RUN)
    for part in parts:
        writer.add(ship(name) for name in part)

    plan = writer.close()

    assert plan == staging.plan(RUN) == Plan(RUN, listed=7, planned=7, chunks=3)
    assert keys(staging, plan) == [[ship(name).key for name in part] for part in ("abc", "def", "g")]


@pytest.mark.usefixtures("small_chunks")
def test_a_repetition_in_a_later_bit_is_planned_once(staging: Staging) -> None:
    writer = staging.plan_writer(RUN)
    for part in ("abcd", "dcba", "e"):
        writer.add(ship(name) for name in part)

    assert writer.close() == Plan(RUN, listed=9, planned=5, chunks=2)


@pytest.mark.usefixtures("small_chunks")
def test_a_plan_of_whole_chunks_has_no_empty_one(staging: Staging) -> None:
    writer = staging.plan_writer(RUN)
    writer.add(ship(name) for name in "abcdef")

    assert writer.close().chunks == 2
    with pytest.raises(PlanMissing):
        staging.chunk(RUN, 2)


@pytest.mark.usefixtures("small_chunks")
def test_whole_chunks_are_written_at_once_and_a_plan_without_its_end_is_none(staging: Staging) -> None:
    writer = staging.plan_writer(RUN)
    writer.add(ship(name) for name in "abcdefgh")

    assert [query.key for query in staging.chunk(RUN, 1).queries] == [ship(name).key for name in "def"]
    with pytest.raises(PlanMissing):
        staging.chunk(RUN, 2)
    with pytest.raises(PlanMissing):
        staging.plan(RUN)

    again = staging.plan_writer(RUN)  # the process was killed, and the next one begins anew
    again.add(ship(name) for name in "xbcd")
    plan = again.close()
    assert keys(staging, plan) == [[ship(name).key for name in part] for part in ("xbc", "d")]


def test_a_query_with_headers_and_a_body_comes_back_as_it_was(staging: Staging) -> None:
    queries = [
        Query.of(
            "/graphql", body='{"query": "{ ship(name: \\"a\\") }"}', known_by={"ship": "a"}, headers={"X-One": "é"}
        ),
        Query.of("/ship", {"name": "b"}, headers={"$set": "1", "a.b": "2"}, cost=3),
        Query.of("/ship", {"name": "c"}, body="{}"),
    ]
    staging.save_plan(RUN, queries)
    staging.reject(RUN, [(0, rejected(query)) for query in queries])

    assert staging.chunk(RUN, 0).queries == tuple(queries)
    assert {one.query for _, one in staging.quarantined(RUN)} == set(queries)


# --- lists -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AWKWARD)
def test_a_list_comes_back_as_it_was_told(staging: Staging, name: str) -> None:
    run = Run("ships", name)
    told = Answer(ship(name), Outcome.ANSWERED, 200, f'{{"names": ["{name}"]}}', MOMENT, f"/ships?page={name}")

    staging.keep_listing(run, name, told)

    assert staging.listing(run, name, ship(name)) == told
    assert staging.listing(run, name, ship(f"{name}x")) is None
    assert staging.listing(run, f"{name}x", ship(name)) is None
    assert staging.listing(Run("ships", f"{name}x"), name, ship(name)) is None


@pytest.mark.parametrize(
    "told",
    [
        Answer(ship("a"), Outcome.MISSING, 404, "", MOMENT),
        Answer(ship("a"), Outcome.ANSWERED, 204, "", MOMENT),
        Answer(ship("a"), Outcome.ANSWERED, 200, "x" * 1_000_000, MOMENT),
    ],
    ids=["gap", "nothing", "long"],
)
def test_any_outcome_of_a_list_is_kept(staging: Staging, told: Answer) -> None:
    staging.keep_listing(RUN, "api", told)
    staging.keep_listing(RUN, "api", told)

    assert staging.listing(RUN, "api", told.query) == told


def test_a_list_is_of_the_run_and_not_of_one_of_its_datasets(staging: Staging) -> None:
    staging.keep_listing(RUN, "api", answer(ship("a"), "1"))

    assert staging.listing(Run("boats", RUN.run_id), "api", ship("a")) == answer(ship("a"), "1")
    assert staging.settled(RUN, 0) == {}, "a list is no answer of the harvest"


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "",
        '{"exact": 1.0, "one": 1, "beyond 64 bits": 123456789012345678901234567890, "1e400": 1e400}',
        '  {"blanks": "stay" }\r\n',
        '{"_id": 1, "$set": {"a.b": null}}',
        '"\\u0000 and \x00 and \\ud83d\\udea2 and \U0001f6a2"',
        "[" * 500 + "]" * 500,
        "x" * 1_000_000,
    ],
    ids=["empty", "numbers", "blanks", "operators", "odd characters", "deep", "long"],
)
def test_a_body_comes_back_word_for_word(staging: Staging, body: str) -> None:
    staging.save_plan(RUN, [ship("a")])
    staged = answer(ship("a"), body)

    staging.stage(RUN, [(0, staged)])

    assert staging.answers(staging.chunk(RUN, 0)) == [staged]


def test_answers_that_do_not_fit_into_one_command_are_written(mongodb: Staging) -> None:
    mongodb.save_plan(RUN, [ship("a"), ship("b")])
    staged = [answer(ship(name), name * 9_000_000) for name in "ab"]

    mongodb.stage(RUN, [(0, each) for each in staged])

    assert mongodb.answers(mongodb.chunk(RUN, 0)) == staged


def test_an_answer_that_mongodb_refuses_is_an_error_and_all_others_are_written(mongodb: Staging) -> None:
    mongodb.save_plan(RUN, [ship(name) for name in "abc"])
    mongodb._database[RUN.dataset].create_index("body", unique=True)  # so that it refuses one of them
    staged = [answer(ship(name), body) for name, body in (("a", "1"), ("b", "1"), ("c", "2"))]

    with pytest.raises(StagingUnavailable, match=r"BulkWriteError.*11000"):
        mongodb.stage(RUN, [(0, each) for each in staged])

    assert mongodb.answers(mongodb.chunk(RUN, 0)) == [staged[0], staged[2]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.dictionaries(st.text(min_size=1, max_size=40), st.text(max_size=60), min_size=1, max_size=8))
def test_any_names_and_any_bodies_come_back(staging: Staging, found: dict[str, str]) -> None:
    run = replace(RUN, run_id=uuid.uuid4().hex)
    staging.save_plan(run, [ship(name) for name in found])
    staged = [answer(ship(name), body) for name, body in found.items()]

    staging.stage(run, [(0, one) for one in reversed(staged)])

    assert staging.answers(staging.chunk(run, 0)) == staged


@pytest.mark.parametrize("waiting", [16_000_000, 1_000], ids=["in memory", "in a file"])
def test_answers_come_in_the_order_of_the_plan(staging: Staging, waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.store.answers._WAITING", waiting)
    queries = [ship(name) for name in (*AWKWARD, *(f"ship {number}" for number in range(900)))]
    staging.save_plan(RUN, [ship("without an answer"), *queries[:500], ship("also without"), *queries[500:]])
    staged = [answer(query, body=f'"{query.key}"') for query in queries]

    staging.stage(RUN, [(0, one) for one in Random(7).sample(staged, len(staged))])

    assert staging.answers(staging.chunk(RUN, 0)) == staged


class Breaking(Staging):
    """The staging, behind a network that breaks twice while answers are read."""

    breaks = 2

    def _collection(self, name: str) -> Any:
        collection = super()._collection(name)
        if name == RUN.dataset and self.breaks:
            self.breaks -= 1
            return SimpleNamespace(find=lambda where: self._broken(collection.find(where)))
        return collection

    def _broken(self, found: Any) -> Iterator[Any]:
        yield from islice(found, 3)
        raise AutoReconnect("connection closed")


@pytest.mark.parametrize("staging", ["mongodb"], indirect=True)
def test_a_broken_connection_neither_loses_nor_repeats_an_answer(staging: Staging) -> None:
    queries = [ship(f"ship {number}") for number in range(10)]
    staging.save_plan(RUN, queries)
    staging.stage(RUN, [(0, answer(query)) for query in queries])
    staging.__class__ = Breaking

    assert [one.query for one in staging.each_answer(staging.chunk(RUN, 0))] == queries


def test_instants_keep_their_microseconds_and_their_zone(staging: Staging) -> None:
    staging.save_plan(RUN, [ship("a"), ship("b")])
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-9, minutes=-30)))

    staging.stage(RUN, [(0, answer(ship("a"))), (0, replace(answer(ship("b")), fetched_at=elsewhere))])

    first, second = (one.fetched_at for one in staging.answers(staging.chunk(RUN, 0)))
    assert first == second == MOMENT
    assert second.utcoffset() == elsewhere.utcoffset()


def test_staging_twice_changes_nothing_and_a_newer_answer_takes_the_place(staging: Staging) -> None:
    staging.save_plan(RUN, [ship("a"), ship("b")])
    first, newer = answer(ship("a"), "1"), answer(ship("a"), "2")

    staging.stage(RUN, [(0, first), (0, answer(ship("b")))])
    staging.stage(RUN, [(0, first)])
    assert staging.answers(staging.chunk(RUN, 0)) == [first, answer(ship("b"))]

    staging.stage(RUN, [(0, newer)])
    assert staging.answers(staging.chunk(RUN, 0)) == [newer, answer(ship("b"))]


def test_settled_tells_the_outcome_of_each_query_of_one_chunk(staging: Staging) -> None:
    gap = answer(ship("b"), "", Outcome.MISSING)

    staging.stage(RUN, [(0, answer(ship("a"))), (0, gap), (1, answer(ship("c")))])

    assert staging.settled(RUN, 0) == {ship("a").key: Outcome.ANSWERED, ship("b").key: Outcome.MISSING}
    assert staging.settled(RUN, 1) == {ship("c").key: Outcome.ANSWERED}
    assert staging.settled(RUN, 2) == {}


def test_staging_nothing_is_fine(staging: Staging) -> None:
    staging.stage(RUN, [])
    staging.reject(RUN, [])

    assert staging.settled(RUN, 0) == {}
    assert staging.quarantined(RUN) == []


def test_answers_to_queries_that_a_new_plan_leaves_out_are_not_given(staging: Staging) -> None:
    staging.save_plan(RUN, [ship("a"), ship("b")])
    staging.stage(RUN, [(0, answer(ship("a"))), (0, answer(ship("b")))])

    staging.save_plan(RUN, [ship("b")])

    assert [one.query for one in staging.answers(staging.chunk(RUN, 0))] == [ship("b")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("a_b", "aXb"), ("a%", "abc"), ("a.b", "aXb"), ("a", "A"), ("é", "e\u0301"), ("7", "07"), ("$a", "a")],
)
def test_runs_with_similar_names_are_kept_apart(staging: Staging, one: str, other: str) -> None:
    runs = [Run("ships", one), Run("ships", other)]
    for place, run in enumerate(runs):
        staging.save_plan(run, [ship("a")])
        staging.stage(run, [(0, answer(ship("a"), str(place)))])
        staging.reject(run, [(0, rejected(ship("a"), str(place)))])
        staging.note(run, "harvest", {"place": place})

    for place, run in enumerate(runs):
        assert [found.body for found in staging.answers(staging.chunk(run, 0))] == [str(place)]
        assert [found.reason for _, found in staging.quarantined(run)] == [str(place)]
        assert staging.notes(run) == {"harvest": {"place": place}}


def test_datasets_with_the_same_run_id_are_kept_apart(staging: Staging) -> None:
    ships, boats = Run("ships", "daily"), Run("boats", "daily")
    staging.save_plan(ships, [ship("a")])
    staging.stage(ships, [(0, answer(ship("a")))])
    staging.reject(ships, [(0, rejected(ship("a")))])
    staging.note(ships, "harvest", {"answered": 1})

    with pytest.raises(PlanMissing):
        staging.plan(boats)
    assert staging.settled(boats, 0) == {}
    assert staging.quarantined(boats) == []
    assert staging.notes(boats) == {}


def test_threads_that_stage_the_same_answers_leave_each_once(staging: Staging) -> None:
    queries = [ship(f"ship {number}") for number in range(300)]
    staging.save_plan(RUN, queries)
    start = threading.Barrier(4)

    def stage(shift: int) -> None:
        start.wait()
        turned = queries[shift * 50 :] + queries[: shift * 50]
        for place in range(0, 300, 30):
            staging.stage(RUN, [(0, answer(query)) for query in turned[place : place + 30]])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(stage, range(4)))

    assert [one.query for one in staging.answers(staging.chunk(RUN, 0))] == queries


# --- quarantine --------------------------------------------------------------------------------


def test_the_quarantine_keeps_the_answer_and_the_reason(staging: Staging) -> None:
    found = [Rejected(ship(name), 200, f"<{name}>", f"because of {name}", MOMENT) for name in sorted(AWKWARD)]
    numbered = sorted(enumerate(found), key=lambda entry: entry[1].query.key)

    staging.reject(RUN, list(enumerate(found)))

    assert staging.quarantined(RUN) == numbered


def test_the_quarantine_knows_of_what_a_part_is_missing(staging: Staging) -> None:
    found = [replace(rejected(ship("a")), incomplete=True), rejected(ship("b"))]

    staging.reject(RUN, [(0, one) for one in found])

    assert [one for _, one in staging.quarantined(RUN)] == found


def test_a_query_is_in_the_quarantine_once_with_the_last_reason(staging: Staging) -> None:
    staging.reject(RUN, [(0, rejected(ship("a"), "first"))])
    staging.reject(RUN, [(0, rejected(ship("a"), "second"))])

    assert [one.reason for _, one in staging.quarantined(RUN)] == ["second"]


@pytest.mark.parametrize("name", AWKWARD)
def test_release_takes_out_one_query_and_can_be_done_twice(staging: Staging, name: str) -> None:
    other = Run("ships", "another run")
    staging.reject(RUN, [(0, rejected(ship(name))), (0, rejected(ship("stays")))])
    staging.reject(other, [(0, rejected(ship(name)))])

    staging.release(RUN, ship(name).key)
    staging.release(RUN, ship(name).key)

    assert [one.query for _, one in staging.quarantined(RUN)] == [ship("stays")]
    assert [one.query for _, one in staging.quarantined(other)] == [ship(name)]


# --- figures -----------------------------------------------------------------------------------


def test_the_last_word_of_a_step_stays(staging: Staging) -> None:
    figures = {"state": "ended", "sent": 2**40, "seconds": 0.125, "agrees": True, "stopped_by": None}

    staging.note(RUN, "harvest", {"state": "running", "left": 3})
    staging.note(RUN, "harvest", figures)
    staging.note(RUN, "land", {"records": 0})

    assert staging.notes(RUN) == {"harvest": figures, "land": {"records": 0}}


# --- quotas ------------------------------------------------------------------------------------


ITEMS = "me|items|2026-01-02T08:00:00+00:00"
"""The window that `NOON` is in."""


@pytest.mark.parametrize("name", AWKWARD)
def test_a_block_is_won_once_and_a_page_has_their_sum(staging: Staging, name: str) -> None:
    window = f"{name}|items|2026-01-01T08:00:00+00:00"
    claims = [(window, 0, 10, "a"), (window, 0, 10, "b"), (window, 1, -3, "b"), (f"{window}x", 0, 1, "b")]

    won = [staging.claim_block(*where, by=by, ends_at=MOMENT) for *where, by in claims]

    assert won == [True, False, True, True]
    assert staging.claim_block(window, 0, 10, by="a", ends_at=MOMENT), "the answer to it may have been lost"
    assert staging.quota_page(window) == Page(7, 2, None)
    staging.close_window(window, MOMENT)
    staging.close_window(window, NOON)
    assert staging.quota_page(window) == Page(7, 2, NOON)
    assert staging.quota_page("another") == Page(0, 0, None)


def test_of_several_processes_one_wins_a_block_and_all_take_no_more_than_there_is(
    cloud: Settings, mongodb: Staging
) -> None:
    staging = mongodb
    url, spawn = os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, spawn, together, [spawn.Barrier(4)]) as processes:
        ended = list(processes.map(partial(compete, url, staging._database.name), range(4)))

    assert sorted(number for won, _ in ended for number in won) == [*range(300)]
    assert all(won for won, _ in ended), "they did not meet"
    for place, (quota, cost) in enumerate(QUOTAS.items()):
        used = asyncio.run(take(ledger(staging, quota), 1_000)) + cost * sum(taken[place] for _, taken in ended)
        assert used <= quota.units
        assert used >= quota.units - 2 * max(cost, quota.units // 10), "what is missing are the blocks of the killed"


def test_what_version_0_1_wrote_counts_in_its_window(staging: Staging) -> None:
    def wrote(window: str, **units: int) -> None:
        found = [{"_id": f"{window}|{by}", "window": window, "holder": by, "units": units[by]} for by in units]
        staging._replace("windrow_quotas", found)

    wrote(ITEMS, one=40, another=25)
    assert asyncio.run(take(ledger(staging, Quota("items", Period.PACIFIC_DAY, 100, ("/",))), 100)) == 35
    wrote(ITEMS, spent=0)
    assert asyncio.run(take(ledger(staging, Quota("items", Period.PACIFIC_DAY, 200, ("/",))), 100)) == 0
    wrote("me|items|closed", spent=int(NOON.timestamp()))
    assert staging.quota_page("me|items|closed") == Page(0, 0, NOON)


# --- pauses ------------------------------------------------------------------------------------


def test_a_pause_is_kept_until_it_is_over(staging: Staging):
    staging.keep_pause("shop", Pause(7, NOON))
    staging.keep_pause("shop", Pause(8, NOON))
    assert staging.pause("shop") == Pause(8, NOON)
    staging.keep_pause("shop", None)
    staging.keep_pause("shop", None)
    assert staging.pause("shop") is None


def test_a_window_that_is_spent_is_spent_for_every_client(staging: Staging) -> None:
    quota = Quota("items", Period.PACIFIC_DAY, 1_000, ("/",))
    first, second, other = (ledger(staging, quota, account) for account in ("me", "me", "you"))

    async def scenario() -> tuple[float, float, float]:
        await first.take(ship("a"))
        await first.exhaust(ship("a"))
        return await first.take(ship("a")), await second.take(ship("a")), await other.take(ship("a"))

    until_midnight_s = 20 * 3600.0
    assert asyncio.run(scenario()) == (until_midnight_s, until_midnight_s, 0.0)


# --- the server --------------------------------------------------------------------------------


def test_prepare_makes_the_indexes_once(mongo: MongoClient[dict[str, Any]]) -> None:
    database = mongo[f"test_{uuid.uuid4().hex}"]
    staging = Staging(mongo, database.name)

    staging.prepare("ships")
    staging.prepare("ships")

    def indexed(collection: str) -> list[str]:
        return [name for index in database[collection].list_indexes() for name in index["key"]]

    expected = {"ships": "chunk", "windrow_quarantine": "run", "windrow_figures": "run", "windrow_quotas": "window"}
    for collection, field in expected.items():
        assert field in indexed(collection)
    expiring = [index for index in database["windrow_quotas"].list_indexes() if "expireAfterSeconds" in index]
    assert [[*index["key"]] for index in expiring] == [["ends_at"]]
    assert staging.settled(RUN, 0) == {}
    database["ships"].drop()
    staging.prepare("ships")
    assert "chunk" not in indexed("ships"), "what was made is remembered"
    database["windrow_indexes"].delete_many({})
    staging.prepare("ships")
    assert "chunk" in indexed("ships")


def test_a_server_that_is_not_there_is_a_clear_error_in_time_and_shows_no_password() -> None:
    (port,) = find_free(1)
    url = f"mongodb://reader:hushhush@127.0.0.1:{port}"
    began = time.monotonic()

    with (
        MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=300) as client,
        pytest.raises(StagingUnavailable, match="Check that MongoDB is running") as caught,
    ):
        Staging(client, "any").prepare("ships")

    assert time.monotonic() - began < 5
    assert str(port) in str(caught.value)
    assert "hushhush" not in str(caught.value)


def test_one_process_at_a_time_uses_a_local_store(tmp_path: Path) -> None:
    with local.opened(tmp_path / "windrow.sqlite") as first:
        first.stage(RUN, [(0, answer(ship("a")))])
        with (
            pytest.raises(StagingUnavailable, match="used by another process"),
            local.opened(tmp_path / "windrow.sqlite"),
        ):
            pass
    with local.opened(tmp_path / "windrow.sqlite") as second:
        assert second.settled(RUN, 0) == {ship("a").key: Outcome.ANSWERED}
    with pytest.raises(StagingUnavailable, match="folder exists and is writable"), local.opened(tmp_path / "no" / "x"):
        pass
