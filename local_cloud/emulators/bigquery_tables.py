"""Tables of local-bigquery 0.3.2 in a DuckDB file a project, and look-ups whose cost does not grow.

As it is, tables are Parquet files of DuckLake. Each transaction reads and writes the catalog of DuckLake by SQL, so a
MERGE into a table of two rows takes half a second of CPU. In DuckDB's own files it takes less than half of that. What
they do not have is time travel, which is refused here.

A statement looks up each of its tables a dozen times, in lists of all tables and of all columns. Each query leaves a
table with its result, for ever, so these lists grow and every statement becomes slower. Here a table that was seen
once is looked up by its name, and only the results of the last queries are kept. What is known of datasets and tables
beside their rows is read dozens of times for a statement and seldom written: it is read once between two writes.
"""
# ruff: noqa: S608 - SQL is what this module makes; the names in it are quoted

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from local_cloud.emulators import bigquery_py311

bigquery_py311.install()

from local_bigquery.catalog import metadata, names, row_access, tables  # noqa: E402
from local_bigquery.engine import database, types  # noqa: E402
from local_bigquery.engine.database import quote  # noqa: E402
from local_bigquery.errors import BigQueryError, not_found  # noqa: E402
from local_bigquery.jobs import store  # noqa: E402
from local_bigquery.models import Job, TableFieldSchema  # noqa: E402
from local_bigquery.settings import settings  # noqa: E402
from local_bigquery.sql.rules import partitions  # noqa: E402
from sqlglot import exp  # noqa: E402

KEPT_RESULTS = 300
"""The results of so many queries can be read. A client reads its own at once, or after seconds."""

_objects, _save, _load, _alter = database.objects, store.save, store.load, tables._alter
_seen: set[tuple[str, str, str]] = set()
"""Tables that the slow look-up has found: database, schema and name, spelled as they are."""
_unfinished: dict[tuple[str, str], Job] = {}
_results: dict[str, None] = {}
"""Names of the tables with results, the oldest first."""
_results_guard = threading.Lock()


def attach(connection: duckdb.DuckDBPyConnection, project_id: str) -> None:
    """Open the file with the tables of a project; it is made if there is none."""
    path = str(_folder() / f"{project_id}.duckdb").replace("'", "''")
    connection.execute(f"ATTACH IF NOT EXISTS '{path}' AS {quote(project_id)}")
    database._attached.add(project_id)


def _folder() -> Path:
    folder = Path(settings.data_dir) / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def attach_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Open the tables of all projects, and find the results that an earlier process has left."""
    for file in _folder().glob("*.duckdb"):
        attach(connection, file.stem)
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'emulator' AND schema_name = ?", [tables.RESULTS]
    )
    _results.update(dict.fromkeys(name for (name,) in found.fetchall()))


def check_folder(data: Path) -> None:
    """Raise SystemExit for the folder of an earlier version: its tables would be missing."""
    if lakes := sorted(data.glob("*.ducklake")):
        raise SystemExit(
            f"The BigQuery of the local cloud cannot read {lakes[0]}: its tables are in the form of an earlier version "
            "of Windrow. Delete the local data with `make clean`, then start again."
        )


def projects() -> list[str]:
    """Return the projects that have a file."""
    return sorted(database._attached)


def objects(project_id: str, dataset_id: str, table_id: str | None = None) -> list[tuple[str, str, int]]:
    """Return name, kind and number of rows of a table or view, or of all of a dataset."""
    if table_id is None:
        return list(_objects(project_id, dataset_id))
    key = (project_id, dataset_id, table_id)
    of_result = key[:2] == ("emulator", tables.RESULTS)
    if of_result or key in _seen:
        with database.cursor() as cur:
            try:
                (count,) = cur.execute(f"SELECT count(rowid) FROM {quote(*key)}").fetchone() or (0,)
            except (duckdb.CatalogException, duckdb.BinderException):  # gone, or a view now
                _seen.discard(key)
            else:
                return [(table_id, "TABLE", count)]
        if of_result:
            return []
    found = list(_objects(*key))
    if [kind for _, kind, _ in found] == ["TABLE"]:
        _seen.add(key)
    return found


def columns(project_id: str, dataset_id: str, table_id: str) -> list[TableFieldSchema]:
    """Return the columns of a table or view. Raises BigQueryError when there is none."""
    physical = tables.physical(project_id, dataset_id, table_id)
    try:
        found = list(_columns(*physical))
    except duckdb.CatalogException:
        raise not_found("Table", names.label(project_id, dataset_id, table_id)) from None
    hidden = set() if dataset_id == tables.RESULTS else {tables.INGESTION_TIME}
    return [types.field(name, kind, required) for name, kind, required in found if name not in hidden]


def _columns(*table: str) -> Iterator[tuple[str, object, bool]]:
    """Yield name, type and whether the column is required. Raises CatalogException without such a table."""
    with database.cursor() as cur:
        relation = cur.sql(f"SELECT * FROM {quote(*table)} LIMIT 0")
        info = cur.execute('SELECT name FROM pragma_table_info(?) WHERE "notnull"', [quote(*table)])
        required = {name for (name,) in info.fetchall()}
        for name, kind in zip(relation.columns, relation.types, strict=True):
            yield name, kind, name in required


def alter(project_id: str, dataset_id: str, table_id: str, fields: list[TableFieldSchema]) -> None:
    """Change the columns of a table to those of a schema, also the fields of RECORDs, which local-bigquery leaves."""
    before = {field.name.casefold(): field for field in tables.columns(project_id, dataset_id, table_id)}
    _alter(project_id, dataset_id, table_id, fields)
    for field in fields:
        current = before.get(field.name.casefold())
        if current is None or not field.fields or types.duckdb_type(field) == types.duckdb_type(current):
            continue
        if not _extends(field, current):
            label = names.label(project_id, dataset_id, table_id)
            raise BigQueryError(
                "invalid", f"Provided Schema does not match Table {label}. Field {field.name} has changed"
            )
        table, kind = tables.name(project_id, dataset_id, table_id), types.duckdb_type(field)
        database.execute(f"ALTER TABLE {table} ALTER COLUMN {quote(field.name)} SET DATA TYPE {kind}")


def _extends(field: TableFieldSchema, current: TableFieldSchema) -> bool:
    """Say whether a column has all fields of another, in their order, and perhaps more at its end."""
    new, old = field.fields or [], current.fields or []
    pairs = zip(new, old, strict=False)
    return len(new) >= len(old) and all(a.name.casefold() == b.name.casefold() and _extends(a, b) for a, b in pairs)


def has_ingestion_time(table: exp.Table) -> bool:
    """Say whether a table of a statement is partitioned by the time of ingestion."""
    if not (table.catalog and table.db and isinstance(table.this, exp.Identifier)):
        return False
    try:
        with database.cursor() as cur:
            relation = cur.sql(f"SELECT * FROM {quote(table.catalog, table.db, table.name)} LIMIT 0")
            return tables.INGESTION_TIME in relation.columns
    except duckdb.Error:
        return False


class Catalog:
    """The tables of the emulator on datasets, tables and policies, which only `metadata` writes."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._writes = 0
        self._read: dict[tuple[str, ...], list[tuple[object, ...]]] = {}

    def fetch(self, sql: str, params: Sequence[str] = ()) -> list[tuple[object, ...]]:
        """Return the rows of a query, which are those of the last one if nothing was written since."""
        key, before = (sql, *params), self._writes
        if (known := self._read.get(key)) is not None:
            return list(known)
        rows = database.fetch(sql, list(params))
        with self._guard:
            if self._writes == before:  # else these rows may be from before a write
                self._read[key] = rows
        return list(rows)

    def execute(self, sql: str, params: Sequence[object] = ()) -> None:
        """Write, and forget what was read."""
        try:
            database.execute(sql, list(params))
        finally:
            with self._guard:
                self._writes += 1
                self._read.clear()


def save(job: Job) -> Job:
    """Keep a job: in memory until it is done, as its work ends with this process; then in the file.

    If the disk is full, it stays in memory: without it, whoever waits for the job would wait for ever.
    """
    key = (job.jobReference.projectId, job.jobReference.jobId)
    if job.status.state != "DONE":
        _unfinished[key] = job
        return job
    destination = job.configuration.query and job.configuration.query.destinationTable
    if destination and destination.datasetId == tables.RESULTS:
        _keep_result(tables.physical(*tables.reference(destination))[2])
    try:
        _save(job)
    except duckdb.Error as error:
        print(f"cannot write the job {key[1]}: {error}", flush=True)
        _unfinished[key] = job
    else:
        _unfinished.pop(key, None)
    return job


def load(project_id: str, job_id: str) -> Job | None:
    """Return a job; None if there is none."""
    return _unfinished.get((project_id, job_id)) or _load(project_id, job_id)


def _keep_result(name: str) -> None:
    with _results_guard:
        _results[name] = None
        surplus = list(_results)[: max(0, len(_results) - KEPT_RESULTS)]
        for each in surplus:
            del _results[each]
    for each in surplus:
        database.execute(f"DROP TABLE IF EXISTS {quote('emulator', tables.RESULTS, each)}")


def install() -> None:
    """Put the functions above in the place of local-bigquery's, whose files bigquery_py311 has checked."""
    catalog = Catalog()
    metadata.fetch, metadata.execute, row_access.fetch = catalog.fetch, catalog.execute, catalog.fetch
    database._attach, database.projects, database.objects = attach, projects, objects
    tables.columns, tables._alter = columns, alter
    partitions._hidden = has_ingestion_time
    store.save, store.load = save, load
