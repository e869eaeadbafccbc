"""SQS, against a server whose answers are written down here: the order of calls, and garbage."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.airflow.hooks.sqs import VISIBLE_AFTER_S, Message, Queue
from windrow.airflow.triggers.sqs import QueueTrigger


@pytest.fixture(autouse=True)
def aws(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us-east-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.url)


MESSAGE = {"Body": "a", "MessageId": "1", "ReceiptHandle": "1"}


class Memory:
    """What a watcher stores messages in: here, in memory. It fails so many times before it is available."""

    def __init__(self, *, is_waiting: bool = False, troubles: int = 0) -> None:
        self.bodies: list[str] = []
        self._is_waiting = is_waiting
        self.troubles = troubles

    def is_waiting(self) -> bool:
        if self.troubles:
            self.troubles -= 1
            raise ConnectionError("not available")
        return self._is_waiting

    def handle(self, messages: Sequence[Message]) -> bool:
        self.bodies += [message["Body"] for message in messages]
        return True


class Watcher(QueueTrigger):
    def __init__(self, memory: Memory, **arguments: Any) -> None:
        super().__init__("q", **arguments)
        self.memory = memory

    def handler(self) -> Memory:
        return self.memory


async def fired(memory: Memory, count: int, **arguments: Any) -> list[Any]:
    """Return what a watcher says of its first events."""
    events = Watcher(memory, **arguments).run()
    return [(await asyncio.wait_for(anext(events), 10)).payload for _ in range(count)]


def called(asked: Asked) -> str:
    return asked.headers["X-Amz-Target"].rpartition(".")[2]


def test_each_message_is_hidden_for_the_full_time_before_it_is_handled(scripted: ScriptedApi):
    batches = [[{"Body": "", "MessageId": one, "ReceiptHandle": one} for one in "ab"], []]
    answers = {
        "GetQueueUrl": lambda: {"QueueUrl": f"{scripted.url}/q"},
        "ReceiveMessage": lambda: {"Messages": batches.pop(0)},
    }
    scripted.script = lambda asked: Reply(answers.get(called(asked), dict)())
    queue = Queue("aws_default", "q")

    for message in queue.receive():
        queue.delete(message)

    assert [called(asked) for asked in scripted.asked] == [
        *("GetQueueUrl", "ReceiveMessage"),
        *("DeleteMessage", "ChangeMessageVisibility", "DeleteMessage"),
        "ReceiveMessage",
    ]
    hidden = [json.loads(asked.body).get("VisibilityTimeout") for asked in scripted.asked]
    assert hidden == [None, VISIBLE_AFTER_S, None, VISIBLE_AFTER_S, None, VISIBLE_AFTER_S]


@pytest.mark.parametrize(
    "garbage",
    [
        Reply(b""),
        Reply({}),
        Reply([]),
        Reply({"Messages": "many", "QueueUrl": 1}),
        Reply("<html>"),
        Reply({"__type": "InternalFailure"}, 500),
        Reply('{"Messages": [{"Bo'),
        Reply("[" * 200_000),
        Reply({"Messages": {"N": 1}, "QueueUrl": {"N": 1}}),
        Reply({"__type": "sesame" * 100_000}, 400),
    ],
    ids=["empty", "no fields", "a list", "no list", "a page", "500", "cut", "deep", "a map", "huge"],
)
@pytest.mark.parametrize("call", ["GetQueueUrl", "ReceiveMessage"])
def test_the_watcher_survives_garbage(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, garbage: Reply, call: str
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bad = [garbage]
    good = {"GetQueueUrl": {"QueueUrl": f"{scripted.url}/q"}, "ReceiveMessage": {"Messages": [MESSAGE]}}
    scripted.script = lambda asked: bad.pop() if bad and called(asked) == call else Reply(good[called(asked)])
    memory = Memory()

    assert asyncio.run(fired(memory, 1, pause_s=0.01)) == [{"queue": "q"}]

    assert not bad
    assert memory.bodies == ["a"]
    said = [one.getMessage() for one in caplog.records if "Reading the SQS queue" in one.getMessage()]
    is_none = call == "ReceiveMessage" and garbage.body in (b"", {}, "<html>", '{"Messages": [{"Bo')
    assert len(said) == (0 if is_none else 1)
    assert all(len(one) < 500 for one in said), "some errors have the whole answer"


def test_the_watcher_pauses_after_an_empty_answer_that_came_at_once(scripted: ScriptedApi):
    answers = [{"QueueUrl": f"{scripted.url}/q"}, {}, {}, {"Messages": [MESSAGE]}]
    asked_at: list[float] = []

    def script(asked: Asked) -> Reply:
        asked_at.append(time.monotonic())
        return Reply(answers.pop(0))

    scripted.script = script

    asyncio.run(fired(Memory(), 1, pause_s=0.5))

    assert asked_at[3] - asked_at[1] > 0.9, "two pauses"


def test_the_watcher_receives_nothing_while_the_store_is_not_available(scripted: ScriptedApi):
    good = {"GetQueueUrl": {"QueueUrl": f"{scripted.url}/q"}, "ReceiveMessage": {"Messages": [MESSAGE]}}
    scripted.script = lambda asked: Reply(good[called(asked)])

    memory = Memory(troubles=3)

    asyncio.run(fired(memory, 1, pause_s=0.01))

    assert memory.troubles == 0
    assert [called(asked) for asked in scripted.asked] == ["GetQueueUrl", "ReceiveMessage"]


def test_the_watcher_fires_at_its_start_for_what_is_stored_and_waits(scripted: ScriptedApi):
    scripted.script = lambda asked: Reply({"QueueUrl": f"{scripted.url}/q"})

    assert asyncio.run(fired(Memory(is_waiting=True), 1)) == [{"queue": "q"}]

    assert [called(asked) for asked in scripted.asked] == ["GetQueueUrl"]


def test_messages_that_arrive_soon_after_an_event_share_the_next_one(scripted: ScriptedApi):
    batches = [[MESSAGE], [MESSAGE | {"Body": "b"}], [MESSAGE | {"Body": "c"}]]
    scripted.script = lambda asked: Reply(
        {"QueueUrl": f"{scripted.url}/q"}
        if called(asked) == "GetQueueUrl"
        else {"Messages": batches.pop(0) if batches else []}
    )
    memory, began = Memory(), time.monotonic()

    assert asyncio.run(fired(memory, 2, quiet_s=0.3, pause_s=0.01)) == [{"queue": "q"}] * 2

    assert time.monotonic() - began >= 0.3
    assert memory.bodies == ["a", "b", "c"]
    waits = [json.loads(asked.body)["WaitTimeSeconds"] for asked in scripted.asked[1:]]
    assert waits[:2] == [20, 20]
    assert set(waits[2:]) == {1}, "an event is due"
