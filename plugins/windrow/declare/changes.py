"""What brings an existing table to the contract of its stream, the same for every warehouse."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import zip_longest

from windrow.model.contract import LINEAGE, Column
from windrow.model.errors import SchemaConflict
from windrow.model.stream import Stream
from windrow.model.table import Table


class Change(Enum):
    """What happens to one column of a table."""

    ADD = auto()
    """The table does not have it. It is nullable, because past rows do not have it."""
    WIDEN = auto()
    """Its type becomes a wider one."""
    ALLOW_NULL = auto()
    """It is no longer required."""
    EXTEND = auto()
    """It is a RECORD, and gets more fields at its end. They are nullable, because past rows do not have them."""


@dataclass(frozen=True, slots=True)
class Existing:
    """A column of a table, or a field of a RECORD, of which ``fields`` are the fields.

    ``type`` is its type in the SQL of the warehouse, as messages show it; that of a RECORD is without its fields.
    """

    name: str
    type: str
    required: bool = False
    fields: tuple["Existing", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a warehouse can do to a column.

    :param warehouse: its name in messages.
    :param type_of: the type of a column of the final table, as `Existing` has it.
    :param is_wider: whether the first type can become the second one.
    :param rename: what renames a column: the end of an ALTER TABLE statement, with ``{name}`` and ``{type}``.
    """

    warehouse: str
    type_of: Callable[[Column], str]
    is_wider: Callable[[str, str], bool]
    rename: str


def compare(
    stream: type[Stream] | Stream, table: str, existing: Sequence[Existing], rules: Rules
) -> Iterator[tuple[Change, Column]]:
    """Yield the changes that bring a table to the contract, in the order of the columns.

    :param table: the name of the table, as messages show it.
    :raises SchemaConflict: a column was removed, renamed or narrowed, or has another type; or a field of a RECORD was
        changed, or is new and not the last one.
    """
    columns = {column.name: column for column in all_columns(stream)}
    found = {column.name: column for column in existing}
    gone = sorted(found.keys() - columns.keys() - {*table_of(stream).retired})
    if gone:
        new = sorted(columns.keys() - found.keys())
        rename = rules.rename.format(name=gone[0], type=found[gone[0]].type)
        renamed = f" If it was renamed to one of {new}, run: ALTER TABLE {table} {rename}" if new else ""
        raise SchemaConflict(
            f"The table {table} has the column {gone[0]!r}, but the contract of {stream.dataset} does not.",
            advice=f"If the API no longer sends it, add it to 'retired' of the table; past rows keep it.{renamed}",
        )
    for name, column in columns.items():
        if name not in found:
            yield Change.ADD, column
            continue
        before, after = found[name].type, rules.type_of(column)
        if before != after:
            if not rules.is_wider(before, after):
                raise SchemaConflict(
                    f"The column {name!r} of {table} is {before}, but the contract of {stream.dataset} has {after}.",
                    advice=f"{rules.warehouse} cannot change {before} to {after} and keep all values. Change the "
                    f"contract back, or give the new column another name and add {name!r} to 'retired' of the table.",
                )
            yield Change.WIDEN, column
        elif _has_more(found[name], column, rules, f"{table}, of the dataset {stream.dataset}"):
            yield Change.EXTEND, column
        if found[name].required and not column.required:
            yield Change.ALLOW_NULL, column


def _has_more(existing: Existing, column: Column, rules: Rules, table: str, path: str = "") -> bool:
    """Return whether the contract has more fields of a RECORD, or of a RECORD in it, than the table.

    :param path: where the column is, like ``customer.``.
    :raises SchemaConflict: anything else is different. Warehouses match the fields of a RECORD by their places.
    """
    more = False
    for before, after in zip_longest(existing.fields, column.columns):
        old = before and f"{before.name} {before.type}"
        new = after and f"{after.name} {rules.type_of(after)}"
        if old is None:
            more = True
        elif old != new:
            raise SchemaConflict(
                f"The field {f'{path}{column.name}.{before.name}'!r} of {table} is {before.type}, but the contract has "
                f"{new or 'no such field'} in its place.",
                advice="The fields of a RECORD can neither be removed nor renamed nor retyped, and new ones come last. "
                f"Change the contract back, or give {(path + column.name).partition('.')[0]!r} another name and add "
                "the old name to 'retired' of the table.",
            )
        elif _has_more(before, after, rules, table, f"{path}{column.name}."):
            more = True
    return more


def all_columns(stream: type[Stream] | Stream) -> tuple[Column, ...]:
    """Return the columns of the final table: those of the contract, and the lineage."""
    return (*stream.contract.columns, *LINEAGE)


def table_of(stream: type[Stream] | Stream) -> Table:
    """Return the declared table of a stream."""
    if stream.table is None:
        raise ValueError(f"{stream.dataset}: the stream declares no table")
    return stream.table
