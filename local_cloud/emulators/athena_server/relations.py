"""A table of the catalogue as a relation of DuckDB: the files of its known partitions, in its declared types."""
# ruff: noqa: S608 - SQL is what this module makes; names in it are quoted, and values are literals

from collections.abc import Sequence
from pathlib import Path

import duckdb
from duckdb.sqltypes import DuckDBPyType

from local_cloud.emulators.athena_server import lake
from local_cloud.emulators.athena_server.errors import QueryFailed, not_supported
from local_cloud.emulators.athena_server.lake import Lake, Object, Partition, Table
from local_cloud.emulators.athena_server.types import WIDENED, duckdb_type, holds_decimal


def quoted(name: str) -> str:
    """Write a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


class Relations:
    """Makes relations of tables, and counts the bytes that they read."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: Lake) -> None:
        self.scanned = 0
        self._connection = connection
        self._lake = store

    def sql(self, database: str, table: Table) -> str:
        """Return a SELECT of all rows of a table that Athena would see.

        Raises QueryFailed for a table that is no Parquet table of known types, and for files that do not fit it.
        """
        name = f"{database}.{table['Name']}"
        if not lake.is_parquet(table):
            raise not_supported(f"the format of table {name}", "It knows Parquet.")
        columns = [(one["Name"], duckdb_type(one["Type"], one["Name"])) for one in _columns(table)]
        keys = [(one["Name"], duckdb_type(one["Type"], one["Name"])) for one in table.get("PartitionKeys") or ()]
        empty = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(column)}" for column, kind in (*columns, *keys))
        parts = [f"SELECT {empty} WHERE FALSE"]
        for partition, objects in self._parts(database, table):
            if objects:
                self.scanned += sum(one.size for one in objects)
                source = self._source(name, columns, self._lake.files(objects), objects)
                values = "".join(
                    f", CAST({literal(value)} AS {kind}) AS {quoted(key)}"
                    for (key, kind), value in zip(keys, partition.values, strict=True)
                )
                parts.append(f"SELECT *{values} FROM ({source})")
        return " UNION ALL ".join(parts)

    def _parts(self, database: str, table: Table) -> list[tuple[Partition, list[Object]]]:
        """Return the partitions that are registered, with their files; a table without keys is one."""
        location = table["StorageDescriptor"]["Location"]
        if not table.get("PartitionKeys"):
            return [(Partition((), location), self._lake.objects(location))]
        known = self._lake.partitions(database, table["Name"])
        return [(one, self._lake.objects(one.location)) for one in known]

    def _source(
        self, table: str, columns: Sequence[tuple[str, str]], files: Sequence[Path], objects: Sequence[Object]
    ) -> str:
        """Return a SELECT of a partition's files; columns are found by name, one that a file lacks is null."""
        selects = []
        for file, one in zip(files, objects, strict=True):
            source = f"read_parquet({literal(str(file))})"
            try:
                described = self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            except duckdb.Error as error:
                raise QueryFailed(f"HIVE_BAD_DATA: s3://{one.bucket}/{one.key} is no Parquet file: {error}") from None
            found = {name.lower(): (name, kind) for name, kind, *_ in described}
            read = ", ".join(_read(table, column, kind, found.get(column.lower()), one) for column, kind in columns)
            selects.append(f"SELECT {read} FROM {source}")
        return " UNION ALL ".join(selects)


_MILLISECONDS = "epoch_us({0}) + 500 - ((epoch_us({0}) + 500) % 1000 + 1000) % 1000"
"""Half of a millisecond is rounded up, also before 1970; in whole numbers, as a double does not hold all of them."""


def _columns(table: Table) -> list[dict[str, str]]:
    return list(table["StorageDescriptor"].get("Columns") or ())


def _read(table: str, column: str, kind: str, found: tuple[str, str] | None, file: Object) -> str:
    """Read one column of a file in its declared type. Raises QueryFailed when the file holds another type."""
    if found is None:
        return f"CAST(NULL AS {kind}) AS {quoted(column)}"
    name, stored = found
    read = _converted(quoted(name), duckdb.sqltype(stored), duckdb.sqltype(kind))
    if read is None:
        raise QueryFailed(
            f"HIVE_BAD_DATA: Field {column}'s type {stored} in parquet file s3://{file.bucket}/{file.key} is "
            f"incompatible with type {kind} defined in table schema of {table}"
        )
    return f"{read} AS {quoted(column)}"


def _converted(value: str, stored: DuckDBPyType, wanted: DuckDBPyType) -> str | None:
    """Return an expression for a value of a file in the declared type; None if the file has another type."""
    if stored.id == wanted.id == "list":
        inner = _converted("x", stored.children[0][1], wanted.children[0][1])
        return inner and f"list_transform({value}, lambda x: {inner})"
    if stored.id == wanted.id == "struct":
        found = {name.lower(): (name, kind) for name, kind in stored.children}
        fields = []
        for name, kind in wanted.children:
            of, inner_kind = found.get(name.lower(), ("", kind))
            inner = _converted(f"{value}.{quoted(of)}", inner_kind, kind) if of else f"CAST(NULL AS {kind})"
            if inner is None:
                return None
            fields.append(f"{quoted(name)} := {inner}")
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
    old, new = str(stored), str(wanted)
    if old != new and old not in WIDENED.get(new, ()) and not holds_decimal(new, old):
        return None
    if new == "TIMESTAMP":  # of milliseconds in Athena, and without a zone: instants are shown in UTC
        return f"make_timestamp({_MILLISECONDS.format(value)})"
    return value if old == new else f"CAST({value} AS {new})"
