"""Which files SQL in DuckDB may use."""

from collections.abc import Iterable
from pathlib import Path

import duckdb


def confine(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path]) -> None:
    """Let SQL reach these folders and no other file. After that no extension can be loaded, and nothing be set."""
    paths = {str(path) for folder in folders for path in (folder.absolute(), folder.resolve())}
    allowed = ["'" + path.replace("'", "''") + "/'" for path in sorted(paths)]
    connection.execute(f"SET allowed_directories = [{', '.join(allowed)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
