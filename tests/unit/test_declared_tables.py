"""What a changed contract does to an existing table of each warehouse, and what Athena cannot have."""

from typing import Any

import pytest

from windrow.declare import athena, bigquery
from windrow.declare.stream import Declared
from windrow.model.contract import LINEAGE, Column, Kind
from windrow.model.errors import SchemaConflict
from windrow.model.table import Table

ID = Column("id", "id", Kind.INTEGER, "Id.", required=True)


def declare(*columns: Column, **table: Any) -> type[Declared]:
    settings = {"dataset": "made_orders", "get": "/orders", "columns": (ID, *columns)}
    return type("Orders", (Declared,), settings | {"table": Table(**{"key": ("id",), **table})})


def changes(warehouse: str, stream: type[Declared], existing: dict[str, str]) -> list[str]:
    """Return the statements for a table with the lineage, the id, and these columns of Glue or BigQuery."""
    if warehouse == "athena":
        columns = {"id": "bigint"} | existing | {column.name: column.athena for column in LINEAGE}
        return athena.changes(stream, "`made`.`orders`", [{"Name": name, "Type": columns[name]} for name in columns])
    fields = [{"name": name, "type": kind, "mode": "NULLABLE"} for name, kind in existing.items()]
    return bigquery.changes(stream, "`made.orders`", [*declare().contract.bigquery_fields, *fields])


@pytest.mark.parametrize(
    ("warehouse", "before", "kind", "statement"),
    [
        ("bigquery", "INTEGER", Kind.NUMERIC, "`made.orders` ALTER COLUMN `x` SET DATA TYPE NUMERIC"),
        ("bigquery", "NUMERIC", Kind.FLOAT, "`made.orders` ALTER COLUMN `x` SET DATA TYPE FLOAT64"),
        ("athena", "int", Kind.INTEGER, "`made`.`orders` CHANGE COLUMN `x` `x` bigint"),
        ("athena", "float", Kind.FLOAT, "`made`.`orders` CHANGE COLUMN `x` `x` double"),
        ("athena", "decimal(20, 9)", Kind.NUMERIC, "`made`.`orders` CHANGE COLUMN `x` `x` decimal(38,9)"),
    ],
)
def test_a_wider_type_changes_the_table(warehouse: str, before: str, kind: Kind, statement: str):
    assert changes(warehouse, declare(Column("x", "x", kind, "")), {"x": before}) == [f"ALTER TABLE {statement}"]


@pytest.mark.parametrize(
    ("warehouse", "statement"),
    [
        ("bigquery", "`made.orders` ADD COLUMN `at` TIMESTAMP OPTIONS (description = 'When.')"),
        ("athena", "`made`.`orders` ADD COLUMNS (`at` timestamp)"),
    ],
)
def test_a_new_column_is_nullable(warehouse: str, statement: str):
    stream = declare(Column("at", "at", Kind.TIMESTAMP, "When.", required=True))
    assert changes(warehouse, stream, {}) == [f"ALTER TABLE {statement}"]


@pytest.mark.parametrize(
    ("warehouse", "existing", "column", "what"),
    [
        ("bigquery", "STRING", None, "has the column 'x', but the contract of made_orders does not.*to 'retired'"),
        ("athena", "string", None, "has the column 'x', but the contract of made_orders does not.*to 'retired'"),
        ("bigquery", "STRING", Column("y", "y", Kind.STRING, ""), r"to one of \['y'\], run: .* RENAME COLUMN x TO"),
        ("athena", "string", Column("y", "y", Kind.STRING, ""), r"to one of \['y'\], run: .* CHANGE COLUMN x ... str"),
        (
            "bigquery",
            "NUMERIC",
            Column("x", "x", Kind.INTEGER, ""),
            "BigQuery cannot change NUMERIC to INTEGER",
        ),
        (
            "athena",
            "decimal(38,18)",
            Column("x", "x", Kind.NUMERIC, ""),
            r"cannot change decimal\(38,18\) to d",
        ),
        ("athena", "bigint", Column("x", "x", Kind.NUMERIC, ""), r"'x' of .* is bigint, but .* has decimal\(38,9\)"),
        ("athena", "bigint", Column("x", "x", Kind.INTEGER, "", repeated=True), r"to array<bigint> .*another name"),
    ],
)
def test_a_column_that_is_gone_renamed_or_retyped_is_refused(
    warehouse: str, existing: str, column: Column | None, what: str
):
    stream = declare(*([column] if column else []))
    with pytest.raises(SchemaConflict, match=what):
        changes(warehouse, stream, {"x": existing})
    assert changes(warehouse, declare(retired=("x",)), {"x": existing}) == []


CITY = Column("city", "city", Kind.STRING, "")
AMOUNT = Column("amount", "amount", Kind.NUMERIC, "", required=True)


def record(*columns: Column, repeated: bool = False) -> Column:
    within = Column("within", "within", Kind.RECORD, "", columns=columns)
    return Column("x", "x", Kind.RECORD, "", repeated=repeated, columns=(within, *columns))


def test_a_new_field_of_a_record_changes_the_table():
    stream = declare(record(CITY, AMOUNT, repeated=True))
    columns = "array<struct<within:struct<city:string,amount:decimal(38,9)>,city:string,amount:decimal(38,9)>>"
    column = athena.definition(stream.columns[1], with_comment=False)
    assert changes("athena", stream, {"x": "array<struct<within:struct<city: string>,city:string>>"}) == [
        f"ALTER TABLE `made`.`orders` CHANGE COLUMN `x` {column}"
    ]
    assert changes("athena", stream, {"x": columns}) == []
    before = declare(record(CITY, repeated=True)).contract.bigquery_fields
    assert bigquery.changes(stream, "t", before) == []
    found = bigquery.extended(stream, "t", before)
    assert found is not None
    fields = found[1]["fields"]
    assert [(one["name"], one["mode"]) for one in fields] == [
        ("within", "NULLABLE"), ("city", "NULLABLE"), ("amount", "NULLABLE")
    ]  # fmt: skip
    assert [one["name"] for one in fields[0]["fields"]] == ["city", "amount"]
    assert bigquery.extended(stream, "t", found) is None


@pytest.mark.parametrize("warehouse", ["athena", "bigquery"])
@pytest.mark.parametrize(
    ("column", "what"),
    [
        (record(AMOUNT), r"'x.within.city' of .* is (string|STRING), .* has amount (NUMERIC|decimal.*) in its place"),
        (record(AMOUNT, CITY), "'x.within.city' .* has amount .* in its place"),
        (
            Column("x", "x", Kind.RECORD, "", columns=record(CITY).columns[:1]),
            "'x.city' .* has no such field in its place",
        ),
        (record(Column("city", "city", Kind.INTEGER, "")), "'x.within.city' .* has city .* another name and add"),
        (record(CITY, repeated=True), "The column 'x' of .* is (RECORD|struct), but"),
    ],
)
def test_a_field_of_a_record_that_is_gone_renamed_retyped_or_moved_is_refused(
    warehouse: str, column: Column, what: str
):
    if warehouse == "athena":
        with pytest.raises(SchemaConflict, match=what):
            changes("athena", declare(column), {"x": "struct<within:struct<city:string>,city:string>"})
    else:
        with pytest.raises(SchemaConflict, match=what):
            bigquery.extended(declare(column), "t", declare(record(CITY)).contract.bigquery_fields)


def test_a_column_that_an_iceberg_table_once_had_does_not_count():
    columns = [{"Name": column.name, "Type": column.athena} for column in (ID, *LINEAGE)]
    past = {"Name": "x", "Type": "string", "Parameters": {"iceberg.field.current": "false"}}
    assert athena.changes(declare(), "t", [*columns, past]) == []


def test_a_comment_is_one_line_that_glue_accepts():
    sql = athena.definition(Column("x", "x", Kind.STRING, "Ü" * 300 + "\nAnd more."))
    assert sql == f"`x` string COMMENT '{'Ü' * 127}'"
    assert athena.definition(Column("x", "x", Kind.STRING, "One\n two.")) == "`x` string COMMENT 'One two.'"


def test_names_within_a_struct_are_quoted():
    inner = (Column("order", "o", Kind.STRING, ""), Column("end", "e", Kind.NUMERIC, ""))
    sql = athena.definition(Column("x", "x", Kind.RECORD, "", repeated=True, columns=inner), with_comment=False)
    assert sql == "`x` array<struct<`order`:string,`end`:decimal(38,9)>>"


def test_a_statement_that_athena_would_not_accept_is_refused():
    wide = declare(*(Column(f"{'c' * 120}_{number}", "f", Kind.STRING, "") for number in range(990)))
    with pytest.raises(ValueError, match=r"made_orders: with 991 columns a statement for Athena has .* kind JSON"):
        athena.check_length(wide, athena.write(wide))
    athena.check_length(declare(), athena.write(declare()))
