"""Launch local-bigquery 0.3.2: BigQuery's REST and Storage APIs on DuckDB. Takes its command line."""

import importlib.resources
import sys
from pathlib import Path

import duckdb

from local_cloud.emulators import bigquery_partitions, bigquery_py311

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


def main() -> None:
    """Serve until SIGTERM."""
    link_extensions()
    bigquery_py311.install()
    bigquery_partitions.install()
    from local_bigquery.cli import main as serve  # noqa: PLC0415  only importable once mended

    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
