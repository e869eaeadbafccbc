"""The raw archive: what MongoDB no longer has comes back from the bucket, and past runs are landed again from there."""

import io
import json
import uuid
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from pymongo import MongoClient

from tests.shop import Orders
from windrow.airflow.hooks.stores import GcsStore
from windrow.landing.archive import SCHEMA
from windrow.landing.files import MANIFEST, Manifest, Sizes
from windrow.landing.parts import Landing, refill
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import ManifestMissing, PlanMissing, StagingUnavailable
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.store.quarantine import LIST
from windrow.store.staging import Staging

RUN = Run(Orders.dataset, "manual__2026-01-02")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NAMES = [f"A-{number}" for number in range(10)]
BAD, GAP, UNANSWERED, REFUSED = "A-2", "A-4", "A-5", "A-8"


@pytest.fixture
def prefix() -> str:
    return f"shop/orders/run={uuid.uuid4().hex}"


def query(name: str) -> Query:
    return Query.of("/order", {"number": name}, headers={"Accept": "application/json"})


def body(name: str) -> str:
    return json.dumps({
        "Number": name,
        "Total": None if name == BAD else 12.5,
        "Gift": name[-1] == "1",
        "Note": "é" * 50,
    })


@pytest.fixture
def plan(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of 3 chunks, one of whose queries was planned twice."""
    monkeypatch.setattr("windrow.store.plans.CHUNK", 4)
    plan = staging.save_plan(RUN, map(query, [*NAMES, NAMES[0]]))
    for place, name in enumerate(NAMES):
        outcome, status = (Outcome.MISSING, 404) if name == GAP else (Outcome.ANSWERED, 200)
        if name not in {UNANSWERED, REFUSED}:
            answer = Answer(query(name), outcome, status, body(name), MOMENT, next_link="/next" if place == 1 else "")
            staging.stage(RUN, [(place // 4, answer)])
    refused = Rejected(query(REFUSED), 400, "<html>", "the API refuses it", MOMENT, incomplete=True)
    listing = Rejected(query(NAMES[0]), 200, "[", "invalid JSON", MOMENT)
    staging.reject(RUN, [(2, refused), (LIST, listing)])
    return plan


def everything(staging: Staging) -> object:
    """Return all that MongoDB has of the run."""
    plan = staging.plan(RUN)
    chunks = [staging.chunk(RUN, number) for number in range(plan.chunks)]
    return plan, chunks, [staging.answers(chunk) for chunk in chunks], staging.quarantined(RUN)


def objects(store: GcsStore, prefix: str) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.names(f"{prefix}/")}


def forget(staging: Staging) -> None:
    """Let MongoDB lose everything."""
    client: MongoClient = staging._client
    client.drop_database(staging._database.name)


def test_a_run_that_mongodb_has_lost_comes_back_whole(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    landing = Landing(staging, Orders(), store, prefix)
    manifest = landing.land(plan)
    before, landed = everything(staging), objects(store, prefix)
    assert (manifest.answers, manifest.gaps, manifest.unreadable) == (6, 1, 1)
    forget(staging)

    assert landing.plan(RUN) == plan
    assert landing.land(plan) == manifest
    assert everything(staging) == before
    assert objects(store, prefix) == landed


def test_what_mongodb_still_has_stays_and_the_rest_comes_back(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    landing = Landing(staging, Orders(), store, prefix)
    landing.land(plan)
    before = everything(staging)
    newer = Answer(query(NAMES[0]), Outcome.ANSWERED, 200, json.dumps({"Number": NAMES[0], "Total": 1}), MOMENT)
    staging.stage(RUN, [(0, newer)])
    for name in (NAMES[1], GAP, NAMES[9]):
        staging._database[RUN.dataset].delete_one({"_id": f"{RUN.run_id}|{query(name).key}"})
    staging.release(RUN, query(NAMES[0]).key, aside=True)  # as its list was called again

    landing.plan(RUN)

    after = everything(staging)
    assert after[2][0][0] == newer
    after[2][0][0] = before[2][0][0]
    assert after[:3] == before[:3]
    assert staging.aside(RUN, LIST) == set(), "it stays solved"


class Killed(Staging):
    """The staging, of a process that is killed at the n-th write."""

    writes = 0

    def _replace(self, *args: object) -> None:
        if not self.writes:
            raise StagingUnavailable("killed", advice="")
        self.writes -= 1
        super()._replace(*args)


def test_a_killed_restoration_is_repeated(store: GcsStore, prefix: str, staging: Staging, plan: Plan) -> None:
    landing = Landing(staging, Orders(), store, prefix)
    landing.land(plan)
    before = everything(staging)
    forget(staging)

    staging.__class__, tries = Killed, 0
    while tries < 20:
        staging.writes = tries
        try:
            landing.plan(RUN)
        except StagingUnavailable:
            tries += 1
            with pytest.raises(PlanMissing):
                staging.plan(RUN)
        else:
            break

    assert 5 < tries < 20
    staging.__class__ = Staging
    landing.land(plan)
    assert everything(staging) == before


def test_every_field_of_an_answer_is_archived() -> None:
    stored = {field.name for kind in (Answer, Rejected) for field in fields(kind) if field.compare}
    assert stored <= {*SCHEMA.names}


class WithGifts(Orders):
    """The stream with one more column."""

    contract = Contract((*Orders.contract.columns, Column("is_gift", "Gift", Kind.BOOLEAN, "Whether it is a gift.")))


def test_a_new_column_is_filled_from_the_archive_without_mongodb(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    Landing(staging, Orders(), store, prefix).land(plan)
    landed = objects(store, prefix)
    forget(staging)

    filled = refill(store, prefix, WithGifts(), f"{prefix}-filled", sizes=Sizes(group=1, file=1, answers=100))

    assert filled == Manifest.read(store, f"{prefix}-filled")
    assert (filled.run_id, filled.answers, filled.gaps, filled.unreadable) == (RUN.run_id, 6, 1, 1)
    tables = [pq.read_table(io.BytesIO(store.get(part.name) or b"")) for part in filled.parts]
    rows = [row for table in tables for row in table.to_pylist()]
    good = [name for name in NAMES if name not in {BAD, GAP, UNANSWERED, REFUSED}]
    assert [(row["number"], row["is_gift"]) for row in rows] == [(name, name == NAMES[1]) for name in good]
    assert {row["_fetched_at"] for row in rows} == {MOMENT}
    assert objects(store, prefix) == landed


class Increments(Orders):
    """The stream, whose runs may find nothing new."""

    may_be_empty = True


def test_an_increment_with_nothing_new_is_filled_as_it_was_landed(
    store: GcsStore, prefix: str, staging: Staging
) -> None:
    landed = Landing(staging, Increments(), store, prefix).land(staging.save_plan(RUN, []))

    filled = refill(store, prefix, Increments(), f"{prefix}-filled")

    assert [(part.records, part.name.rpartition("/")[2]) for part in landed.parts] == [(0, "part-00000.parquet")]
    assert [(part.records, part.name.rpartition("/")[2]) for part in filled.parts] == [(0, "part-00000.parquet")]


def without_archive(store: GcsStore, prefix: str) -> None:
    manifest = json.loads(store.get(f"{prefix}/{MANIFEST}") or b"")
    older = {name: manifest[name] for name in manifest if name not in {"archive", "archived", "listed"}}
    store.put(f"{prefix}/{MANIFEST}", json.dumps(older).encode())


def without_files(store: GcsStore, prefix: str) -> None:
    store.delete(f"{prefix}/_answers-00000.parquet")


def without_manifest(store: GcsStore, prefix: str) -> None:
    store.delete(f"{prefix}/{MANIFEST}")


@pytest.mark.parametrize(
    ("damage", "message", "restored"),
    [
        (without_archive, "has no archived answers: it was written by an older version", PlanMissing),
        (without_files, "_answers-00000.parquet does not exist, but the manifest", ManifestMissing),
        (without_manifest, "_manifest.json below .* does not exist", PlanMissing),
    ],
)
def test_without_an_archive_there_is_a_clear_error(
    store: GcsStore,
    prefix: str,
    staging: Staging,
    plan: Plan,
    damage: Callable[[GcsStore, str], None],
    message: str,
    restored: type[Exception],
) -> None:
    landing = Landing(staging, Orders(), store, prefix)
    landing.land(plan)
    damage(store, prefix)
    forget(staging)

    with pytest.raises(ManifestMissing, match=message):
        refill(store, prefix, Orders(), f"{prefix}-filled")
    with pytest.raises(restored):
        landing.plan(RUN)
