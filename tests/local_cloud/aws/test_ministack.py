"""S3, DynamoDB, SQS and Lambda: what was answered is there after a kill."""

import io
import json
import os
import signal
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_cloud.supervisor import LocalCloud
from local_cloud.testing import running
from tests.local_cloud.aws.conftest import Client, clients
from tests.local_cloud.conftest import eventually, is_alive, pid_of

HANDLER = "import os\ndef handle(event, context):\n    return {'said': event['say'], 'mood': os.environ['MOOD']}\n"


def function(client: Client, name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("main.py", HANDLER)
    client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="main.handle",
        Role="arn:aws:iam::000000000000:role/windrow",
        Code={"ZipFile": buffer.getvalue()},
        Environment={"Variables": {"MOOD": "fine"}},
    )


def say(client: Client, name: str) -> object:
    answer = client("lambda").invoke(FunctionName=name, Payload=json.dumps({"say": "hello"}))
    return json.loads(answer["Payload"].read())


def test_all_that_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"aws"}, var) as settings:
        client = clients(settings)
        s3, dynamodb, sqs = client("s3"), client("dynamodb"), client("sqs")
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="a/b", Body=b"body", Metadata={"who": "me"})
        dynamodb.create_table(
            TableName="kept",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
        function(client, "kept")
        assert say(client, "kept") == {"said": "hello", "mood": "fine"}
        with ThreadPoolExecutor(8) as threads:  # the last of them are answered by a shared save
            list(threads.map(lambda n: dynamodb.put_item(TableName="kept", Item={"id": {"S": str(n)}}), range(200)))
            list(threads.map(lambda n: sqs.send_message(QueueUrl=queue, MessageBody=str(n)), range(50)))
        victim = pid_of(var, "emulators.ministack")

        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not is_alive(victim), "it is dead")
        cloud = LocalCloud(settings, os.environ, {"aws"})
        eventually(lambda: cloud.states() == {"aws": "healthy"}, "it is healthy again")

        assert s3.get_object(Bucket="kept", Key="a/b")["Metadata"] == {"who": "me"}
        assert dynamodb.scan(TableName="kept", Select="COUNT")["Count"] == 200
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
        assert attributes["Attributes"] == {"ApproximateNumberOfMessages": "50"}
        assert say(client, "kept") == {"said": "hello", "mood": "fine"}
        assert len(list((var / "aws" / "tmp").glob("ministack-lambda-*"))) == 1, "those of before the kill are deleted"
        assert not list(Path(tempfile.gettempdir()).glob("ministack-*"))


def test_a_message_that_is_received_too_often_goes_to_the_dead_letter_queue(client: Client) -> None:
    sqs = client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    alive = sqs.create_queue(QueueName="alive", Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "0"})

    sqs.send_message(QueueUrl=alive["QueueUrl"], MessageBody="not JSON")
    for _ in range(3):
        sqs.receive_message(QueueUrl=alive["QueueUrl"])

    assert sqs.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "not JSON"
