"""Landing on the Cloud Storage of the local cloud, through the hook and the connection that tasks use."""

import hashlib
import io
import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import IO, Any

import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from local_cloud.apis.made_up_passengers import make_passengers
from local_cloud.settings import BUCKET, PROJECT_ID, Settings
from tests.integration.warehouse import Warehouse, columns, declared
from windrow.airflow.hooks.stores import GcsStore
from windrow.airflow.operators.warehouse import PARQUET
from windrow.landing.files import MANIFEST, Manifest, Sizes
from windrow.landing.parts import Landing
from windrow.model import registry
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import ConnectionUnusable, ManifestMissing, Unreadable
from windrow.model.plan import Chunk, Plan, Run
from windrow.model.query import Query
from windrow.model.rows import RawRows
from windrow.model.stream import PlanFlow, Request, Stream
from windrow.sources.youtube.streams import VideoDays
from windrow.store.staging import Staging

CONNECTION = "google_cloud_default"
STREAM = registry.stream("titanic_passengers")
RUN = Run(STREAM.dataset, "scheduled__2026-01-01T00:00:00+00:00")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PASSENGERS = [dict(each) for each in make_passengers(250)]
CHUNK = 100
SMALL = Sizes(answers=20_000, group=1, file=1)
"""Several files for 250 passengers."""

Row = dict[str, object]


@pytest.fixture
def prefix() -> str:
    return f"titanic/passengers/run={uuid.uuid4().hex}"


@pytest.fixture
def plan(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of 3 chunks, all of it answered."""
    monkeypatch.setattr("windrow.store.plans.CHUNK", CHUNK)
    plan = staging.save_plan(RUN, [query(each) for each in PASSENGERS])
    for place, each in enumerate(PASSENGERS):
        stage(staging, place, json.dumps(each))
    return plan


def query(passenger: Row) -> Query:
    return Query.of("/get_user_by_name", {"name": str(passenger["Name"])})


def stage(staging: Staging, place: int, body: str, outcome: Outcome = Outcome.ANSWERED) -> None:
    """Stage an answer to the query at this place of the plan."""
    status = 200 if outcome is Outcome.ANSWERED else 404
    answer = Answer(query(PASSENGERS[place]), outcome, status, body, MOMENT)
    staging.stage(RUN, [(place // CHUNK, answer)])


def rows(store: GcsStore, manifest: Manifest) -> list[Row]:
    """Read the landed records back, part by part."""
    found = []
    for part in manifest.parts:
        data = store.get(part.name)
        assert data is not None
        found += pq.read_table(io.BytesIO(data)).to_pylist()
    return found


def contents(store: GcsStore, prefix: str) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.names(f"{prefix}/")}


# --- a landing ---------------------------------------------------------------------------------


def test_all_records_are_landed_in_the_order_of_the_plan(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    manifest = Landing(staging, STREAM, store, prefix).land(plan)

    landed = rows(store, manifest)
    assert [row["name"] for row in landed] == [each["Name"] for each in PASSENGERS]
    first = PASSENGERS[0]
    assert landed[0] == {
        "passenger_id": first["PassengerId"],
        "survived": first["Survived"],
        "class": first["Pclass"],
        "name": first["Name"],
        "sex": first["Sex"],
        "age": first["Age"],
        "siblings_spouses": first["SibSp"],
        "parents_children": first["Parch"],
        "ticket": first["Ticket"],
        "fare": first["Fare"],
        "cabin": first["Cabin"],
        "embarked": first["Embarked"],
        "_extra": None,
        "_key": query(first).key,
        "_fetched_at": MOMENT,
        "_run_id": RUN.run_id,
    }


def test_the_manifest_vouches_for_the_files(store: GcsStore, prefix: str, staging: Staging, plan: Plan) -> None:
    stage(staging, 7, '{"message": "unknown"}', Outcome.MISSING)

    manifest = Landing(staging, STREAM, store, prefix).land(plan)

    assert manifest == Manifest.read(store, prefix)
    assert (manifest.dataset, manifest.run_id) == (RUN.dataset, RUN.run_id)
    assert (manifest.answers, manifest.gaps, manifest.unreadable, manifest.records) == (249, 1, 0, 249)
    files = contents(store, prefix)
    assert (manifest.listed, sum(part.records for part in manifest.archive)) == (250, 250)
    landed = (*manifest.parts, *manifest.archive)
    assert files.keys() == {f"{prefix}/{MANIFEST}", *(part.name for part in landed)}
    for part in landed:
        data = files[part.name]
        assert data is not None
        assert part.bytes == len(data)
        assert part.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
        assert part.records == pq.read_metadata(io.BytesIO(data)).num_rows


def test_a_file_ends_with_the_row_group_that_fills_it(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    one = Landing(staging, STREAM, store, prefix, sizes=Sizes(answers=20_000, group=1)).land(plan)
    (part,) = one.parts
    metadata = pq.read_metadata(io.BytesIO(store.get(part.name) or b""))
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert len(groups) > 2
    assert metadata.row_group(0).column(0).compression == "ZSTD"

    several = Landing(staging, STREAM, store, prefix, sizes=SMALL).land(plan)

    assert [(part.name, part.records) for part in several.parts] == [
        (f"{prefix}/part-{number:05d}.parquet", rows) for number, rows in enumerate(groups)
    ]
    assert [row["name"] for row in rows(store, several)] == [each["Name"] for each in PASSENGERS]


def test_every_part_has_the_schema_of_the_contract_even_where_a_column_is_empty(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    for place in range(CHUNK):
        stage(staging, place, json.dumps(PASSENGERS[place] | {"Age": None, "Cabin": None, "Fare": 7}))

    manifest = Landing(staging, STREAM, store, prefix, sizes=SMALL).land(plan)

    assert len(manifest.parts) > 2
    for part in manifest.parts:
        data = store.get(part.name)
        assert data is not None
        assert pq.read_schema(io.BytesIO(data)).equals(STREAM.contract.arrow_schema)


def test_unknown_fields_are_kept(store: GcsStore, prefix: str, staging: Staging, plan: Plan) -> None:
    stage(staging, 3, json.dumps(PASSENGERS[3] | {"lifeboat": 7, "deck": {"port": None}}))

    manifest = Landing(staging, STREAM, store, prefix).land(plan)

    extras = [row["_extra"] for row in rows(store, manifest)]
    assert extras[3] == '{"deck":{"port":null},"lifeboat":7}'
    assert not any(extras[:3] + extras[4:])


def test_a_plan_without_records_lands_a_manifest_alone(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    empty = staging.save_plan(Run(RUN.dataset, "empty"), [])

    manifest = Landing(staging, STREAM, store, prefix).land(empty)

    assert (manifest.records, manifest.parts, manifest.archive) == (0, (), ())
    assert list(contents(store, prefix)) == [f"{prefix}/{MANIFEST}"]


def test_a_staged_answer_that_cannot_be_read_any_more_goes_to_the_quarantine(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    spoiled = json.dumps(PASSENGERS[120] | {"Sex": None})
    stage(staging, 120, spoiled)

    manifest = Landing(staging, STREAM, store, prefix).land(plan)

    assert (manifest.answers, manifest.unreadable, manifest.records) == (249, 1, 249)
    assert PASSENGERS[120]["Name"] not in [row["name"] for row in rows(store, manifest)]
    ((number, rejected),) = staging.quarantined(RUN)
    assert (number, rejected.query, rejected.body) == (1, query(PASSENGERS[120]), spoiled)
    assert "'Sex' is null" in rejected.reason


def test_what_can_be_read_again_leaves_the_quarantine_when_it_is_landed(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    landing = Landing(staging, STREAM, store, prefix)
    stage(staging, 120, json.dumps(PASSENGERS[120] | {"Sex": None}))
    landing.land(plan)
    stage(staging, 120, json.dumps(PASSENGERS[120]))

    manifest = landing.land(plan)

    assert (manifest.unreadable, manifest.records) == (0, 250)
    assert staging.quarantined(RUN) == []


# --- landing again -----------------------------------------------------------------------------


def test_a_record_that_is_left_out_is_counted_and_in_the_quarantine_until_it_can_be_read(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its answer are landed, and so is the answer itself."""
    odd = [Unreadable("odd 1"), Unreadable("odd 2")]
    read = STREAM.read
    monkeypatch.setattr(STREAM, "read", lambda query, answer: (read(query, answer)[0], odd))
    monkeypatch.setattr(STREAM, "one_row_each", lambda queries, answers: None)
    staging.save_plan(RUN, [query(PASSENGERS[0])])
    manifest = Landing(staging, STREAM, store, prefix).land(staging.plan(RUN))
    assert (manifest.answers, manifest.records, manifest.unreadable, manifest.left_out) == (1, 1, 0, 2)
    [(_, kept)] = staging.quarantined(RUN)
    assert kept.reason == "2 records are left out: odd 1; odd 2"
    assert Landing(staging, STREAM, store, prefix).land(staging.plan(RUN)) == manifest, "landed twice it is the same"

    monkeypatch.undo()
    assert Landing(staging, STREAM, store, prefix).land(staging.plan(RUN)).left_out == 0
    assert staging.quarantined(RUN) == []


def test_a_landing_made_twice_leaves_the_same_files(store: GcsStore, prefix: str, staging: Staging, plan: Plan) -> None:
    Landing(staging, STREAM, store, prefix, sizes=SMALL).land(plan)
    first = contents(store, prefix)

    Landing(staging, STREAM, store, prefix, sizes=SMALL).land(plan)

    assert len(first) > 4
    assert contents(store, prefix) == first


def test_parts_of_an_earlier_and_longer_landing_are_deleted(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan
) -> None:
    Landing(staging, STREAM, store, prefix, sizes=SMALL).land(plan)

    manifest = Landing(staging, STREAM, store, prefix).land(plan)

    assert contents(store, prefix).keys() == {
        f"{prefix}/{name}" for name in ("_answers-00000.parquet", "part-00000.parquet", MANIFEST)
    }
    assert len(rows(store, manifest)) == 250


def test_a_landing_leaves_its_neighbours_alone(store: GcsStore, prefix: str, staging: Staging, plan: Plan) -> None:
    neighbours = [f"{prefix}0", f"{prefix}_other"]
    for neighbour in neighbours:
        store.put(f"{neighbour}/part-00000.parquet", b"theirs")
        store.put(f"{neighbour}/{MANIFEST}", b"theirs")

    Landing(staging, STREAM, store, prefix).land(plan)

    for neighbour in neighbours:
        assert set(contents(store, neighbour).values()) == {b"theirs"}
        assert len(contents(store, neighbour)) == 2


class BreakingStore(GcsStore):
    """The bucket, behind a network that breaks at the n-th upload."""

    def __init__(self, uploads: int) -> None:
        super().__init__(BUCKET, CONNECTION)
        self._left = uploads

    def put(self, name: str, data: bytes) -> None:
        self._upload()
        super().put(name, data)

    def put_file(self, name: str, file: IO[bytes]) -> None:
        self._upload()
        super().put_file(name, file)

    def _upload(self) -> None:
        if not self._left:
            raise ConnectionResetError
        self._left -= 1


@pytest.mark.parametrize("uploads", [0, 2, 3], ids=["first part", "last part", "manifest"])
def test_nothing_vouches_for_files_of_a_landing_that_broke_off(
    store: GcsStore, prefix: str, staging: Staging, plan: Plan, uploads: int
) -> None:
    whole = Landing(staging, STREAM, store, prefix, sizes=SMALL)
    whole.land(plan)
    before = contents(store, prefix)

    with pytest.raises(ConnectionResetError):
        Landing(staging, STREAM, BreakingStore(uploads), prefix, sizes=SMALL).land(plan)
    with pytest.raises(ManifestMissing, match="Clear the task 'land'"):
        Manifest.read(store, prefix)

    whole.land(plan)
    assert contents(store, prefix) == before


# --- by day ------------------------------------------------------------------------------------

DAYS = registry.stream("youtube_video_days")
DAYS_RUN = Run(DAYS.dataset, RUN.run_id)
FIRST = date(2026, 11, 1)
VIDEOS = [f"video {number:02d}" for number in range(24)]
REPORTED = 5
"""Days in each report. Videos begin one after the other, each four on the next day."""
FIGURES = (
    "views", "engagedViews", "estimatedMinutesWatched", "likes", "comments", "shares", "subscribersGained",
    "subscribersLost",
)  # fmt: skip
EACH = [FIRST + timedelta(days=number) for number in range(len(VIDEOS) // 4 + REPORTED - 1)]


def days_of(video: str, number: int = REPORTED) -> list[date]:
    begins = FIRST + timedelta(days=VIDEOS.index(video) // 4)
    return [begins + timedelta(days=passed) for passed in range(number)]


def about(video: str) -> Query:
    params = {"filters": f"video=={video}", "startDate": "2026-11-01", "endDate": "2026-11-20"}
    return Query.of("/v2/reports", params)


def report(staging: Staging, video: str, days: Sequence[date]) -> None:
    """Stage the report of a video."""
    headers = [{"name": name} for name in ("day", *FIGURES)]
    figures = [10 + VIDEOS.index(video)] * len(FIGURES)
    body = json.dumps({"columnHeaders": headers, "rows": [[day.isoformat(), *figures] for day in days]})
    answer = Answer(about(video), Outcome.ANSWERED, 200, body, MOMENT)
    staging.stage(DAYS_RUN, [(VIDEOS.index(video) // 4, answer)])


@pytest.fixture
def reports(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of 6 chunks, each of 4 videos with 20 records in all."""
    monkeypatch.setattr("windrow.store.plans.CHUNK", 4)
    plan = staging.save_plan(DAYS_RUN, [about(video) for video in VIDEOS])
    for video in VIDEOS:
        report(staging, video, days_of(video))
    return plan


def by_file(store: GcsStore, prefix: str) -> dict[str, list[tuple[date, str]]]:
    """Day and video of each record, by the name of its file below the prefix."""
    found = {}
    for name, data in contents(store, prefix).items():
        if name.endswith(".parquet") and "/_" not in name:
            assert data is not None
            read = pq.read_table(io.BytesIO(data)).to_pylist()
            found[name.removeprefix(f"{prefix}/")] = [(row["day"], row["video_id"]) for row in read]
    return found


class ByDay(VideoDays):
    """The same, as if Athena queried it by day."""

    partition = "day"


def test_days_are_landed_apart_in_the_order_of_the_plan(
    store: GcsStore, prefix: str, staging: Staging, reports: Plan
) -> None:
    manifest = Landing(staging, ByDay(), store, prefix).land(reports)

    assert by_file(store, prefix) == {
        f"dt={day}/part-00000.parquet": [(day, video) for video in VIDEOS if day in days_of(video)] for day in EACH
    }
    assert manifest == Manifest.read(store, prefix)
    assert (manifest.answers, manifest.records, len(manifest.parts)) == (24, 24 * REPORTED, len(EACH))


def test_a_day_of_a_large_landing_has_several_files_and_each_record_is_in_one(
    store: GcsStore, prefix: str, staging: Staging, reports: Plan
) -> None:
    sizes = Sizes(group=1)  # a row group for each chunk

    manifest = Landing(staging, ByDay(), store, prefix, sizes=sizes).land(reports)

    files = by_file(store, prefix)
    assert {name.rpartition("/")[2] for name in files} == {
        f"part-{number:05d}.parquet" for number in range(reports.chunks)
    }
    for part in manifest.parts:
        records = files[part.name.removeprefix(f"{prefix}/")]
        assert len(records) == part.records > 0
        assert records == sorted(records), "the order of the plan"
        assert {f"dt={day}" for day, _ in records} == {part.name.split("/")[-2]}
    landed = [record for records in files.values() for record in records]
    assert sorted(landed) == sorted((day, video) for video in VIDEOS for day in days_of(video))

    Landing(staging, ByDay(), store, prefix, sizes=sizes).land(reports)
    assert by_file(store, prefix) == files, "landed again"
    for video in VIDEOS:
        report(staging, video, days_of(video, 1))
    Landing(staging, ByDay(), store, prefix).land(reports)
    assert list(by_file(store, prefix)) == [f"dt={day}/part-00000.parquet" for day in EACH[:6]], "and with fewer days"


class WatchedStaging(Staging):
    """The staging, which counts the answers that have been read."""

    read = 0

    def each_answer(self, chunk: Chunk) -> Iterator[Answer]:
        for answer in super().each_answer(chunk):
            self.read += 1
            yield answer


class WatchingStore(GcsStore):
    """The bucket, which notes how many answers had been read when a file came."""

    def __init__(self, staging: WatchedStaging) -> None:
        super().__init__(BUCKET, CONNECTION)
        self._staging = staging
        self.seen: list[tuple[str, int]] = []

    def put(self, name: str, data: bytes) -> None:
        self.seen.append((name.rpartition("/")[2], self._staging.read))
        super().put(name, data)

    def put_file(self, name: str, file: IO[bytes]) -> None:
        self.seen.append((name.rpartition("/")[2], self._staging.read))
        super().put_file(name, file)


@pytest.mark.usefixtures("store")
def test_answers_are_read_one_by_one_and_the_manifest_comes_last(prefix: str, staging: Staging, reports: Plan) -> None:
    staging.__class__ = WatchedStaging
    store = WatchingStore(staging)

    Landing(staging, DAYS, store, prefix, sizes=Sizes(answers=1, group=1, file=1)).land(reports)

    parts = [read for name, read in store.seen if name.startswith("part")]
    assert parts == list(range(1, 25)), "each answer is landed before the next one is read"
    assert store.seen[-1] == (MANIFEST, 24)


def test_reports_without_rows_land_a_manifest_alone(
    store: GcsStore, prefix: str, staging: Staging, reports: Plan
) -> None:
    for video in VIDEOS:
        report(staging, video, [])

    manifest = Landing(staging, DAYS, store, prefix).land(reports)

    assert (manifest.answers, manifest.records, manifest.parts) == (24, 0, ())
    assert by_file(store, prefix) == {}


def test_days_are_dates_in_the_files_and_in_the_warehouse(
    cloud: Settings, store: GcsStore, prefix: str, staging: Staging, reports: Plan
) -> None:
    manifest = Landing(staging, DAYS, store, prefix).land(reports)
    warehouse = Warehouse(cloud, "landed")
    fields = [bigquery.SchemaField.from_api_repr(field) for field in DAYS.contract.bigquery_fields]
    config = bigquery.LoadJobConfig(schema=fields, source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
    table = f"{PROJECT_ID}.landed.days"

    uris = [f"gs://{BUCKET}/{part.name}" for part in manifest.parts]
    warehouse.client.load_table_from_uri(uris, table, job_config=config).result()

    data = store.get(manifest.parts[0].name)
    assert data is not None
    assert pq.read_schema(io.BytesIO(data)).equals(DAYS.contract.arrow_schema)
    found = columns(warehouse.client.get_table(table))
    assert [(name, kind) for name, kind, _ in found] == [(name, kind) for name, kind, _ in declared(DAYS.contract)]
    loaded = warehouse.rows("days", "video_id, day")
    assert [(row["video_id"], row["day"]) for row in loaded] == [
        (video, day) for video in VIDEOS for day in days_of(video)
    ]
    assert loaded[0] == rows(store, manifest)[0]


class Everything(Stream):
    """A row with a column of each kind."""

    dataset = "odd_everything"
    contract = Contract((
        Column("amount", "amount", Kind.NUMERIC, "Amount."),
        Column("wei", "wei", Kind.BIGNUMERIC, "Small amount."),
        Column("local", "local", Kind.DATETIME, "Local time."),
        Column("raw", "raw", Kind.JSON, "Anything."),
        Column("tags", "tags", Kind.STRING, "Texts.", repeated=True),
        Column("at", "at", Kind.RECORD, "Place.", columns=(Column("city", "city", Kind.STRING, "City."),)),
        Column(
            "visits",
            "visits",
            Kind.RECORD,
            "Visits.",
            repeated=True,
            columns=(Column("day", "day", Kind.DATE, "Day.", required=True), Column("n", "n", Kind.INTEGER, "Number.")),
        ),
    ))

    def plan(self, request: Request) -> PlanFlow:
        yield from ()

    def raw_rows(self, query: Query, answer: Any) -> RawRows:
        return RawRows(answer)


def test_a_column_of_each_kind_is_loaded_with_its_value(
    cloud: Settings, store: GcsStore, prefix: str, staging: Staging
) -> None:
    run, query = Run(Everything.dataset, RUN.run_id), Query.of("/everything")
    fields = {"amount": "12345678901234567890.123456789", "wei": "0.000000000000000001", "local": "2026-01-02T03:04:05"}
    fields |= {"raw": {"a": [1, None]}, "tags": ["a", "b"], "at": {"city": "Kiel"}, "visits": [{"day": "2026-01-02"}]}
    staging.stage(run, [(0, Answer(query, Outcome.ANSWERED, 200, json.dumps([fields, {}]), MOMENT))])

    manifest = Landing(staging, Everything(), store, prefix).land(staging.save_plan(run, [query]))
    warehouse = Warehouse(cloud, "landed")
    schema = [bigquery.SchemaField.from_api_repr(field) for field in Everything.contract.bigquery_fields]
    resource = {"load": {"sourceFormat": "PARQUET", "writeDisposition": "WRITE_TRUNCATE", **PARQUET}}
    config = bigquery.LoadJobConfig.from_api_repr(resource)
    config.schema = schema
    uri = f"gs://{BUCKET}/{manifest.parts[0].name}"
    warehouse.client.load_table_from_uri(uri, f"{PROJECT_ID}.landed.everything", job_config=config).result()

    landed = rows(store, manifest)
    empty = dict.fromkeys([*fields, "_extra"]) | {"tags": [], "visits": []}
    assert [{name: row[name] for name in empty} for row in landed] == [
        {
            "amount": Decimal(str(fields["amount"])),
            "wei": Decimal("1e-18"),
            "local": datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001
            "raw": '{"a":[1,null]}',
            "tags": ["a", "b"],
            "at": {"city": "Kiel"},
            "visits": [{"day": date(2026, 1, 2), "n": None}],
            "_extra": None,
        },
        empty,
    ]
    found = warehouse.rows("everything", "amount NULLS LAST")
    assert found == landed


# --- the store ---------------------------------------------------------------------------------


def test_without_a_landing_there_is_no_manifest(store: GcsStore, prefix: str) -> None:
    with pytest.raises(ManifestMissing, match=prefix):
        Manifest.read(store, prefix)


@pytest.mark.usefixtures("store")
def test_without_the_bucket_there_is_a_clear_error(prefix: str, staging: Staging, plan: Plan) -> None:
    nowhere = GcsStore("no-such-bucket", CONNECTION)

    with pytest.raises(ConnectionUnusable, match="The bucket 'no-such-bucket' does not exist"):
        Landing(staging, STREAM, nowhere, prefix).land(plan)


def test_deleting_what_is_gone_is_fine(store: GcsStore, prefix: str) -> None:
    store.put(f"{prefix}/one", b"1")

    store.delete(f"{prefix}/one")
    store.delete(f"{prefix}/one")

    assert store.get(f"{prefix}/one") is None


def test_an_object_comes_back_byte_for_byte_and_is_replaced_whole(store: GcsStore, prefix: str) -> None:
    data = bytes(range(256)) * 5_000

    store.put(f"{prefix}/one", data)
    assert store.get(f"{prefix}/one") == data

    store.put(f"{prefix}/one", b"short")
    assert store.get(f"{prefix}/one") == b"short"


def test_a_file_is_uploaded_piece_by_piece_and_comes_back(
    store: GcsStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windrow.airflow.hooks.stores._PIECE", 256 * 1024)
    data = bytes(range(256)) * 40_000
    file, back = io.BytesIO(data), io.BytesIO()
    file.seek(7)

    store.put_file(f"{prefix}/one", file)

    assert store.get_file(f"{prefix}/one", back)
    assert back.getvalue() == data
    assert not store.get_file(f"{prefix}/other", back)
    with pytest.raises(ConnectionUnusable, match="'no-such-bucket' does not exist"):
        GcsStore("no-such-bucket", CONNECTION).put_file("one", file)
