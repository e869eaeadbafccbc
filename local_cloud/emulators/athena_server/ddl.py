"""The statements about tables and partitions that Athena hands to Hive, read into what the catalogue needs."""

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from local_cloud.emulators.athena_server.errors import QueryFailed, not_supported
from local_cloud.emulators.athena_server.lake import PARQUET, Partition, Table, folder, keys
from local_cloud.emulators.athena_server.types import duckdb_type, hive_type, is_promoted

REPAIR = re.compile(r"MSCK\s+REPAIR\s+TABLE\s+(?P<table>\S+)", re.IGNORECASE)
SHOW_PARTITIONS = re.compile(r"SHOW\s+PARTITIONS\s+(?P<table>\S+)", re.IGNORECASE)


ICEBERG = "ICEBERG"


@dataclass(frozen=True)
class Name:
    """A table's database and name, in lower case."""

    database: str
    table: str

    @classmethod
    def of(cls, table: exp.Expression, database: str) -> "Name":
        """Read it from a statement; `database` is the query's own."""
        return cls(table.text("db").lower() or database, table.name.lower())

    @classmethod
    def read(cls, text: str, database: str) -> "Name":
        """Read it from text, with or without quotes."""
        *before, name = [part.strip('`"').lower() for part in text.split(".")]
        return cls(before[-1] if before else database, name)

    def __str__(self) -> str:
        return f"{self.database}.{self.table}"


def properties(statement: exp.Expression) -> list[exp.Expression]:
    """Return what a CREATE says behind its columns, or in WITH."""
    found = statement.args.get("properties")
    return list(found.expressions) if found else []


def is_iceberg(table: Table) -> bool:
    """Say whether a table of the catalogue is an Iceberg table."""
    return str(table.get("Parameters", {}).get("table_type", "")).upper() == ICEBERG


def external_table(statement: exp.Create, name: Name) -> dict[str, Any]:
    """Read CREATE EXTERNAL TABLE, or CREATE TABLE of an Iceberg table, into Glue's TableInput.

    Raises QueryFailed for what is not known.
    """
    location, keys_of = "", []
    parameters: dict[str, str] = {}
    is_parquet = False
    for one in properties(statement):
        match one:
            case exp.ExternalProperty():
                parameters["EXTERNAL"] = "TRUE"
            case exp.FileFormatProperty() if one.this.name.upper() == "PARQUET":
                is_parquet = True
            case exp.PartitionedByProperty():
                keys_of = list(one.this.expressions)
            case exp.LocationProperty():
                location = one.this.name
            case exp.SchemaCommentProperty():
                parameters["comment"] = one.this.name
            case exp.Property() if type(one) is exp.Property:
                parameters[one.name] = one.args["value"].name
            case _:
                raise not_supported(one.sql("athena"))
    is_iceberg = parameters.get("table_type", "").upper() == ICEBERG
    if is_iceberg and "EXTERNAL" in parameters:
        raise QueryFailed("External keyword not supported for table type ICEBERG")
    if not is_iceberg and "EXTERNAL" not in parameters:
        raise QueryFailed("External keyword required for table type HIVE")
    # the partitions of an Iceberg table are hidden: they change no result
    partition_keys = [] if is_iceberg else list(map(_column, keys_of))
    if not (location and (is_parquet or is_iceberg)):
        raise not_supported("a table without LOCATION, or not STORED AS PARQUET")
    columns = [_column(column) for column in statement.this.expressions]
    if not columns:
        raise not_supported("CREATE TABLE without columns")
    return table_input(name, columns, partition_keys, folder(location), parameters)


def table_input(
    name: Name,
    columns: list[dict[str, str]],
    partition_keys: list[dict[str, str]],
    location: str,
    parameters: Mapping[str, str],
) -> dict[str, Any]:
    """Make Glue's TableInput of a Parquet table."""
    return {
        "Name": name.table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": dict(parameters),
        "PartitionKeys": partition_keys,
        "StorageDescriptor": {"Columns": columns, "Location": location, **PARQUET},
    }


@dataclass(frozen=True)
class ViewQuery:
    """The query of a view, and the database of its tables without one."""

    sql: str
    database: str


def view_input(name: Name, sql: str, database: str, columns: list[dict[str, str]]) -> dict[str, Any]:
    """Make Glue's TableInput of a view: its query is JSON in base64, in a comment, as Athena keeps it."""
    query = {"originalSql": sql, "catalog": "awsdatacatalog", "schema": database}
    text = base64.b64encode(json.dumps(query | {"columns": columns}).encode()).decode()
    return {
        "Name": name.table,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true"},
        "StorageDescriptor": {"Columns": columns, "Location": ""},
        "ViewOriginalText": f"/* Presto View: {text} */",
        "ViewExpandedText": "/* Presto View */",
    }


def view_query(table: Table) -> ViewQuery:
    """Read the query of a view."""
    found = re.fullmatch(r"/\* Presto View: (\S+) \*/", table.get("ViewOriginalText", ""))
    if not found:
        raise not_supported(f"the view {table['Name']}, which was not made by Athena")
    query = json.loads(base64.b64decode(found[1]))
    return ViewQuery(query["originalSql"], query["schema"])


def _column(column: exp.Expression) -> dict[str, str]:
    if not isinstance(column, exp.ColumnDef) or column.args.get("kind") is None:
        raise not_supported(f"the column {column.sql('athena')}")
    name, kind = column.name.lower(), hive_type(column.args["kind"])
    duckdb_type(kind, name)  # refuses what cannot be read later
    comment = column.find(exp.CommentColumnConstraint)
    return {"Name": name, "Type": kind} | ({"Comment": comment.this.name} if comment else {})


@dataclass(frozen=True)
class PartitionChange:
    """ALTER TABLE ... ADD or DROP PARTITION."""

    add: bool
    lenient: bool
    """With IF NOT EXISTS, or IF EXISTS."""
    partitions: tuple[Partition, ...]


def new_location(statement: exp.Alter) -> str | None:
    """Return where ALTER TABLE SET LOCATION moves a table to; None for another ALTER."""
    actions = statement.args["actions"]
    if len(actions) == 1 and isinstance(actions[0], exp.AlterSet) and actions[0].args.get("location"):
        return folder(actions[0].args["location"].name)
    return None


def changed_columns(statement: exp.Alter, name: Name, table: Table) -> list[dict[str, str]] | None:
    """Return the columns of a table after ADD COLUMNS or CHANGE COLUMN; None for another ALTER.

    Raises QueryFailed for what Athena refuses.
    """
    columns = list(table["StorageDescriptor"]["Columns"])
    names = [column["Name"] for column in columns]
    match statement.args["actions"]:
        case [exp.Schema() as added]:
            new = [_column(column) for column in added.expressions]
            if twice := [column["Name"] for column in new if column["Name"] in names]:
                raise QueryFailed(f"FAILED: SemanticException: Duplicate column name: {twice[0]}")
            return columns + new
        case [exp.AlterColumn(this=before) as change] if change.args.get("rename_to") and change.args.get("dtype"):
            if not is_iceberg(table):
                raise not_supported("ALTER TABLE CHANGE COLUMN of a table that is no Iceberg table")
            if before.name.lower() not in names:
                raise QueryFailed(f"COLUMN_NOT_FOUND: Column '{before.name}' does not exist in {name}")
            place = names.index(before.name.lower())
            old, kind = columns[place]["Type"], hive_type(change.args["dtype"])
            after = change.args["rename_to"].name.lower()
            if old != kind and not is_promoted(duckdb_type(old, after), duckdb_type(kind, after)):
                raise QueryFailed(f"NOT_SUPPORTED: Cannot change column type: {before.name}: {old} -> {kind}")
            if after != before.name.lower():
                raise not_supported("a new name in ALTER TABLE CHANGE COLUMN")
            columns[place] = {**columns[place], "Type": kind}
            return columns
    return None


def partition_change(statement: exp.Alter, table: Table) -> PartitionChange:
    """Read ALTER TABLE. Raises QueryFailed for all but partitions, and for keys that are not the table's."""
    actions = statement.args["actions"]
    first = actions[0]
    if all(isinstance(one, exp.AddPartition) for one in actions):
        lenient = bool(first.args.get("exists"))
        added = (_partition(one.this.expressions, one.args.get("location"), table) for one in actions)
        return PartitionChange(add=True, lenient=lenient, partitions=tuple(added))
    if len(actions) == 1 and isinstance(first, exp.DropPartition):
        dropped = (_partition(one.expressions, None, table) for one in first.expressions)
        return PartitionChange(add=False, lenient=bool(first.args.get("exists")), partitions=tuple(dropped))
    raise not_supported(f"ALTER TABLE with {', '.join(sorted({type(one).__name__ for one in actions}))}")


def _partition(pairs: list[exp.Expression], location: exp.Expression | None, table: Table) -> Partition:
    given = {
        one.this.name.lower(): one.expression.name
        for one in pairs
        if isinstance(one, exp.EQ) and isinstance(one.expression, exp.Literal)
    }
    names = keys(table)
    if sorted(given) != sorted(names) or len(given) != len(pairs):
        raise QueryFailed(
            f"FAILED: SemanticException: the partition names {sorted(given)}, and the keys of the table are {names}"
        )
    values = tuple(given[name] for name in names)
    path = "/".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in zip(names, values, strict=True))
    base = folder(table["StorageDescriptor"]["Location"])
    return Partition(values, folder(location.this.name) if location else f"{base}{path}/")
