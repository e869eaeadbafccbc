"""The AWS Lambda function `top_tracks`: finds an artist, fetches the top tracks, and writes them to DynamoDB.

It does the same as the DAG spotify_new_artist, without the landing, for the shortest time between a message and its
answer. It accepts ``{"artist": "..."}``, or the messages of an SQS queue.
"""

import asyncio
import contextlib
import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

import boto3
import orjson
from botocore.config import Config

from windrow.http.client import Client, Limits
from windrow.http.flow import Driver
from windrow.http.oauth import BasicClientCredentials
from windrow.model import logs
from windrow.model.dynamo_item import put_of
from windrow.model.errors import BadParameter, WindrowError
from windrow.model.plan import Run
from windrow.sources.spotify.access import POLICY
from windrow.sources.spotify.artists import key_of, look_up
from windrow.sources.spotify.streams import NEWEST_ALBUM, TopTracks, fetch
from windrow.sources.spotify.streams import TOP_TRACKS as BY_RANK
from windrow.sources.spotify.top_tracks import (
    ARTIST_ID,
    REQUEST,
    REQUESTS,
    TOP_TRACKS,
    instant,
    items,
    met,
    requested,
    rows,
    unmet,
)

logs.configure(as_json=True)
log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""The longest pause that the function waits for; if the API asks for a longer one it fails, and SQS retries."""
LIMITS = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
"""For DynamoDB. By default the client tries ten times for a minute each, longer than the function may run."""


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one request, or each message of a batch.

    :returns: for a request, its outcome; for a batch, the messages that SQS must deliver again. An invalid message is
        also delivered again, until SQS moves it to the dead-letter queue.
    """
    if "Records" not in event:
        return asyncio.run(_answer(event))
    failed = []
    for record in event["Records"]:
        try:
            asyncio.run(_answer(orjson.loads(record["body"])))
        except (ValueError, WindrowError) as error:
            log.warning("The message %s failed and stays in the queue: %s", record["messageId"], error)
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


async def _answer(request: object) -> dict[str, Any]:
    """Settle one request: write the item of the artist, then the outcome of the request.

    :raises BadParameter: the request is invalid.
    """
    text = requested(request)
    asked_at = datetime.now(UTC)
    run = Run(TopTracks.dataset, f"lambda {instant(asked_at)}")
    logs.begin(run, key=key_of(text))
    dynamodb = boto3.resource("dynamodb", config=LIMITS)
    settled: dict[str, Any] = {REQUEST: key_of(text), "text": text, "asked_at": instant(asked_at)}
    try:
        item = await _fetched(text, run)
    except BadParameter as error:
        settled |= unmet(error)
    else:
        _write(dynamodb.Table(TOP_TRACKS), item)
        settled |= met(item[ARTIST_ID], item["artist_name"], len(item["tracks"]))
    settled["settled_at"] = instant(datetime.now(UTC))
    dynamodb.Table(REQUESTS).put_item(Item=settled)
    log.info("%s", json.dumps(settled))
    return settled


def _write(table: Any, item: dict[str, Any]) -> None:
    """Write an item, unless there is a newer one, or a newest album would replace top tracks."""
    put = put_of(item, key=ARTIST_ID, version="fetched_at")
    if item["ranked_by"] == NEWEST_ALBUM:
        put["ConditionExpression"] += " AND (attribute_not_exists(ranked_by) OR ranked_by <> :better)"
        put["ExpressionAttributeValues"][":better"] = BY_RANK
    with contextlib.suppress(table.meta.client.exceptions.ConditionalCheckFailedException):
        table.put_item(**put)


async def _fetched(text: str, run: Run) -> dict[str, Any]:
    """Find the artist and make the item."""
    async with _client() as client:
        driver = Driver(client)
        artist = await driver.lead(look_up(text))
        answer = await driver.lead(fetch(artist.id))
    lineage = {"_fetched_at": answer.fetched_at, "_run_id": run.run_id}
    records = TopTracks().records(answer.query, orjson.loads(answer.body))
    (item,) = items(rows(artist.name, [record | lineage for record in records]))
    return item


def _client() -> Client:
    """Make a client of the API from environment variables."""
    settings = os.environ
    auth = BasicClientCredentials(
        settings["API_TOKEN_URL"], settings["API_CLIENT_ID"], settings["API_CLIENT_SECRET"], patience_s=PATIENCE_S
    )
    limits = Limits(connections=1, timeout_s=10, patience_s=PATIENCE_S)
    return Client(settings["API_URL"], auth, name="spotify", limits=limits, policy=POLICY)
