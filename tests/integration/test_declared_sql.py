"""SQL that is made from the contract and the table of a stream, run on BigQuery."""

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery as client

from local_cloud.settings import PROJECT_ID, Settings
from tests.integration.warehouse import Row, Warehouse, broken, columns, declared
from windrow.declare import bigquery
from windrow.model.contract import Column, Contract, Kind
from windrow.model.plan import slug
from windrow.model.query import Query
from windrow.model.stream import PlanFlow, Planned, Request, Stream
from windrow.model.table import Table, Write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = date(2026, 11, 20)
COLUMNS = (
    Column("order", "order", Kind.STRING, 'A reserved word, and someone\'s "quote".', required=True),
    Column("day", "day", Kind.DATE, "Day.", required=True),
    Column("version", "version", Kind.INTEGER, "Version.", required=True),
    Column("amount", "amount", Kind.FLOAT, "Amount."),
    Column("note", "note", Kind.STRING, "Note."),
    Column("is_deleted", "is_deleted", Kind.BOOLEAN, "Whether it was deleted."),
)


def stream(**table: Any) -> type[Stream]:
    class Orders(Stream):
        """Orders of a shop."""

        dataset = "made_orders"
        contract = Contract(COLUMNS)

        def plan(self, request: Request) -> PlanFlow:
            yield Planned(())

        def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
            return ()

    Orders.table = Table(description="It's a table of orders.", **table)
    return Orders


MERGED = stream(key=("order", "day"), newest_by=("version",), partition="day", deleted="is_deleted", keep=("note",),
                checks={"amounts_are_positive": "LOGICAL_AND(amount > 0)"}, watermark="day")  # fmt: skip
APPENDED = stream(write=Write.APPEND)
REPLACED = stream(write=Write.REPLACE)


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Warehouse:
    return Warehouse(cloud, "made")


@pytest.fixture(params=[MERGED], ids=["merge"])
def final(warehouse: Warehouse, request: pytest.FixtureRequest) -> Warehouse:
    """The warehouse with an empty final table."""
    warehouse.drop("orders")
    warehouse.made(bigquery.create(request.param))
    return warehouse


def order(name: str, at: datetime = NOON, run_id: str = "one", **changes: Any) -> Row:
    fields = {"order": name, "day": DAY.isoformat(), "version": 1, "amount": 1.5, "note": "n", "is_deleted": False}
    lineage = {"_key": f"orders {name}", "_fetched_at": at, "_run_id": run_id}
    return Contract(COLUMNS).record(fields | changes) | lineage


def bring(warehouse: Warehouse, kind: type[Stream], *rows: Row, run_id: str = "one") -> Row:
    """Land records, write them twice, and return what the receipt counts."""
    warehouse.land(kind, *rows, run_id=run_id)
    assert broken(warehouse.made(bigquery.audit(kind), run_id)) == set()
    for _ in range(2):
        warehouse.made(bigquery.write(kind), run_id)
    (counts,) = warehouse.made(bigquery.prove(kind), run_id)
    return counts


def table(warehouse: Warehouse) -> list[Row]:
    return warehouse.rows("orders", "`order`, day, _run_id")


def test_the_table_has_the_columns_of_the_contract_and_is_created_once(final: Warehouse):
    found = final.client.get_table("made.orders")
    assert columns(found) == declared(MERGED.contract)
    assert found.time_partitioning.field == "day"
    assert found.clustering_fields == ["order"]
    bring(final, MERGED, order("a"))
    final.made(bigquery.create(MERGED))
    assert len(table(final)) == 1


def test_a_newer_record_replaces_a_row_and_an_older_one_does_not(final: Warehouse):
    changed = order("a", NOON + timedelta(hours=1), "two", version=2, amount=7.5, Extra=1)
    assert bring(final, MERGED, order("a"), order("b")) == {
        "loaded": 2,
        "merged": 2,
        "total": 2,
        "watermark": "2026-11-20",
    }
    bring(final, MERGED, changed, run_id="two")
    assert table(final) == [changed, order("b")]
    assert bring(final, MERGED, order("a"))["merged"] == 1, "an older record counts as merged"
    assert table(final) == [changed, order("b")]


def test_the_version_decides_before_the_time_of_the_answer(final: Warehouse):
    later = order("a", NOON + timedelta(hours=1), "two", version=1, amount=9.5)
    bring(final, MERGED, order("a", version=2))
    assert bring(final, MERGED, later, run_id="two")["merged"] == 1
    assert table(final) == [order("a", version=2)]


def test_of_several_records_with_one_key_the_newest_counts(final: Warehouse):
    rows = [order("a", version=version, amount=version + 0.5) for version in (2, 3, 1)]
    assert bring(final, MERGED, *rows) == {"loaded": 3, "merged": 3, "total": 1, "watermark": "2026-11-20"}
    assert table(final) == [order("a", version=3, amount=3.5)]


def test_a_deleted_row_keeps_its_values_and_a_null_does_not_replace_a_kept_one(final: Warehouse):
    bring(final, MERGED, order("a"), order("b"))
    later = NOON + timedelta(hours=1)
    gone = order("a", later, "two", version=2, is_deleted=True, amount=None, note=None)
    bring(final, MERGED, gone, order("b", later, "two", version=2, note=None), run_id="two")
    assert [(row["order"], row["amount"], row["note"], row["is_deleted"], row["version"]) for row in table(final)] == [
        ("a", 1.5, "n", True, 2), ("b", 1.5, "n", False, 2)
    ]  # fmt: skip


def test_only_the_landed_partitions_are_merged(final: Warehouse):
    sql = bigquery.write(MERGED)
    assert "DECLARE first_day DATE" in sql
    other = order("a", day="2026-11-21")
    bring(final, MERGED, order("a"), other)
    assert table(final) == [order("a"), other]


def test_the_audit_names_what_does_not_hold(final: Warehouse):
    final.land(MERGED, order("a", amount=-1.5))
    assert broken(final.made(bigquery.audit(MERGED))) == {"amounts_are_positive"}


def test_a_key_with_different_rows_in_one_answer_is_found(final: Warehouse):
    equal = order("a"), order("a"), order("b"), order("b", version=2, amount=2.5)
    final.land(MERGED, *equal)
    assert final.made(bigquery.contradiction(MERGED)) == []
    final.land(MERGED, *equal, order("b", amount=9.5) | {"_key": "another answer"}, order("a", amount=9.5))
    assert final.made(bigquery.contradiction(MERGED)) == [{"order": "a", "day": DAY, "_key": "orders a"}]


@pytest.mark.parametrize("final", [APPENDED], indirect=True)
def test_appended_records_of_a_run_are_there_once(final: Warehouse):
    assert bring(final, APPENDED, order("a"), order("a")) == {"loaded": 2, "merged": 2, "total": 2}
    assert bring(final, APPENDED, order("a", run_id="it's"), run_id="it's") == {"loaded": 1, "merged": 1, "total": 3}
    assert bring(final, APPENDED, order("b"))["total"] == 2, "the run was landed again, with another record"
    assert table(final) == [order("a", run_id="it's"), order("b")]


@pytest.mark.parametrize("final", [REPLACED], indirect=True)
def test_the_newest_run_replaces_all_rows(final: Warehouse):
    bring(final, REPLACED, order("a"), order("b"))
    later = order("c", NOON + timedelta(hours=1), "two")
    assert bring(final, REPLACED, later, run_id="two") == {"loaded": 1, "merged": 1, "total": 1}
    assert bring(final, REPLACED, order("a"), order("b")) == {"loaded": 2, "merged": 2, "total": 1}
    assert table(final) == [later], "an older run that is cleared changes nothing"


@pytest.mark.parametrize("kind", [MERGED, APPENDED, REPLACED], ids=lambda kind: kind.table.write)
def test_a_run_without_a_record_changes_nothing(warehouse: Warehouse, kind: type[Stream]):
    warehouse.drop("orders")
    warehouse.made(bigquery.create(kind))
    bring(warehouse, kind, order("a"))
    landed = f"{PROJECT_ID}.windrow_landing.made_orders_"
    schema = warehouse.client.get_table(f"{landed}{slug('one')}").schema
    warehouse.client.create_table(client.Table(f"{landed}{slug('none')}", schema), exists_ok=True)
    for _ in range(2):
        warehouse.made(bigquery.write(kind), "none")
    assert table(warehouse) == [order("a")]
    (counts,) = warehouse.made(bigquery.prove(kind), "none")
    assert {name: counts[name] for name in ("loaded", "merged", "total")} == {"loaded": 0, "merged": 0, "total": 1}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"key": ("orders",)}, "key names the column 'orders', which is not in the contract"),
        ({"key": "order"}, r"key must be a tuple of columns, like \('order',\)"),
        ({}, "write 'merge' needs a key"),
        ({"key": ("note",)}, "the column 'note' identifies rows, so it must be required"),
        ({"key": ("order",), "partition": "version"}, "partition 'version' must be a DATE or a TIMESTAMP"),
        ({"key": ("order",), "deleted": "note"}, "deleted 'note' must be a BOOLEAN"),
        ({"key": ("order",), "retired": ("note",)}, "the column 'note' is retired, but in the contract"),
    ],
)
def test_a_table_that_does_not_fit_the_columns_is_refused(settings: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        Table(**settings).check("made_orders", Contract(COLUMNS))


def test_a_bad_expression_is_bigquerys_to_refuse(final: Warehouse):
    bad = stream(key=("order",), checks={"nonsense": "no_such_column > 1"})
    final.land(bad, order("a"))
    with pytest.raises(GoogleAPICallError, match="no_such_column"):
        final.made(bigquery.audit(bad))


def test_columns_of_every_kind_are_created_and_merged(warehouse: Warehouse):
    columns = (
        Column("id", "id", Kind.INTEGER, "Id.", required=True),
        Column("amount", "amount", Kind.NUMERIC, "Amount."),
        Column("exact", "exact", Kind.BIGNUMERIC, "Amount with more digits."),
        Column("local", "local", Kind.DATETIME, "A local time."),
        Column("at", "at", Kind.TIMESTAMP, "An instant."),
        Column("fields", "fields", Kind.JSON, "Any JSON."),
        Column("tags", "tags", Kind.STRING, "Tags.", repeated=True),
        Column("place", "place", Kind.RECORD, "Place.", columns=(Column("city", "city", Kind.STRING, "City."),)),
    )
    kinds = type("Kinds", (stream(key=("id",)),), {"dataset": "made_kinds", "contract": Contract(columns)})
    fields = {
        "id": 1, "amount": "12.50", "exact": "0.123456789012345678", "local": "2026-11-20T12:00:00",
        "at": "2026-11-20T12:00:00Z", "fields": {"b": [1, None]}, "tags": ["x", "y"], "place": {"city": "Bonn"},
    }  # fmt: skip
    record = kinds.contract.record(fields) | {"_key": "k", "_fetched_at": NOON, "_run_id": "one"}
    warehouse.drop("kinds")
    warehouse.made(bigquery.create(kinds))
    table = pa.Table.from_pylist([record], kinds.contract.arrow_schema)
    file = io.BytesIO()
    pq.write_table(table, file)
    file.seek(0)
    schema = [client.SchemaField.from_api_repr(field) for field in kinds.contract.bigquery_fields]
    config = client.LoadJobConfig(schema=schema, write_disposition="WRITE_TRUNCATE", source_format="PARQUET")
    landed = f"{PROJECT_ID}.windrow_landing.made_kinds_{slug('one')}"
    warehouse.client.load_table_from_file(file, landed, job_config=config).result()
    for _ in range(2):
        warehouse.made(bigquery.write(kinds))
    (row,) = warehouse.query("SELECT * EXCEPT (fields), TO_JSON_STRING(fields) AS fields FROM made.kinds")
    assert row == record
    existing = [field.to_api_repr() for field in warehouse.client.get_table("made.kinds").schema]
    assert bigquery.changes(kinds(), "made.kinds", existing) == []
