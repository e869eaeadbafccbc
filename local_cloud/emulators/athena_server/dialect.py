"""Athena's SQL, as far as it means the same in DuckDB.

Every piece of a statement must be in `KNOWN`, with each of its options. What DuckDB would run but Athena would not,
or would run with another result, is thereby refused by name.
"""

import logging
from collections.abc import Collection, Iterator, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from local_cloud.emulators.athena_server.errors import QueryFailed, Refused, not_supported

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of statements that it leaves to us

_BINARY = frozenset({"this", "expression"})
KNOWN: Mapping[type[exp.Expression], frozenset[str]] = {
    # queries
    exp.Select: frozenset({
        *("with_", "expressions", "from_", "joins", "where", "group", "having", "distinct", "order", "limit", "offset"),
    }),
    exp.Union: frozenset({"with_", "this", "expression", "distinct", "order", "limit", "offset"}),
    exp.Intersect: frozenset({"with_", "this", "expression", "distinct", "order", "limit", "offset"}),
    exp.Except: frozenset({"with_", "this", "expression", "distinct", "order", "limit", "offset"}),
    exp.Values: frozenset({"expressions", "alias"}),
    exp.Tuple: frozenset({"expressions"}),
    exp.With: frozenset({"expressions"}),
    exp.CTE: frozenset({"this", "alias"}),
    exp.Subquery: frozenset({"this", "alias"}),
    exp.From: frozenset({"this"}),
    exp.Join: frozenset({"this", "side", "kind", "on", "using"}),
    exp.Where: frozenset({"this"}),
    exp.Group: frozenset({"expressions"}),
    exp.Having: frozenset({"this"}),
    exp.Distinct: frozenset({"expressions"}),
    exp.Order: frozenset({"expressions"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Limit: frozenset({"expression"}),
    exp.Offset: frozenset({"expression"}),
    # names and values
    exp.Table: frozenset({"this", "db", "catalog", "alias"}),
    exp.TableAlias: frozenset({"this", "columns"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Star: frozenset(),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Boolean: frozenset({"this"}),
    exp.Null: frozenset(),
    exp.Paren: frozenset({"this"}),
    # conditions
    **dict.fromkeys((exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.Like), _BINARY),
    exp.Not: frozenset({"this"}),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.In: frozenset({"this", "expressions", "query"}),
    exp.Exists: frozenset({"this"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    # arithmetic and functions
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.DPipe), _BINARY | {"typed", "safe"}),
    exp.Neg: frozenset({"this"}),
    exp.Abs: frozenset({"this"}),
    exp.Round: frozenset({"this", "decimals"}),
    exp.Coalesce: frozenset({"this", "expressions"}),
    exp.Nullif: _BINARY,
    exp.Lower: frozenset({"this"}),
    exp.Upper: frozenset({"this"}),
    exp.Trim: frozenset({"this"}),
    exp.Length: frozenset({"this"}),
    exp.Substring: frozenset({"this", "start", "length"}),
    exp.Cast: frozenset({"this", "to", "_type"}),
    exp.TryCast: frozenset({"this", "to", "_type"}),
    exp.DataType: frozenset({"this"}),
    exp.CurrentDate: frozenset(),
    # changes of Iceberg tables
    exp.Merge: frozenset({"this", "using", "on", "whens"}),
    exp.Whens: frozenset({"expressions"}),
    exp.When: frozenset({"matched", "condition", "then"}),
    exp.Update: frozenset({"expressions"}),
    exp.Insert: frozenset({"this", "expression"}),
    exp.Delete: frozenset({"this", "where"}),
    exp.Var: frozenset({"this"}),
    # aggregates and windows
    exp.Count: frozenset({"this", "big_int"}),
    exp.CountIf: frozenset({"this"}),
    **dict.fromkeys((exp.Sum, exp.Avg, exp.Min, exp.Max), frozenset({"this"})),
    exp.Window: frozenset({"this", "partition_by", "order", "over"}),
    **dict.fromkeys((exp.RowNumber, exp.Rank, exp.DenseRank), frozenset()),
}
"""Each known piece, with the options of it that are known."""

CAST_TYPES = {exp.DataType.Type.DOUBLE, exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP}
"""What may be cast to. Whole numbers are rounded otherwise in Athena, and doubles are written otherwise as text."""
JOINS = {"", "INNER", "CROSS", "OUTER"}


def parse(sql: str) -> exp.Expression:
    """Read one statement. Raises Refused when it is no SQL, as Athena does before it runs anything."""
    try:
        statements = sqlglot.parse(sql, read="athena")
    except ParseError as error:
        first = error.errors[0]
        raise Refused(
            "InvalidRequestException", f"line {first['line']}:{first['col']}: {first['description']}"
        ) from None
    except SqlglotError as error:
        raise Refused("InvalidRequestException", f"Queries of this type are not supported: {error}") from None
    if len(statements) != 1 or statements[0] is None:
        raise Refused("InvalidRequestException", "Only one sql statement is allowed.")
    return statements[0]


def check(query: exp.Expression) -> None:
    """Raise QueryFailed for the first piece of a query that is not known."""
    for node in query.walk():
        kind = type(node)
        known = KNOWN.get(kind)
        if known is None:
            raise not_supported(_words(node))
        used = {name for name, value in node.args.items() if value not in (None, False, "", [])}
        if used - known:
            raise not_supported(
                f"{', '.join(sorted(used - known)).upper()} of {kind.__name__.upper()} in {_words(node)}"
            )
        _check_meaning(node)


def _check_meaning(node: exp.Expression) -> None:
    """Refuse what is known, and yet means something else in DuckDB."""
    match node:
        case exp.Cast() if node.to.this not in CAST_TYPES:
            known = "double, date and timestamp"
            raise not_supported(f"the cast {_words(node)}", f"It knows casts to {known}.")
        case exp.Div() if not (_is_double(node.this) or _is_double(node.expression)):
            raise not_supported(f"the division {_words(node)}", "Write CAST(x AS double) / y.")
        case exp.Literal() if _is_decimal(node) and not isinstance(node.parent, exp.Predicate):
            raise not_supported(f"the decimal {node.this} outside of a comparison", f"Write {node.this}E0, a double.")
        case exp.Join() if node.kind not in JOINS:
            raise not_supported(f"a {node.kind} JOIN")
        case exp.Values() if not node.alias and not isinstance(node.parent, exp.Insert | None):
            raise not_supported("VALUES without a name", "Write (VALUES ...) AS t (column, ...).")
        case exp.Table() if not isinstance(node.this, exp.Identifier):
            raise not_supported(f"the table function {_words(node)}")
        case exp.Table() if node.catalog and node.catalog.lower() != "awsdatacatalog":
            raise not_supported(f"the catalogue {node.catalog}")


def _is_decimal(node: exp.Literal) -> bool:
    return not node.is_string and "." in node.this and "e" not in node.this.lower()


def _is_double(node: exp.Expression) -> bool:
    node = node.unnest()
    if isinstance(node, exp.Literal):
        return not node.is_string and "e" in node.this.lower()
    return isinstance(node, exp.Avg) or (isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DOUBLE)


def _words(node: exp.Expression) -> str:
    """Write a piece of a statement as it stands there, shortened."""
    text = " ".join(node.sql("athena").split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def named(query: exp.Expression) -> exp.Expression:
    """Name the columns that have no name as Athena does: _col0, _col1 by their place."""
    query = query.copy()
    for select in _selects(query):
        for place, column in enumerate(select.expressions):
            if not column.is_star and not column.alias_or_name:
                select.expressions[place].replace(exp.alias_(column.copy(), f"_col{place}"))
    return query


def _selects(query: exp.Expression) -> Iterator[exp.Select]:
    """Find the SELECTs that give a query its columns."""
    if isinstance(query, exp.Select):
        yield query
    elif isinstance(query, exp.SetOperation | exp.Subquery):
        yield from _selects(query.this)


def check_decimals(query: exp.Expression, names: Collection[str]) -> None:
    """Refuse to compute with decimals: DuckDB gives results of other types, with other digits.

    :param names: of columns that are decimals, in lower case.
    """
    for node in query.find_all(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Avg, exp.Round, exp.Cast):
        for column in node.find_all(exp.Column):
            if column.name.lower() in names:
                raise not_supported(
                    f"{_words(node)}, as {column.name} is a decimal", "It compares and adds up decimals."
                )


def tables(query: exp.Expression, database: str) -> dict[tuple[str, str], list[exp.Table]]:
    """Find the tables of the catalogue that a query names, by database and name, in lower case."""
    ctes = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    found: dict[tuple[str, str], list[exp.Table]] = {}
    for table in query.find_all(exp.Table):
        if table.db or table.name.lower() not in ctes:
            found.setdefault((table.db.lower() or database, table.name.lower()), []).append(table)
    return found


def to_duckdb(query: exp.Expression) -> str:
    """Write a checked query as DuckDB reads it."""
    try:
        return query.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except SqlglotError as error:
        raise QueryFailed(f"NOT_SUPPORTED: {error}") from None
