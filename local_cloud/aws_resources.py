"""What a person makes once in an AWS account, made on the local cloud: a bucket, two tables, two queues."""

import json
from typing import Any

from local_cloud.settings import ARTIST_QUEUE, AWS_KEY, AWS_REGION, LAKE, Settings

TABLES = {"top_tracks": "artist_id", "artist_requests": "request"}
"""Tables of DynamoDB, each with its key."""
RECEIVED = 5
"""How often a message is handed out before SQS itself takes it for one that nobody can read."""
VISIBILITY_S = 60
"""Seconds that a message is hidden once it was handed out: longer than an artist takes."""


def client(settings: Settings, service: str) -> Any:  # boto3 makes clients at run time
    """Make a client of the emulator."""
    import boto3  # noqa: PLC0415  0.3 s that only the AWS side should cost

    session = boto3.Session(aws_access_key_id=AWS_KEY, aws_secret_access_key=AWS_KEY, region_name=AWS_REGION)
    return session.client(service, endpoint_url=settings.aws_url)


def ensure(settings: Settings) -> None:
    """Make what is not there yet."""
    client(settings, "s3").create_bucket(Bucket=LAKE)  # in us-east-1, one that is there is fine
    dynamodb = client(settings, "dynamodb")
    for table, key in TABLES.items():
        if table not in dynamodb.list_tables()["TableNames"]:
            dynamodb.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
    sqs = client(settings, "sqs")
    dead = sqs.create_queue(QueueName=f"{ARTIST_QUEUE}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.create_queue(
        QueueName=ARTIST_QUEUE,
        Attributes={
            "VisibilityTimeout": str(VISIBILITY_S),
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVED}),
        },
    )
