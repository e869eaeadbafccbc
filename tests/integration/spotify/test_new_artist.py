"""Requests for artists, operator by operator, over real connections: what becomes of good and of bad ones."""

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from local_cloud.apis.spotify.catalogue import NEWCOMER, SILENT, make_music
from local_cloud.apis.testing import FakeApi
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.triggers.sqs import QueueTrigger
from windrow.model.errors import BadParameter, QueryRefused
from windrow.sources.spotify.access import CLIENTS
from windrow.sources.spotify.artist_requests import (
    AnswerOperator,
    FindArtistsOperator,
    RecordRequestsOperator,
)
from windrow.sources.spotify.operators import CapabilitiesOperator

MUSIC = make_music()
BY_NAME = {artist.name: artist for artist in MUSIC.artists.values()}
DATASET = "spotify_top_tracks"


def step(operator: type, **arguments: Any) -> Any:
    with DAG("requests", schedule=None, params={}):
        return operator(task_id=operator.__name__, dataset=DATASET, **arguments)


def send(sqs: Any, *bodies: str) -> None:
    url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)


def record(context: dict[str, Any]) -> dict[str, int]:
    with DAG("requests", schedule=None, params={}):
        operator = RecordRequestsOperator(task_id="record_requests", queue_name="windrow-artists")
    return dict(operator.execute(context))


def find(context: dict[str, Any], client: str = "extended") -> Any:
    """Record what is in the queue, and find the artists of all open requests."""
    with suppress(AirflowSkipException):
        record(context)
    context = context | {"params": {"client": client, **context["params"]}}
    return step(FindArtistsOperator, conn_id="spotify").execute(context)


def left(sqs: Any, queue: str) -> list[dict[str, Any]]:
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    received = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    for message in received.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return list(received.get("Messages", []))


def outcomes() -> dict[str, str]:
    table = DynamoTable("aws_default", "artist_requests", key="request", version="asked_at")
    return {item["request"]: item["outcome"] for item in table.all()}


def publish(context: dict[str, Any], found: dict[str, Any], client: str = "extended") -> dict[str, Any]:
    given = {"artists": found["artists"], "capabilities": asdict(CLIENTS[client])}
    return dict(step(AnswerOperator, conn_id="spotify", given=given, found=found).execute(context))


def told(name: str) -> dict[str, Any] | None:
    return DynamoTable("aws_default", "top_tracks", key="artist_id").get(BY_NAME[name].id)


def test_a_message_becomes_an_item_and_is_gone(context, sqs):
    send(sqs, '{"artist": "Wren"}')

    found = find(context)
    figures = publish(context, found)

    assert found["artists"] == [BY_NAME["Wren"].id]
    item = told("Wren")
    assert [track["id"] for track in item["tracks"]] == [track.id for track in BY_NAME["Wren"].top_tracks]
    assert outcomes() == {"wren": "found"}
    assert 0 <= figures["seconds_to_dynamodb"] < 30
    assert left(sqs, "windrow-artists") == []


def test_two_requests_for_one_artist_are_one_call(context, sqs, spotify: FakeApi):
    id_ = BY_NAME["Wren"].id
    send(sqs, '{"artist": "Wren"}', '{"artist": " WREN"}', json.dumps({"artist": f"spotify:artist:{id_}"}))
    found = find(context)
    spotify.reset()

    assert publish(context, found)["dynamodb_artists"] == 1
    assert spotify.counters()["routes"]["GET /spotify/v1/artists/{id}/top-tracks"]["requests"] == 1
    assert outcomes() == {"wren": "found", f"spotify:artist:{id_}": "found"}


def test_a_request_by_id_is_answered_by_the_run_for_the_name_before_it(context, sqs, spotify: FakeApi):
    id_ = BY_NAME["Wren"].id
    send(sqs, '{"artist": "Wren"}')
    found = find(context)
    send(sqs, json.dumps({"artist": id_}))
    record(context)  # while the run for the name is fetching
    publish(context, found)
    spotify.reset()

    with pytest.raises(AirflowSkipException):
        find(context | {"run_id": "next"})

    assert outcomes() == {"wren": "found", id_: "found"}
    assert spotify.counters()["routes"]["GET /spotify/v1/artists/{id}/top-tracks"]["requests"] == 0


def test_ids_that_differ_by_case_are_two_requests(context, sqs):
    id_ = BY_NAME["Wren"].id
    send(sqs, json.dumps({"artist": id_.swapcase()}), json.dumps({"artist": id_}))
    assert find(context)["artists"] == [id_]
    assert outcomes() == {id_.swapcase(): "unknown", id_: "taken"}


def test_a_request_that_was_settled_just_now_is_not_worked_on_again(context, sqs, spotify: FakeApi):
    send(sqs, '{"artist": "Wren"}')
    publish(context, find(context))
    spotify.reset()

    send(sqs, '{"artist": "Wren"}')
    with pytest.raises(AirflowSkipException):
        find(context, client="auto")
    assert spotify.counters()["totals"]["requests"] == 0
    assert left(sqs, "windrow-artists") == []


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Nobody At All", "unknown"),
        ("0" * 22, "unknown"),
        ("Echo", "ambiguous"),
        (f"spotify:album:{'0' * 22}", "refused"),
    ],
)
def test_a_request_that_means_nobody_has_an_outcome(context, sqs, text: str, outcome: str):
    send(sqs, json.dumps({"artist": text}))

    with pytest.raises(AirflowSkipException):
        find(context)

    assert outcomes() == {text.casefold(): outcome}
    assert left(sqs, "windrow-artists") == []


def test_an_artist_without_top_tracks_is_told_as_such(context):
    context["params"]["artist"] = SILENT

    publish(context, find(context))

    assert outcomes() == {SILENT.casefold(): "no_tracks"}
    assert told(SILENT)["tracks"] == []


def test_messages_that_are_no_requests_are_put_aside_with_the_reason(context, sqs):
    bodies = ["no json", "[1]", '{"singer": "x"}', '{"artist": ""}', '{"artist": 3}', '{"artist": "Wren"}']
    send(sqs, *bodies)

    assert find(context)["artists"] == [BY_NAME["Wren"].id]

    aside = left(sqs, "windrow-artists-dead")
    assert sorted(message["Body"] for message in aside) == sorted(bodies[:-1])
    assert "not a request for an artist" in aside[0]["MessageAttributes"]["reason"]["StringValue"]
    assert left(sqs, "windrow-artists") == []


def test_a_message_that_was_delivered_before_is_put_aside_once_and_deleted(context, sqs):
    url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
    send(sqs, "no json", '{"artist": "Wren"}')
    for _ in range(3):  # each delivery ends the receipt handle of the one before
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)

    assert record(context) == {"recorded": 1, "known": 0, "invalid": 1}
    with pytest.raises(AirflowSkipException):
        record(context)

    assert [message["Body"] for message in left(sqs, "windrow-artists-dead")] == ["no json"]
    assert left(sqs, "windrow-artists") == []


def test_the_watcher_fires_for_new_messages_and_receives_none(sqs):
    async def fired() -> list[Any]:
        trigger = QueueTrigger("windrow-artists", look_s=0.01, repeat_s=1000)
        events = trigger.run()
        first = await asyncio.wait_for(anext(events), 10)
        await asyncio.to_thread(send, sqs, "two")
        return [first.payload, (await asyncio.wait_for(anext(events), 10)).payload]

    send(sqs, "one")
    assert [event["waiting"] for event in asyncio.run(fired())] == [1, 2]
    url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"])
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in received["Messages"]} == {"1"}
    for message in received["Messages"]:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_a_quota_that_closes_in_the_middle_leaves_requests_open_and_nothing_waits(context, sqs, spotify: FakeApi):
    quotas = {"top-tracks": 1, "artist-albums": 0}
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": quotas, "retry_after_s": 86_000}))
    send(sqs, '{"artist": "Wren"}', '{"artist": "Half Tide"}')
    found = find(context)

    figures = publish(context, found)

    assert (figures["dynamodb_artists"], figures["requests_open"]) == (1, 1)
    assert sorted(outcomes().values()) == ["found", "taken"]
    send(sqs, '{"artist": "Queue"}')
    assert record(context)["recorded"] == 1, "a request is recorded whatever happened to others"
    later = context | {"run_id": "next"}
    with pytest.raises(AirflowSkipException, match="quotas are used up"):
        publish(later, find(later))
    spotify.request("DELETE", "/_admin/spotify")
    assert sorted(outcomes().values()) == ["found", "taken", "taken"]


def test_a_task_that_is_tried_again_after_it_deleted_the_messages_finds_the_requests(context, sqs):
    send(sqs, '{"artist": "Wren"}', '{"artist": "Queue"}')
    first = find(context)
    assert left(sqs, "windrow-artists") == []
    assert find(context) == first


def test_one_message_that_nobody_can_store_does_not_stop_the_others(context, sqs):
    bodies = [
        "[" * 100_000,
        json.dumps({"artist": "x" * 5_000}),
        '{"artist": "\\ud800"}',
        '{"artist": "Wren", "to": 1}',
    ]
    send(sqs, *bodies)

    assert find(context)["artists"] == [BY_NAME["Wren"].id]
    assert sorted(map(len, (message["Body"] for message in left(sqs, "windrow-artists-dead")))) == [20, 5014, 100_000]
    assert left(sqs, "windrow-artists") == []


def test_a_run_by_hand_with_an_unknown_param_is_refused(context):
    context["dag_run"].conf = {"artst": "Wren"}
    with pytest.raises(BadParameter, match="'artst' is unknown"):
        find(context)


def test_a_closed_search_stops_no_request_by_id_and_is_taken_up_again(context, sqs, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"search": 0}, "retry_after_s": 7200}))
    queue = BY_NAME["Queue"].id
    send(sqs, '{"artist": "Wren"}', '{"artist": "Half Tide"}', json.dumps({"artist": queue}))

    assert find(context)["artists"] == [queue]
    assert outcomes() == {"wren": "taken", "half tide": "taken", queue: "taken"}
    assert left(sqs, "windrow-artists") == []
    table = DynamoTable("aws_default", "artist_requests", key="request", version="asked_at")
    assert "The quota of the API is used up until" in (table.get("wren") or {})["told"]
    assert spotify.counters()["routes"]["GET /spotify/v1/search"]["requests"] == 1

    publish(context, find(context))
    spotify.request("DELETE", "/_admin/spotify")
    spotify.reset()
    with pytest.raises(AirflowSkipException):  # known without a call until the API opens it
        find(context | {"run_id": "next"})
    assert spotify.counters()["totals"]["requests"] == 0
    assert outcomes() == {"wren": "taken", "half tide": "taken", queue: "found"}


def test_a_request_in_trouble_stops_no_other_and_is_told_when_it_is_alone(context, sqs, spotify: FakeApi):
    spotify.request("PUT", "/_admin/faults", json.dumps({"sticky": {'artist:"Wren"': 403}}))
    send(sqs, '{"artist": "Wren"}', '{"artist": "Queue"}')
    found = find(context)
    assert found["artists"] == [BY_NAME["Queue"].id]
    publish(context, found)
    assert outcomes() == {"wren": "taken", "queue": "found"}

    with pytest.raises(QueryRefused, match="Wren"):
        find(context)
    table = DynamoTable("aws_default", "artist_requests", key="request", version="asked_at")
    assert "HTTP 403" in (table.get("wren") or {})["told"]


def test_a_name_that_the_api_cannot_search_for_is_refused(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/faults", json.dumps({"sticky": {'artist:"Wren"': 400}}))
    context["params"]["artist"] = "Wren"
    with pytest.raises(AirflowSkipException):
        find(context)
    assert outcomes() == {"wren": "refused"}


def test_a_new_client_id_is_told_the_newest_album(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new", "odd_albums": true, "null_items": true}')
    many = max(BY_NAME.values(), key=lambda artist: len(artist.albums))
    context["params"]["artist"] = many.name

    publish(context, find(context), "new")

    item = told(many.name)
    own = [album for album in many.albums if album.kind != "compilation"]
    newest = max(own, key=lambda album: (album.released_on, album.id))
    assert item["ranked_by"] == "newest_album"
    assert [track["id"] for track in item["tracks"]] == [track.id for track in newest.tracks]


def test_a_new_client_id_is_told_of_an_artist_without_albums(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new"}')
    context["params"]["artist"] = NEWCOMER

    publish(context, find(context), "new")

    assert outcomes() == {NEWCOMER.casefold(): "no_tracks"}
    assert told(NEWCOMER)["tracks"] == []


def test_while_top_tracks_are_closed_the_newest_album_stands_in_and_replaces_none(context, spotify: FakeApi):
    publish(context, find(context | {"params": {"artist": "Wren"}}))
    before = told("Wren")
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"top-tracks": 0, "audio-features": 0}}))

    later = context | {"run_id": "later", "params": {"artist": "Queue"}}
    found = find(later, client="auto")
    assert found["capabilities"] == {"batches": True, "top_tracks": False, "audio_features": False}
    assert step(CapabilitiesOperator, conn_id="spotify").execute(context)["capabilities"]["top_tracks"]
    publish(later, found, "new")
    assert told("Queue")["ranked_by"] == "newest_album"
    again = {"artists": [BY_NAME["Wren"].id], "names": {BY_NAME["Wren"].id: "Wren"}, "requests": {}}
    figures = publish(context | {"run_id": "again"}, again | {"asked_at": before["fetched_at"]}, "new")
    assert figures["dynamodb_written"] == 0
    assert told("Wren") == before


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_kind_of_client_id_is_found_out(context, spotify: FakeApi, kind: str):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"client": kind}))

    found = step(CapabilitiesOperator, conn_id="spotify").execute(context)

    assert found["datasets"] == CLIENTS[kind].datasets
    spotify.reset()
    context["params"]["client"] = kind
    assert step(CapabilitiesOperator, conn_id="spotify").execute(context) == found
    assert spotify.counters()["totals"]["requests"] == 0
