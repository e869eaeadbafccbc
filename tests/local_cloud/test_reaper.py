import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from local_cloud.testing import ROOT
from tests.local_cloud.conftest import eventually, is_alive

SLEEP = "import time; time.sleep(600)"


def start_reaper(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "local_cloud.reaper", sys.executable, *command], cwd=ROOT)


def read_pid(path: Path) -> int:
    eventually(lambda: path.exists() and path.read_text().endswith("\n"), f"{path} is written")
    return int(path.read_text())


def test_the_reaper_ends_with_the_status_of_what_it_runs() -> None:
    assert start_reaper("-c", "raise SystemExit(3)").wait(20) == 3


def test_a_process_whose_parent_ends_is_ended_while_the_rest_goes_on(tmp_path: Path) -> None:
    orphan = tmp_path / "orphan"
    # a "supervisord" whose child forks a worker and is gone: the worker loses its parent
    script = f"""
import os, time
if os.fork() == 0:
    worker = os.fork()
    if worker == 0:
        time.sleep(600)
    open({str(orphan)!r}, "w").write(f"{{worker}}\\n")
    os._exit(0)
os.wait()
time.sleep(600)
"""
    reaper = start_reaper("-c", script)
    try:
        pid = read_pid(orphan)
        eventually(lambda: not is_alive(pid), "the orphan is ended")
        assert reaper.poll() is None
    finally:
        reaper.terminate()
        reaper.wait(20)


def test_everything_ends_with_supervisord_however_it_ends(tmp_path: Path) -> None:
    pids = tmp_path / "supervisord", tmp_path / "stubborn"
    script = f"""
import os, signal, time
worker = os.fork()
if worker == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
for path, pid in (({str(pids[0])!r}, os.getpid()), ({str(pids[1])!r}, worker)):
    open(path, "w").write(f"{{pid}}\\n")
time.sleep(600)
"""
    reaper = start_reaper("-c", script)
    supervisord, stubborn = map(read_pid, pids)

    os.kill(supervisord, signal.SIGKILL)

    assert reaper.wait(20) == 128 + signal.SIGKILL
    assert not is_alive(stubborn)


def test_a_killed_reaper_takes_supervisord_along(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    reaper = start_reaper("-c", f"import os; open({str(pid)!r}, 'w').write(f'{{os.getpid()}}\\n'); {SLEEP}")
    supervisord = read_pid(pid)

    reaper.kill()
    reaper.wait()

    eventually(lambda: not is_alive(supervisord), "supervisord is gone")


def test_a_service_gets_exactly_its_environment_and_ends_with_its_parent(tmp_path: Path) -> None:
    written, spec = tmp_path / "written", tmp_path / "spec.json"
    script = f"import os; open({str(written)!r}, 'w').write(os.environ.get('PATH', '') + os.environ['ODD']); {SLEEP}"
    environment = {"ODD": '100% "quoted"\nline'}
    spec.write_text(json.dumps({"argv": [sys.executable, "-c", script], "environment": environment}))
    parent_script = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "local_cloud.run_service", {str(spec)!r}])
open({str(tmp_path / "pid")!r}, "w").write(f"{{child.pid}}\\n")
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", parent_script], cwd=ROOT)
    service = read_pid(tmp_path / "pid")
    eventually(lambda: written.exists() and bool(written.read_text()), "the service runs")

    parent.kill()
    parent.wait()

    assert written.read_text() == '100% "quoted"\nline'
    eventually(lambda: not is_alive(service), "the service ended with its parent")
