"""Airflow on the local cloud: what it shows to whom, what stays on this machine, and what a kill leaves.

It comes last of what has this Airflow, as it kills all of it; a module that follows in another order starts it again.
"""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from local_cloud import probes, processes, ready
from local_cloud.airflow_env import airflow_environment
from local_cloud.services import table
from local_cloud.settings import Settings
from tests.e2e.sleepy import Airflow
from tests.e2e.system import System, until
from tests.local_cloud.conftest import eventually, is_alive


@pytest.fixture
def airflow(system: System) -> Iterator[Airflow]:
    airflow = Airflow(system)
    eventually(airflow.is_known, "its file is parsed", 60)
    yield airflow
    if airflow.cloud.is_running():
        airflow.end()


LONG_AGO = datetime.fromtimestamp(0, UTC)


def test_all_is_healthy_and_a_dag_that_cannot_be_imported_is_reported(airflow: Airflow) -> None:
    assert airflow.cloud.states() == dict.fromkeys(airflow.cloud.states(), "healthy")
    (problem,) = until(lambda: ready.wait_for_dags(airflow.settings, LONG_AGO))
    assert problem.startswith("dags/broken.py cannot be imported")
    assert "No module named 'nowhere'" in problem


def listening(settings: Settings) -> dict[int, str]:
    """Return the ports on which processes of the local cloud listen, each with its address."""
    descriptors = [
        descriptor for pid in processes.marked(settings.var) for descriptor in Path(f"/proc/{pid}/fd").iterdir()
    ]
    sockets = {str(path.readlink()) for path in descriptors if path.is_symlink()}
    found = {}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in map(str.split, Path(file).read_text().splitlines()[1:]):
            address, _, port = fields[1].partition(":")
            # PostgreSQL may run as another user, whose sockets nobody but a tracer may read
            is_ours = f"socket:[{fields[9]}]" in sockets or int(port, 16) == settings.postgres_port
            if fields[3] == "0A" and is_ours:
                found[int(port, 16)] = address
    return found


def test_nothing_listens_beyond_loopback(airflow: Airflow) -> None:
    found = listening(airflow.settings)

    services = table(airflow.settings, os.environ)
    assert set(found) == {port.number for service in services for port in service.ports}
    assert set(found.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, also written as IPv6


EVIL = "evil.example"


@pytest.mark.parametrize("path", ["/", "/api/v2/version", "/auth/login", "/execution/health", "/nowhere"])
@pytest.mark.parametrize("host", [EVIL, f"{EVIL}:80", f"127.0.0.1.{EVIL}", "localhost@evil", "[::1"])
def test_a_page_of_elsewhere_reads_nothing_under_a_name_of_its_own(airflow: Airflow, path: str, host: str) -> None:
    answer = requests.get(airflow.settings.airflow_url + path, headers={"Host": host}, timeout=30)
    assert (answer.status_code, answer.text.startswith("The local cloud serves")) == (403, True)


def test_only_airflows_own_pages_send_anything(airflow: Airflow) -> None:
    port = airflow.settings.airflow_port

    def login(host: str, origin: str | None) -> int:
        headers = {"Host": host} | ({"Origin": origin} if origin is not None else {})
        body = {"username": "admin", "password": airflow.settings.admin_password}
        return requests.post(
            f"{airflow.settings.airflow_url}/auth/token", json=body, headers=headers, timeout=30
        ).status_code

    for name in ("127.0.0.1", "localhost", "[::1]"):
        assert login(f"{name}:{port}", f"http://{name}:{port}") == 201
        assert login(f"{name}:{port}", None) == 201
    others = (
        "null",
        "",
        f"http://{EVIL}",
        "http://127.0.0.1:1",
        f"http://localhost:{port}",
        f"https://127.0.0.1:{port}",
    )
    assert {origin: login(f"127.0.0.1:{port}", origin) for origin in others} == dict.fromkeys(others, 403)


def test_googles_clients_stay_on_the_emulators(airflow: Airflow) -> None:
    environment = airflow_environment(airflow.settings, os.environ)
    # a proxy that is not there: whoever does not go to loopback fails at once
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    script = """
        import asyncio, aiohttp
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook, BigQueryTableAsyncHook
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        hook = BigQueryHook(location="US")
        hook.create_empty_dataset(dataset_id="ds", exists_ok=True)
        hook.get_client().query("CREATE OR REPLACE TABLE ds.t AS SELECT 7 AS n").result()
        print(">", [tuple(row) for row in hook.get_records("SELECT n FROM ds.t")])
        print(">", hook.get_client().query("SELECT n FROM ds.t").to_dataframe().n.tolist())
        print(">", GCSHook().list("windrow-landing", prefix="nowhere/"))

        async def table():
            async with aiohttp.ClientSession() as session:
                hook = BigQueryTableAsyncHook()
                client = await hook.get_table_client(
                    dataset="ds", table_id="t", project_id="windrow", session=session
                )
                return (await client.get())["numRows"]

        print(">", asyncio.run(table()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=airflow.settings.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    answers = [line for line in done.stdout.splitlines() if line.startswith(">")]
    assert answers == ["> [(7,)]", "> [7]", "> []", "> 1"], done.stderr[-3000:]


def test_a_scheduler_whose_workers_were_killed_is_stuck_and_up_repairs_it(
    airflow: Airflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "STUCK_SECONDS", 10)
    for pid, command in processes.marked(airflow.settings.var).items():
        if "airflow worker" in command:  # one of those that wait holds the lock of their queue
            os.kill(pid, signal.SIGKILL)
    airflow.begin(tmp_path / "pid")

    eventually(lambda: airflow.cloud.states()["airflow-scheduler"] == "stuck", "it is reported", 60)
    assert not (tmp_path / "pid").exists()
    reports: list[str] = []
    airflow.cloud.up(reports.append)
    assert [report for report in reports if report.startswith("dags/broken.py cannot be imported")]
    eventually((tmp_path / "pid").exists, "the task runs", 60)
    assert airflow.cloud.states()["airflow-scheduler"] == "healthy"


def test_a_killed_supervisord_leaves_nothing_of_airflow(airflow: Airflow, tmp_path: Path) -> None:
    task = airflow.start_task(tmp_path / "pid")
    pids = [*processes.marked(airflow.settings.var), task]

    os.kill(int((airflow.settings.run / "supervisord.pid").read_text()), signal.SIGKILL)

    eventually(lambda: not any(map(is_alive, pids)), "all processes are gone")
    assert not airflow.cloud.down()
