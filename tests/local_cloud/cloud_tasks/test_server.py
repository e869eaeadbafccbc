"""Tokens, restarts, ports, and the way from Airflow."""

import importlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import google.auth.exceptions
import pytest
from google.api_core import exceptions

from local_cloud import ports
from local_cloud.airflow_env import airflow_environment
from local_cloud.settings import Settings
from local_cloud.testing import ROOT, running
from tests.local_cloud.cloud_tasks.bench import ACCOUNT, Answer, Bench, Worker, in_seconds, launch, launched
from tests.local_cloud.conftest import eventually, is_alive, pid_of

# --- tokens ------------------------------------------------------------------------------------


def test_a_token_stands_googles_own_verification(bench: Bench) -> None:
    bench.make()
    bench.add(request={"oidc_token": {"service_account_email": ACCOUNT, "audience": "https://fetch.example"}})
    (call,) = bench.called(1)

    claims = bench.verified(call.token, "https://fetch.example")

    assert claims["iss"] == "https://accounts.google.com"
    assert (claims["email"], claims["email_verified"]) == (ACCOUNT, True)
    assert claims["sub"].isdecimal()
    assert claims["exp"] - claims["iat"] == 3600
    with pytest.raises(google.auth.exceptions.InvalidValue, match="wrong audience"):
        bench.verified(call.token, "https://other.example")
    header, payload, signature = call.token.split(".")
    with pytest.raises(google.auth.exceptions.MalformedError, match="signature"):
        bench.verified(f"{header}.{payload}.{signature[::-1]}", "https://fetch.example")


def test_the_audience_of_a_token_is_the_url_unless_given(bench: Bench) -> None:
    bench.make()
    bench.add(request={"headers": {"authorization": "mine"}, "oidc_token": {"service_account_email": ACCOUNT}})

    (call,) = bench.called(1)

    assert bench.verified(call.token, bench.worker.url + bench.path)["aud"] == bench.worker.url + bench.path


# --- stopping and starting ---------------------------------------------------------------------


def test_a_kill_loses_no_task(tmp_path: Path, worker: Worker) -> None:
    var = tmp_path / "var"
    with running({"cloud-tasks"}, var) as settings:
        bench = Bench(settings.cloud_tasks_port, settings.cloud_tasks_http_port, worker)
        bench.make({"max_dispatches_per_second": 50}, max_attempts=50)
        released = threading.Event()
        worker.answers[bench.path] = lambda call, _: Answer(
            # the first attempt of this one is in flight when the kill comes
            seconds=30 if call.task == "stuck" and not released.is_set() else 0
        )
        bench.add("stuck", request={"oidc_token": {"service_account_email": ACCOUNT, "audience": "a"}})
        (first,) = bench.called(1)
        released.set()
        later = bench.add("later", schedule_time=in_seconds(3600))
        names = {bench.add().rpartition("/")[2] for _ in range(200)}
        bench.called(100)
        executed = bench.calls[1].task
        eventually(lambda: bench.report()["done"] >= 1, "the first is done")
        assert bench.report()["waiting"] > 0
        victim = pid_of(var, "emulators.cloud_tasks")

        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not is_alive(victim), "it is dead")

        eventually(lambda: {call.task for call in bench.calls} >= names, "all have been called")
        eventually(lambda: [call.task for call in bench.calls].count("stuck") == 2, "what was in flight comes again")
        (again,) = [call for call in bench.calls[1:] if call.task == "stuck"]
        assert again.headers["X-CloudTasks-TaskRetryCount"] == "1"
        eventually(lambda: bench.report()["done"] == 201, "all are done")
        assert bench.verified(first.token, "a")["email"] == ACCOUNT  # the key is still the same
        assert [task.name for task in bench.client.list_tasks(parent=bench.name)] == [later]
        assert bench.client.get_queue(name=bench.name).retry_config.max_attempts == 50
        with pytest.raises(exceptions.AlreadyExists, match="too recently"):
            bench.add(executed)


def test_an_orderly_stop_lets_attempts_end_and_all_is_kept(tmp_path: Path, worker: Worker) -> None:
    with launched(tmp_path, worker) as bench:
        bench.make(max_attempts=1)
        bench.answer(Answer(500), Answer(200, seconds=0.5))
        bench.add("hopeless")
        bench.called(1)
        bench.add("slow")
        bench.called(2)
        eventually(lambda: bench.report()["gave_up"] == 1, "the first is given up")
        bench.client.pause_queue(name=bench.name)

    with launched(tmp_path, worker) as again:
        again.name = bench.name
        report = again.report()

    assert (report["state"], report["dispatched"], report["done"], report["gave_up"]) == ("PAUSED", 2, 1, 1)
    assert report["given_up"][0]["name"] == f"{bench.name}/tasks/hopeless"
    assert (tmp_path / "signing-key.pem").stat().st_mode & 0o077 == 0


def test_a_port_that_is_taken_is_not_shared(cloud_tasks: Settings, tmp_path: Path) -> None:
    (free,) = ports.find_free(1)
    taken = (cloud_tasks.cloud_tasks_port, cloud_tasks.cloud_tasks_http_port)
    processes = [launch(taken[0], free, tmp_path / "0"), launch(free, taken[1], tmp_path / "1")]

    try:
        for port, process in zip(taken, processes, strict=True):
            _, errors = process.communicate(timeout=20)
            assert process.returncode != 0
            assert re.search(rf"bind .*{port}", errors)
    finally:
        for process in processes:
            process.kill()


# --- Airflow -----------------------------------------------------------------------------------


def test_airflows_hook_reaches_the_emulator(bench: Bench, cloud_tasks: Settings) -> None:
    environment = airflow_environment(cloud_tasks, os.environ)
    # a proxy that is not there: whoever does not go to loopback fails at once
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    queue = bench.name.rpartition("/")[2]
    script = f"""
        import sys
        import airflow.settings
        airflow.settings.initialize()
        assert "airflow_local_settings" in sys.modules
        assert "google.cloud.tasks_v2" not in sys.modules, "imported in every process of Airflow"

        from airflow.providers.google.cloud.hooks.tasks import CloudTasksHook

        hook = CloudTasksHook()
        place = {{"location": "us-central1", "queue_name": {queue!r}}}
        hook.create_queue(task_queue={{}}, **place)
        hook.create_task(task={{"http_request": {{"url": {bench.worker.url + bench.path!r}}}}}, **place)
        print(hook.get_queue(**place).name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.splitlines()[-1:] == [bench.name], done.stderr[-3000:]
    assert len(bench.called(1)) == 1


def test_without_the_variable_the_hook_is_googles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "local_cloud" / "airflow_settings")
    import google_clients

    hooks = importlib.import_module("airflow.providers.google.cloud.hooks.tasks")
    monkeypatch.setattr(hooks, "CloudTasksHook", hooks.CloudTasksHook)  # another test may have redirected it
    importlib.reload(hooks)
    google_clients.keep_on_emulators({})

    assert hooks.CloudTasksHook.get_conn.__module__ == hooks.__name__
