"""Triggers: garbage from their services, and clocks that are set. The SQS watcher: tests/unit/hooks/test_sqs.py."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from airflow.providers.google.cloud.hooks.tasks import CloudTasksHook
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import BaseTrigger
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.pubsub_v1.types import PullResponse

from local_cloud import airflow_env
from local_cloud.settings import Settings
from windrow.airflow.hooks import cloud_tasks
from windrow.airflow.triggers import drain, pubsub
from windrow.airflow.triggers.drain import DrainTrigger
from windrow.airflow.triggers.pause import PauseTrigger
from windrow.airflow.triggers.pubsub import MessagesWaiting
from windrow.model.errors import ConnectionUnusable, PlanMissing
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.staging import Staging

Answer = bytes | grpc.StatusCode
WAITING = PullResponse.pb(PullResponse(received_messages=[{"ack_id": "a", "message": {"message_id": "1"}}]))
GARBAGE: dict[str, Answer] = {
    "no protobuf": b"\xff\xff\xff",
    "a page": b"<html>",
    "cut": WAITING.SerializeToString()[:-2],
    "huge": b"\x0a" * 5_000_000,
    "internal error": grpc.StatusCode.INTERNAL,
    "refused": grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Service:
    """A gRPC server that answers with these bytes or codes, one after the other, and from then on with the last."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        self.server = grpc.server(ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda _, context: self.answer(call.method, context))

    def answer(self, method: str, context: Any) -> bytes:
        self.asked.append(method.rpartition("/")[2])
        if self.asked[-1] == "ModifyAckDeadline":
            return b""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "sesame" * 200)
        return answer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service of both Pub/Sub and Cloud Tasks; pauses after an error are short."""
    google = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "p"}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
    service = Service()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", service.address)
    channel = grpc.insecure_channel(service.address)
    client = CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
    monkeypatch.setattr(CloudTasksHook, "get_conn", lambda _: client)
    for module in (pubsub, drain):
        monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    # the client itself tries most of these again for a minute
    monkeypatch.setattr(cloud_tasks, "_again", lambda: {"timeout": 10.0, "retry": None})
    yield service
    channel.close()
    service.server.stop(None)


def fired(trigger: BaseTrigger) -> Any:
    """Return the payload of the first event, of a trigger as Airflow stores it."""
    path, arguments = trigger.serialize()

    async def first() -> Any:
        return (await asyncio.wait_for(anext(import_string(path)(**arguments).run()), 20)).payload

    return asyncio.run(first())


@pytest.mark.parametrize("garbage", GARBAGE)
def test_the_watcher_of_pubsub_survives_garbage(
    service: Service, garbage: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.answers = [GARBAGE[garbage], b"", WAITING.SerializeToString()]

    assert fired(MessagesWaiting(subscription="s", quiet_s=3600)) == {"subscription": "s"}

    assert service.asked[-1] == "ModifyAckDeadline", "the message is released"
    assert service.asked.count("Pull") == 3
    (said,) = [
        one.getMessage() for one in caplog.records if one.name.startswith("windrow.") and one.levelname == "WARNING"
    ]
    assert said.startswith("Checking the subscription 's' failed")
    assert len(said) < 500


@pytest.fixture
def run(cloud: Settings, staging: Staging, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with a plan of one query that is not settled."""
    connection = airflow_env.mongo_connection(cloud, staging._database.name)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(connection))
    run = Run("ships", "r")
    staging.save_plan(run, [Query.of("/ship", {"name": "a"})])
    return run


def draining(run_id: str = "r", **changes: str) -> DrainTrigger:
    where = {"mongo_conn_id": "mongo_default", "gcp_conn_id": "google_cloud_default", "location": "l", "queue": "q"}
    return DrainTrigger(dataset="ships", run_id=run_id, poll_s=0.01, **where | changes)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.usefixtures("run")
def test_the_trigger_of_a_queue_survives_garbage(
    service: Service, garbage: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.answers = [GARBAGE[garbage], b""]

    event = fired(draining())

    assert (event["planned"], event["settled"]) == (1, 0), "the queue is empty, and the call is lost"
    (said,) = [
        one.getMessage() for one in caplog.records if one.name.startswith("windrow.") and one.levelname == "WARNING"
    ]
    assert said.startswith("Checking the queue 'q' failed")
    assert len(said) < 500


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"mongo_conn_id": "none"}, ConnectionUnusable), ({"run_id": "unplanned"}, PlanMissing)],
)
@pytest.mark.usefixtures("run")
def test_what_a_person_must_mend_ends_the_trigger_of_a_queue(
    service: Service, changes: dict[str, str], error: type[Exception]
) -> None:
    service.answers = [b""]
    with pytest.raises(error):
        fired(draining(**changes))


@pytest.mark.parametrize(
    ("ahead", "seconds"),
    [(timedelta(0), 3600.0), (timedelta(days=-2), 3600.0), (timedelta(days=2), 0.05), (timedelta(seconds=0.05), 0.05)],
    ids=["over", "the clock was set ahead", "the clock was set back", "a pause"],
)
def test_a_pause_ends_whatever_the_clock_does(ahead: timedelta, seconds: float) -> None:
    moment = datetime.now(UTC) + ahead

    assert fired(PauseTrigger(moment=moment, seconds=seconds)) == moment.isoformat()


def test_a_pause_is_not_over_before_both_say_so() -> None:
    trigger = PauseTrigger.until(datetime.now(UTC) + timedelta(hours=1))

    assert trigger.seconds == pytest.approx(3600, abs=5)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(anext(trigger.run()), 0.05))
