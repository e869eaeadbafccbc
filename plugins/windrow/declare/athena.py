"""SQL for Athena from the contract of a stream: the table of its landed files. Each statement can be repeated.

A landed table has a partition for each run, ``dt`` and ``run``, whose location is the landing of the run. The texts are
Jinja templates, as those of `windrow.declare.bigquery`.
"""

from windrow.declare.bigquery import all_columns
from windrow.model.contract import Column
from windrow.model.stream import Stream

DAY, RUN = "{{ dag_run.run_after | ds }}", "{{ run_id | slug }}"


def landed(stream: type[Stream]) -> str:
    """Return the name of the landed table in DDL, like ```shop_landed`.`orders``` for the dataset ``shop_orders``."""
    source, _, noun = stream.dataset.partition("_")
    return f"`{{{{ prefix() }}}}{source}_landed`.`{noun}`"


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
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {landed(stream)} (\n{columns}\n)\n"
        f"COMMENT {text(f'{description} As landed, one row for each run.')}\n"
        f"PARTITIONED BY (dt string, run string)\nSTORED AS PARQUET\nLOCATION '{_folder(stream, bucket)}'"
    )


def register(stream: type[Stream], bucket: str) -> str:
    """Return the statement that makes the files of a run visible."""
    return (
        f"ALTER TABLE {landed(stream)} ADD IF NOT EXISTS\nPARTITION (dt = '{DAY}', run = '{RUN}')\n"
        f"LOCATION '{_folder(stream, bucket)}dt={DAY}/run={RUN}/'"
    )


def definition(column: Column) -> str:
    """Return a column of a CREATE TABLE statement."""
    return f"`{column.name}` {column.athena} COMMENT {text(column.description)}"


def text(value: str) -> str:
    """Return a string literal."""
    return "'" + value.replace("'", "''") + "'"


def _folder(stream: type[Stream], bucket: str) -> str:
    return f"s3://{bucket}/{stream.dataset.replace('_', '/', 1)}/"
