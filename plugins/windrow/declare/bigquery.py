"""SQL for BigQuery from the contract and the table of a stream. Each statement can be repeated.

The texts are Jinja templates: Airflow renders them, so the page Rendered Templates shows what was sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from windrow.declare.changes import Change, Existing, Rules, all_columns, compare, table_of
from windrow.model.contract import LINEAGE, Column, Kind
from windrow.model.stream import Stream
from windrow.model.table import Table, Write

WIDER = {"INTEGER": ("NUMERIC", "BIGNUMERIC", "FLOAT"), "NUMERIC": ("BIGNUMERIC", "FLOAT")}
"""Types that a column can be changed to. Source: BigQuery's reference of ALTER COLUMN SET DATA TYPE."""
_SAME = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
LINEAGE_NAMES = tuple(column.name for column in LINEAGE)
_RUN = """'{{ run_id | replace("'", "\\\\'") }}'"""


def landing(stream: type[Stream] | Stream) -> str:
    """Return the landing table of a run."""
    return f"`{{{{ prefix() }}}}windrow_landing.{stream.dataset}_{{{{ run_id | slug }}}}`"


def final(stream: type[Stream] | Stream) -> str:
    """Return the final table, like ``shop.orders`` for the dataset ``shop_orders``."""
    source, _, noun = (stream.table_dataset or stream.dataset).partition("_")
    return f"`{{{{ prefix() }}}}{source}.{noun}`"


def create(stream: type[Stream] | Stream) -> str:
    """Return the statement that creates the final table."""
    table = table_of(stream)
    lines = ",\n".join(f"  {definition(column)}" for column in all_columns(stream))
    partition = ""
    if table.partition:
        is_date = next(column.kind is Kind.DATE for column in stream.contract.columns if column.name == table.partition)
        partition = f"PARTITION BY {quoted(table.partition) if is_date else f'DATE({quoted(table.partition)})'}\n"
    cluster = [name for name in table.cluster or table.key if name != table.partition][:4]
    clustered = f"CLUSTER BY {', '.join(map(quoted, cluster))}\n" if cluster else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {final(stream)} (\n{lines}\n)\n{partition}{clustered}"
        f"OPTIONS (description = {text(table.description)})"
    )


def changes(stream: type[Stream] | Stream, table: str, existing: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the statements that bring an existing table to the contract.

    :param table: the quoted name of the table.
    :param existing: its columns, as in BigQuery's API: mappings with ``name``, ``type``, ``mode`` and ``fields``.
    :raises SchemaConflict: a column was removed, renamed or narrowed, or has another type.
    """
    statements = {
        Change.ADD: lambda column: f"ADD COLUMN {definition(replace(column, required=False))}",
        Change.WIDEN: lambda column: f"ALTER COLUMN {quoted(column.name)} SET DATA TYPE {column.bigquery}",
        Change.ALLOW_NULL: lambda column: f"ALTER COLUMN {quoted(column.name)} DROP NOT NULL",
    }
    found = compare(stream, table, list(map(_existing, existing)), _RULES)
    return [f"ALTER TABLE {table} {statements[change](column)}" for change, column in found if change in statements]


def extended(
    stream: type[Stream] | Stream, table: str, existing: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]] | None:
    """Return all columns of a table with the new fields of RECORDs, for which BigQuery has no statement.

    :param existing: as in `changes`, which raises the same error.
    :returns: in the format of BigQuery's API; None if no RECORD has a new field.
    """
    more = {
        column.name: column
        for change, column in compare(stream, table, list(map(_existing, existing)), _RULES)
        if change is Change.EXTEND
    }
    return [_with_more(one, more[one["name"]]) if one["name"] in more else one for one in existing] if more else None


def _with_more(field: Mapping[str, Any], column: Column) -> Mapping[str, Any]:
    """Return a RECORD with the new fields of the contract at its end, all of them nullable."""
    fields = [_with_more(one, inner) for one, inner in zip(field.get("fields", ()), column.columns, strict=False)]
    new = [replace(inner, required=False).bigquery_field for inner in column.columns[len(fields) :]]
    return {**field, "fields": [*fields, *new]} if column.columns else field


def _existing(field: Mapping[str, Any]) -> Existing:
    inner = tuple(map(_existing, field.get("fields", ())))
    return Existing(field["name"], _schema_type(field), field.get("mode") == "REQUIRED", inner)


def _in_table(column: Column) -> Mapping[str, Any]:
    """Return a column of the final table. JSON is a text only in the landing table."""
    return {**column.bigquery_field, "type": column.kind.bigquery}


def _schema_type(field: Mapping[str, Any]) -> str:
    """Return the type of a column as in a message. The same type has two names in BigQuery's API."""
    kind = _SAME.get(field["type"], field["type"])
    return f"repeated {kind}" if field.get("mode") == "REPEATED" else kind


_RULES = Rules(
    warehouse="BigQuery",
    type_of=lambda column: _schema_type(_in_table(column)),
    is_wider=lambda before, after: after in WIDER.get(before, ()),
    rename="RENAME COLUMN {name} TO ...",
)


def audit(stream: type[Stream] | Stream) -> str:
    """Return the query whose one row must have only true columns before the records are merged."""
    table = table_of(stream)
    checks = {} if stream.may_be_empty else {"has_rows": "COUNT(*) > 0"}
    checks |= {f"{name}_is_set": f"COUNTIF({quoted(name)} IS NULL) = 0" for name in table.key}
    checks |= table.checks
    listed = ",\n".join(f"  COALESCE({expression}, TRUE) AS {quoted(name)}" for name, expression in checks.items())
    return f"SELECT\n{listed or '  TRUE AS is_readable'}\nFROM {landing(stream)}"


def contradiction(stream: type[Stream] | Stream) -> str:
    """Return the query for a key that has different rows in one answer, none of them newer: none of them is right."""
    table = table_of(stream)
    keys = [*map(quoted, table.key), "_key"]
    groups = ", ".join([*keys, *map(quoted, table.newest_by), "_fetched_at"])
    return (
        f"SELECT {', '.join(keys)}\nFROM {landing(stream)} AS landed\nGROUP BY {groups}\n"
        f"HAVING COUNT(DISTINCT TO_JSON_STRING(landed)) > 1\nORDER BY {', '.join(keys)}\nLIMIT 1"
    )


def write(stream: type[Stream] | Stream) -> str:
    """Return the statement that brings the landed records of a run into the final table."""
    table = table_of(stream)
    if table.write is Write.MERGE:
        return _merge(stream, table)
    names = ", ".join(quoted(column.name) for column in all_columns(stream))
    values = ", ".join(_landed(column, "") for column in all_columns(stream))
    newest = f"(SELECT COALESCE(MAX(_fetched_at), TIMESTAMP '1970-01-01') FROM {landing(stream)})"
    mine = f"final._run_id = {_RUN}"
    replaced = mine if table.write is Write.APPEND else f"({mine} OR final._fetched_at <= {newest})"
    replaced += _own_rows(stream, "final")
    # an older run that is cleared does not replace a newer one
    source = landing(stream)
    if table.write is Write.REPLACE:
        source = (
            f"(SELECT * FROM {landing(stream)} WHERE NOT EXISTS "
            f"(SELECT 1 FROM {final(stream)} AS newer WHERE newer._fetched_at > {newest}{_own_rows(stream, 'newer')}))"
        )
    return (
        f"MERGE {final(stream)} AS final\nUSING {source} AS landed\nON FALSE\n"
        f"WHEN NOT MATCHED BY SOURCE AND {replaced} THEN\n  DELETE\n"
        f"WHEN NOT MATCHED BY TARGET THEN\n  INSERT ({names})\n  VALUES ({values})"
    )


def prove(stream: type[Stream] | Stream) -> str:
    """Return the query that counts records: in the landing table, those of them in the final table, and all there."""
    table = table_of(stream)
    if table.write is Write.MERGE:
        joined = " AND ".join(
            [f"final.{quoted(name)} = landed.{quoted(name)}" for name in table.key]
            + [_not_older("final", "landed", table)]
        )
        merged = f"SELECT COUNT(*) FROM landed INNER JOIN {final(stream)} AS final ON {joined}"
    elif table.write is Write.APPEND:
        merged = f"SELECT COUNT(*) FROM {final(stream)} AS final WHERE _run_id = {_RUN}{_own_rows(stream, 'final')}"
    else:
        merged = (
            f"SELECT IF(MAX(_run_id = {_RUN}), COUNTIF(_run_id = {_RUN}), "
            f"(SELECT COUNT(*) FROM landed)) FROM {final(stream)} AS final WHERE TRUE{_own_rows(stream, 'final')}"
        )
    counts = {
        "loaded": "SELECT COUNT(*) FROM landed",
        "merged": merged,
        "total": f"SELECT COUNT(*) FROM {final(stream)}",
    }
    if table.watermark:
        counts["watermark"] = f"SELECT CAST(MAX({quoted(table.watermark)}) AS STRING) FROM landed"
    listed = ",\n".join(f"  ({query}) AS {name}" for name, query in counts.items())
    return f"WITH landed AS (SELECT * FROM {landing(stream)})\n\nSELECT\n{listed}"


def definition(column: Column) -> str:
    """Return a column of a CREATE TABLE or ADD COLUMN statement."""
    null = " NOT NULL" if column.required and not column.repeated else ""
    return f"{quoted(column.name)} {column.bigquery}{null} OPTIONS (description = {text(column.description)})"


def quoted(name: str) -> str:
    """Return a column name that may be a reserved word."""
    return f"`{name}`"


def text(value: str) -> str:
    """Return a string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _merge(stream: type[Stream] | Stream, table: Table) -> str:
    columns = [column.name for column in all_columns(stream)]
    written = {column.name: _landed(column, "landed.") for column in all_columns(stream)}
    on = [f"final.{quoted(name)} = landed.{quoted(name)}" for name in table.key]
    bounds = ""
    if table.partition in table.key:  # BigQuery then reads no other partitions
        first, last = (f"{which}_{table.partition}" for which in ("first", "last"))
        kind = next(column.kind.bigquery for column in stream.contract.columns if column.name == table.partition)
        bounds = "".join(
            f"DECLARE {name} {kind} DEFAULT (SELECT {which}({quoted(table.partition)}) FROM {landing(stream)});\n"
            for name, which in ((first, "MIN"), (last, "MAX"))
        )
        on.append(f"final.{quoted(table.partition)} BETWEEN {first} AND {last}")
    order = ", ".join([*(f"{quoted(name)} DESC" for name in table.newest_by), "_fetched_at DESC", "_key"])
    values = [name for name in columns if name not in table.key]
    newer = _not_older("landed", "final", table)
    matched = f"WHEN MATCHED AND {newer} THEN\n  UPDATE SET\n{_assigned(values, written, table)}"
    if table.deleted:
        mark = [table.deleted, *table.newest_by, *LINEAGE_NAMES[1:]]
        matched = (
            f"WHEN MATCHED AND landed.{quoted(table.deleted)} AND {newer} THEN\n"
            f"  UPDATE SET\n{_assigned(dict.fromkeys(mark), written, table)}\n{matched}"
        )
    names = ", ".join(map(quoted, columns))
    landed = ", ".join(written.values())
    keys = ", ".join(map(quoted, table.key))
    return (
        f"{bounds}MERGE {final(stream)} AS final\n"
        f"USING (\n  SELECT *\n  FROM {landing(stream)}\n  WHERE TRUE\n"
        f"  QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}) = 1\n) AS landed\n"
        f"ON {' AND '.join(on)}\n{matched}\n"
        f"WHEN NOT MATCHED THEN\n  INSERT ({names})\n  VALUES ({landed})"
    )


def _own_rows(stream: type[Stream] | Stream, alias: str) -> str:
    """Return a further condition for the rows of this dataset in a shared table. Runs of accounts have the same ids."""
    return "".join(f" AND {alias}.{quoted(name)} = {text(value)}" for name, value in stream.own_rows.items())


def _landed(column: Column, alias: str) -> str:
    """Return a column of the landing table in the type of the final table."""
    name = f"{alias}{quoted(column.name)}"
    return f"PARSE_JSON({name})" if column.kind is Kind.JSON else name


def _assigned(names: Iterable[str], written: Mapping[str, str], table: Table) -> str:
    def value(name: str) -> str:
        return f"COALESCE({written[name]}, final.{quoted(name)})" if name in table.keep else written[name]

    return ",\n".join(f"    {quoted(name)} = {value(name)}" for name in names)


def _not_older(one: str, other: str, table: Table) -> str:
    """Return the condition that a row is as new as another, or newer."""
    order: Sequence[str] = (*table.newest_by, "_fetched_at")
    condition = f"{one}.{quoted(order[-1])} >= {other}.{quoted(order[-1])}"
    for name in reversed(order[:-1]):
        mine, others = f"{one}.{quoted(name)}", f"{other}.{quoted(name)}"
        condition = f"({mine} > {others} OR ({mine} = {others} AND {condition}))"
    return condition
