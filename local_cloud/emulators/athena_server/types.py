"""Types and values: as Hive declares a column, as DuckDB holds it, and as Athena's results show it."""

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import duckdb
from duckdb.sqltypes import DuckDBPyType
from sqlglot import exp

from local_cloud.emulators.athena_server.errors import QueryFailed, not_supported

HIVE_TO_DUCKDB: Mapping[str, str] = {
    "boolean": "BOOLEAN",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}


@dataclass(frozen=True)
class Type:
    """A type of a result: its names in Athena and in Hive, with precision and scale as Athena reports them."""

    athena: str
    hive: str
    precision: int
    scale: int = 0


RESULTS: Mapping[str, Type] = {
    "BOOLEAN": Type("boolean", "boolean", 0),
    "TINYINT": Type("tinyint", "tinyint", 3),
    "SMALLINT": Type("smallint", "smallint", 5),
    "INTEGER": Type("integer", "int", 10),
    "BIGINT": Type("bigint", "bigint", 19),
    "HUGEINT": Type("bigint", "bigint", 19),  # what DuckDB's sum of whole numbers is; Athena's is a bigint
    "FLOAT": Type("float", "float", 17),
    "DOUBLE": Type("double", "double", 17),
    "VARCHAR": Type("varchar", "string", 2147483647),
    "DATE": Type("date", "date", 0),
    "TIMESTAMP": Type("timestamp", "timestamp", 3),
}
"""By DuckDB's name of the type. Arrays and rows are made of these."""

_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")

WIDENED: Mapping[str, frozenset[str]] = {
    "SMALLINT": frozenset({"TINYINT"}),
    "INTEGER": frozenset({"TINYINT", "SMALLINT"}),
    "BIGINT": frozenset({"TINYINT", "SMALLINT", "INTEGER"}),
    "DOUBLE": frozenset({"FLOAT"}),
    "TIMESTAMP": frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS"}),
}
"""By the declared type: the types of a file that Athena reads as it."""


def duckdb_type(hive: str, column: str) -> str:
    """Return DuckDB's name of a column's type. Raises QueryFailed for one that is not known."""
    return str(duckdb.sqltype(_duckdb_type(exp.DataType.build(hive, dialect="hive"), column)))


def _duckdb_type(kind: exp.DataType, column: str) -> str:
    match kind.this:
        case exp.DataType.Type.ARRAY if kind.expressions:
            return f"{_duckdb_type(kind.expressions[0], column)}[]"
        case exp.DataType.Type.STRUCT if kind.expressions:
            fields = (f'"{one.name}" {_duckdb_type(one.args["kind"], column)}' for one in kind.expressions)
            return f"STRUCT({', '.join(fields)})"
    plain = re.sub(r"^varchar\(\d+\)$", "string", hive_type(kind))
    if found := _DECIMAL.fullmatch(plain):
        return f"DECIMAL({found[1]},{found[2]})"
    try:
        return HIVE_TO_DUCKDB[plain]
    except KeyError:
        raise not_supported(f"the type {plain} of column {column}") from None


def hive_type(kind: exp.DataType) -> str:
    """Write a type as Glue keeps it."""
    return kind.sql("hive").lower().replace(": ", ":").replace(", ", ",").replace("`", "")


def is_promoted(before: str, after: str) -> bool:
    """Say whether a column of an Iceberg table can be changed to another type, both in DuckDB's names."""
    return _is_promoted(duckdb.sqltype(before), duckdb.sqltype(after))


def _is_promoted(before: DuckDBPyType, after: DuckDBPyType) -> bool:
    if before == after:
        return True
    if before.id == after.id == "list":
        return _is_promoted(before.children[0][1], after.children[0][1])
    if before.id == after.id == "struct":  # new fields come last here; Iceberg has them at any place
        pairs = zip(before.children, after.children, strict=False)
        kept = all(old == new and _is_promoted(kind, wider) for (old, kind), (new, wider) in pairs)
        return kept and len(before.children) <= len(after.children)
    names = str(before), str(after)
    return names in {("INTEGER", "BIGINT"), ("FLOAT", "DOUBLE")} or holds_decimal(names[1], names[0])


def holds_decimal(wide: str, narrow: str) -> bool:
    """Say whether a decimal has more digits than another before the point, and as many behind it."""
    one, other = _DECIMAL.fullmatch(wide.lower()), _DECIMAL.fullmatch(narrow.lower())
    return bool(one and other and int(one[1]) > int(other[1]) and one[2] == other[2])


def result_type(kind: str, column: str) -> Type:
    """Return what a result calls a type of DuckDB. Raises QueryFailed for one that Athena shows otherwise than we."""
    if kind == '"NULL"':
        raise not_supported(f"a column of unknown type, {column}", "CAST the NULL to a type.")
    return _result_type(duckdb.sqltype(kind), column)


def _result_type(kind: DuckDBPyType, column: str) -> Type:
    if kind.id == "list":
        return Type("array", f"array<{_result_type(kind.children[0][1], column).hive}>", 0)
    if kind.id == "struct":
        fields = ",".join(f"{name}:{_result_type(inner, column).hive}" for name, inner in kind.children)
        return Type("row", f"struct<{fields}>", 0)
    if found := _DECIMAL.fullmatch(str(kind).lower()):
        return Type("decimal", f"decimal({found[1]},{found[2]})", int(found[1]), int(found[2]))
    try:
        return RESULTS[str(kind)]
    except KeyError:
        raise not_supported(f"results of the type {kind}, of column {column}") from None


def shown(value: object) -> str | None:
    """Show a value as Athena's results do; None is null."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return java_double(value)
        case datetime.datetime():
            return value.isoformat(" ", "milliseconds")
        case Decimal():
            return f"{value:f}"
        case list():
            return f"[{', '.join(map(_inner, value))}]"
        case dict():
            fields = ", ".join(f"{name}={_inner(one)}" for name, one in value.items())
            return f"{{{fields}}}"
        case int():
            if not -(2**63) <= value < 2**63:
                raise QueryFailed(f"NUMERIC_VALUE_OUT_OF_RANGE: bigint overflow: {value}")
            return str(value)
        case _:
            return str(value)


def _inner(value: object) -> str:
    """Show a value within an array or a row."""
    text = shown(value)
    return "null" if text is None else text


def java_double(value: float) -> str:
    """Write a double as Java does: 4.0, 1.0E7, NaN, Infinity."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    negative, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first, *rest = map(str, digits)
    return f"{'-' if negative else ''}{first}.{''.join(rest) or '0'}E{int(exponent) + len(rest)}"
