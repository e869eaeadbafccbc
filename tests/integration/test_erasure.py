"""A person leaves every store; what is about others stays; receipts still add up; a kill anywhere changes nothing."""

import hashlib
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bson import encode

from local_cloud.settings import BUCKET, LAKE
from tests.dag_run import DagRun
from tests.integration.tables import AthenaTables, Tables
from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.airflow import erasure
from windrow.airflow.dags import harvest_dag
from windrow.airflow.hooks.stores import open_store
from windrow.cli.main import main
from windrow.declare.files import load
from windrow.landing.erasure import LandingErasure
from windrow.landing.files import Manifest
from windrow.landing.folder import FolderStore
from windrow.landing.parts import Landing
from windrow.landing.receipt import Staged
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.person import Person
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Stream
from windrow.model.table import Warehouse
from windrow.store.staging import Staging

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADA, BOB = "ada-lovelace-4711", "bob-4712"
NAMES = [BOB, ADA, "eve-4713", "dan-4714"]
SOURCE = '''
from windrow.airflow.dags import harvest_dag
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared, Each
from windrow.model.contract import Column, Kind
from windrow.model.table import Table


class Members(Declared):
    """Members of the clubs of a town."""

    dataset = "town_members"
    get = "/clubs/{club}"
    each = Each("club", param="clubs")
    rows = Rows("members")
    columns = (Column("login", "login", Kind.STRING, "Login.", required=True), Column("age", "age", Kind.INTEGER, ""))
    person = {"login": ("login",)}
    table = Table(key=("login",))


harvest_dag(Members, conn_id="orders", schedule=None)
'''


@pytest.fixture(autouse=True)
def _without_airflow_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "test")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> type[Stream]:
    """A declared stream, in a DAG file of a folder of its own."""
    folder = tmp_path_factory.mktemp("dags")
    (folder / "town_members.py").write_text(SOURCE)
    (found,) = load(folder / "town_members.py")
    found.stream.folder = str(folder)
    return found.stream


def has_ada(data: bytes) -> bool:
    """Whether a file has her, compressed or not."""
    if data[:4] == b"PAR1":
        data = json.dumps(pq.read_table(io.BytesIO(data)).to_pylist(), default=str).encode()
    return ADA.encode() in data


def in_mongo(staging: Staging) -> list[str]:
    database = staging._database
    return [name for name in database.list_collection_names() for one in database[name].find() if has_ada(encode(one))]


def answer_clubs(asked: Asked) -> Reply:
    club = asked.path.rpartition("/")[2]
    if club == ADA:
        return Reply({"members": []})
    return Reply({"members": [{"login": name, "age": 30} for name in NAMES] if club == "chess" else [{"login": BOB}]})


def test_a_person_leaves_mongodb_buckets_and_tables_and_the_receipt_adds_up(
    members: type[Stream],
    tables: Tables,
    athena_tables: AthenaTables,
    scripted: ScriptedApi,
    monkeypatch: pytest.MonkeyPatch,
    staging: Staging,
) -> None:
    mongo = {"conn_type": "mongo", "host": "127.0.0.1", "port": staging._client.address[1]}
    monkeypatch.setenv("AIRFLOW_CONN_TOWN_MONGO", json.dumps(mongo | {"schema": staging._database.name}))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", members.folder)
    for one in (tables, athena_tables):
        one.drop("town.members")
    scripted.script = answer_clubs
    dag = harvest_dag(
        members, conn_id="orders", schedule=None, into=tuple(Warehouse), default_args={"mongo_conn_id": "town_mongo"}
    )
    run = DagRun(dag, f"manual__{uuid.uuid4().hex}", at=NOON, clubs=["chess", ADA, "go"])
    run.run()
    assert {row["login"] for row in tables.rows("SELECT login FROM town.members")} == {*NAMES}
    output = io.StringIO()
    command = ["erase", "town", f"login={ADA}", "--mongo-conn-id", "town_mongo"]

    assert main([*command, "--json"], {}, output) == 0, output.getvalue()
    found = json.loads(output.getvalue())["found"]

    assert {name: count for name, count in found.items() if count} == {
        "staging": 2, "archive": 4, "landing": 2, "bigquery": 2, "athena": 1,
    }  # fmt: skip
    assert in_mongo(staging), "nothing was changed"
    assert main([*command, "--yes"], {}, output) == 0, output.getvalue()
    assert in_mongo(staging) == []
    buckets = [open_store(f"gs://{BUCKET}", "google_cloud_default"), open_store(f"s3://{LAKE}", "google_cloud_default")]
    assert [name for store in buckets for name in store.names("town/") if has_ada(store.get(name) or b"")] == []
    for one in (tables, athena_tables):
        assert {row["login"] for row in one.rows("SELECT login FROM town.members")} == {*NAMES} - {ADA}
    (receipt,) = staging._database["windrow_erasures"].find()
    assert receipt["found"] == found
    assert receipt["done_at"]

    run.run(*(task for task in dag.task_ids if task.split(".")[0] in {*Warehouse, "prove"}))  # after the harvest, again
    counts = {"agrees": True, "planned": 3, "staged": 2, "erased": 1, "exported": 4, "loaded": 4, "merged": 4}
    assert run.results["prove"] | counts == run.results["prove"]


def test_a_run_in_progress_is_not_touched(
    members: type[Stream], staging: Staging, connections: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mongo = {"conn_type": "mongo", "host": "127.0.0.1", "port": staging._client.address[1]}
    monkeypatch.setenv("AIRFLOW_CONN_TOWN_MONGO", json.dumps(mongo | {"schema": staging._database.name}))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", members.folder)
    run = Run("town_members", "manual__goes_on")
    staging.save_plan(run, [Query.of(f"/clubs/{ADA}")])
    names = erasure.Connections(mongo="town_mongo")

    with pytest.raises(erasure.RunInProgress, match="manual__goes_on"):
        erasure.erase("town", {"login": [ADA]}, connections=names, dry_run=False)

    assert in_mongo(staging)
    staging.note(run, "receipt", {"agrees": True})
    assert erasure.erase("town", {"login": [ADA]}, connections=names, dry_run=False).done_at
    assert in_mongo(staging) == []


class Killed(BaseException):
    """Stands for a kill."""


class Killing:
    """Lets so many changes of MongoDB and of a bucket happen. The next one is cut off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10**9
        for kind, names in ((Staging, ("_replace", "_delete")), (FolderStore, ("put", "put_file"))):
            for name in names:
                monkeypatch.setattr(kind, name, self.counted(getattr(kind, name)))

    def counted(self, change: Any) -> Any:
        def change_or_die(*args: Any) -> Any:
            if not self.left:
                raise Killed
            self.left -= 1
            return change(*args)

        return change_or_die


def harvested(staging: Staging, stream: Stream, store: FolderStore, run: Run) -> Plan:
    """Harvest, quarantine and land: a list, answers about her, about others, none, and some that cannot be read."""

    def query(name: str) -> Query:
        return Query.of(f"/clubs/{name}")

    names = ["chess", ADA, "go", "missing", "refused", "odd", "open"]
    rows = {"chess": [{"login": name} for name in NAMES], ADA: [{"login": ADA}], "go": [{"login": BOB}]}
    plan = staging.save_plan(run, map(query, names))
    for name, members in rows.items():
        answer = Answer(query(name), Outcome.ANSWERED, 200, json.dumps({"members": members}), NOON)
        staging.stage(run, [(0, answer)])
    staging.stage(run, [(0, Answer(query("missing"), Outcome.MISSING, 404, json.dumps({"login": ADA}), NOON))])
    refused = [
        Rejected(query(name), 200, text, "invalid", NOON) for name, text in (("refused", f"<{ADA}>"), ("odd", "<>"))
    ]
    staging.reject(run, [(0, one) for one in refused])
    staging.keep_listing(run, "shop", Answer(query("all"), Outcome.ANSWERED, 200, json.dumps({"login": ADA}), NOON))
    Landing(staging, stream, store, f"town/members/{run.run_id}").land(plan)
    return plan


def everything(staging: Staging, folder: Path) -> tuple[object, object]:
    """Return all documents and files, without what says when it was written."""
    database = staging._database
    documents = {
        name: [
            {field: value for field, value in one.items() if not field.endswith("_at") or field == "fetched_at"}
            for one in database[name].find(sort=[("_id", 1)])
        ]
        for name in sorted(database.list_collection_names())
        if name not in {"windrow_figures", "windrow_runs"} and database[name].count_documents({})
    }
    return documents, {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Killing:
    return Killing(monkeypatch)


def test_a_kill_anywhere_changes_nothing(
    members: type[Stream], staging: Staging, tmp_path: Path, killing: Killing
) -> None:
    stream = members()
    person = Person.of([stream], {"login": {ADA}})
    run = Run("town_members", "manual__one")

    def erase(folder: Path) -> None:
        store = FolderStore(folder)
        staging.erase_from_run(run, stream, person, dry_run=False)
        staging.erase_cached({run.dataset}, person, dry_run=False)
        LandingErasure(store, stream, person, dry_run=False).erase("town")

    def before(name: str) -> Path:
        staging._client.drop_database(staging._database.name)
        folder = tmp_path / name
        folder.mkdir()
        plan = harvested(staging, stream, FolderStore(folder), run)
        assert (plan.planned, Staged.count(staging, plan).quarantined) == (7, 2)
        return folder

    folder = before("whole")
    changes = killing.left
    erase(folder)
    changes -= killing.left
    whole = everything(staging, folder)
    assert in_mongo(staging) == []
    assert [path for path in folder.rglob("*.*") if has_ada(path.read_bytes())] == []
    staged = Staged.count(staging, staging.plan(run))
    assert (staged.answered, staged.gaps, staged.erased, staged.quarantined) == (2, 0, 3, 1)
    manifest = Manifest.read(FolderStore(folder), f"town/members/{run.run_id}")
    assert (manifest.answers, manifest.gaps, manifest.records, manifest.erased) == (2, 3, 4, 1)
    for part in (*manifest.parts, *manifest.archive):
        assert hashlib.md5((folder / part.name).read_bytes(), usedforsecurity=False).hexdigest() == part.md5

    assert changes > 10
    for number in range(changes):
        folder = before(f"killed_{number}")
        killing.left = number
        with pytest.raises(Killed):
            erase(folder)
        killing.left = 10**9
        erase(folder)
        assert everything(staging, folder) == whole, f"after a kill at change {number}"


def test_what_mongodb_lost_comes_back_without_the_person(
    members: type[Stream], staging: Staging, tmp_path: Path
) -> None:
    stream, run = members(), Run("town_members", "manual__one")
    person = Person.of([stream], {"login": {ADA}})
    harvested(staging, stream, FolderStore(tmp_path), run)
    staging.forget(run)
    LandingErasure(FolderStore(tmp_path), stream, person, dry_run=False).erase("town")

    landing = Landing(staging, stream, FolderStore(tmp_path), f"town/members/{run.run_id}")
    manifest = landing.land(landing.plan(run))

    staged = Staged.count(staging, staging.plan(run))
    assert (staged.answered, staged.gaps, staged.erased, staged.quarantined) == (2, 0, 3, 1)
    assert (manifest.answers, manifest.records) == (2, 4)


def test_a_second_erasure_goes_on_with_the_receipt_of_the_first(staging: Staging, members: type[Stream]) -> None:
    ada, bob = (Person.of([members()], {"login": {name}}) for name in (ADA, BOB))
    first = staging.begin_erasure("town", ada, {"staging": 3, "archive": 1})

    again = staging.begin_erasure("town", ada, {"staging": 1, "archive": 1, "landing": 2})
    other = staging.begin_erasure("town", bob, {"staging": 1})
    ended = staging.end_erasure(again)
    later = staging.begin_erasure("town", ada, {"staging": 0})

    assert again.id == first.id
    assert again.found == {"staging": 3, "archive": 1, "landing": 2}
    assert datetime.fromisoformat(ended.done_at) - NOON > timedelta(0)
    assert len({first.id, other.id, later.id}) == 3
    assert in_mongo(staging) == []
