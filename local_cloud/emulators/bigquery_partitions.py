"""Partition decorators for local-bigquery 0.3.2: `table$20260102` and `table$__PARTITIONS_SUMMARY__`.

As it is, a load or query job into `table$20260102` makes a table of that name, and says nothing. Here the
rows go into the one partition, which WRITE_TRUNCATE replaces in a transaction; rows of another partition
are refused, as BigQuery does. Listing partitions reads the summary table, which is computed.

local-bigquery has no points to extend, so the functions of its catalog are replaced: `install` is the one
place that does it, and everything else here is ordinary code.
"""
# ruff: noqa: S608 - SQL is what this module makes; the names in it are quoted, the ids match DECORATED

import contextlib
import functools
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import duckdb

from local_cloud.emulators import bigquery_py311

bigquery_py311.install()

from local_bigquery.catalog import tabledata, tables  # noqa: E402
from local_bigquery.engine import database, results  # noqa: E402
from local_bigquery.engine.database import quote  # noqa: E402
from local_bigquery.errors import BigQueryError  # noqa: E402
from local_bigquery.models import Table, TableFieldSchema, TimePartitioning  # noqa: E402

Reference = tuple[str, str, str]
"""Project, dataset and table."""

DECORATED = re.compile(r"(?P<table>[^$]+)\$(?P<partition>\d{4}|\d{6}|\d{8}|\d{10})")
SUMMARY = "$__PARTITIONS_SUMMARY__"
PARTITION_IDS = {"YEAR": "%Y", "MONTH": "%Y%m", "DAY": "%Y%m%d", "HOUR": "%Y%m%d%H"}
ATTEMPTS = 6
"""How often a replacement is tried while another transaction changes the same rows."""

_write, _get, _annotate, _list_rows = tables.write, tables.get, tables.annotate, tabledata.list_rows
_replacing: dict[Reference, threading.Lock] = {}
_replacing_guard = threading.Lock()


def partition_id(partitioning: TimePartitioning | None) -> str:
    """Return the SQL expression of the id of a row's partition. Raises BigQueryError without a column."""
    if partitioning is None or not partitioning.field:
        raise BigQueryError(
            "invalid",
            "This emulator knows partition decorators for tables partitioned by a column, not by ingestion time.",
        )
    return f"strftime({quote(partitioning.field)}, '{PARTITION_IDS[partitioning.type or 'DAY']}')"


def write(
    cur: duckdb.DuckDBPyConnection,
    query: str,
    params: dict[str, Any] | None,
    reference: Reference,
    config: tables.Destination,
    default: str = "WRITE_EMPTY",
    prefix: str = "Invalid schema update. ",
    isolated: bool = False,
) -> bool:
    """Write the rows of a query to a table or to one partition; say whether the table is new."""
    found = DECORATED.fullmatch(reference[2])
    if not found:
        return bool(_write(cur, query, params, reference, config, default, prefix, isolated))
    table = (*reference[:2], found["table"])
    staged = quote("temp", "main", f"_partition_{uuid.uuid4().hex}")
    cur.execute(f"CREATE TEMP TABLE {staged} AS {query}", params)
    try:
        with _replacing_guard:
            lock = _replacing.setdefault(table, threading.Lock())
        with lock:  # DuckDB aborts one of two replacements of a partition at the same time
            return _write_partition(cur, staged, table, found["partition"], config, default, prefix, isolated)
    finally:
        cur.execute(f"DROP TABLE IF EXISTS {staged}")


def _write_partition(
    cur: duckdb.DuckDBPyConnection,
    staged: str,
    table: Reference,
    partition: str,
    config: tables.Destination,
    default: str,
    prefix: str,
    isolated: bool,
) -> bool:
    exists = tables.exists(*table)
    partitioning = tables.load(*table).timePartitioning if exists else config.timePartitioning
    inside = f"{partition_id(partitioning)} = '{partition}'"
    rows = f"SELECT * FROM {staged}"
    if cur.execute(f"SELECT 1 FROM {staged} WHERE ({inside}) IS NOT TRUE LIMIT 1").fetchone():
        raise BigQueryError(
            "invalid", f"Some rows belong to different partitions rather than destination partition {partition}"
        )
    disposition = config.writeDisposition or default
    append = config.replace(writeDisposition="WRITE_APPEND")
    if exists and disposition == "WRITE_TRUNCATE":
        _replace(cur.sql(rows).to_arrow_table(), table, inside, append, default, prefix)
        return False
    if exists and disposition == "WRITE_EMPTY":
        taken = cur.execute(f"SELECT 1 FROM {tables.name(*table)} WHERE {inside} LIMIT 1").fetchone()
        if taken:
            raise BigQueryError("duplicate", f"Already Exists: partition {partition} of {'.'.join(table)}")
    return bool(_write(cur, rows, None, table, append, default, prefix, isolated))


def _replace(
    rows: Any,  # a pyarrow.Table; pyarrow has no types
    table: Reference,
    inside: str,
    append: tables.Destination,
    default: str,
    prefix: str,
) -> None:
    """Delete what is inside the partition and insert `rows`, in one transaction, trying again on conflict."""
    for attempt in range(ATTEMPTS):
        with database.cursor() as writer:
            writer.register("_partition", rows)
            writer.execute("BEGIN")
            try:
                writer.execute(f"DELETE FROM {tables.name(*table)} WHERE {inside}")
                _write(writer, "SELECT * FROM _partition", None, table, append, default, prefix, False)
                writer.execute("COMMIT")
            except BaseException as error:  # whatever it is, the transaction must end before the cursor is reused
                with contextlib.suppress(duckdb.Error):
                    writer.execute("ROLLBACK")
                if not isinstance(error, duckdb.TransactionException) or attempt + 1 == ATTEMPTS:
                    raise
            else:
                return
        time.sleep(0.05 * 2**attempt)


def get(
    project_id: str,
    dataset_id: str,
    table_id: str,
    selected_fields: str | None = None,
    view: str | None = None,
) -> Table:
    """Return a table; of a summary, one made up for the client to read its rows by."""
    if not table_id.endswith(SUMMARY):
        return _get(project_id, dataset_id, table_id, selected_fields, view)
    _get(project_id, dataset_id, table_id.removesuffix(SUMMARY))  # must exist
    return Table.model_validate({
        "kind": "bigquery#table",
        "id": f"{project_id}:{dataset_id}.{table_id}",
        "type": "TABLE",
        "tableReference": {"projectId": project_id, "datasetId": dataset_id, "tableId": table_id},
        "schema": {"fields": [{"name": "partition_id", "type": "STRING", "mode": "NULLABLE"}]},
    })


def list_rows(
    project_id: str,
    dataset_id: str,
    table_id: str,
    max_results: int | None,
    start: int,
    selected_fields: str | None,
    int64_timestamps: bool,
) -> tuple[results.Page, list[TableFieldSchema]]:
    """Return a page of a table's rows; of a summary, the ids of the partitions."""
    if not table_id.endswith(SUMMARY):
        page, fields = _list_rows(
            project_id, dataset_id, table_id, max_results, start, selected_fields, int64_timestamps
        )
        return page, fields
    table = (project_id, dataset_id, table_id.removesuffix(SUMMARY))
    expression = partition_id(tables.load(*table).timePartitioning)
    ids = f"SELECT DISTINCT coalesce({expression}, '__NULL__') AS partition_id FROM {tables.name(*table)}"
    numbered = f"(SELECT partition_id, row_number() OVER (ORDER BY partition_id) - 1 AS rowid FROM ({ids}))"
    with database.cursor() as cur:
        page = results.page(cur, numbered, max_results, start, ["partition_id"], int64_timestamps)
    return page, [TableFieldSchema(name="partition_id", type="STRING", mode="NULLABLE")]


def _undecorated(table_id: str) -> str:
    found = DECORATED.fullmatch(table_id)
    return found["table"] if found else table_id


def annotate(reference: Reference, changes: Table) -> None:
    """Change the metadata of a table, which all its partitions share."""
    _annotate((*reference[:2], _undecorated(reference[2])), changes)


def _of_whole_table(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of the catalog answer for the table when asked about one partition."""

    @functools.wraps(function)
    def call(project_id: str, dataset_id: str, table_id: str) -> Any:
        return function(project_id, dataset_id, _undecorated(table_id))

    return call


def install() -> None:
    """Put the functions above in the place of local-bigquery's, whose files bigquery_py311 has checked."""
    for name in ("load", "columns", "name", "exists"):
        whole = _of_whole_table(getattr(tables, name))
        setattr(tables, name, whole)
        if hasattr(tabledata, name):  # imported there by name
            setattr(tabledata, name, whole)
    tables.write, tables.get, tables.annotate = write, get, annotate
    tabledata.list_rows = list_rows
