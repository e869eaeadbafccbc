"""SQL for Athena that is made from the contract and the table of a stream, run on the local Athena.

The local Athena has no files in the format of Iceberg: what these tests prove is the SQL, as DuckDB understands it.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import jinja2
import pytest

from tests.local_cloud.aws.athena import Athena, Failed
from windrow.declare import athena as made
from windrow.declare.stream import Declared
from windrow.model.contract import Column, Contract, Kind
from windrow.model.plan import slug
from windrow.model.table import Table, Write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
COLUMNS = (
    Column("order", "order", Kind.STRING, 'A reserved word, and someone\'s "quote".', required=True),
    Column("day", "day", Kind.DATE, "Day.", required=True),
    Column("version", "version", Kind.INTEGER, "Version.", required=True),
    Column("amount", "amount", Kind.NUMERIC, "Amount."),
    Column("note", "note", Kind.STRING, "Note."),
    Column("is_deleted", "is_deleted", Kind.BOOLEAN, "Whether it was deleted."),
)
MERGED = Table(
    key=("order", "day"), newest_by=("version",), partition="day", deleted="is_deleted", keep=("note",),
    checks={"amounts_are_positive": "count_if(amount < 0) = 0"},
)  # fmt: skip
APPENDED = Table(write=Write.APPEND)
REPLACED = Table(write=Write.REPLACE)


def declare(table: Table) -> type[Declared]:
    return type("Orders", (Declared,), {"dataset": "made_orders", "get": "/orders", "columns": COLUMNS, "table": table})


class Shop:
    """A landed and a final table of one declaration, in databases of their own."""

    def __init__(self, athena: Athena, table: Table) -> None:
        self.athena = athena
        self.stream = declare(table)
        self._jinja = jinja2.Environment(autoescape=False)  # noqa: S701 - SQL, no HTML
        self._jinja.filters |= {"slug": slug, "ds": lambda day: day.isoformat()}
        self._jinja.globals["prefix"] = lambda: f"{athena.name}_"
        for name in ("made", "made_landed"):
            athena.glue.create_database(DatabaseInput={"Name": f"{athena.name}_{name}"})
        for sql in (made.create(self.stream, athena.name), made.create_final(self.stream, athena.name)):
            for _ in range(2):
                athena.run(self.text(sql))

    def text(self, sql: str, run_id: str = "one") -> str:
        return self._jinja.from_string(sql).render(run_id=run_id, dag_run={"run_after": date(2026, 11, 21)})

    def land(self, *rows: dict[str, Any], run_id: str = "one") -> None:
        folder = self.text(made.register(self.stream, self.athena.name), run_id).split(f"{self.athena.name}/")[-1]
        self.athena.put(f"{folder.rstrip(chr(39))}part-0.parquet", rows, Contract(COLUMNS).arrow_schema)
        self.athena.run(self.text(made.register(self.stream, self.athena.name), run_id))

    def bring(self, *rows: dict[str, Any], run_id: str = "one") -> list[int]:
        """Land records, write them twice, and return what the receipt counts: loaded, merged and total."""
        self.land(*rows, run_id=run_id)
        assert set(self.athena.rows(self.text(made.audit(self.stream), run_id))[0]) == {"true"}
        for sql in made.write(self.stream) * 2:
            self.athena.run(self.text(sql, run_id))
        return [int(count or 0) for count in self.athena.rows(self.text(made.prove(self.stream), run_id))[0]]

    def rows(self) -> list[tuple[str | None, ...]]:
        columns = '"order", version, amount, note, is_deleted, _run_id'
        return self.athena.rows(self.text(f"SELECT {columns} FROM {made.final(self.stream)} ORDER BY 1, 6"))  # noqa: S608 - names of tests


def order(name: str, at: datetime = NOON, run_id: str = "one", **changes: Any) -> dict[str, Any]:
    fields = {"order": name, "day": "2026-11-20", "version": 1, "amount": "1.5", "note": "n", "is_deleted": False}
    lineage = {"_key": f"orders {name}", "_fetched_at": at, "_run_id": run_id}
    return Contract(COLUMNS).record(fields | changes) | lineage


def row(name: str, run_id: str = "one", *, version: int = 1, amount: str = "1.5", is_deleted: bool = False) -> Any:
    return (name, str(version), f"{Decimal(amount):.9f}", "n", str(is_deleted).lower(), run_id)


def test_a_newer_record_replaces_a_row_and_an_older_one_does_not(athena: Athena) -> None:
    shop, later = Shop(athena, MERGED), NOON + timedelta(hours=1)
    assert shop.bring(order("a"), order("b", version=3), order("b", version=2)) == [3, 3, 2]
    changed = order("a", later, "two", amount="7.5", note=None), order("b", later, "two", version=2)
    assert shop.bring(*changed, order("c", later, "two"), run_id="two") == [3, 3, 3]
    kept = [row("a", "two", amount="7.5"), row("b", version=3), row("c", "two")]
    assert shop.rows() == kept
    assert shop.bring(order("a"), order("b", version=3), order("b", version=2)) == [3, 3, 3], "the first run again"
    assert shop.rows() == kept
    gone = order("c", later, "three", version=2, amount=None, is_deleted=True)
    shop.bring(gone, run_id="three")
    assert shop.rows()[-1] == row("c", "three", version=2, is_deleted=True)


def test_the_audit_names_what_does_not_hold(athena: Athena) -> None:
    shop = Shop(athena, MERGED)
    shop.land(order("a", amount="-1"))
    assert athena.rows(shop.text(made.audit(shop.stream))) == [("true", "true", "true", "false")]


def test_appended_records_of_a_run_are_there_once(athena: Athena) -> None:
    shop = Shop(athena, APPENDED)
    assert shop.bring(order("a"), order("a")) == [2, 2, 2]
    assert shop.bring(order("a", run_id="it's"), run_id="it's") == [1, 1, 3]
    assert shop.bring(order("b")) == [1, 1, 2], "the run was landed again, with another record"
    assert shop.rows() == [row("a", "it's"), row("b")]


def test_the_newest_run_replaces_all_rows(athena: Athena) -> None:
    shop = Shop(athena, REPLACED)
    shop.bring(order("a"), order("b"))
    assert shop.bring(order("c", NOON + timedelta(hours=1), "two"), run_id="two") == [1, 1, 1]
    assert shop.bring(order("a"), order("b")) == [2, 2, 1]
    assert shop.rows() == [row("c", "two")], "an older run that is cleared changes nothing"


def test_only_an_iceberg_table_can_be_changed(athena: Athena) -> None:
    athena.run(f"CREATE EXTERNAL TABLE t (x bigint) STORED AS PARQUET LOCATION 's3://{athena.name}/t/'")
    with pytest.raises(Failed, match=r"DELETE is not supported for table \w+\.t: it is no Iceberg table"):
        athena.run("DELETE FROM t WHERE x = 1")
