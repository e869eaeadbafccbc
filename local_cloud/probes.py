"""Health probes: one call that says whether a service does its work now. Never raise, never wait long."""

import contextlib
import datetime
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from local_cloud.settings import LOOPBACK

Probe = Callable[[datetime.datetime], bool]
"""Given when the service was started (aware, UTC), say whether it is healthy."""

TIMEOUT = 5.0
"""Seconds a probe waits for an answer. The first request to a cold service can take a few."""


def get(port: int, path: str) -> tuple[int, bytes]:
    """GET from a service on the loopback (never through a proxy). Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def http_ok(port: int, path: str, status: http.HTTPStatus = http.HTTPStatus.OK) -> Probe:
    """Healthy when GET `path` answers with this status."""

    def probe(_: datetime.datetime) -> bool:
        try:
            return get(port, path)[0] == status
        except (OSError, http.client.HTTPException):
            return False

    return probe


def redis_pong(port: int, password: str) -> Probe:
    """Healthy when PING is answered with PONG (while it loads its data, it is not)."""

    def probe(_: datetime.datetime) -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=TIMEOUT) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [answers.readline(64), answers.readline(64)] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    return probe


def mongo_answers(url: str) -> Probe:
    """Healthy when the user that the URL names can log in."""

    def probe(_: datetime.datetime) -> bool:
        try:
            client: MongoClient[dict[str, Any]]
            with MongoClient(url, serverSelectionTimeoutMS=500, directConnection=True) as client:
                return bool(client.admin.command("ping").get("ok"))
        except PyMongoError:
            return False

    return probe


def postgres_answers(url: str) -> Probe:
    """Healthy when the user that the URL names can log in."""

    def probe(_: datetime.datetime) -> bool:
        try:
            connection = psycopg2.connect(url, connect_timeout=int(TIMEOUT))
        except psycopg2.OperationalError:
            return False
        connection.close()
        return True

    return probe


STUCK_SECONDS = 120
"""A task is started within seconds of being queued, on a busy machine within a minute."""


def airflow_executor(url: str, workers: int) -> Callable[[], str]:
    """Give why the executor starts no tasks; empty while it does, and while the database does not answer.

    Airflow queues as many tasks as there are workers. Tasks that stay queued beside idle workers are not started any
    more: a worker that was killed held the lock of the workers' queue. Airflow does not notice it. Nor does it notice
    that a component is gone which was killed while the clock was ahead.
    """
    question = (
        "SELECT count(*) FILTER (WHERE state = 'queued' AND queued_dttm < now() - %s * interval '1 second'),"
        " count(*) FILTER (WHERE state = 'running'),"
        " (SELECT count(*) FROM job WHERE state = 'running' AND latest_heartbeat > now() + interval '1 minute')"
        " FROM task_instance WHERE state IN ('queued', 'running')"
    )

    def explain() -> str:
        try:
            with contextlib.closing(psycopg2.connect(url, connect_timeout=int(TIMEOUT))) as connection:
                cursor = connection.cursor()
                cursor.execute(question, (STUCK_SECONDS,))
                queued, running, future = cursor.fetchone() or (0, 0, 0)
        except psycopg2.Error:
            return ""
        if future:
            return (
                f"Components of Airflow with a last heartbeat in the future: {future}. They were killed while the "
                "clock was ahead. Airflow gives their tasks and triggers to no other. `make up` ends them."
            )
        if not queued or running >= workers:
            return ""
        return (
            f"Tasks that are queued for more than {STUCK_SECONDS} s: {queued}. Only {running} of {workers} workers are "
            "in use: the scheduler starts no tasks. `make up` starts it again, and the tasks with it."
        )

    return explain


def touched(path: Path) -> Probe:
    """Healthy when a file was written to since the start: the service touches it while all is well."""

    def probe(started: datetime.datetime) -> bool:
        try:
            return path.stat().st_mtime > started.timestamp()
        except OSError:
            return False

    return probe


def airflow_component(port: int, component: str) -> Probe:
    """Healthy when Airflow's own health report says so, by a heartbeat newer than the start.

    The report comes from the metadata database: right after a restart it still shows the last run's heartbeats.
    """

    def probe(started: datetime.datetime) -> bool:
        try:
            status, body = get(port, "/api/v2/monitor/health")
        except (OSError, http.client.HTTPException):
            return False
        if status != http.HTTPStatus.OK:
            return False
        report: dict[str, Any] = json.loads(body)[component]
        if report["status"] != "healthy":
            return False
        heartbeat = report.get(f"latest_{component}_heartbeat")
        # the metadata database has no heartbeat of its own
        return heartbeat is None or datetime.datetime.fromisoformat(heartbeat) > started

    return probe
