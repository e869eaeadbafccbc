"""SQS, against a server whose answers are written down here: the order of calls, and garbage."""

import asyncio
import json

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.airflow.hooks.sqs import VISIBLE_AFTER_S, Queue
from windrow.airflow.triggers.sqs import QueueTrigger


@pytest.fixture(autouse=True)
def aws(scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "us-east-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.url)


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
        *("ChangeMessageVisibility", "DeleteMessage") * 2,
        "ReceiveMessage",
    ]
    hidden = [json.loads(asked.body).get("VisibilityTimeout") for asked in scripted.asked]
    assert hidden == [None, *[VISIBLE_AFTER_S] * 2, None, VISIBLE_AFTER_S, None, VISIBLE_AFTER_S]


@pytest.mark.parametrize(
    "garbage",
    [
        Reply(b""),
        Reply({}),
        Reply([]),
        Reply({"Attributes": None}),
        Reply({"Attributes": {"ApproximateNumberOfMessages": "many"}}),
        Reply("<html>"),
        Reply({"__type": "InternalFailure"}, 500),
        Reply('{"Attributes": {"Approx'),
        Reply("[" * 200_000),
        Reply({"Attributes": {"ApproximateNumberOfMessages": {"N": 1}}}),
        Reply({"__type": "sesame" * 100_000}, 400),
    ],
    ids=["empty", "no fields", "a list", "null", "no number", "a page", "500", "cut", "deep", "a map", "huge"],
)
@pytest.mark.parametrize("call", ["GetQueueUrl", "GetQueueAttributes"])
def test_the_watcher_survives_garbage(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, garbage: Reply, call: str
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bad = [garbage]
    good = {
        "GetQueueUrl": {"QueueUrl": f"{scripted.url}/q"},
        "GetQueueAttributes": {"Attributes": {"ApproximateNumberOfMessages": "2"}},
    }
    scripted.script = lambda asked: bad.pop() if bad and called(asked) == call else Reply(good[called(asked)])

    async def fired() -> object:
        events = QueueTrigger("q", look_s=0.01, repeat_s=0.01).run()
        return (await asyncio.wait_for(anext(events), 10)).payload

    assert asyncio.run(fired()) == {"queue": "q", "waiting": 2}
    assert not bad
    said = [one.getMessage() for one in caplog.records if "Reading the SQS queue" in one.getMessage()]
    assert len(said) == 1
    assert len(said[0]) < 500, "some errors have the whole answer"
