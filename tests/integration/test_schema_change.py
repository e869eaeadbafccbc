"""A contract that changes: what the next run does to the table, and how past rows get a new column."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.dag_run import AssetStates, DagRun
from tests.integration.tables import Tables
from tests.scripted_api import Reply, ScriptedApi
from windrow.airflow.dags import harvest_dag
from windrow.declare.stream import Declared
from windrow.declare.times import Days
from windrow.model import registry
from windrow.model.contract import Column, Kind
from windrow.model.errors import CheckFailed, SchemaConflict
from windrow.model.table import Table, Warehouse

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ID = Column("id", "id", Kind.INTEGER, "Id.", required=True)
COUNT = Column("count", "count", Kind.INTEGER, "Count.", required=True)
PLACE = Column("boat", "boat", Kind.STRING, "Boat, which the API has sent all along.", required=True)


BOTH = pytest.mark.parametrize("tables", list(Warehouse), indirect=True)


def orders(into: Warehouse, *columns: Column, **table: Any) -> Any:
    """Declare the stream as its file says at some time, and make its DAG."""
    fields = {"dataset": "changing_orders", "get": "/orders", "columns": columns}
    stream = type("Orders", (Declared,), fields | {"table": Table(**{"key": ("id",), **table})})
    return harvest_dag(stream, conn_id="orders", schedule=None, into=into)


@pytest.fixture
def table(tables: Tables, scripted: ScriptedApi) -> Iterator[Tables]:
    """The warehouse with a table of two columns that one run has filled."""
    scripted.answers(Reply([{"id": 1, "count": 7, "boat": "11"}, {"id": 2, "count": 8, "boat": None}]))
    tables.drop("changing.orders")
    DagRun(orders(tables.kind, ID, COUNT), own("one"), at=NOON).run()
    yield tables
    registry._declared.pop("changing_orders")


def own(run: str) -> str:
    """Return the id of a run of this test: all tests share MongoDB."""
    return f"{run} of {os.environ['PYTEST_CURRENT_TEST'].rpartition('::')[2].partition(' ')[0]}"


@BOTH
def test_the_next_run_adds_a_column_and_clearing_land_fills_past_rows_without_a_call(
    table: Tables, scripted: ScriptedApi
):
    assert [row["_extra"] for row in table.rows("SELECT _extra FROM changing.orders ORDER BY id")] == [
        '{"boat":"11"}', '{"boat":null}'
    ]  # fmt: skip
    scripted.answers(Reply([{"id": 3, "count": 9, "boat": "5"}]))
    optional = Column("boat", "boat", Kind.STRING, "Boat.")
    changed = orders(table.kind, ID, COUNT, optional)
    receipt = DagRun(changed, own("two"), at=NOON + timedelta(days=1)).run()["prove"]
    assert receipt["agrees"]
    assert table.columns("changing.orders")["boat"] in {"STRING NULLABLE", "string"}
    assert table.rows("SELECT id, boat FROM changing.orders ORDER BY id") == [
        {"id": 1, "boat": None}, {"id": 2, "boat": None}, {"id": 3, "boat": "5"}
    ]  # fmt: skip
    calls = len(scripted.asked)
    again = DagRun(changed, own("one"), at=NOON)
    after_land = [task.task_id for task in changed.topological_sort() if task.task_id not in {"plan", "harvest"}]
    assert again.run(*after_land)["prove"]["agrees"]
    assert len(scripted.asked) == calls
    assert table.rows("SELECT id, boat, _extra FROM changing.orders ORDER BY id") == [
        {"id": number, "boat": boat, "_extra": None} for number, boat in ((1, "11"), (2, None), (3, "5"))
    ]


def test_a_new_required_column_does_not_bind_past_rows(table: Tables, scripted: ScriptedApi):
    scripted.answers(Reply([{"id": 3, "count": 9, "boat": "5"}]))
    assert DagRun(orders(table.kind, ID, COUNT, PLACE), own("two"), at=NOON).run()["prove"]["agrees"]
    assert table.columns("changing.orders")["boat"] in {"STRING NULLABLE", "string"}


def test_the_next_run_widens_a_type_and_lets_a_column_be_empty(table: Tables, scripted: ScriptedApi):
    scripted.answers(Reply([{"id": 3, "count": 9.5}, {"id": 4}]))
    wider = Column("count", "count", Kind.NUMERIC, "Count.")
    assert DagRun(orders(table.kind, ID, wider), own("two"), at=NOON).run()["prove"]["agrees"]
    assert table.columns("changing.orders")["count"] == "NUMERIC NULLABLE"
    found = table.rows("SELECT count FROM changing.orders ORDER BY id")
    assert [row["count"] for row in found] == [7, 8, Decimal("9.5"), None]


def places(*fields: str, more: str = "") -> tuple[Column, ...]:
    """Return a RECORD with these fields, which has a RECORD with the same fields and more, and an array of such."""
    inner = tuple(Column(name, name, Kind.STRING, "") for name in (*fields, *filter(None, [more])))
    both = (Column("within", "within", Kind.RECORD, "", columns=inner), *inner[: len(fields)])
    one = Column("place", "place", Kind.RECORD, "Place.", columns=both)
    return one, Column("places", "places", Kind.RECORD, "Places.", repeated=True, columns=both)


@BOTH
def test_a_new_field_of_a_record_is_added_and_filled_without_a_call(tables: Tables, scripted: ScriptedApi):
    tables.drop("changing.orders")
    place = {"city": "Kiel", "street": "Weg", "within": {"city": "Bonn", "street": "Hof"}}
    scripted.answers(Reply([{"id": 1, "place": place, "places": [place, {"city": "Ulm"}]}, {"id": 2}]))
    DagRun(orders(tables.kind, ID, *places("city")), own("one"), at=NOON).run()
    again = DagRun(orders(tables.kind, ID, *places("city", more="street")), own("one"), at=NOON)
    again.run("land", "load")
    changed = orders(tables.kind, ID, *places("city", "street"))
    after_land = [task.task_id for task in changed.topological_sort() if task.task_id not in {"plan", "harvest"}]
    assert DagRun(changed, own("one"), at=NOON).run(*after_land)["prove"]["agrees"]
    assert len(scripted.asked) == 1
    first, second = tables.rows("SELECT id, place, places, _extra FROM changing.orders ORDER BY id")
    shown = "{within={city=Bonn,street=Hof},city=Kiel,street=Weg}"
    assert plain(first["place"]) == shown
    assert plain(first["places"]) == f"[{shown},{{within=null,city=Ulm,street=null}}]"
    assert first["_extra"] is None
    assert (second["place"], plain(second["places"])) == (None, "[]")
    for other in (("street",), ("town", "street")):
        with pytest.raises(SchemaConflict, match=r"The field 'place\.within\.city' of .* in its place"):
            DagRun(orders(tables.kind, ID, *places(*other)), own("one"), at=NOON).run("land", "load")
    registry._declared.pop("changing_orders")


def plain(value: object) -> str:
    """Return a RECORD or an array of BigQuery as Athena shows it."""
    return str(value).replace("'", "").replace(": ", "=").replace(", ", ",").replace("None", "null")


@BOTH
def test_a_column_that_is_retyped_is_refused(table: Tables, scripted: ScriptedApi):
    scripted.answers(Reply([{"id": 3, "count": "many"}]))
    before = table.columns("changing.orders")
    with pytest.raises(SchemaConflict, match=r"'count' of .* is (INTEGER|bigint), but .* (STRING|string)"):
        DagRun(orders(table.kind, ID, Column("count", "count", Kind.STRING, "")), own("two"), at=NOON).run()
    assert table.columns("changing.orders") == before


@BOTH
def test_a_key_with_different_rows_is_refused_before_the_merge(table: Tables, scripted: ScriptedApi):
    scripted.answers(Reply([{"id": 3, "count": 9, "boat": "5"}, {"id": 3, "count": 10, "boat": "5"}]))
    what = r"The answer to 'orders.*' of changing_orders has different rows with one key: id = '3'\."
    with pytest.raises(CheckFailed, match=what):
        DagRun(orders(table.kind, ID, COUNT), own("two"), at=NOON).run()
    assert table.rows("SELECT id FROM changing.orders ORDER BY id") == [{"id": 1}, {"id": 2}]


@BOTH
def test_a_retired_column_stays_for_past_rows(table: Tables, scripted: ScriptedApi):
    scripted.answers(Reply([{"id": 3}]))
    nullable = Column("count", "count", Kind.INTEGER, "Count.")
    DagRun(orders(table.kind, ID, nullable), own("two"), at=NOON).run()
    assert DagRun(orders(table.kind, ID, retired=("count",)), own("three"), at=NOON).run()["prove"]["agrees"]
    found = table.rows("SELECT id, count FROM changing.orders ORDER BY id")
    assert [row["count"] for row in found] == [7, 8, None]


@BOTH
def test_a_final_past_moves_the_watermark_although_nothing_is_new(table: Tables, scripted: ScriptedApi):
    scripted.answers(Reply([]))
    fields = {"dataset": "changing_orders", "get": "/orders", "columns": (ID, COUNT)}
    settings = {"time": Days(past_is_final=True), "table": Table(key=("id",))}
    states = AssetStates()
    stream = type("Orders", (Declared,), fields | settings)
    dag = harvest_dag(stream, conn_id="orders", schedule=None, into=table.kind)
    assert DagRun(dag, own("two"), at=NOON, states=states).run()["prove"]["nothing_new"]
    assert states.values == {"changing_orders": {"watermark": "2026-11-19"}}
