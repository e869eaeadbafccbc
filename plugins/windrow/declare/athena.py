"""SQL for Athena from the contract and the table of a stream. Each statement can be repeated.

A landed table has a partition for each run, ``dt`` and ``run``, whose location is the landing of the run. A final table
is an Iceberg table: only these have MERGE and DELETE. The texts are Jinja templates, as those of
`windrow.declare.bigquery`; so are the names in `Table`, but ``checks`` are expressions in the SQL of Athena.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from windrow.declare.changes import Change, Existing, Rules, all_columns, compare, table_of
from windrow.model.contract import Column
from windrow.model.stream import Stream
from windrow.model.table import Table, Write

LONGEST = 262_144
"""Bytes that a statement may have. Source: Athena's service quotas; it cannot be increased."""
_COMMENT = 255
"""Bytes that the comment of a column may have. Source: Glue's API, Column."""
_WIDER = {"int": "bigint", "float": "double"}
"""Types that a column of an Iceberg table can be changed to. Source: Athena's guide, evolve Iceberg table schema."""
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")

DAY, RUN = "{{ dag_run.run_after | ds }}", "{{ run_id | slug }}"
_OF_RUN = f"dt = '{DAY}' AND run = '{RUN}'"
_RUN_ID = """'{{ run_id | replace("'", "''") }}'"""

_DDL = "`"
"""Quotes names in DDL, which is of Hive; queries are of Trino."""


def databases(stream: type[Stream]) -> tuple[str, ...]:
    """Return the statements that create the databases of the landed and of the final table."""
    source = stream.dataset.partition("_")[0]
    return tuple(f"CREATE DATABASE IF NOT EXISTS `{{{{ prefix() }}}}{source}{suffix}`" for suffix in ("_landed", ""))


def landed(stream: type[Stream], quote: str = '"') -> str:
    """Return the name of the landed table, like ``"shop_landed"."orders"`` for the dataset ``shop_orders``.

    :param quote: a double quote in queries, a backtick in DDL.
    """
    source, _, noun = stream.dataset.partition("_")
    return f"{quote}{{{{ prefix() }}}}{source}_landed{quote}.{quote}{noun}{quote}"


def create(stream: type[Stream], bucket: str) -> str:
    """Return the statement that creates the landed table.

    :param bucket: the S3 bucket of the landing, without ``s3://``.
    :raises ValueError: a column has the name of a partition.
    """
    if taken := {"dt", "run"} & {column.name for column in stream.contract.columns}:
        raise ValueError(
            f"{stream.dataset}: the column {min(taken)!r} has the name of a partition of the landed table; rename it"
        )
    columns = ",\n".join(f"  {definition(column)}" for column in all_columns(stream))
    description = stream.table.description if stream.table else (stream.__doc__ or "").partition("\n")[0]
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {landed(stream, _DDL)} (\n{columns}\n)\n"
        f"COMMENT {text(f'{description} As landed, one row for each run.')}\n"
        f"PARTITIONED BY (dt string, run string)\nSTORED AS PARQUET\nLOCATION '{_folder(stream, bucket)}'"
    )


def unregister(stream: type[Stream]) -> str:
    """Return the statement that hides the files of a run. A partition keeps the columns that it was registered with."""
    return f"ALTER TABLE {landed(stream, _DDL)} DROP IF EXISTS PARTITION (dt = '{DAY}', run = '{RUN}')"


def register(stream: type[Stream], bucket: str) -> str:
    """Return the statement that makes the files of a run visible."""
    return (
        f"ALTER TABLE {landed(stream, _DDL)} ADD IF NOT EXISTS\nPARTITION (dt = '{DAY}', run = '{RUN}')\n"
        f"LOCATION '{_folder(stream, bucket)}dt={DAY}/run={RUN}/'"
    )


def final(stream: type[Stream], quote: str = '"') -> str:
    """Return the name of the final table, like ``"shop"."orders"`` for the dataset ``shop_orders``.

    :param quote: a double quote in queries, a backtick in DDL.
    """
    source, _, noun = (stream.table_dataset or stream.dataset).partition("_")
    return f"{quote}{{{{ prefix() }}}}{source}{quote}.{quote}{noun}{quote}"


def create_final(stream: type[Stream], bucket: str) -> str:
    """Return the statement that creates the final table.

    :param bucket: the S3 bucket of its files, without ``s3://``.
    """
    table = table_of(stream)
    columns = ",\n".join(f"  {definition(column)}" for column in all_columns(stream))
    # a statement writes to 100 partitions at most: by day, a first run of four months would fail
    partition = f"PARTITIONED BY (month(`{table.partition}`))\n" if table.partition else ""
    source, _, noun = (stream.table_dataset or stream.dataset).partition("_")
    return (
        f"CREATE TABLE IF NOT EXISTS {final(stream, _DDL)} (\n{columns}\n)\n{partition}"
        f"LOCATION 's3://{bucket}/{{{{ prefix() }}}}tables/{source}/{noun}/'\nTBLPROPERTIES ('table_type' = 'ICEBERG')"
    )


def changes(stream: type[Stream] | Stream, table: str, existing: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the statements that bring an existing final table to the contract.

    :param table: the name of the table, quoted for DDL.
    :param existing: its columns, as in Glue's API: mappings with ``Name``, ``Type`` and ``Parameters``.
    :raises SchemaConflict: a column was removed, renamed or narrowed, or has another type.
    """
    # Glue also lists the columns that an Iceberg table once had
    current = [one for one in existing if one.get("Parameters", {}).get("iceberg.field.current") != "false"]
    found = [_existing(one["Name"], _spelled(one["Type"])) for one in current]

    def changed(column: Column) -> str:
        return f"CHANGE COLUMN `{column.name}` {definition(column, with_comment=False)}"

    statements = {
        Change.ADD: lambda column: f"ADD COLUMNS ({definition(column, with_comment=False)})",
        Change.WIDEN: changed,
        Change.EXTEND: changed,
    }
    return [
        f"ALTER TABLE {table} {statements[change](column)}" for change, column in compare(stream, table, found, _RULES)
    ]


def columns(stream: type[Stream]) -> list[dict[str, str]]:
    """Return the columns of the landed table, as in Glue's API."""
    return [
        {"Name": column.name, "Type": column.athena, "Comment": _comment(column.description)}
        for column in all_columns(stream)
    ]


def has_columns(stream: type[Stream], existing: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a landed table has the columns of the contract, by names and types as in Glue's API."""
    found = {one["Name"]: _spelled(one["Type"]) for one in existing}
    return found == {column.name: column.athena for column in all_columns(stream)}


def check_length(stream: type[Stream], statements: Sequence[str]) -> None:
    """Check that Athena accepts the statements by their length.

    :raises ValueError: one is too long.
    """
    longest = max(len(statement.encode()) for statement in statements)
    if longest > LONGEST:
        raise ValueError(
            f"{stream.dataset}: with {len(stream.contract.columns):,} columns a statement for Athena has {longest:,} "
            f"bytes, and Athena accepts {LONGEST:,}; make some of the columns one column of the kind JSON"
        )


def audit(stream: type[Stream]) -> str:
    """Return the query whose one row must have only true columns before the records are merged."""
    table = table_of(stream)
    checks = {} if stream.may_be_empty else {"has_rows": "count(*) > 0"}
    checks |= {f"{name}_is_set": f"count_if({_quoted(name)} IS NULL) = 0" for name in table.key}
    checks |= table.checks
    listed = ",\n".join(f"  coalesce({expression}, TRUE) AS {_quoted(name)}" for name, expression in checks.items())
    return f"SELECT\n{listed or '  TRUE AS is_readable'}\nFROM {landed(stream)}\nWHERE {_OF_RUN}"


def contradiction(stream: type[Stream]) -> str:
    """Return the query for a key that has different rows in one answer, none of them newer: none of them is right."""
    table = table_of(stream)
    keys = ", ".join(map(_quoted, [*table.key, "_key"]))
    groups = ", ".join([keys, *map(_quoted, table.newest_by), "_fetched_at"])
    names = ", ".join(_quoted(column.name) for column in all_columns(stream))
    return (
        f"SELECT {keys}\nFROM (SELECT DISTINCT {names} FROM {landed(stream)} WHERE {_OF_RUN}) AS landed\n"
        f"GROUP BY {groups}\nHAVING count(*) > 1\nORDER BY {keys}\nLIMIT 1"
    )


def write(stream: type[Stream]) -> tuple[str, ...]:
    """Return the statements that bring the landed records of a run into the final table, in their order.

    A merge is one statement. The others are two, as Athena's MERGE cannot delete what is not landed: between them the
    table lacks the rows that are replaced, and a repetition completes it.
    """
    table = table_of(stream)
    if table.write is Write.MERGE:
        return (_merge(stream, table),)
    names = ", ".join(_quoted(column.name) for column in all_columns(stream))
    replaced, newer, own = f"_run_id = {_RUN_ID}", "", _own_rows(stream)
    if table.write is Write.REPLACE:  # an older run that is cleared does not replace a newer one
        newest = (
            f"(SELECT coalesce(max(_fetched_at), CAST('1970-01-01 00:00:00' AS timestamp)) FROM {landed(stream)} "
            f"WHERE {_OF_RUN})"
        )
        replaced = f"({replaced} OR _fetched_at <= {newest})"
        newer = f" AND NOT EXISTS (SELECT 1 FROM {final(stream)} WHERE _fetched_at > {newest}{own})"
    return (
        f"DELETE FROM {final(stream)}\nWHERE {replaced}{own}",
        f"INSERT INTO {final(stream)} ({names})\nSELECT {names}\nFROM {landed(stream)}\nWHERE {_OF_RUN}{newer}",
    )


def prove(stream: type[Stream]) -> str:
    """Return the query that counts records: landed ones of the run, those of them in the final table, and all there.

    A stream without a table is read where it landed: all of its landed records count as merged.
    """
    table, own = stream.table, _own_rows(stream)
    loaded = f"SELECT count(*) FROM {landed(stream)} WHERE {_OF_RUN}"
    if table is None:
        merged = loaded
    elif table.write is Write.MERGE:
        joined = [f"kept.{_quoted(name)} = landed.{_quoted(name)}" for name in table.key]
        joined.append(_not_older("kept", "landed", table))
        merged = (
            f"SELECT count(*) FROM {landed(stream)} AS landed INNER JOIN {final(stream)} AS kept "
            f"ON {' AND '.join(joined)} WHERE landed.dt = '{DAY}' AND landed.run = '{RUN}'"
        )
    elif table.write is Write.APPEND:
        merged = f"SELECT count(*) FROM {final(stream)} WHERE _run_id = {_RUN_ID}{own}"
    else:
        merged = (
            f"SELECT CASE WHEN count_if(_run_id = {_RUN_ID}) > 0 THEN count_if(_run_id = {_RUN_ID}) "
            f"ELSE ({loaded}) END FROM {final(stream)} WHERE TRUE{own}"
        )
    counts = {
        "loaded": loaded,
        "merged": merged,
        "total": f"SELECT count(*) FROM {landed(stream) if table is None else final(stream)}",
    }
    if table is not None and table.watermark:
        counts["watermark"] = f"SELECT max({_quoted(table.watermark)}) FROM {landed(stream)} WHERE {_OF_RUN}"
    listed = ",\n".join(f"  ({query}) AS {name}" for name, query in counts.items())
    return f"SELECT\n{listed}"


def definition(column: Column, *, with_comment: bool = True) -> str:
    """Return a column of a CREATE TABLE or ALTER TABLE statement."""
    kind = re.sub(r"(\w+):", r"`\1`:", column.athena)
    return f"`{column.name}` {kind}" + (f" COMMENT {text(_comment(column.description))}" if with_comment else "")


def _comment(description: str) -> str:
    """Return a description as Glue accepts it: in one line, and not too long."""
    return " ".join(description.split()).encode()[:_COMMENT].decode(errors="ignore")


def _spelled(kind: str) -> str:
    """Return a type as `Column.athena` writes it. Glue keeps the spaces of a statement."""
    return kind.lower().replace(" ", "").replace("`", "")


def _existing(name: str, kind: str) -> Existing:
    """Return a column of a table, or a field, by its type like ``array<struct<city:string>>``."""
    is_array = kind.startswith("array<")
    one = kind[len("array<") : -1] if is_array else kind
    if not one.startswith("struct<"):
        return Existing(name, kind)
    fields, begin, depth = [], len("struct<"), 0
    for place, sign in enumerate(one[begin:], begin):
        if depth == 0 and (sign == "," or place == len(one) - 1):
            inner, _, of = one[begin:place].partition(":")
            fields.append(_existing(inner, of))
            begin = place + 1
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(sign, 0)
    return Existing(name, "array<struct>" if is_array else "struct", fields=tuple(fields))


def _without_fields(column: Column) -> str:
    return _existing(column.name, column.athena).type


def _is_wider(before: str, after: str) -> bool:
    """Return whether an Iceberg table can change a type to another: of a decimal only the precision can grow."""
    old, new = _DECIMAL.fullmatch(before), _DECIMAL.fullmatch(after)
    if old and new:
        return int(new[1]) > int(old[1]) and new[2] == old[2]
    return _WIDER.get(before) == after


_RULES = Rules(
    warehouse="Athena",
    type_of=_without_fields,
    is_wider=_is_wider,
    rename="CHANGE COLUMN {name} ... {type}",
)


def _own_rows(stream: type[Stream]) -> str:
    """Return a further condition for the rows of this dataset in a shared table. Runs of accounts have the same ids."""
    texts = {name: value.replace("'", "''") for name, value in stream.own_rows.items()}
    return "".join(f" AND {_quoted(name)} = '{value}'" for name, value in texts.items())


def text(value: str) -> str:
    """Return a string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _merge(stream: type[Stream], table: Table) -> str:
    names = [column.name for column in all_columns(stream)]
    listed = ", ".join(map(_quoted, names))
    order = ", ".join([*(f"{_quoted(name)} DESC" for name in table.newest_by), "_fetched_at DESC", "_key"])
    values = ", ".join(f"landed.{_quoted(name)}" for name in names)
    newer = _not_older("landed", "kept", table)
    matched = [
        f"WHEN MATCHED AND {newer} THEN UPDATE SET\n{_assigned([n for n in names if n not in table.key], table)}"
    ]
    if table.deleted:
        mark = dict.fromkeys([table.deleted, *table.newest_by, "_key", "_fetched_at", "_run_id"])
        matched.insert(
            0,
            f"WHEN MATCHED AND landed.{_quoted(table.deleted)} AND {newer} THEN UPDATE SET\n"
            f"{_assigned([name for name in mark if name not in table.key], table)}",
        )
    return (
        f"MERGE INTO {final(stream)} AS kept\nUSING (\n  SELECT {listed}\n  FROM (\n"
        f"    SELECT {listed}, row_number() OVER (PARTITION BY {', '.join(map(_quoted, table.key))} ORDER BY {order}) "
        f"AS _place\n    FROM {landed(stream)}\n    WHERE {_OF_RUN}\n  ) AS placed\n  WHERE _place = 1\n) AS landed\n"
        f"ON {' AND '.join(f'kept.{_quoted(name)} = landed.{_quoted(name)}' for name in table.key)}\n"
        + "\n".join(matched)
        + f"\nWHEN NOT MATCHED THEN INSERT ({listed})\nVALUES ({values})"
    )


def _assigned(names: Sequence[str], table: Table) -> str:
    def value(name: str) -> str:
        landed = f"landed.{_quoted(name)}"
        return f"coalesce({landed}, kept.{_quoted(name)})" if name in table.keep else landed

    return ",\n".join(f"  {_quoted(name)} = {value(name)}" for name in names)


def _not_older(one: str, other: str, table: Table) -> str:
    """Return the condition that a row is as new as another, or newer."""
    order = [*map(_quoted, table.newest_by), "_fetched_at"]
    condition = f"{one}.{order[-1]} >= {other}.{order[-1]}"
    for name in reversed(order[:-1]):
        condition = f"({one}.{name} > {other}.{name} OR ({one}.{name} = {other}.{name} AND {condition}))"
    return condition


def _quoted(name: str) -> str:
    """Return a column name of a query. A CREATE TABLE has backticks instead."""
    return f'"{name}"'


def _folder(stream: type[Stream], bucket: str) -> str:
    return f"s3://{bucket}/{stream.dataset.replace('_', '/', 1)}/"
