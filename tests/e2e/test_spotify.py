"""The Spotify DAGs on the local cloud with a real Airflow: every day, at once by message, and their parity.

What their rows are is in tests/integration/spotify/test_artists_dag.py.
"""

import json
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from local_cloud import airflow_env, aws_resources
from local_cloud.apis.spotify.catalogue import SILENT, make_music
from local_cloud.settings import ARTIST_QUEUE
from tests.e2e.system import Dag, System

LIMIT_S = 600
BY_NAME = {artist.name: artist for artist in make_music().artists.values()}


class Spotify(System):
    """The system, as the Spotify DAGs and the chatbot see it."""

    def aws(self, service: str) -> Any:
        return aws_resources.client(self.settings, service)

    def switch(self, **changes: Any) -> None:
        """Have these switches of the fake Spotify and no others."""
        url = f"{self.settings.api_url}/_admin/spotify"
        requests.delete(url, timeout=10).raise_for_status()
        requests.put(url, json=changes, timeout=10).raise_for_status()

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.airflow.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"])

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        run = urllib.parse.quote(run_id)
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/xcomEntries/return_value?deserialize=true"
        return self.airflow.call("GET", path)["value"]

    def send(self, *bodies: str) -> None:
        queue = self.aws("sqs").get_queue_url(QueueName=ARTIST_QUEUE)["QueueUrl"]
        for body in bodies:
            self.aws("sqs").send_message(QueueUrl=queue, MessageBody=body)

    def waiting(self, name: str) -> int:
        """Messages in a queue, handed out or not."""
        sqs = self.aws("sqs")
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"]
        return sum(int(found[count]) for count in counts)

    def bodies(self, name: str) -> set[str]:
        """What the messages of a queue say, at most ten of them."""
        sqs = self.aws("sqs")
        queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return {message["Body"] for message in received.get("Messages", [])}

    def told(self) -> dict[str, list[str]]:
        """The ids of the tracks that the chatbot is told, by artist."""
        return {
            item["artist_id"]["S"]: [track["M"]["id"]["S"] for track in item["tracks"]["L"]]
            for item in self.aws("dynamodb").scan(TableName="top_tracks")["Items"]
        }

    def states(self, run_id: str) -> dict[str, str]:
        return Dag(self, "spotify_artists").states(run_id)

    def outcomes(self) -> dict[str, str]:
        found = self.aws("dynamodb").scan(TableName="artist_requests")["Items"]
        return {item["request"]["S"]: item["outcome"]["S"] for item in found}


@pytest.fixture(scope="module")
def spotify(system: System) -> Spotify:
    own = Spotify(**vars(system.of("spotify")))
    own.reset()
    return own


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not after {LIMIT_S} s: {what}"
        time.sleep(0.5)


def tracks_of(*names: str) -> dict[str, list[str]]:
    return {BY_NAME[name].id: [track.id for track in BY_NAME[name].top_tracks] for name in names}


@dataclass(frozen=True)
class Daily:
    """A run of every day, and what it has the chatbot say; its albums come later."""

    run_id: str
    told: dict[str, list[str]]
    albums: str
    """The state of the albums' harvest when the chatbot was told."""


@pytest.fixture(scope="module")
def daily(spotify: Spotify) -> Daily:
    """A run about two artists and a name of nobody; the quota of the albums is closed until the chatbot is told."""
    spotify.switch(quotas={"artist-albums": 1}, retry_after_s=3_600)
    artists = ["Wren", "Nobody At All", "Queue"]
    run_id = spotify.airflow.trigger("spotify_artists", {"artists": artists, "client": "legacy"})
    until(lambda: spotify.states(run_id)["publish"] == "success", "the chatbot is told")
    seen = Daily(run_id, spotify.told(), spotify.states(run_id)["albums.harvest"])

    # nobody waits for an hour here: the quota is opened, and the task is cleared
    spotify.switch()
    with MongoClient(airflow_env.mongo_url(spotify.settings)) as mongo:
        for document in list(mongo["windrow"]["windrow_quotas"].find({"kind": "spent"})):
            if "spotify" in document["window"]:
                mongo["windrow"]["windrow_quotas"].delete_one({"_id": document["_id"]})
    spotify.airflow.clear("spotify_artists", run_id, "albums.harvest")
    return seen


def test_a_closed_quota_defers_its_stream_alone_and_a_name_of_nobody_holds_up_none(spotify: Spotify, daily: Daily):
    state = Dag(spotify, "spotify_artists").wait(daily.run_id)

    tasks = spotify.airflow.tasks("spotify_artists", daily.run_id)
    assert daily.albums == "deferred", "its stream alone waits"
    assert state == "failed"
    assert [name for name, task in tasks.items() if task["state"] == "failed"] == ["require_all_names"]
    assert tasks["require_all_names"]["try_number"] == 1
    assert tasks["audio_features.plan"]["state"] == "skipped"
    assert daily.told == tracks_of("Wren", "Queue")
    for stream in ("artists", "albums", "top_tracks"):
        assert spotify.returned("spotify_artists", daily.run_id, f"prove_{stream}")["agrees"]


def test_both_warehouses_agree_on_what_landed(spotify: Spotify, daily: Daily):
    until(lambda: bool(spotify.runs("spotify_parity")), "the parity is started by the event of the run before")
    (run,) = spotify.runs("spotify_parity")
    assert Dag(spotify, "spotify_parity").wait(run["dag_run_id"]) == "success"

    (row,) = spotify.returned("spotify_parity", run["dag_run_id"], "compare_metrics")
    assert row["artists"] == "2"
    assert row["followers"] == str(BY_NAME["Wren"].followers + BY_NAME["Queue"].followers)


def test_messages_are_answered_each_in_its_way(spotify: Spotify, daily: Daily):
    wanted = ["Halden Pike", " halden pike", SILENT, "Echo", "Nobody At All"]
    spotify.send(*(json.dumps({"artist": name}) for name in wanted), "no json")

    until(lambda: len(spotify.outcomes()) == 4 and "taken" not in spotify.outcomes().values(), "all are settled")

    assert spotify.outcomes() == {
        "halden pike": "found", SILENT.casefold(): "no_tracks", "echo": "ambiguous", "nobody at all": "unknown"
    }  # fmt: skip
    assert spotify.told() == tracks_of("Wren", "Queue", "Halden Pike", SILENT)
    until(lambda: spotify.waiting(ARTIST_QUEUE) == 0, "the queue is empty")
    assert spotify.waiting(f"{ARTIST_QUEUE}-dead") == 1, "once, and no request that was answered"
    assert spotify.bodies(f"{ARTIST_QUEUE}-dead") == {"no json"}
    until(lambda: all(run["state"] == "success" for run in spotify.runs("spotify_new_artist")), "all runs end green")
    runs = [run["dag_run_id"] for run in spotify.runs("spotify_new_artist")]
    proved = [one for one in runs if spotify.airflow.tasks("spotify_new_artist", one)["prove"]["state"] == "success"]
    receipts = [spotify.returned("spotify_new_artist", run_id, "prove") for run_id in proved]
    assert all(receipt["agrees"] and receipt["seconds_to_dynamodb"] > 0 for receipt in receipts)
