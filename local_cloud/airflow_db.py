"""Airflow's metadata database: made and migrated once for each version of Airflow."""

import contextlib
import importlib.metadata
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from local_cloud import airflow_env, processes
from local_cloud.errors import ServiceFailed
from local_cloud.settings import Settings


def is_current(settings: Settings) -> bool:
    """Whether the database was migrated by the installed version: `airflow db migrate` takes seconds to see it."""
    stamp = _stamp(settings)
    return stamp.exists() and stamp.read_text() == importlib.metadata.version("apache-airflow")


def migrate(settings: Settings, environ: Mapping[str, str]) -> None:
    """Make or migrate the database. Raises ServiceFailed with the end of the output."""
    _stamp(settings).parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(settings.airflow_python), "-m", "airflow", "db", "migrate"],
        cwd=settings.root,
        env={**airflow_env.airflow_environment(settings, environ), processes.MARK: str(settings.var)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log = settings.log / "airflow-db-migrate.log"
    log.write_text(done.stdout)
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.splitlines()[-15:])
        raise ServiceFailed(f"Creating Airflow's database failed. Log: {log}. Last lines:\n  {tail}")
    _stamp(settings).write_text(importlib.metadata.version("apache-airflow"))


def end_future_jobs(settings: Settings) -> int:
    """End the components of Airflow whose last heartbeat is in the future, and return their number.

    They were killed while the clock was ahead. Airflow takes them for alive until the clock has come that far, and
    gives their tasks and triggers to no other.
    """
    url = airflow_env.database_url(settings)
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE job SET state = 'failed', end_date = now()"
            " WHERE state = 'running' AND latest_heartbeat > now() + interval '1 minute'"
        )
        return cursor.rowcount


def _stamp(settings: Settings) -> Path:
    return settings.var / "postgres" / "migrated-by"
