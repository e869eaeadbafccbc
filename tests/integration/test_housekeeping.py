"""What old runs have left in MongoDB is deleted once the archive has it, and comes back from there."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymongo import MongoClient

from benchmarks.year import System, Year
from local_cloud import airflow_env
from local_cloud.settings import BUCKET, Settings
from tests.dag_run import DagRun, load
from tests.integration.conftest import CONNECTION
from tests.shop import Orders
from windrow.airflow.hooks.stores import GcsStore
from windrow.landing.housekeeping import LANDED, PURGED, Housekeeping, Tidied
from windrow.landing.parts import Landing
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import PlanMissing
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging
from windrow.store.status import StatusStore

ROOT = Path(__file__).resolve().parents[2]
OLD = Run(Orders.dataset, "manual__old")
OTHER = Run(Orders.dataset, "manual__old_too")
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = [f"A-{number}" for number in range(10)]
FUTURE, NEVER = "2100-01-01T00:00:00", "1970-01-01T00:00:00"


def query(name: str) -> Query:
    return Query.of("/order", {"number": name})


def answer(name: str) -> Answer:
    body = json.dumps({"Number": name, "Total": 1.5, "Gift": False, "Note": ""})
    return Answer(query(name), Outcome.ANSWERED, 200, body, MOMENT)


@pytest.fixture
def status(staging: Staging) -> StatusStore:
    return StatusStore(staging._client, staging._database.name)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.store.plans.CHUNK", 4)


def harvested(staging: Staging, store: GcsStore, run: Run, *, agrees: bool = True) -> tuple[Landing, Plan]:
    """Let a run do everything, up to its receipt."""
    prefix = f"shop/orders/run={uuid.uuid4().hex}"
    plan = staging.save_plan(run, map(query, NAMES))
    staging.stage(run, [(place // 4, answer(name)) for place, name in enumerate(NAMES)])
    landing = Landing(staging, Orders(), store, prefix)
    landing.land(plan)
    staging.note(run, LANDED, {"to": "gs://b", "prefix": prefix, "gcp": "g", "aws": "a"})
    staging.note(run, "receipt", {"agrees": agrees})
    return landing, plan


def tidied(
    staging: Staging, status: StatusStore, store: GcsStore, *, receipts: str = NEVER, before: str = FUTURE
) -> Tidied:
    def bucket(place: Mapping[str, str]) -> GcsStore:
        assert place["to"] == "gs://b"
        return store

    return Housekeeping(staging, status, bucket).tidy(answers_before=before, receipts_before=receipts)


def documents(staging: Staging) -> dict[str, int]:
    """Return how many documents each collection has, figures and summaries apart."""
    client: MongoClient = staging._client
    database = client[staging._database.name]
    names = set(database.list_collection_names()) - {"windrow_figures", "windrow_runs"}
    return {name: count for name in names if (count := database[name].count_documents({}))}


def test_a_deleted_run_comes_back_from_its_archive(staging: Staging, status: StatusStore, store: GcsStore) -> None:
    landing, plan = harvested(staging, store, OLD)
    chunks = [staging.answers(staging.chunk(OLD, number)) for number in range(plan.chunks)]

    first = tidied(staging, status, store)
    left = documents(staging)
    second = tidied(staging, status, store)

    assert (first.runs, first.documents, first.kept) == (1, 10, {})
    assert (second.runs, second.documents) == (0, 0)
    assert left == {}
    assert staging.notes(OLD)["receipt"] == {"agrees": True}
    restored = landing.plan(OLD)
    assert restored == plan
    assert [staging.answers(staging.chunk(OLD, number)) for number in range(plan.chunks)] == chunks


def test_what_came_back_is_deleted_again_after_it_was_proved(
    staging: Staging, status: StatusStore, store: GcsStore
) -> None:
    landing, _ = harvested(staging, store, OLD)
    tidied(staging, status, store)
    landing.land(landing.plan(OLD))

    staging.note(OLD, "receipt", {"agrees": True})

    assert tidied(staging, status, store).documents == 10


@pytest.mark.parametrize(
    "reason",
    [
        "without a receipt that agrees",
        "with answers in the quarantine",
        "without a known archive",
        "without a complete archive",
        "with a step since then",
    ],
)
def test_what_is_still_needed_is_kept(staging: Staging, status: StatusStore, store: GcsStore, reason: str) -> None:
    """The run beside it is deleted all the same."""
    harvested(staging, store, OTHER)
    landing, _ = harvested(staging, store, OLD, agrees="receipt" not in reason)
    before = FUTURE
    if "quarantine" in reason:
        staging.reject(OLD, [(0, Rejected(query("A-1"), 500, "", "HTTP 500", MOMENT))])
    if "known" in reason:
        change = {"$unset": {LANDED: ""}}
        staging._summarize(OLD, change)
    if "complete" in reason:
        staging.stage(OLD, [(0, answer("A-1b"))])  # after the landing
        staging.save_plan(OLD, map(query, NAMES))
        for name in store.names(f"{landing._prefix}/_answers"):
            store.delete(name)
    if "since" in reason:
        before = "2026-06-01T00:00:00"
        for run, change in ((OTHER, {"updated_at": "2026-01-01T00:00:00"}), (OLD, {})):
            staging._summarize(run, {"$set": {"first_at": "2026-01-01T00:00:00"} | change})
    kept = documents(staging)

    found = tidied(staging, status, store, before=before)

    assert found.kept == {reason: 1}
    assert found.runs == 1
    assert PURGED in staging.notes(OTHER)
    assert PURGED not in staging.notes(OLD)
    assert documents(staging)[Orders.dataset] == 10 + ("complete" in reason)
    assert kept[Orders.dataset] == 20 + ("complete" in reason)


@pytest.mark.parametrize(
    ("accepted", "reason"),
    [
        (["A-1", "A-2"], ""),
        (["A-1"], "with answers in the quarantine"),
        (["A-1", "A-2", "A-3"], "without a complete archive"),
    ],
    ids=["all", "not all", "one came after the landing"],
)
def test_answers_whose_gaps_were_accepted_are_deleted_and_come_back(
    staging: Staging, status: StatusStore, store: GcsStore, accepted: list[str], reason: str
) -> None:
    prefix = f"shop/orders/run={uuid.uuid4().hex}"
    plan = staging.save_plan(OLD, map(query, NAMES))
    refused = [(0, Rejected(query(name), 500, "no", "HTTP 500", MOMENT)) for name in ("A-1", "A-2", "A-3")]
    staging.reject(OLD, refused[:2])
    bad = {name for _, one in refused[: len(accepted)] for name in [one.query.key]} | {query("A-2").key}
    staging.stage(OLD, [(place // 4, answer(name)) for place, name in enumerate(NAMES) if query(name).key not in bad])
    landing = Landing(staging, Orders(), store, prefix)
    landing.land(plan)
    if len(accepted) == 3:
        staging.reject(OLD, refused[2:])
    staging.accept_gaps(OLD, [query(name).key for name in accepted], by="ada", note="broken at the API")
    staging.note(OLD, LANDED, {"to": "gs://b", "prefix": prefix, "gcp": "g", "aws": "a"})
    staging.note(OLD, "receipt", {"agrees": True})
    before = staging.quarantined(OLD)

    found = tidied(staging, status, store)

    assert found.kept == ({reason: 1} if reason else {})
    if not reason:
        assert documents(staging) == {"windrow_accepted": 2}
    assert landing.plan(OLD) == plan
    assert staging.quarantined(OLD) == before
    assert staging.accepted_gaps(OLD).keys() == {query(name).key for name in accepted}


def test_an_empty_plan_comes_back(staging: Staging, status: StatusStore, store: GcsStore) -> None:
    prefix = f"shop/orders/run={uuid.uuid4().hex}"
    plan = staging.save_plan(OLD, [])
    landing = Landing(staging, Orders(), store, prefix)
    landing.land(plan)
    staging.note(OLD, "receipt", {"agrees": True})
    assert tidied(staging, status, store).runs == 1
    assert documents(staging) == {}

    assert landing.plan(OLD) == plan
    with pytest.raises(PlanMissing):
        landing.plan(OTHER)


def test_a_message_in_the_quarantine_is_kept_as_no_archive_has_it(
    staging: Staging, status: StatusStore, store: GcsStore
) -> None:
    """A batch of messages has a receipt, and neither a plan nor an archive."""
    staging.note(OLD, "receipt", {"agrees": True})
    staging.note(OTHER, "receipt", {"agrees": True})
    staging.reject(OLD, [(0, Rejected(query("A-1"), 200, "{", "invalid JSON", MOMENT))])

    found = tidied(staging, status, store, receipts=FUTURE)

    assert found.kept == {"with answers in the quarantine": 1}
    assert staging.quarantined_keys(OLD) == {query("A-1").key}
    assert [one.run_id for one in status.summaries()] == [OLD.run_id]


def test_a_deletion_that_was_killed_is_repeated(staging: Staging, status: StatusStore, store: GcsStore) -> None:
    landing, plan = harvested(staging, store, OLD)
    staging._delete("windrow_plans", f"{OLD}|size")  # the kill came here

    found = tidied(staging, status, store)

    assert (found.runs, found.documents, documents(staging)) == (1, 10, {})
    assert landing.plan(OLD) == plan


def test_lists_are_deleted_with_the_last_dataset_of_their_run(
    staging: Staging, status: StatusStore, store: GcsStore
) -> None:
    harvested(staging, store, OLD)
    staging.keep_listing(OLD, "shop", answer("A-0"))
    staging.keep_listing(Run(Orders.dataset, f"{OLD.run_id}_er"), "shop", answer("A-0"))
    beside = Run("shop_customers", OLD.run_id)
    staging.note(beside, "receipt", {"agrees": False})
    first = tidied(staging, status, store)
    staging.note(beside, "receipt", {"agrees": True})

    second = tidied(staging, status, store)

    assert (first.runs, first.listings) == (1, 0)
    assert (second.runs, second.listings) == (1, 1)
    assert documents(staging) == {"windrow_listings": 1}


def test_a_run_that_was_given_up_is_deleted(staging: Staging, status: StatusStore, store: GcsStore) -> None:
    for run in (OLD, OTHER):
        harvested(staging, store, run, agrees=False)
        staging.reject(run, [(0, Rejected(query("A-1"), 500, "", "HTTP 500", MOMENT))])
        staging.warn(run, {run.run_id: "implausible"})
        staging.claim_replay(run, by="ada")

    def given_up(before: str) -> Tidied:
        keeping = Housekeeping(staging, status, lambda _: store, give_up=[str(OLD)])
        return keeping.tidy(answers_before=before, receipts_before=FUTURE)

    young, old = given_up(NEVER), given_up(FUTURE)

    assert young.runs == 0
    assert (old.runs, old.documents, old.receipts) == (1, 10, 1)
    assert old.kept == {"without a receipt that agrees": 1}
    each = {"windrow_quarantine", "windrow_warnings", "windrow_claims"}
    assert {name: count for name, count in documents(staging).items() if name in each} == dict.fromkeys(each, 1)
    assert [one.run_id for one in status.summaries()] == [OTHER.run_id]


def test_runs_whose_answers_were_deleted_do_not_hide_later_ones(
    staging: Staging, status: StatusStore, store: GcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts stay for years, so there are more of them than are read at a time."""
    monkeypatch.setattr("windrow.store.status._OLD", 2)
    for number in range(7):
        staging.note(Run(Orders.dataset, f"old_{number}"), "receipt", {"agrees": number != 3})

    first = tidied(staging, status, store, before=FUTURE)
    staging.note(Run(Orders.dataset, "old_3"), "receipt", {"agrees": True})
    second = tidied(staging, status, store, receipts=FUTURE)

    assert (first.runs, first.kept) == (6, {"without a receipt that agrees": 1})
    assert (second.runs, second.receipts) == (1, 7)


@pytest.mark.parametrize("write", ["a step", "a plan"])
def test_a_run_has_answers_again_once_something_is_written_to_it(
    staging: Staging, status: StatusStore, write: str
) -> None:
    staging.note(OLD, PURGED, {"documents": 10})
    assert [*status.older(FUTURE, with_answers=True)] == []
    assert status.oldest(OLD.dataset) == ""

    if write == "a plan":
        staging.save_plan(OLD, [query("A-0")])
    else:
        staging.note(OLD, "receipt", {"agrees": True})

    assert [one.run_id for one in status.older(FUTURE, with_answers=True)] == [OLD.run_id]
    assert status.oldest(OLD.dataset)


def test_a_dry_run_deletes_nothing(staging: Staging, status: StatusStore, store: GcsStore) -> None:
    harvested(staging, store, OLD)
    before = documents(staging)

    keeping = Housekeeping(staging, status, lambda _: store, dry_run=True)
    found = keeping.tidy(answers_before=FUTURE, receipts_before=FUTURE)

    assert (found.runs, found.receipts) == (1, 1)
    assert documents(staging) == before
    assert staging.notes(OLD)["receipt"]


def test_receipts_are_deleted_after_the_answers(staging: Staging, status: StatusStore, store: GcsStore) -> None:
    harvested(staging, store, OLD)
    harvested(staging, store, OTHER, agrees=False)
    for run in (OLD, OTHER):
        staging.accept_gaps(run, ["orders/7"], by="ada", note="deleted")

    found = tidied(staging, status, store, receipts=FUTURE)

    assert (found.runs, found.receipts) == (1, 1)
    assert (staging.accepted_gaps(OLD), staging.accepted_gaps(OTHER)) == ({}, {"orders/7": "ada"})
    assert staging.notes(OLD) == {}
    assert [one.run_id for one in status.summaries()] == [OTHER.run_id]
    assert str(found) == (
        "Deleted 10 answers of 1 runs, which are in their archives or were given up, 0 lists, and 1 receipts. "
        "Kept: 1 without a receipt that agrees."
    )


def test_a_month_of_the_systems_reaches_a_size_and_stays_there(staging: Staging, tmp_path: Path) -> None:
    """MongoDB's own deletions by age are part of it; with the receipts of ten days, all but one-time documents are."""
    systems = (System("shop_orders", 1, 2, 200, lists=1, cached=True), System("shop_posts", 2, 0, 0))
    year = Year(staging._client, staging._database.name, tmp_path, systems)
    sizes = []
    for number in range(16):
        year.day(number, keep_answers=3, keep_receipts=6)
        sizes.append(year.sizes())

    octets = [sum(size for _, size in one.values()) for one in sizes]
    assert octets[3] < octets[6]
    assert sizes[10:] == sizes[10:11] * 6


def test_the_dag_deletes_by_its_params(
    cloud: Settings, staging: Staging, store: GcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = airflow_env.mongo_connection(cloud, staging._database.name)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(connection))
    landing, _ = harvested(staging, store, OLD)
    staging.note(OLD, LANDED, {"to": f"gs://{BUCKET}", "prefix": landing._prefix, "gcp": CONNECTION, "aws": ""})
    staging.note(OLD, "receipt", {"agrees": True})
    dag = load(ROOT / "dags/housekeeping.py").housekeeping()

    young = DagRun(dag, "young", at=MOMENT).run()
    times = [f"{name}_at" for name in ("first", "updated", "plan", "profile", LANDED, "receipt")]
    staging._summarize(OLD, {"$set": dict.fromkeys(times, "2020-01-01T00:00:00")})
    old = DagRun(dag, "old", at=MOMENT).run()

    assert young["tidy"] == {"runs": 0, "documents": 0, "listings": 0, "receipts": 0, "kept": {}}
    assert old["tidy"] == {"runs": 1, "documents": 10, "listings": 0, "receipts": 1, "kept": {}}
