"""Push, restarts, ports, a full queue, and the way from Airflow."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import google.auth.transport.requests
import pytest
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.oauth2 import id_token
from google.protobuf.field_mask_pb2 import FieldMask

from local_cloud import ports
from local_cloud.airflow_env import airflow_environment
from local_cloud.settings import Settings
from local_cloud.testing import running
from tests.local_cloud.cloud_tasks.bench import Answer, Call, Worker
from tests.local_cloud.conftest import eventually, is_alive, pid_of
from tests.local_cloud.pubsub.bench import ACCOUNT, Bench, launch, launched, texts

# --- push --------------------------------------------------------------------------------------


def endpoint(bench: Bench, worker: Worker) -> str:
    return f"{worker.url}/{bench.name.rpartition('/')[2]}"


def calls(bench: Bench, worker: Worker) -> list[Call]:
    return list(worker.calls[f"/{bench.name.rpartition('/')[2]}"])


def pushed(call: Call) -> Any:
    return json.loads(call.body)


def test_a_message_is_pushed_as_the_service_does_it(bench: Bench, worker: Worker) -> None:
    bench.make(push_config={"push_endpoint": endpoint(bench, worker)})
    (published,) = bench.publish("hello", post_id="1")
    eventually(lambda: bench.report()["acknowledged"] == 1, "it is pushed")

    (call,) = calls(bench, worker)

    body = pushed(call)
    assert body["subscription"] == bench.name
    assert base64.b64decode(body["message"]["data"]) == b"hello"
    assert body["message"]["attributes"] == {"post_id": "1"}
    assert body["message"]["messageId"] == body["message"]["message_id"] == published
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", body["message"]["publishTime"])
    assert "Authorization" not in call.headers
    assert call.headers["Content-Type"].startswith("application/json")


def test_a_push_that_is_not_accepted_comes_again(bench: Bench, worker: Worker) -> None:
    path = f"/{bench.name.rpartition('/')[2]}"
    worker.answers[path] = lambda _, number: Answer((500, 404, 204)[min(number, 3) - 1])
    bench.make(push_config={"push_endpoint": endpoint(bench, worker)})
    bench.publish("a")

    eventually(lambda: bench.report()["acknowledged"] == 1, "it is accepted in the end")

    assert [pushed(call)["message"]["data"] for call in calls(bench, worker)] == ["YQ=="] * 3


def test_a_pushed_token_stands_googles_own_verification(bench: Bench, worker: Worker) -> None:
    token = {"service_account_email": ACCOUNT, "audience": "https://posts.example"}
    bench.make(push_config={"push_endpoint": endpoint(bench, worker), "oidc_token": token})
    bench.publish("a")
    eventually(lambda: bool(calls(bench, worker)), "it is pushed")
    (call,) = calls(bench, worker)

    claims = id_token.verify_token(
        call.token,
        google.auth.transport.requests.Request(),
        audience="https://posts.example",
        certs_url=f"{bench.url}/certs",
    )

    assert (claims["email"], claims["email_verified"]) == (ACCOUNT, True)


def test_push_can_be_switched_on_and_off(bench: Bench, worker: Worker) -> None:
    bench.make()
    bench.publish("a")
    bench.subscriber.modify_push_config(subscription=bench.name, push_config={"push_endpoint": endpoint(bench, worker)})
    eventually(lambda: bench.report()["acknowledged"] == 1, "what waited is pushed")

    bench.subscriber.update_subscription(
        subscription={"name": bench.name}, update_mask=FieldMask(paths=["push_config"])
    )
    bench.publish("b")

    assert texts(bench.pull()) == ["b"]
    assert len(calls(bench, worker)) == 1


# --- stopping and starting ---------------------------------------------------------------------


def test_a_kill_loses_nothing_that_was_acknowledged_to_either_side(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"pubsub"}, var) as settings:
        bench = Bench(settings.pubsub_port, settings.pubsub_http_port)
        bench.make(labels={"kept": "yes"})
        sent = [f"{n}" for n in range(500)]
        for place in range(0, 500, 50):
            bench.publish(*sent[place : place + 50])
        done = bench.pull(100)
        leased = bench.pull(100)
        bench.acknowledge(done)
        victim = pid_of(var, "emulators.pubsub")

        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not is_alive(victim), "it is dead")

        bench.acknowledge(leased[:40])  # by ids of the server that was killed
        rest: list[str] = []
        while received := bench.pull(wait=False):
            rest += texts(received)
        assert sorted(rest + texts(done) + texts(leased[:40]), key=int) == sent
        assert bench.subscriber.get_subscription(subscription=bench.name).labels["kept"] == "yes"


def test_an_orderly_stop_keeps_all_and_numbers_go_on(tmp_path: Path) -> None:
    with launched(tmp_path) as bench:
        bench.make()
        (first,) = bench.publish("a")

    with launched(tmp_path) as again:
        again.topic, again.name = bench.topic, bench.name
        (second,) = again.publish("b")
        received = again.pull()

    assert texts(received) == ["a", "b"]
    assert int(second) > int(first)
    assert (tmp_path / "signing-key.pem").stat().st_mode & 0o077 == 0


def test_attempts_are_counted_across_a_restart(tmp_path: Path) -> None:
    with launched(tmp_path) as bench:
        bench.publisher.create_topic(name=f"{bench.topic}-dead")
        bench.make(dead_letter_policy={"dead_letter_topic": f"{bench.topic}-dead"})
        bench.publish("a")
        bench.lease(bench.pull(), 0)

    with launched(tmp_path) as again:
        again.name = bench.name
        assert [message.delivery_attempt for message in again.pull()] == [2]


def test_a_full_queue_refuses_messages_until_there_is_room(tmp_path: Path) -> None:
    with launched(tmp_path, "--most-waiting", "3") as bench:
        bench.make()
        bench.publish("a", "b", "c")

        with pytest.raises(exceptions.ResourceExhausted, match="holds 3 messages"):
            bench.publisher.publish(
                topic=bench.topic, messages=[{"data": b"d"}], retry=Retry(predicate=lambda _: False), timeout=5
            )
        bench.acknowledge(bench.pull())
        bench.publish("d")

        assert texts(bench.pull()) == ["d"]


def test_a_port_that_is_taken_is_not_shared(pubsub: Settings, tmp_path: Path) -> None:
    (free,) = ports.find_free(1)
    taken = (pubsub.pubsub_port, pubsub.pubsub_http_port)
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


def test_airflows_hook_reaches_the_emulator(bench: Bench, pubsub: Settings) -> None:
    environment = airflow_environment(pubsub, os.environ)
    # a proxy that is not there: whoever does not go to loopback fails at once
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    topic, name = bench.topic.rpartition("/")[2], bench.name.rpartition("/")[2]
    script = f"""
        from airflow.providers.google.cloud.hooks.pubsub import PubSubHook

        hook = PubSubHook()
        hook.create_topic(topic={topic!r})
        hook.create_subscription(topic={topic!r}, subscription={name!r})
        hook.publish(topic={topic!r}, messages=[{{"data": b"from Airflow"}}])
        received = hook.pull(subscription={name!r}, max_messages=5, return_immediately=False)
        print(received[0].message.data.decode())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.splitlines()[-1:] == ["from Airflow"], done.stderr[-3000:]
