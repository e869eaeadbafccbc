import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from local_cloud import airflow_db, airflow_env, probes
from local_cloud.settings import Settings
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import running
from tests.local_cloud.conftest import eventually, is_alive

SERVICE = {"postgres"}


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Settings]:
    with running(SERVICE, tmp_path / "var") as settings:
        yield settings


def ask(settings: Settings, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement in a transaction, and return its rows."""
    with (
        closing(psycopg2.connect(airflow_env.database_url(settings))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def test_what_was_committed_survives_a_kill(postgres: Settings) -> None:
    ask(postgres, "CREATE TABLE kept (n int)")
    for n in range(100):
        ask(postgres, "INSERT INTO kept VALUES (%s)", n)
    # its own word: for a moment, a process that it has just forked shows the same command
    victim = int((postgres.var / "postgres/data/postmaster.pid").read_text().splitlines()[0])

    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not is_alive(victim), "it is dead")
    cloud = LocalCloud(postgres, os.environ, SERVICE)
    eventually(lambda: cloud.states() == {"postgres": "healthy"}, "it is healthy again")

    assert ask(postgres, "SELECT count(*), max(n) FROM kept") == [(100, 99)]


def test_a_second_start_finds_the_data_of_the_first(tmp_path: Path) -> None:
    for n in (1, 2):
        with running(SERVICE, tmp_path / "var") as settings:
            ask(settings, "CREATE TABLE IF NOT EXISTS starts (n int)")
            ask(settings, "INSERT INTO starts VALUES (%s)", n)
            found = ask(settings, "SELECT n FROM starts ORDER BY n")
    assert found == [(1,), (2,)]


def test_nobody_gets_in_without_the_password(postgres: Settings) -> None:
    for password in ("", "guessed"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(
                host="127.0.0.1", port=postgres.postgres_port, user="airflow", password=password, dbname="postgres"
            )


def test_a_statement_that_fails_is_not_in_the_log(postgres: Settings) -> None:
    with pytest.raises(psycopg2.errors.UndefinedTable):
        ask(postgres, "INSERT INTO nowhere VALUES (%s)", "s3cr3t")

    log = postgres.log / "postgres.log"
    # supervisord copies what a service prints: the line may come after the reply, and with it what stands beside it
    eventually(lambda: 'relation "nowhere" does not exist' in log.read_text(), "the error is in the log")
    ask(postgres, "DO $$ BEGIN RAISE WARNING 'after the statement'; END $$")
    eventually(lambda: "after the statement" in log.read_text(), "all that was printed before is in the log")
    assert "s3cr3t" not in log.read_text()


def test_tasks_that_stay_queued_beside_idle_workers_are_reported(postgres: Settings) -> None:
    explain = probes.airflow_executor(airflow_env.database_url(postgres), workers=2)
    assert not explain(), "there is no table yet"
    ask(postgres, "CREATE TABLE task_instance (state text, queued_dttm timestamptz)")
    ask(postgres, "CREATE TABLE job (state text, latest_heartbeat timestamptz, end_date timestamptz)")
    task = "INSERT INTO task_instance VALUES (%s, now() - %s * interval '1 second')"
    ask(postgres, task, "running", 900)
    ask(postgres, task, "queued", 5)
    assert not explain(), "it was queued a moment ago"
    ask(postgres, task, "queued", probes.STUCK_SECONDS + 5)
    assert explain().startswith("Tasks that are queued for more than 120 s: 1. Only 1 of 2 workers are in use")
    ask(postgres, task, "running", 900)
    assert not explain(), "all workers are in use"

    job = "INSERT INTO job VALUES (%s, now() + %s * interval '1 hour', NULL)"
    ask(postgres, job, "running", 0)
    ask(postgres, job, "success", 48)
    assert not explain(), "a component that has ended waits for nothing"
    ask(postgres, job, "running", 48)
    assert "with a last heartbeat in the future: 1." in explain()
    assert airflow_db.end_future_jobs(postgres) == 1
    assert not explain()
