"""Launch ministack 1.5.33: S3, DynamoDB, SQS, Lambda and Glue's catalogue, so that a kill loses nothing.

As it is, it keeps objects of S3 when it is killed, and all else only when it is stopped in peace. Here a call that
changes something is answered once the change is on disk.
"""

import argparse
import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from local_cloud.airflow_settings import known_source
from local_cloud.emulators import duckdb_limits, guard, ministack_children
from local_cloud.emulators.ministack_durable import Durable, keep_objects


def configure(host: str, port: int, data_dir: Path) -> None:
    """Set what ministack reads from its environment when it is imported."""
    scratch = data_dir / "tmp"  # it unpacks functions into the temp folder, and leaves them there
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.environ |= {
        "TMPDIR": str(scratch),
        "BIND_HOST": host,
        "GATEWAY_PORT": str(port),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(data_dir / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(data_dir / "s3"),
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",  # it would listen on a port of its own
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        # a function that a task invokes speaks to the emulators too
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }


def confine_sql(*folders: Path) -> None:
    """Let ministack's own Athena, behind ours, reach no other files. All its connections are made by `connect`."""
    connect = duckdb.connect

    def confined(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        connection = connect(*arguments, **options)
        connection.execute("SET disabled_optimizers = 'type_pushdown'")  # ministack does so too, but then it is locked
        duckdb_limits.confine(connection, folders)
        return connection

    duckdb.connect = confined


async def serve(host: str, port: int) -> None:
    """Serve until SIGTERM; all state is saved once more at the end."""
    from hypercorn.asyncio import serve as hypercorn  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack import app  # noqa: PLC0415  reads its environment when it is imported
    from ministack.core import lambda_runtime, persistence  # noqa: PLC0415
    from ministack.services import s3  # noqa: PLC0415

    known_source.check(app, persistence, lambda_runtime, s3)
    keep_objects(s3)
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    await hypercorn(guard.asgi(Durable(app)), config)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="ministack", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--data-dir", required=True, type=Path)
    options = parser.parse_args()
    guard.install()
    configure(options.host, options.port, options.data_dir)
    ministack_children.install()
    confine_sql(options.data_dir / "s3", options.data_dir / "tmp")
    asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
