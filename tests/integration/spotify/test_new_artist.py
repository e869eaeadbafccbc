"""Requests for artists, operator by operator, over real connections: what becomes of good and of bad ones."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from local_cloud.apis.spotify.catalogue import SILENT, Catalogue
from local_cloud.apis.testing import FakeApi
from windrow.hooks.items import Items
from windrow.operators.harvest import HarvestOperator
from windrow.operators.plan import PlanOperator
from windrow.operators.spotify import (
    CapabilitiesOperator,
    FindArtistsOperator,
    KnownArtistsOperator,
    PublishNewOperator,
)
from windrow.sources.spotify import CLIENTS

MUSIC = Catalogue()
BY_NAME = {artist.name: artist for artist in MUSIC.artists.values()}
DATASET = "spotify_top_tracks"


def step(operator: type, **arguments: Any) -> Any:
    with DAG("requests", schedule=None, params={}):
        return operator(task_id=operator.__name__, dataset=DATASET, **arguments)


def find(context: dict[str, Any]) -> Any:
    return step(FindArtistsOperator, conn_id="spotify", queue_name="windrow-artists").execute(context)


def handed_out(sqs: Any, *bodies: str) -> dict[Any, Any]:
    """Send messages, receive them as the trigger does, and make the events that it makes."""
    url = sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["SentTimestamp"])
    event = SimpleNamespace(extra={"from_trigger": True, "payload": {"message_batch": received["Messages"]}})
    return {"asset": [event]}


def left(sqs: Any, queue: str) -> list[dict[str, Any]]:
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    received = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    for message in received.get("Messages", []):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return list(received.get("Messages", []))


def outcomes() -> dict[str, str]:
    table = Items("aws_default", "artist_requests", key="request", version="asked_at")
    return {item["request"]: item["outcome"] for item in table.all()}


def publish(context: dict[str, Any], found: dict[str, Any], client: str = "extended") -> dict[str, Any]:
    may = CLIENTS[client]
    capabilities = {name: getattr(may, name) for name in ("batches", "top_tracks", "audio_features")}
    given = {"artists": found["artists"], "capabilities": capabilities}
    step(PlanOperator, conn_id="spotify", given=given).execute(context)
    step(HarvestOperator, conn_id="spotify").execute(context)
    return dict(step(PublishNewOperator, found=found).execute(context))


def told(name: str) -> dict[str, Any] | None:
    return Items("aws_default", "top_tracks", key="artist_id").get(BY_NAME[name].id)


def test_a_message_becomes_an_item_and_is_gone(context, sqs):
    context["triggering_asset_events"] = handed_out(sqs, '{"artist": "Wren"}')

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
    context["triggering_asset_events"] = handed_out(
        sqs, '{"artist": "Wren"}', '{"artist": " WREN"}', json.dumps({"artist": f"spotify:artist:{id_}"})
    )
    found = find(context)
    spotify.reset()

    assert publish(context, found)["dynamodb_artists"] == 1
    assert spotify.counters()["routes"]["GET /spotify/v1/artists/{id}/top-tracks"]["requests"] == 1
    assert outcomes() == {"wren": "found", f"spotify:artist:{id_.casefold()}": "found"}


def test_a_request_that_was_settled_just_now_is_not_worked_on_again(context, sqs, spotify: FakeApi):
    context["triggering_asset_events"] = handed_out(sqs, '{"artist": "Wren"}')
    publish(context, find(context))
    spotify.reset()

    context["triggering_asset_events"] = handed_out(sqs, '{"artist": "Wren"}')
    with pytest.raises(AirflowSkipException):
        find(context)
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
    context["triggering_asset_events"] = handed_out(sqs, json.dumps({"artist": text}))

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
    context["triggering_asset_events"] = handed_out(sqs, *bodies)

    assert find(context)["artists"] == [BY_NAME["Wren"].id]

    aside = left(sqs, "windrow-artists-dead")
    assert sorted(message["Body"] for message in aside) == sorted(bodies[:-1])
    assert "no request for an artist" in aside[0]["MessageAttributes"]["reason"]["StringValue"]
    assert left(sqs, "windrow-artists") == []


def test_a_closed_search_defers_and_the_request_is_taken_up_again(context, sqs, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"search": 0}, "retry_after_s": 7200}))
    context["triggering_asset_events"] = handed_out(sqs, '{"artist": "Wren"}')

    with pytest.raises(TaskDeferred):
        find(context)
    assert outcomes() == {"wren": "taken"}
    assert left(sqs, "windrow-artists") == []

    spotify.request("DELETE", "/_admin/spotify")
    by_id = dict(context, triggering_asset_events={}, params={"artist": BY_NAME["Queue"].id})
    with pytest.raises(TaskDeferred):  # the search stays closed for every run until the API opens it
        find(by_id)
    assert spotify.counters()["routes"]["GET /spotify/v1/search"]["requests"] == 1


def test_a_new_client_id_is_told_the_newest_album(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new"}')
    context["params"]["artist"] = "Wren"

    publish(context, find(context), "new")

    item = told("Wren")
    newest = max(BY_NAME["Wren"].albums, key=lambda album: (album.released_on, album.id))
    assert item["ranked_by"] == "newest_album"
    assert [track["id"] for track in item["tracks"]] == [track.id for track in newest.tracks]


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_kind_of_client_id_is_found_out(context, spotify: FakeApi, kind: str):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"client": kind}))

    found = step(CapabilitiesOperator, conn_id="spotify").execute(context)

    assert found["datasets"] == CLIENTS[kind].datasets
    spotify.reset()
    context["params"]["client"] = kind
    assert step(CapabilitiesOperator, conn_id="spotify").execute(context) == found
    assert spotify.counters()["totals"]["requests"] == 0


def test_known_are_those_of_the_variable_and_those_that_were_asked_for(context, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_VAR_ARTISTS", '["Wren", "Queue"]')
    Items("aws_default", "top_tracks", key="artist_id").put([{"artist_id": "x", "fetched_at": "2026"}])
    known = step(KnownArtistsOperator, variable="artists")

    assert known.execute(context) == ["Wren", "Queue", "x"]
    context["params"]["artists"] = ["Echo"]
    assert known.execute(context) == ["Echo"]
