"""Requests for artists, operator by operator, over real connections: what becomes of good and of bad ones."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from local_cloud.apis.spotify.catalogue import NEWCOMER, SILENT, make_music
from local_cloud.apis.testing import FakeApi
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.sqs import RECEIVE, Queue
from windrow.model.errors import BadParameter, QueryRefused
from windrow.sources.spotify.access import CLIENTS
from windrow.sources.spotify.artist_requests import AnswerOperator
from windrow.sources.spotify.operators import CapabilitiesOperator
from windrow.sources.spotify.recorder import FRESH_S, Recorder, RequestsTrigger, open_requests, record

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


def answer(context: dict[str, Any], client: str = "extended", operator: type = AnswerOperator) -> dict[str, Any]:
    """Record what is in the queue, and answer all open requests."""
    context = context | {"params": {"client": client, **context["params"]}}
    return dict(step(operator, conn_id="spotify", queue_name="windrow-artists").execute(context))


def record_all() -> None:
    Recorder(open_requests("aws_default"), Queue("aws_default", "windrow-artists")).record_all()


def left(sqs: Any, queue: str) -> list[dict[str, Any]]:
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    received = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    for message in received.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return list(received.get("Messages", []))


def outcomes() -> dict[str, str]:
    return {item["request"]: item["outcome"] for item in open_requests("aws_default").all()}


def calls(spotify: FakeApi, path: str) -> int:
    return int(spotify.counters()["routes"].get(f"GET /spotify/v1{path}", {}).get("requests", 0))


def told(name: str) -> dict[str, Any] | None:
    return DynamoTable("aws_default", "top_tracks", key="artist_id").get(BY_NAME[name].id)


def test_a_message_becomes_an_item_and_is_gone(context, sqs):
    send(sqs, '{"artist": "Wren"}')

    figures = answer(context)

    item = told("Wren")
    assert [track["id"] for track in item["tracks"]] == [track.id for track in BY_NAME["Wren"].top_tracks]
    assert outcomes() == {"wren": "found"}
    assert 0 <= figures["seconds_to_dynamodb"] < 30
    assert left(sqs, "windrow-artists") == []


def test_two_requests_for_one_artist_are_one_call(context, sqs, spotify: FakeApi):
    id_ = BY_NAME["Wren"].id
    send(sqs, '{"artist": "Wren"}', '{"artist": " WREN"}', json.dumps({"artist": f"spotify:artist:{id_}"}))

    assert answer(context)["dynamodb_artists"] == 1
    assert calls(spotify, "/artists/{id}/top-tracks") == 1
    assert outcomes() == {"wren": "found", f"spotify:artist:{id_}": "found"}


def test_a_request_by_id_is_answered_by_the_run_for_the_name_before_it(context, sqs, spotify: FakeApi):
    id_, before = BY_NAME["Wren"].id, datetime.now(UTC)
    send(sqs, '{"artist": "Wren"}')
    answer(context)
    record(id_, before, open_requests("aws_default"))  # while the run for the name was fetching
    spotify.reset()

    with pytest.raises(AirflowSkipException):
        answer(context | {"run_id": "next"})

    assert outcomes() == {"wren": "found", id_: "found"}
    assert calls(spotify, "/artists/{id}/top-tracks") == 0


def test_ids_that_differ_by_case_are_two_requests(context, sqs):
    id_ = BY_NAME["Wren"].id
    send(sqs, json.dumps({"artist": id_.swapcase()}), json.dumps({"artist": id_}))
    answer(context)
    assert outcomes() == {id_.swapcase(): "unknown", id_: "found"}


def test_a_request_that_was_settled_just_now_is_not_worked_on_again(context, sqs, spotify: FakeApi):
    send(sqs, '{"artist": "Wren"}')
    answer(context)
    spotify.reset()

    send(sqs, '{"artist": "Wren"}')
    with pytest.raises(AirflowSkipException):
        answer(context | {"run_id": "next"}, client="auto")
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
        answer(context)

    assert outcomes() == {text.casefold(): outcome}
    assert left(sqs, "windrow-artists") == []


def test_an_artist_without_top_tracks_is_told_as_such(context):
    context["params"]["artist"] = SILENT

    answer(context)

    assert outcomes() == {SILENT.casefold(): "no_tracks"}
    assert told(SILENT)["tracks"] == []


def test_messages_that_are_no_requests_are_put_aside_with_the_reason(context, sqs):
    bodies = ["no json", "[1]", '{"singer": "x"}', '{"artist": ""}', '{"artist": 3}', '{"artist": "Wren"}']
    send(sqs, *bodies)

    assert answer(context)["dynamodb_artists"] == 1

    assert outcomes() == {"wren": "found"}
    aside = left(sqs, "windrow-artists-dead")
    assert sorted(message["Body"] for message in aside) == sorted(bodies[:-1])
    assert "not a request for an artist" in aside[0]["MessageAttributes"]["reason"]["StringValue"]
    assert left(sqs, "windrow-artists") == []


def test_a_message_that_was_delivered_before_is_put_aside_once_and_deleted(context, sqs):
    url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
    send(sqs, "no json", '{"artist": "Wren"}')
    for _ in range(3):  # each delivery ends the receipt handle of the one before
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)

    record_all()
    record_all()

    assert outcomes() == {"wren": "taken"}
    assert [message["Body"] for message in left(sqs, "windrow-artists-dead")] == ["no json"]
    assert left(sqs, "windrow-artists") == []


def test_the_watcher_records_each_message_and_deletes_it_before_it_fires(sqs):
    async def fired() -> list[Any]:
        events = RequestsTrigger("windrow-artists", quiet_s=0).run()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.to_thread(send, sqs, "no json", '{"artist": "Wren"}')
        payloads = [(await asyncio.wait_for(waiting, 20)).payload]
        seen = await asyncio.to_thread(outcomes)
        restarted = RequestsTrigger("windrow-artists").run()  # as after a kill before Airflow had the event
        return [*payloads, seen, (await asyncio.wait_for(anext(restarted), 20)).payload]

    event = {"queue": "windrow-artists"}
    assert asyncio.run(fired()) == [event, {"wren": "taken"}, event]
    assert [message["Body"] for message in left(sqs, "windrow-artists-dead")] == ["no json"]
    url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    assert found == dict.fromkeys(counts, "0"), "deleted, and not only hidden"


def test_a_run_is_due_for_an_open_request_alone(context, sqs):
    def handle(body: str) -> bool:
        send(sqs, body)
        url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
        messages = sqs.receive_message(QueueUrl=url, **RECEIVE)["Messages"]
        return Recorder(open_requests("aws_default"), Queue("aws_default", "windrow-artists")).handle(messages)

    wren = json.dumps({"artist": BY_NAME["Wren"].id})
    assert not handle("no json")
    assert handle(wren)
    assert handle(wren), "its first message may be known from before a kill, and no run of it"
    answer(context)
    assert not handle(wren), "it was answered just now"
    assert left(sqs, "windrow-artists") == []
    left(sqs, "windrow-artists-dead")


def test_a_quota_that_closes_in_the_middle_leaves_requests_open_and_nothing_waits(context, sqs, spotify: FakeApi):
    quotas = {"top-tracks": 1, "artist-albums": 0}
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": quotas, "retry_after_s": 86_000}))
    send(sqs, '{"artist": "Wren"}', '{"artist": "Half Tide"}')

    figures = answer(context)

    assert (figures["dynamodb_artists"], figures["requests_open"]) == (1, 1)
    assert sorted(outcomes().values()) == ["found", "taken"]
    send(sqs, '{"artist": "Queue"}')
    with pytest.raises(AirflowSkipException, match="quotas are used up"):
        answer(context | {"run_id": "next"})
    spotify.request("DELETE", "/_admin/spotify")
    assert sorted(outcomes().values()) == ["found", "taken", "taken"]


class KilledBeforeThePlan(AnswerOperator):
    def make_plan(self, context: Any) -> Any:
        raise KeyboardInterrupt


class KilledAfterThePlan(AnswerOperator):
    def make_plan(self, context: Any) -> Any:
        super().make_plan(context)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("killed", "artists", "outcome"),
    [(KilledBeforeThePlan, 2, "found"), (KilledAfterThePlan, 1, "taken")],  # of what was requested after the kill
)
def test_each_try_answers_the_requests_that_the_plan_is_about(
    context, sqs, spotify: FakeApi, killed: type, artists: int, outcome: str
):
    send(sqs, '{"artist": "Wren"}')
    with pytest.raises(KeyboardInterrupt):
        answer(context, operator=killed)
    send(sqs, '{"artist": "Queue"}')
    record_all()

    figures = answer(context)

    assert (figures["dynamodb_artists"], figures["requests_open"]) == (artists, 0)
    assert outcomes() == {"wren": "found", "queue": outcome}
    spotify.reset()
    assert answer(context)["dynamodb_artists"] == artists, "a run that is cleared later does its work again"
    assert spotify.counters()["totals"]["requests"] == 0


def test_a_run_that_an_event_has_started_leaves_the_queue_to_the_watcher(context, sqs):
    send(sqs, '{"artist": "Queue"}')
    context["params"]["artist"] = "Wren"
    context["dag_run"].run_type.value = "asset_triggered"

    answer(context)

    assert outcomes() == {"wren": "found"}
    assert [message["Body"] for message in left(sqs, "windrow-artists")] == ['{"artist": "Queue"}']


def test_one_message_that_nobody_can_store_does_not_stop_the_others(context, sqs):
    bodies = [
        "[" * 100_000,
        json.dumps({"artist": "x" * 5_000}),
        '{"artist": "\\ud800"}',
        '{"artist": "Wren", "to": 1}',
    ]
    send(sqs, *bodies)

    answer(context)

    assert outcomes() == {"wren": "found"}
    assert sorted(map(len, (message["Body"] for message in left(sqs, "windrow-artists-dead")))) == [20, 5014, 100_000]
    assert left(sqs, "windrow-artists") == []


def test_a_run_by_hand_with_an_unknown_param_is_refused(context):
    context["dag_run"].conf = {"artst": "Wren"}
    with pytest.raises(BadParameter, match="'artst' is unknown"):
        answer(context)


def test_a_closed_search_stops_no_request_by_id_and_is_taken_up_again(context, sqs, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"search": 0}, "retry_after_s": 7200}))
    queue = BY_NAME["Queue"].id
    send(sqs, '{"artist": "Wren"}', '{"artist": "Half Tide"}', json.dumps({"artist": queue}))

    answer(context)

    assert outcomes() == {"wren": "taken", "half tide": "taken", queue: "found"}
    assert left(sqs, "windrow-artists") == []
    assert "The quota of the API is used up until" in (open_requests("aws_default").get("wren") or {})["told"]
    assert calls(spotify, "/search") == 1

    spotify.request("DELETE", "/_admin/spotify")
    spotify.reset()
    with pytest.raises(AirflowSkipException):  # known without a call until the API opens it
        answer(context | {"run_id": "next"})
    assert spotify.counters()["totals"]["requests"] == 0
    assert outcomes() == {"wren": "taken", "half tide": "taken", queue: "found"}


def test_a_request_in_trouble_stops_no_other_and_is_told_when_it_is_alone(context, sqs, spotify: FakeApi):
    spotify.request("PUT", "/_admin/faults", json.dumps({"sticky": {'artist:"Wren"': 403}}))
    send(sqs, '{"artist": "Wren"}', '{"artist": "Queue"}')
    answer(context)
    assert outcomes() == {"wren": "taken", "queue": "found"}

    with pytest.raises(QueryRefused, match="Wren"):
        answer(context | {"run_id": "next"})
    assert "HTTP 403" in (open_requests("aws_default").get("wren") or {})["told"]


def test_a_name_that_the_api_cannot_search_for_is_refused(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/faults", json.dumps({"sticky": {'artist:"Wren"': 400}}))
    context["params"]["artist"] = "Wren"
    with pytest.raises(AirflowSkipException):
        answer(context)
    assert outcomes() == {"wren": "refused"}


@pytest.mark.parametrize(("client", "refused"), [("auto", 1), ("new", 0)])
def test_a_new_client_id_is_told_the_newest_album(context, spotify: FakeApi, client: str, refused: int):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new", "odd_albums": true, "null_items": true}')
    many = max(BY_NAME.values(), key=lambda artist: len(artist.albums))
    context["params"]["artist"] = many.name

    answer(context, client)

    assert calls(spotify, "/artists/{id}/top-tracks") == refused
    item = told(many.name)
    own = [album for album in many.albums if album.kind != "compilation"]
    newest = max(own, key=lambda album: (album.released_on, album.id))
    assert item["ranked_by"] == "newest_album"
    assert [track["id"] for track in item["tracks"]] == [track.id for track in newest.tracks]


def test_a_new_client_id_is_told_of_an_artist_without_albums(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new"}')
    context["params"]["artist"] = NEWCOMER

    answer(context, "auto")

    assert outcomes() == {NEWCOMER.casefold(): "no_tracks"}
    assert told(NEWCOMER)["tracks"] == []


def test_while_top_tracks_are_closed_the_newest_album_stands_in_and_replaces_none(context, spotify: FakeApi):
    answer(context | {"params": {"artist": "Wren"}})
    before = told("Wren")
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"top-tracks": 0, "audio-features": 0}}))

    later = context | {"run_id": "later", "params": {"artist": "Queue"}}
    answer(later, client="auto")
    assert step(CapabilitiesOperator, conn_id="spotify").execute(context)["capabilities"]["top_tracks"]
    assert told("Queue")["ranked_by"] == "newest_album"
    record("Wren", datetime.now(UTC) + timedelta(seconds=2 * FRESH_S), open_requests("aws_default"))
    assert answer(context | {"run_id": "again"})["dynamodb_written"] == 0
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
