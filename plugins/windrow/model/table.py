"""Table as data: how the records of a stream become rows of the warehouse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from windrow.model.contract import Contract, Kind


class Warehouse(StrEnum):
    """Where the records of a stream go."""

    BIGQUERY = "bigquery"
    """Landed in Cloud Storage, merged in BigQuery."""
    ATHENA = "athena"
    """Landed in S3, merged in an Iceberg table of Athena."""


class Write(StrEnum):
    """How the records of a run change the table. Each can be repeated and gives the same rows."""

    MERGE = "merge"
    """A record replaces the row with its key, unless the row is newer."""
    APPEND = "append"
    """The records of a run are added. Those that the same run added before are replaced."""
    REPLACE = "replace"
    """The table has the records of the newest run only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The table of a stream.

    :param key: columns that identify a row; required with `Write.MERGE`. A record with null in one of them fails the
        audit.
    :param newest_by: columns that say which of two records with the same key is newer, such as ``updated_at``. If they
        are equal, the later answer is.
    :param write: see `Write`.
    :param deleted: BOOLEAN column that marks a deleted row. Such a record sets only this column and the lineage, so the
        row keeps its last values.
    :param keep: columns of which null does not replace a value, because the API does not always send them.
    :param partition: column by whose day the table is partitioned: a DATE or a TIMESTAMP. In Athena by its month, as
        one statement of Athena writes to 100 partitions at most.
    :param cluster: columns that sort the rows within a partition; by default the key. Only for BigQuery.
    :param retired: columns of the table that are no longer in the contract, and stay for their past rows.
    :param watermark: column whose maximum is the watermark for the next run.
    :param checks: SQL expressions by name. Each must be true for the landed records of a run. They are in the SQL of
        the warehouse; for two warehouses, in SQL that both read, like ``MIN(amount) >= 0``.
    :param description: of the table.
    """

    key: tuple[str, ...] = ()
    newest_by: tuple[str, ...] = ()
    write: Write = Write.MERGE
    deleted: str = ""
    keep: tuple[str, ...] = ()
    partition: str = ""
    cluster: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    watermark: str = ""
    checks: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    def check(self, dataset: str, contract: Contract) -> None:
        """Check the declaration against the columns.

        :raises ValueError: with the name of the dataset and of the setting.
        """
        columns = {column.name: column for column in contract.columns}
        named = {
            "key": self.key,
            "newest_by": self.newest_by,
            "deleted": (self.deleted,) if self.deleted else (),
            "keep": self.keep,
            "partition": (self.partition,) if self.partition else (),
            "cluster": self.cluster,
            "watermark": (self.watermark,) if self.watermark else (),
        }
        for setting, names in named.items():
            if isinstance(names, str):
                raise ValueError(f"{dataset}: {setting} must be a tuple of columns, like ('{names}',)")
            for name in names:
                if name not in columns:
                    raise ValueError(f"{dataset}: {setting} names the column {name!r}, which is not in the contract")
        if self.write is Write.MERGE and not self.key:
            raise ValueError(f"{dataset}: write 'merge' needs a key")
        for name in (*self.key, *self.newest_by):
            if not columns[name].required:
                raise ValueError(f"{dataset}: the column {name!r} identifies rows, so it must be required")
        if self.partition and columns[self.partition].kind not in {Kind.DATE, Kind.TIMESTAMP}:
            raise ValueError(f"{dataset}: partition {self.partition!r} must be a DATE or a TIMESTAMP")
        if self.deleted and columns[self.deleted].kind is not Kind.BOOLEAN:
            raise ValueError(f"{dataset}: deleted {self.deleted!r} must be a BOOLEAN")
        if kept := sorted({*self.retired} & {*columns}):
            raise ValueError(f"{dataset}: the column {kept[0]!r} is retired, but in the contract")
