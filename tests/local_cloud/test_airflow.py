import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from local_cloud import probes, processes
from local_cloud.airflow_env import airflow_environment
from local_cloud.settings import Settings
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import ROOT, free_settings
from tests.local_cloud.conftest import eventually, is_alive

AIRFLOW = {"airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"}
SERVICES = {"postgres", "gcs", "bigquery", *AIRFLOW}

SLEEPY_DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def sleepy():
    @task
    def sleep(path: str):
        import os, time
        open(path, "w").write(f"{os.getpid()}\\n")
        time.sleep(600)
    sleep("{{ dag_run.conf['path'] }}")

sleepy()
"""
BROKEN_DAG = "import airflow\nfrom nowhere import dag\n"


class Airflow:
    """A running Airflow, and what it reported while it came up."""

    def __init__(self, cloud: LocalCloud, settings: Settings, reports: list[str]) -> None:
        self.cloud = cloud
        self.settings = settings
        self.reports = reports

    def post(self, path: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = requests.post(self.settings.airflow_url + path, json=body, headers=headers, timeout=30)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def start_task(self, path: Path) -> int:
        """Run the sleepy task; return the pid it writes to `path`."""
        self.trigger(path)
        eventually(lambda: path.exists() and path.read_text().endswith("\n"), "the task runs", 60)
        return int(path.read_text())

    def trigger(self, path: Path) -> None:
        login = {"username": "admin", "password": self.settings.admin_password}
        token = self.post("/auth/token", login)["access_token"]
        run = {"logical_date": None, "conf": {"path": str(path)}}
        self.post("/api/v2/dags/sleepy/dagRuns", run, token)


@pytest.fixture(scope="module")
def _airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Airflow and Google's emulators, on a project that is this one but for its DAGs."""
    root = tmp_path_factory.mktemp("project")
    for name in (".venv", ".venv-cloud", "local_cloud", "plugins"):
        (root / name).symlink_to(ROOT / name)
    (root / "dags").mkdir()
    (root / "dags" / "sleepy.py").write_text(SLEEPY_DAG)
    (root / "dags" / "broken.py").write_text(BROKEN_DAG)
    (root / "dags" / "notes.py").write_text("# neither word is here, so it is no business of the processor\n")
    settings = free_settings(root / "var", root=root, admin_password="over the sea")
    cloud = LocalCloud(settings, os.environ, SERVICES)
    reports: list[str] = []
    try:
        yield Airflow(cloud, settings, reports)
    finally:
        cloud.down()


@pytest.fixture
def airflow(_airflow: Airflow) -> Airflow:
    """The same, up: it starts before the first test, and after one that has ended it."""
    if not _airflow.cloud.is_running():
        _airflow.reports.clear()
        _airflow.cloud.up(_airflow.reports.append)
    return _airflow


def test_up_means_that_all_is_healthy_and_all_dags_are_parsed(airflow: Airflow) -> None:
    assert airflow.cloud.states() == dict.fromkeys(airflow.cloud.states(), "healthy")
    (problem,) = [line for line in airflow.reports if "cannot be imported" in line]
    assert problem.startswith("dags/broken.py cannot be imported")
    assert "No module named 'nowhere'" in problem


def test_nothing_listens_beyond_loopback(airflow: Airflow) -> None:
    descriptors = [
        descriptor for pid in processes.marked(airflow.settings.var) for descriptor in Path(f"/proc/{pid}/fd").iterdir()
    ]
    sockets = {str(path.readlink()) for path in descriptors if path.is_symlink()}
    # PostgreSQL may run as another user, whose sockets nobody but a tracer may read
    port = f":{airflow.settings.postgres_port:04X}"
    listening = [
        fields[1].partition(":")[0]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in map(str.split, Path(table).read_text().splitlines()[1:])
        if fields[3] == "0A" and (f"socket:[{fields[9]}]" in sockets or fields[1].endswith(port))
    ]

    assert len(listening) == 5  # PostgreSQL, gcs, bigquery with gRPC, the API server
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, also written as IPv6


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
        print(">", GCSHook().list("windrow-landing"))

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


def command_of(process: psutil.Process) -> str:
    """Return the command of a process, or nothing if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_killed_scheduler_takes_its_workers_and_tasks_along_and_comes_back(airflow: Airflow, tmp_path: Path) -> None:
    task = airflow.start_task(tmp_path / "pid")
    marked = processes.marked(airflow.settings.var)
    scheduler = [pid for pid, command in marked.items() if "airflow scheduler" in command]
    assert len(scheduler) == 1
    # not those of `marked`: nobody but a tracer may read the environment of a task and of the worker that has it
    below = psutil.Process(scheduler[0]).children(recursive=True)
    workers = [child.pid for child in below if "airflow worker" in command_of(child)]
    assert len(workers) >= 8
    assert task in {child.pid for child in below}

    os.kill(scheduler[0], signal.SIGKILL)

    eventually(lambda: not any(map(is_alive, [task, *workers])), "workers and task are gone")
    eventually(lambda: airflow.cloud.states()["airflow-scheduler"] == "healthy", "it is healthy again", 60)


def test_a_scheduler_whose_workers_were_killed_is_stuck_and_up_repairs_it(
    airflow: Airflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "STUCK_SECONDS", 10)
    for pid, command in processes.marked(airflow.settings.var).items():
        if "airflow worker" in command:  # one of those that wait holds the lock of their queue
            os.kill(pid, signal.SIGKILL)
    airflow.trigger(tmp_path / "pid")

    eventually(lambda: airflow.cloud.states()["airflow-scheduler"] == "stuck", "it is reported", 60)
    assert not (tmp_path / "pid").exists()
    airflow.cloud.up()
    eventually((tmp_path / "pid").exists, "the task runs", 60)
    assert airflow.cloud.states()["airflow-scheduler"] == "healthy"


def test_a_killed_supervisord_leaves_nothing_of_airflow(airflow: Airflow, tmp_path: Path) -> None:
    task = airflow.start_task(tmp_path / "pid")
    pids = [*processes.marked(airflow.settings.var), task]

    os.kill(int((airflow.settings.run / "supervisord.pid").read_text()), signal.SIGKILL)

    eventually(lambda: not any(map(is_alive, pids)), "all processes are gone")
    assert not airflow.cloud.down()
