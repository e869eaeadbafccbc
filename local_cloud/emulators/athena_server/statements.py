"""What Athena can be asked to do, done: each statement reads or changes the catalogue and the data.

============================================  =================================================================
SELECT, WITH, VALUES                          rows, as `dialect` knows them
CREATE TABLE ... WITH (...) AS SELECT         Parquet files in a folder that must be empty, and a table on it
INSERT INTO table SELECT or VALUES            further files; new partitions are registered
CREATE EXTERNAL TABLE ... STORED AS PARQUET   a table on files that are there
CREATE TABLE with table_type ICEBERG          a table that MERGE, DELETE and INSERT change, each as a whole
MERGE INTO, DELETE FROM                       new rows of an Iceberg table; no file has the format of Iceberg
CREATE VIEW, CREATE OR REPLACE VIEW           the catalogue alone
CREATE DATABASE, DROP TABLE, DROP VIEW        the catalogue alone: no file is deleted
ALTER TABLE ADD / DROP PARTITION              the catalogue alone
ALTER TABLE SET LOCATION                      the catalogue alone
ALTER TABLE ADD COLUMNS                       the catalogue alone
ALTER TABLE CHANGE COLUMN                     the catalogue alone: a wider type in an Iceberg table
MSCK REPAIR TABLE, SHOW PARTITIONS            folders `key=value/` that are not registered; those that are
============================================  =================================================================
"""
# ruff: noqa: S608 - SQL is what this module makes; names in it are quoted, and values are literals

import shutil
import threading
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
from sqlglot import exp

from local_cloud.emulators import duckdb_limits
from local_cloud.emulators.athena_server import ddl, dialect, lake
from local_cloud.emulators.athena_server.ddl import Name
from local_cloud.emulators.athena_server.errors import QueryFailed, Refused, not_supported
from local_cloud.emulators.athena_server.lake import Lake, Partition, Table
from local_cloud.emulators.athena_server.relations import Relations, literal, quoted
from local_cloud.emulators.athena_server.types import Type, duckdb_type, result_type, shown

OPEN_PARTITIONS = 100
"""Partitions that one CTAS or INSERT may write: Athena's own limit."""
CTAS_PROPERTIES = {"format", "external_location", "partitioned_by", "write_compression", "parquet_compression"}

STRING = Type("string", "string", 0)
CHANGES = threading.Lock()
"""Held while an Iceberg table changes. Athena refuses one of two changes at the same time; here the second waits."""


@dataclass(frozen=True)
class Result:
    """What a statement gives: columns with their types, rows as text, and rows written."""

    columns: tuple[tuple[str, Type], ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()
    written: int = 0


@dataclass
class Statement:
    """One statement on its way. Make it, then `run` it, and `close` it in any case.

    :param database: the query's own, for tables without one.
    :param output: the location of its results, with a slash at its end; tables without one of their own go below.
    :param folder: for its own files while it runs.
    """

    sql: str
    database: str
    output: str
    query_id: str
    store: Lake
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A database of its own, which takes 30 ms of CPU. A statement that only changes the catalogue needs none."""
        connection = duckdb.connect(
            config={"threads": 2, "memory_limit": "2GB", "temp_directory": str(self.folder / "spill")}
        )
        connection.execute("SET TimeZone = 'UTC'")
        duckdb_limits.confine(connection, (self.folder, self.store.cache))
        return connection

    @cached_property
    def relations(self) -> Relations:
        """The tables of the catalogue, as DuckDB reads them."""
        return Relations(self.connection, self.store)

    @property
    def scanned(self) -> int:
        """Bytes that were read."""
        return self.relations.scanned if "relations" in vars(self) else 0

    def interrupt(self) -> None:
        """Stop what the database does."""
        if "connection" in vars(self):
            self.connection.interrupt()

    def close(self) -> None:
        """Let go of everything."""
        if "connection" in vars(self):
            self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> Result:
        """Run it. Raises QueryFailed; duckdb.Error where data cannot be computed with."""
        sql = self.sql.strip().rstrip(";").strip()
        for pattern, action in ((ddl.REPAIR, self._repair), (ddl.SHOW_PARTITIONS, self._show_partitions)):
            found = pattern.fullmatch(sql)
            if found:
                return action(Name.read(found["table"], self.database))
        statement = dialect.parse(sql)
        match statement:
            case exp.Query():
                return self._select(statement)
            case exp.Values():
                return self._select(exp.select("*").from_(exp.alias_(statement, "t", table=True)))
            case exp.Create() if statement.args["kind"].upper() in {"DATABASE", "SCHEMA"}:
                return self._create_database(statement)
            case exp.Create() if statement.args["kind"] == "TABLE" and not statement.args.get("replace"):
                return self._create_as(statement) if statement.expression else self._create_table(statement)
            case exp.Create() if statement.args["kind"] == "VIEW" and isinstance(statement.this, exp.Table):
                return self._create_view(statement)
            case exp.Insert() if not statement.args.get("overwrite"):
                return self._insert(statement)
            case exp.Merge() | exp.Delete():
                return self._change(statement)
            case exp.Drop() if statement.args["kind"] in {"TABLE", "VIEW"}:
                return self._drop_table(statement)
            case exp.Alter():
                return self._alter(statement)
        raise not_supported(f"the statement {' '.join(sql.split())[:60]!r}")

    # --- rows ---

    def _select(self, query: exp.Expression) -> Result:
        sql = self._bound(query)
        described = self._described(sql)
        columns = tuple((name, result_type(kind, name)) for name, kind in described)
        rows = self.connection.execute(sql).fetchall()
        return Result(columns, tuple(tuple(map(shown, row)) for row in rows))

    def _bound(self, query: exp.Expression) -> str:
        """Check a query, make its tables known to DuckDB, and write it as DuckDB reads it."""
        dialect.check(query)
        query = dialect.named(query)
        self._know_tables(query, self.database)
        return dialect.to_duckdb(query)

    def _know_tables(self, query: exp.Expression, database: str, within: tuple[str, ...] = ()) -> None:
        """Make a DuckDB view of each table and view that a query names, and name it in the query instead.

        :param within: the views that the query is part of.
        """
        for (database_of, name), mentions in dialect.tables(query, database).items():
            view = f"{database_of}.{name}"
            table = self.store.table(database_of, name)
            if table is None or view in within:
                raise QueryFailed(f"TABLE_NOT_FOUND: Table 'awsdatacatalog.{view}' does not exist")
            dialect.check_decimals(query, {column for column, kind in lake.column_types(table) if "decimal" in kind})
            rows = self._view(table, (*within, view)) if lake.is_view(table) else self.relations.sql(database_of, table)
            self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(view)} AS {rows}")
            for mention in mentions:
                alias = mention.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name, quoted=True))
                mention.replace(exp.Table(this=exp.to_identifier(view, quoted=True), alias=alias))

    def _view(self, table: Table, within: tuple[str, ...]) -> str:
        """Return the query of a view of the catalogue, as DuckDB reads it."""
        original = ddl.view_query(table)
        query = dialect.named(dialect.parse(original.sql))
        self._know_tables(query, original.database, within)
        return dialect.to_duckdb(query)

    def _described(self, sql: str) -> list[tuple[str, str]]:
        return [(name, kind) for name, kind, *_ in self.connection.execute(f"DESCRIBE {sql}").fetchall()]

    # --- writing ---

    def _create_as(self, statement: exp.Create) -> Result:
        name = Name.of(statement.this, self.database)
        location, partitioned_by = self._ctas_properties(statement)
        if self.store.table(name.database, name.table):
            if statement.args.get("exists"):
                return Result()
            raise QueryFailed(f"TABLE_ALREADY_EXISTS: Destination table 'awsdatacatalog.{name}' already exists")
        if self.store.all_objects(location):
            raise QueryFailed(
                f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{name}' already exists: {location}. You may "
                f"need to manually clean the data at location '{location}' before retrying. Athena will not delete "
                "data in your account."
            )
        sql = self._bound(statement.expression)
        columns = [
            {"Name": column.lower(), "Type": result_type(kind, column).hive} for column, kind in self._described(sql)
        ]
        names = [column["Name"] for column in columns]
        if any(column.startswith("_col") for column in names):
            raise QueryFailed("MISSING_COLUMN_NAME: line 1:1: Column name not specified")
        if len(set(names)) < len(names):
            raise QueryFailed("DUPLICATE_COLUMN_NAME: line 1:1: Column name specified more than once")
        if partitioned_by and names[-len(partitioned_by) :] != partitioned_by:
            raise QueryFailed(
                "HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table and in the same "
                f"order as the table properties: {partitioned_by}"
            )
        place = len(columns) - len(partitioned_by)
        written, partitions = self._write(sql, columns, partitioned_by, location)
        self._create(name, ddl.table_input(name, columns[:place], columns[place:], location, {"EXTERNAL": "TRUE"}))
        if partitions:
            self.store.add_partitions(name.database, self._table(name), partitions)
        return Result(written=written)

    def _ctas_properties(self, statement: exp.Create) -> tuple[str, list[str]]:
        """Return location and partition keys. Raises QueryFailed for properties that are not known."""
        location, partitioned_by = f"{self.output}tables/{self.query_id}/", []
        for one in ddl.properties(statement):
            if isinstance(one, exp.PartitionedByProperty):
                partitioned_by = [key.name.lower() for key in one.this.expressions]
                continue
            name = "format" if isinstance(one, exp.FileFormatProperty) else one.name.lower()
            value = one.this.name if isinstance(one, exp.FileFormatProperty) else one.args["value"].name
            if name not in CTAS_PROPERTIES or (name == "format" and value.upper() != "PARQUET"):
                raise not_supported(f"{name} = {value!r} of CREATE TABLE AS")
            if name.endswith("compression") and value.upper() != "SNAPPY":
                raise not_supported(f"{name} = {value!r}", "It writes SNAPPY.")
            if name == "external_location":
                location = lake.folder(value)
        lake.split(location)
        return location, partitioned_by

    def _insert(self, statement: exp.Insert) -> Result:
        is_listed = isinstance(statement.this, exp.Schema)
        name = Name.of(statement.this.this if is_listed else statement.this, self.database)
        table = self._table(name)
        if not lake.is_parquet(table):
            raise not_supported(f"INSERT into the format of table {name}", "It knows Parquet.")
        columns = [*table["StorageDescriptor"]["Columns"], *(table.get("PartitionKeys") or ())]
        source = statement.expression
        query = exp.select("*").from_(exp.alias_(source, "t", table=True)) if isinstance(source, exp.Values) else source
        sql = self._bound(query)
        if is_listed:
            sql = _in_order(sql, [one.name.lower() for one in statement.this.expressions], columns)
        described = self._described(sql)
        wanted = [duckdb_type(column["Type"], column["Name"]) for column in columns]
        given = [kind for _, kind in described]
        if len(wanted) != len(given):
            raise QueryFailed(
                f"TYPE_MISMATCH: Insert query has mismatched column types: Table: {len(wanted)} columns, "
                f"Query: {len(given)} columns"
            )
        for column, want, got in zip(columns, wanted, given, strict=True):
            if not _fits(want, got):
                raise QueryFailed(
                    f"TYPE_MISMATCH: Insert query has mismatched column types: column {column['Name']} is {want}, "
                    f"the query gives {got}"
                )
        if ddl.is_iceberg(table):
            with CHANGES:
                table = self._table(name)
                names = [quoted(column["Name"]) for column in columns]
                cast = ", ".join(f"CAST({one} AS {kind}) AS {one}" for one, kind in zip(names, wanted, strict=True))
                rows = f"SELECT {cast} FROM ({sql}) AS rows ({', '.join(names)})"
                (written,) = self.connection.execute(f"SELECT count(*) FROM ({rows})").fetchone() or (0,)
                self._replace_files(name, table, f"{self.relations.sql(name.database, table)} UNION ALL {rows}")
            return Result(written=written)
        written, partitions = self._write(sql, columns, lake.keys(table), table["StorageDescriptor"]["Location"])
        known = {one.values for one in self.store.partitions(name.database, name.table)} if partitions else set()
        self.store.add_partitions(name.database, table, [one for one in partitions if one.values not in known])
        return Result(written=written)

    def _write(
        self, sql: str, columns: Sequence[dict[str, str]], keys: Sequence[str], location: str
    ) -> tuple[int, list[Partition]]:
        """Write the rows of a query as Parquet below a location; return how many, and the partitions they are in."""
        names = [quoted(column["Name"]) for column in columns]
        types = [duckdb_type(column["Type"], column["Name"]) for column in columns]
        cast = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in zip(names, types, strict=True))
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE written AS SELECT {cast} FROM ({sql}) AS rows ({', '.join(names)})"
        )
        (count,) = self.connection.execute("SELECT count(*) FROM written").fetchone() or (0,)
        if not count:
            return 0, []
        if not keys:
            self._upload("SELECT * FROM written", location)
            return count, []
        listed = ", ".join(map(quoted, keys))
        found = self.connection.execute(f"SELECT DISTINCT {listed} FROM written ORDER BY ALL").fetchall()
        if len(found) > OPEN_PARTITIONS:
            raise QueryFailed(
                f"HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {OPEN_PARTITIONS} open writers for partitions"
            )
        partitions = []
        for values in found:
            if any(value is None for value in values):
                raise not_supported(f"a null in the partition key {listed}")
            pairs = list(zip(keys, map(str, values), strict=True))
            path = "/".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in pairs)
            where = " AND ".join(f"CAST({quoted(key)} AS VARCHAR) = {literal(value)}" for key, value in pairs)
            partition = Partition(tuple(value for _, value in pairs), f"{lake.folder(location)}{path}/")
            self._upload(f"SELECT * EXCLUDE ({listed}) FROM written WHERE {where}", partition.location)
            partitions.append(partition)
        return count, partitions

    def _upload(self, rows: str, location: str) -> None:
        file = self.folder / uuid.uuid4().hex
        self.connection.execute(f"COPY ({rows}) TO {literal(str(file))} (FORMAT PARQUET, COMPRESSION SNAPPY)")
        self.store.upload([(file, f"{lake.folder(location)}{self.query_id}_{file.name}.snappy.parquet")])
        file.unlink()

    def _change(self, statement: exp.Merge | exp.Delete) -> Result:
        """Change the rows of an Iceberg table: all of them are written again, and become the table at once."""
        target = statement.this
        name = Name.of(target, self.database)
        kind = type(statement).__name__.upper()
        with CHANGES:
            table = self._table(name)
            if not ddl.is_iceberg(table):
                raise QueryFailed(f"NOT_SUPPORTED: {kind} is not supported for table {name}: it is no Iceberg table")
            dialect.check(statement)
            alias = target.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name.table, quoted=True))
            # under a name of one part: only tables of the catalogue are looked up
            changed = exp.CTE(this=exp.select("1"), alias=exp.TableAlias(this=exp.to_identifier("changed")))
            target.replace(exp.Table(this=exp.to_identifier("changed"), alias=alias))
            statement.set("with_", exp.With(expressions=[changed]))
            self._know_tables(statement, self.database)
            statement.set("with_", None)
            self.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE changed AS {self.relations.sql(name.database, table)}"
            )
            (written,) = self.connection.execute(dialect.to_duckdb(statement)).fetchone() or (0,)
            self._replace_files(name, table, "SELECT * FROM changed")
        return Result(written=written)

    def _replace_files(self, name: Name, table: Table, rows: str) -> None:
        """Write rows below the location of an Iceberg table, and make them the table."""
        base = lake.folder(table["Parameters"].get("base", table["StorageDescriptor"]["Location"]))
        location = f"{base}data/{self.query_id}/"
        self._upload(rows, location)
        self._move(name, table, location, {**table["Parameters"], "base": base})

    # --- the catalogue ---

    def _create_database(self, statement: exp.Create) -> Result:
        if statement.args.get("properties"):
            raise not_supported("properties of CREATE DATABASE")
        name = statement.this.name.lower() or statement.this.sql().strip('`"').lower()
        try:
            self.store.glue.create_database(DatabaseInput={"Name": name})
        except self.store.glue.exceptions.AlreadyExistsException:
            if not statement.args.get("exists"):
                raise QueryFailed(f"FAILED: AlreadyExistsException: Database {name} already exists") from None
        return Result()

    def _create_table(self, statement: exp.Create) -> Result:
        name = Name.of(statement.this.this if isinstance(statement.this, exp.Schema) else statement.this, self.database)
        table = ddl.external_table(statement, name)
        if statement.args.get("exists") and self.store.table(name.database, name.table):
            return Result()
        self._create(name, table)
        return Result()

    def _create(self, name: Name, table: dict[str, object]) -> None:
        errors = self.store.glue.exceptions
        try:
            self.store.glue.create_table(DatabaseName=name.database, TableInput=table)
        except errors.AlreadyExistsException:
            raise QueryFailed(f"FAILED: AlreadyExistsException(message:Table {name} already exists)") from None
        except errors.EntityNotFoundException:
            raise QueryFailed(f"SCHEMA_NOT_FOUND: Schema '{name.database}' does not exist") from None

    def _drop_table(self, statement: exp.Drop) -> Result:
        target = statement.this or statement.args["tables"][0]
        name = Name.of(target, self.database)
        table = self.store.table(name.database, name.table)
        if table and lake.is_view(table) != (statement.args["kind"] == "VIEW"):
            raise QueryFailed(f"NOT_SUPPORTED: {name} is {'a view' if lake.is_view(table) else 'no view'}")
        try:
            self.store.glue.delete_table(DatabaseName=name.database, Name=name.table)
        except self.store.glue.exceptions.EntityNotFoundException:
            if not statement.args.get("exists"):
                raise _table_not_found(name) from None
        return Result()

    def _alter(self, statement: exp.Alter) -> Result:
        name = Name.of(statement.this, self.database)
        table = self._table(name)
        location = ddl.new_location(statement)
        if location:
            self._move(name, table, location, table.get("Parameters", {}))
            return Result()
        columns = ddl.changed_columns(statement, name, table)
        if columns is not None:
            descriptor = {**table["StorageDescriptor"], "Columns": columns}
            self._move(name, {**table, "StorageDescriptor": descriptor}, descriptor["Location"], table["Parameters"])
            return Result()
        change = ddl.partition_change(statement, table)
        known = {one.values for one in self.store.partitions(name.database, name.table)}
        for one in change.partitions:
            if (one.values in known) == change.add and not change.lenient:
                state = "already exists" if change.add else "not found"
                raise QueryFailed(f"FAILED: SemanticException: Partition {state}: {one.values}")
        if change.add:
            new = [one for one in change.partitions if one.values not in known]
            self.store.add_partitions(name.database, table, new)
        else:
            for one in change.partitions:
                if one.values in known:
                    self.store.glue.delete_partition(
                        DatabaseName=name.database, TableName=name.table, PartitionValues=list(one.values)
                    )
        return Result()

    def _move(self, name: Name, table: Table, location: str, parameters: Mapping[str, str]) -> None:
        kept = ("Name", "TableType", "PartitionKeys")
        descriptor = {**table["StorageDescriptor"], "Location": location}
        moved = {part: table[part] for part in kept if part in table}
        moved |= {"StorageDescriptor": descriptor, "Parameters": dict(parameters)}
        self.store.glue.update_table(DatabaseName=name.database, TableInput=moved)

    def _create_view(self, statement: exp.Create) -> Result:
        name = Name.of(statement.this, self.database)
        described = self._described(self._bound(statement.expression.copy()))
        columns = [{"Name": column, "Type": result_type(kind, column).hive} for column, kind in described]
        table = ddl.view_input(name, statement.expression.sql("athena"), self.database, columns)
        existing = self.store.table(name.database, name.table)
        if existing is None:
            self._create(name, table)
        elif statement.args.get("replace") and lake.is_view(existing):
            self.store.glue.update_table(DatabaseName=name.database, TableInput=table)
        else:
            raise QueryFailed(f"TABLE_ALREADY_EXISTS: View already exists: '{name}'")
        return Result()

    def _repair(self, name: Name) -> Result:
        table = self._table(name)
        known = {one.values for one in self.store.partitions(name.database, name.table)}
        new = [one for one in self.store.discovered(table) if one.values not in known]
        self.store.add_partitions(name.database, table, new)
        return Result()

    def _show_partitions(self, name: Name) -> Result:
        keys = lake.keys(self._table(name))
        known = sorted(one.values for one in self.store.partitions(name.database, name.table))
        rows = [("/".join(f"{key}={value}" for key, value in zip(keys, one, strict=True)),) for one in known]
        return Result((("partition", STRING),), tuple(rows))

    def _table(self, name: Name) -> Table:
        table = self.store.table(name.database, name.table)
        if table is None:
            raise _table_not_found(name)
        return table


def _in_order(sql: str, given: Sequence[str], columns: Sequence[Mapping[str, str]]) -> str:
    """Return a query with all columns of a table in their order; those that are not given are null."""
    names = [column["Name"] for column in columns]
    if unknown := [name for name in given if name not in names]:
        raise QueryFailed(f"COLUMN_NOT_FOUND: Insert column name does not exist in target table: {unknown[0]}")
    listed = ", ".join(
        quoted(name) if name in given else f"CAST(NULL AS {duckdb_type(column['Type'], name)}) AS {quoted(name)}"
        for name, column in zip(names, columns, strict=True)
    )
    return f"SELECT {listed} FROM ({sql}) AS given ({', '.join(map(quoted, given))})"


def _table_not_found(name: Name) -> QueryFailed:
    return QueryFailed(f"TABLE_NOT_FOUND: Table 'awsdatacatalog.{name}' does not exist")


def _fits(wanted: str, given: str) -> bool:
    """Say whether Athena inserts values of a type into a column without a cast."""
    whole = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"]
    if wanted == given or (wanted == "BIGINT" and given == "HUGEINT"):
        return True
    return wanted in whole and given in whole and whole.index(given) <= whole.index(wanted)


def statement_type(sql: str) -> str:
    """Say what kind a statement is, as Athena reports it. Raises Refused when it is no SQL."""
    text = sql.strip().rstrip(";").strip()
    if ddl.REPAIR.fullmatch(text):
        return "DDL"
    if ddl.SHOW_PARTITIONS.fullmatch(text):
        return "UTILITY"
    match dialect.parse(text):
        case exp.Query() | exp.Values() | exp.Insert() | exp.Update() | exp.Delete() | exp.Merge():
            return "DML"
        case exp.Create() | exp.Drop() | exp.Alter():
            return "DDL"
        case exp.Command() | exp.Describe():
            return "UTILITY"
    raise Refused("InvalidRequestException", f"Queries of this type are not supported: {text[:60]!r}")


class Running:
    """The statements that run now, so that one can be cancelled."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._statements: dict[str, Statement] = {}

    def add(self, statement: Statement) -> None:
        """Remember a statement."""
        with self._guard:
            self._statements[statement.query_id] = statement

    def remove(self, statement: Statement) -> None:
        """Forget it, and close it."""
        with self._guard:
            del self._statements[statement.query_id]
            statement.close()

    def interrupt(self, query_id: str) -> None:
        """Stop a statement where it is; one that has ended stays as it is."""
        with self._guard:
            if query_id in self._statements:
                self._statements[query_id].interrupt()
