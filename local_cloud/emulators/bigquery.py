"""Launch local-bigquery 0.3.2: BigQuery's REST and Storage APIs on DuckDB. Takes its command line."""

import argparse
import functools
import importlib.resources
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

from local_cloud.emulators import bigquery_partitions, bigquery_py311, bigquery_tables, duckdb_limits, guard

EXTENSIONS = ("ducklake", "httpfs", "icu", "spatial")


def link_extensions() -> None:
    """Put DuckDB's extensions, which come as wheels, where DuckDB looks for them below HOME.

    DuckDB would download them otherwise. Links, because copies take 150 MB.
    """
    with duckdb.connect() as connection:
        (version,) = connection.sql("SELECT library_version FROM pragma_version()").fetchone() or ("",)
        (platform,) = connection.sql("PRAGMA platform").fetchone() or ("",)
    folder = Path.home() / ".duckdb" / "extensions" / version / platform
    folder.mkdir(parents=True, exist_ok=True)
    for name in EXTENSIONS:
        filename = f"{name}.duckdb_extension"
        wheel = importlib.resources.files(f"duckdb_extension_{name}")
        link = folder / filename
        link.unlink(missing_ok=True)
        link.symlink_to(Path(str(wheel.joinpath("extensions", version, filename))))


def confined(connect: Callable[[], duckdb.DuckDBPyConnection]) -> duckdb.DuckDBPyConnection:
    """Connect, and let SQL reach the folders of this emulator and of Cloud Storage, and no other file."""
    from local_bigquery.settings import settings  # noqa: PLC0415

    connection = connect()
    bigquery_tables.attach_all(connection)
    for name in EXTENSIONS:
        connection.execute(f"LOAD {name}")
    duckdb_limits.confine(connection, filter(None, (settings.data_dir, settings.gcs_local_root)))
    return connection


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data-dir", type=Path, required=True)
    bigquery_tables.check_folder(parser.parse_known_args()[0].data_dir)
    guard.install()
    link_extensions()
    bigquery_py311.install()
    bigquery_tables.install()
    bigquery_partitions.install()  # it wraps what the other has put there
    import local_bigquery  # noqa: PLC0415  only importable once mended
    from local_bigquery.cli import main as serve  # noqa: PLC0415
    from local_bigquery.engine import database  # noqa: PLC0415

    database._connect = functools.cache(functools.partial(confined, database._connect))
    local_bigquery.app = guard.asgi(local_bigquery.app)
    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
